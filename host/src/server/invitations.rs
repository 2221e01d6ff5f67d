//! Invitations that were made: which count, and taking them back. What the server
//! says of itself to those who have none.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::trust::beacon::{BEACON, Beacon};

use super::ServerNode;
use super::commands::voucher_groups;
use crate::error::Failure;
use crate::model::VoucherRecord;
use crate::status::InvitationItem;
use crate::units::quoted;

impl<A: Aead> ServerNode<A> {
    /// PROTOCOL B1: what the server says of itself to who has no code.
    #[must_use]
    pub fn beacon(&self, port: u16) -> [u8; BEACON] {
        let beacon = Beacon {
            port,
            time: self.registry.time(),
            authority: self.authority.digest(),
            exchange: *StaticPair::from_secret(&self.config.exchange_secret).public(),
            signing: self.config.signing.verifying_key(),
        };
        beacon.write(&self.config.signing)
    }

    /// All invitations, the last to expire first. Vouchers of open groups are none.
    #[must_use]
    pub fn invitation_items(&self) -> Vec<InvitationItem> {
        let invitations = self.registry.vouchers().filter(|voucher| voucher.uses > 0);
        let mut items: Vec<_> = invitations.map(|voucher| self.invitation_item(voucher)).collect();
        items.sort_unstable_by(|a, b| (b.expires, &a.id).cmp(&(a.expires, &b.id)));
        items
    }

    fn invitation_item(&self, voucher: &VoucherRecord) -> InvitationItem {
        let groups = voucher_groups(&voucher.document);
        let mut groups: Vec<String> =
            groups.iter().filter_map(|id| Some(self.registry.group(id)?.name.clone())).collect();
        groups.sort_unstable();
        InvitationItem {
            id: voucher.token_id.to_string(),
            groups,
            uses: voucher.uses,
            used: voucher.used,
            expires: voucher.expires,
            revoked: voucher.revoked,
        }
    }

    /// Takes an invitation back, by the name of its token or the beginning of it; who
    /// has enrolled by it stays. Again is fine.
    ///
    /// # Errors
    /// `invite-unknown`.
    pub fn revoke_invitation(&mut self, actor: &str, id: &str) -> Result<InvitationItem, Failure> {
        let Some(found) = self.invitation(&id.to_ascii_lowercase()).cloned() else {
            let message = format!("there is no invitation {}", quoted(id));
            return Err(Failure::failed("invite-unknown", message, "fleetcast invite --list"));
        };
        let was_revoked = found.revoked;
        let revoked = VoucherRecord { revoked: true, ..found };
        let item = self.invitation_item(&revoked);
        if !was_revoked {
            self.registry.put_voucher(revoked);
            self.registry.log(actor, "invitation-revoked", &item.id, "ok");
        }
        Ok(item)
    }

    /// The one invitation whose token's name begins like this.
    fn invitation(&self, id: &str) -> Option<&VoucherRecord> {
        let mut named = self.registry.vouchers().filter(|voucher| {
            voucher.uses > 0 && id.len() >= 6 && voucher.token_id.to_string().starts_with(id)
        });
        named.next().filter(|_| named.next().is_none())
    }
}
