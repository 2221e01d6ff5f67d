//! What admins do. Every command says at once whether it is taken; its answer
//! goes out when the batch of changes that it made is durable.

use std::collections::BTreeSet;

use chacha20::rand_core::Rng as _;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::membership::{MAX_VOUCHER, VerifiedMembership, Voucher};
use fleetcast_core::wire::control::{Down, ReleaseName, Standing, decode_body};
use fleetcast_core::wire::people::Answer;

use super::ServerNode;
use super::doubt::forget_floor;
use super::releases::untrusted;
use crate::error::Failure;
use crate::files;
use crate::model::{GroupRecord, MembershipRecord, ReceiverRecord, UnixTime, VoucherRecord};
use crate::units::quoted;

impl<A: Aead> ServerNode<A> {
    // --- groups ---

    /// Creates a group. An open one needs a voucher that names it (PROTOCOL G4), and its
    /// identity is made here: it is opened by [`Self::open_group`] afterwards.
    ///
    /// # Errors
    /// `group-exists`, `name-unsafe`; `voucher-missing` for one that is to be open at once.
    pub fn create_group(
        &mut self,
        actor: &str,
        name: &str,
        open: bool,
    ) -> Result<GroupId, Failure> {
        files::check_given(name)?;
        self.check_unused(name, None)?;
        if open {
            let message = "a group is opened by a voucher that admins have signed for it";
            let hint = "create it, then POST /groups/{group}/open; `fleetcast groups create \
                        --open` does both";
            return Err(Failure::failed("voucher-missing", message, hint));
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let id = GroupId(id);
        let created = self.registry.time();
        let (name_given, open) = (name.to_owned(), false);
        self.registry.put_group(GroupRecord { id, name: name_given, open, voucher: None, created });
        self.registry.log(actor, "group-created", name, "ok");
        Ok(id)
    }

    /// Deletes a group; its members are told, now or when they are back (PROTOCOL G6).
    /// Nothing of it stays but the log and its receipts, which prove what was.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn delete_group(&mut self, now: Instant, actor: &str, name: &str) -> Result<(), Failure> {
        let group = self.group(name)?.id;
        let members: Vec<ReceiverId> = self.registry.members(group).map(|m| m.receiver).collect();
        for member in members {
            self.registry.remove_membership(member, group);
            self.expel(now, member, group);
        }
        let asked: Vec<ReceiverId> =
            self.registry.requests().filter(|r| r.group == group).map(|r| r.receiver).collect();
        for receiver in asked {
            self.tell_answer(now, receiver, name, Answer::Unknown);
        }
        let own = self.registry.releases().filter(|release| release.name.group == group);
        let own: Vec<ReleaseName> = own.map(|release| release.name).collect();
        self.registry.remove_group(&group);
        own.iter().for_each(|release| self.forget_traces(release));
        self.revoke_orphans();
        forget_floor(&mut self.registry, group);
        self.registry.log(actor, "group-deleted", name, "ok");
        Ok(())
    }

    /// Invitations that lead into no group any more let nobody in, and what groups were
    /// open by goes with them. One that never named a group stays: it is meant so.
    fn revoke_orphans(&mut self) {
        let registry = &self.registry;
        let is_orphan = |voucher: &VoucherRecord| {
            let groups = voucher_groups(&voucher.document);
            !groups.is_empty() && groups.iter().all(|group| registry.group(group).is_none())
        };
        let orphans: Vec<VoucherRecord> =
            registry.vouchers().filter(|voucher| is_orphan(voucher)).cloned().collect();
        for voucher in orphans {
            if voucher.uses == 0 {
                self.registry.remove_vouchers(|other| other.digest == voucher.digest);
            } else if !voucher.revoked {
                self.registry.put_voucher(VoucherRecord { revoked: true, ..voucher });
            }
        }
    }

    /// Renames a group; receivers follow with its next release.
    ///
    /// # Errors
    /// `group-unknown`, `group-exists`, `name-unsafe`.
    pub fn rename_group(&mut self, actor: &str, name: &str, to: &str) -> Result<(), Failure> {
        files::check_given(to)?;
        let group = self.group(name)?.clone();
        self.check_unused(to, Some(group.id))?;
        self.registry.put_group(GroupRecord { name: to.to_owned(), ..group });
        self.registry.log(actor, "group-renamed", name, to);
        Ok(())
    }

    /// Adds a receiver by a certificate that an admin has signed; again is fine.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`, `not-trusted`.
    pub fn add_member(
        &mut self,
        now: Instant,
        actor: &str,
        group: &str,
        receiver: &str,
        certificate: Vec<u8>,
    ) -> Result<(), Failure> {
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        if receiver.standing != Standing::Member {
            let message = format!("{} has not been approved", receiver.name);
            let hint = format!("fleetcast receivers approve {}", receiver.name);
            return Err(Failure::failed("receiver-waiting", message, hint));
        }
        if self.registry.is_member(receiver.id, group.id) {
            return Ok(());
        }
        let verified =
            VerifiedMembership::verify(&self.authority, &receiver.key, &certificate, &[]);
        let verified = verified.map_err(|fault| untrusted("the certificate", &fault))?;
        if verified.membership().group != group.id {
            return Err(untrusted("the certificate", &"it names another group"));
        }
        let record = MembershipRecord {
            receiver: receiver.id,
            group: group.id,
            certificate,
            voucher: None,
            since: self.registry.time(),
        };
        let asked = self.registry.request(receiver.id, group.id).is_some();
        let action = if asked { "request-approved" } else { "member-added" };
        self.registry.put_membership(record.clone());
        self.registry.log(actor, action, &receiver.name, &group.name);
        if let Some(&slot) = self.connected.get(&receiver.id) {
            self.send_membership(now, slot, &record);
        }
        self.tell_answer(now, receiver.id, &group.name, Answer::Member);
        self.owe_current(now, receiver.id);
        Ok(())
    }

    /// Removes a receiver from a group, at once, also in mid-session.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`.
    pub fn remove_member(
        &mut self,
        now: Instant,
        actor: &str,
        group: &str,
        receiver: &str,
    ) -> Result<(), Failure> {
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        if self.registry.remove_membership(receiver.id, group.id) {
            self.expel(now, receiver.id, group.id);
            self.registry.log(actor, "member-removed", &receiver.name, &group.name);
        }
        Ok(())
    }

    // --- receivers ---

    /// Takes a waiting receiver in.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn approve_receiver(
        &mut self,
        now: Instant,
        actor: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let record = self.receiver(name)?.clone();
        if record.standing == Standing::Member {
            return Ok(());
        }
        let (id, called) = (record.id, record.name.clone());
        self.registry.put_receiver(ReceiverRecord { standing: Standing::Member, ..record });
        self.registry.log(actor, "receiver-approved", &called, "ok");
        if let Some(&slot) = self.connected.get(&id) {
            self.welcome(now, slot);
        }
        Ok(())
    }

    /// Renames a receiver.
    ///
    /// # Errors
    /// `receiver-unknown`, `name-taken`, `name-unsafe`.
    pub fn rename_receiver(&mut self, actor: &str, name: &str, to: &str) -> Result<(), Failure> {
        files::check_given(to)?;
        let record = self.receiver(name)?.clone();
        if self.registry.receivers().any(|other| other.name == to && other.id != record.id) {
            let message = format!("there is a receiver {} already", quoted(to));
            return Err(Failure::failed("name-taken", message, "choose another name"));
        }
        self.registry.put_receiver(ReceiverRecord { name: to.to_owned(), ..record });
        self.registry.log(actor, "receiver-renamed", name, to);
        Ok(())
    }

    /// Forgets a receiver: it gets nothing more, and must enrol anew.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn remove_receiver(
        &mut self,
        now: Instant,
        actor: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let record = self.receiver(name)?.clone();
        let groups: Vec<GroupId> =
            self.registry.memberships_of(record.id).map(|m| m.group).collect();
        for group in groups {
            self.registry.remove_membership(record.id, group);
            self.expel(now, record.id, group);
        }
        if let Some(&slot) = self.connected.get(&record.id) {
            let why = fleetcast_core::wire::control::RefusedWhy::Revoked;
            self.tell(now, slot, &Down::Refused { why });
        }
        self.registry.remove_receiver(&record.id);
        self.registry.log(actor, "receiver-removed", &record.name, "ok");
        Ok(())
    }

    /// Asks receivers whether they are there; all that are connected where none is named.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn ping(&mut self, now: Instant, names: &[String]) -> Result<Vec<ReceiverId>, Failure> {
        let mut asked = BTreeSet::new();
        for name in names {
            asked.insert(self.receiver(name)?.id);
        }
        if names.is_empty() {
            asked.extend(self.registry.receivers().map(|receiver| receiver.id));
        }
        for id in &asked {
            let Some(&slot) = self.connected.get(id) else { continue };
            let nonce = self.rng.next_u64();
            if let Some(link) = self.links.get_mut(&slot) {
                link.ping = Some((nonce, now));
                link.round_trip = None;
            }
            self.tell(now, slot, &Down::Ping { nonce });
        }
        Ok(asked.into_iter().collect())
    }

    // --- invitations ---

    /// Takes an invitation: a voucher that admins have signed, and its token.
    ///
    /// # Errors
    /// `not-trusted`, `group-unknown`.
    pub fn add_voucher(
        &mut self,
        actor: &str,
        document: Vec<u8>,
        token: [u8; 16],
    ) -> Result<Digest, Failure> {
        let (digest, voucher) = self.check_voucher(&document, &token)?;
        self.registry.put_voucher(VoucherRecord {
            digest,
            token_id: voucher.token,
            token,
            used: 0,
            uses: voucher.uses,
            expires: voucher.not_after,
            revoked: false,
            document,
        });
        self.registry.log(actor, "invitation-made", &voucher.token.to_string(), "ok");
        Ok(digest)
    }

    /// What a voucher says, if an admin has signed it for this token.
    pub(super) fn check_voucher(
        &self,
        document: &[u8],
        token: &[u8; 16],
    ) -> Result<(Digest, Voucher), Failure> {
        let signed = SignedDocument::parse(document, MAX_VOUCHER);
        let signed = signed.map_err(|fault| untrusted("the voucher", &fault))?;
        self.authority
            .verify_one(Context::Voucher, &signed)
            .map_err(|fault| untrusted("the voucher", &fault))?;
        let voucher: Voucher =
            decode_body(signed.body()).map_err(|fault| untrusted("the voucher", &fault))?;
        if voucher.token != fleetcast_core::ids::TokenId::of(token) {
            return Err(untrusted("the voucher", &"it names another token"));
        }
        if let Some(group) =
            voucher.groups.iter().find(|group| self.registry.group(group).is_none())
        {
            let message = format!("the voucher names a group that does not exist ({group})");
            return Err(Failure::failed("group-unknown", message, "fleetcast groups list"));
        }
        Ok((signed.digest(Context::Voucher), voucher))
    }

    // --- names ---

    /// A group by its name.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn group(&self, name: &str) -> Result<&GroupRecord, Failure> {
        self.registry.group_named(name).ok_or_else(|| {
            let message = format!("there is no group {}", quoted(name));
            Failure::failed("group-unknown", message, "fleetcast groups list")
        })
    }

    /// A receiver by its name or the beginning of its identity.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn receiver(&self, name: &str) -> Result<&ReceiverRecord, Failure> {
        self.registry.receiver_named(name).ok_or_else(|| {
            let message = format!("there is no receiver {}", quoted(name));
            Failure::failed("receiver-unknown", message, "fleetcast receivers list")
        })
    }

    /// The wall clock as last told, in seconds since 1970.
    #[must_use]
    pub const fn time(&self) -> UnixTime {
        self.registry.time()
    }

    /// No group but `own` may have a name that differs from this one by case only.
    fn check_unused(&self, name: &str, own: Option<GroupId>) -> Result<(), Failure> {
        let same = |group: &&GroupRecord| files::folded(&group.name) == files::folded(name);
        match self.registry.groups().filter(|group| Some(group.id) != own).find(same) {
            None => Ok(()),
            Some(group) => {
                let mut message = format!("there is a group {} already", quoted(&group.name));
                if group.name != name {
                    message.push_str(", which differs by case only");
                }
                Err(Failure::failed("group-exists", message, "choose another name"))
            }
        }
    }

    pub(super) fn group_name(&self, id: GroupId) -> String {
        self.registry.group(&id).map_or_else(|| id.to_string(), |group| group.name.clone())
    }
}

/// The groups that a voucher names.
pub(super) fn voucher_groups(document: &[u8]) -> Vec<GroupId> {
    let signed = SignedDocument::parse(document, MAX_VOUCHER).ok();
    let voucher = signed.and_then(|s| decode_body::<Voucher>(s.body()).ok());
    voucher.map(|voucher| voucher.groups.iter().copied().collect()).unwrap_or_default()
}
