//! The authority document at the server: proposed, signed by one admin after the
//! other, and in force when enough have signed.
//!
//! Nothing here signs: a proposal is a document that an admin's command line has
//! made, and counts by the signatures on it (PROTOCOL T2). What rests on the
//! document before is judged anew when the next is in force.

mod views;

pub use views::{Doubtful, Progress, Spread};

use std::collections::BTreeSet;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{PeerSlot, ReceiverId, StaticKey, VerifyingKey};
use fleetcast_core::limits::{MAX_AUTHORITY, MAX_ROOT};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::authority::{AuthorityDocument, TrustedAuthority};
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};
use fleetcast_core::trust::membership::{
    MAX_MEMBERSHIP, MAX_VOUCHER, Membership, VerifiedMembership,
};
use fleetcast_core::wire::control::{RefusedWhy, Standing, decode_body};

use super::judged::Judged;
use super::releases::untrusted;
use super::{ServerNode, signatures};
use crate::error::Failure;
use crate::model::{
    DeliveryState, MembershipRecord, ProposalRecord, ReleaseRecord, ReleaseState, VoucherRecord,
};
use crate::units::quoted;

/// Proposals that wait at a time at most.
const MAX_PROPOSALS: usize = 8;

/// What has become of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its digest.
    pub digest: Digest,
    /// It is in force now.
    pub in_force: bool,
}

impl<A: Aead> ServerNode<A> {
    /// Takes a proposed authority document, or further signatures on one; it is in force
    /// as soon as enough admins of the present one and of itself have signed.
    ///
    /// # Errors
    /// `not-trusted`, `authority-outdated`, `authority-unusable`, `proposals-full`.
    pub fn propose_authority(
        &mut self,
        now: Instant,
        actor: &str,
        document: &[u8],
    ) -> Result<Proposed, Failure> {
        let signed = SignedDocument::parse(document, MAX_AUTHORITY)
            .map_err(|fault| untrusted("the authority document", &fault))?;
        let digest = signed.digest(Context::Authority);
        if digest == self.authority.digest() {
            // A second signer may have been faster.
            return Ok(Proposed { digest, in_force: true });
        }
        let next = AuthorityDocument::decode(signed.body())
            .map_err(|fault| untrusted("the authority document", &fault))?;
        self.check_follows(&next)?;
        let keys = self.signers_of(&next);
        let known = self.registry.proposal(&digest).map(|record| record.document.clone());
        let (known, context) = (known.as_deref(), Context::Authority);
        let merged = signatures::merged(&signed, known, context, MAX_AUTHORITY, &keys);
        let document = merged.ok_or_else(|| untrusted("the authority document", &"another one"))?;
        let signed = SignedDocument::parse(&document, MAX_AUTHORITY)
            .map_err(|fault| untrusted("the authority document", &fault))?;
        let present: Vec<VerifyingKey> = self.authority.admins().collect();
        if !present.iter().any(|key| signed.signature_by(Context::Authority, key).is_some()) {
            return Err(untrusted("the authority document", &"no admin has signed it"));
        }
        match self.authority.advance(&document) {
            Ok(next) => {
                self.put_in_force(now, actor, next, document);
                Ok(Proposed { digest, in_force: true })
            }
            Err(_) => self.keep_proposal(actor, digest, document),
        }
    }

    /// Forgets a proposal.
    ///
    /// # Errors
    /// `proposal-unknown`.
    pub fn drop_proposal(&mut self, actor: &str, digest: &Digest) -> Result<(), Failure> {
        if !self.registry.remove_proposal(digest) {
            return Err(no_proposal(&digest.to_string()));
        }
        self.registry.log(actor, "authority-dropped", &short(digest), "ok");
        Ok(())
    }

    /// Gives an admin a name, for people.
    ///
    /// # Errors
    /// `name-unsafe`.
    pub fn name_admin(&mut self, admin: Fingerprint, name: &str) -> Result<(), Failure> {
        check_admin_name(name)?;
        self.registry.put_admin_name(admin, name);
        Ok(())
    }

    /// This server has another controller key from now on. Memberships that the old
    /// one has made from vouchers are signed anew: they say what they said.
    pub fn take_controller(&mut self, now: Instant, secret: [u8; 32], signing: SigningKey) {
        self.own = *StaticPair::from_secret(&secret).public();
        (self.config.exchange_secret, self.config.signing) = (secret, signing);
        self.endpoint.take_key(&secret);
        self.registry.log("server", "controller-changed", &short(&Digest::of(&self.own.0)), "ok");
        let vouched: Vec<MembershipRecord> =
            self.registry.memberships().filter(|m| m.voucher.is_some()).cloned().collect();
        for record in vouched {
            let Ok(signed) = SignedDocument::parse(&record.certificate, MAX_MEMBERSHIP) else {
                continue;
            };
            let signing = &self.config.signing;
            let Some(certificate) = signatures::signed(signed.body(), Context::Membership, signing)
            else {
                continue;
            };
            self.put_renewed(now, MembershipRecord { certificate, ..record });
        }
    }

    /// Takes a membership that an admin has signed anew; one that is no member any more
    /// stays none.
    ///
    /// # Errors
    /// `not-trusted`.
    pub fn renew_membership(&mut self, now: Instant, certificate: Vec<u8>) -> Result<(), Failure> {
        let fault = |fault: &dyn std::fmt::Debug| untrusted("the certificate", &fault);
        let signed = SignedDocument::parse(&certificate, MAX_MEMBERSHIP).map_err(|f| fault(&f))?;
        let named: Membership = decode_body(signed.body()).map_err(|f| fault(&f))?;
        VerifiedMembership::verify(&self.authority, &named.device, &certificate, &[])
            .map_err(|f| fault(&f))?;
        let receiver = ReceiverId::of(&named.device);
        let is_it = |record: &&MembershipRecord| record.group == named.group;
        let known = self.registry.memberships_of(receiver).find(is_it).cloned();
        if let Some(record) = known {
            self.put_renewed(now, MembershipRecord { certificate, voucher: None, ..record });
        }
        Ok(())
    }

    fn put_renewed(&mut self, now: Instant, record: MembershipRecord) {
        self.registry.put_membership(record.clone());
        if let Some(&slot) = self.connected.get(&record.receiver) {
            self.send_membership(now, slot, &record);
        }
        self.owe_anew(now, record.receiver, record.group);
    }

    /// A proposal must be the next version of this fleet, and one that can be signed.
    fn check_follows(&self, next: &AuthorityDocument) -> Result<(), Failure> {
        let present = self.authority.document();
        if next.fleet != present.fleet {
            return Err(untrusted("the authority document", &"it belongs to another fleet"));
        }
        if Some(next.version) != present.version.checked_add(1)
            || next.reset_epoch < present.reset_epoch
        {
            let message = format!(
                "the proposal is version {} of the authority document, the next one is {}",
                next.version,
                present.version.saturating_add(1)
            );
            let hint = "it was overtaken: propose the change anew";
            return Err(Failure::failed("authority-outdated", message, hint));
        }
        let counts = signatures::counting(next).count();
        if counts < usize::from(next.threshold) {
            let message = format!(
                "{} signatures would be needed, and {counts} admins could give one",
                next.threshold
            );
            let hint = "lower the threshold first, or add an admin";
            return Err(Failure::failed("authority-unusable", message, hint));
        }
        Ok(())
    }

    /// Whose signatures count on a proposal: those of admins of either document.
    fn signers_of(&self, next: &AuthorityDocument) -> Vec<VerifyingKey> {
        let mut keys: Vec<VerifyingKey> = self.authority.admins().collect();
        let new: Vec<_> = signatures::counting(next).filter(|key| !keys.contains(key)).collect();
        keys.extend(new);
        keys
    }

    fn keep_proposal(
        &mut self,
        actor: &str,
        digest: Digest,
        document: Vec<u8>,
    ) -> Result<Proposed, Failure> {
        let known = self.registry.proposal(&digest).cloned();
        if known.is_none() && self.registry.proposals().count() >= MAX_PROPOSALS {
            let hint = "fleetcast authority list, then: fleetcast authority drop ID";
            let message = "too many changes of the authority document wait already";
            return Err(Failure::failed("proposals-full", message, hint));
        }
        let action = if known.is_some() { "authority-signed" } else { "authority-proposed" };
        if known.as_ref().is_none_or(|record| record.document != document) {
            self.registry.log(actor, action, &short(&digest), "ok");
        }
        let since = known.as_ref().map_or(self.registry.time(), |record| record.since);
        let proposer = known.map_or_else(|| actor.to_owned(), |record| record.proposer);
        self.registry.put_proposal(ProposalRecord { digest, document, proposer, since });
        Ok(Proposed { digest, in_force: false })
    }

    /// The next document counts from now on; whoever is here is told.
    fn put_in_force(
        &mut self,
        now: Instant,
        actor: &str,
        next: TrustedAuthority,
        document: Vec<u8>,
    ) {
        let version = next.document().version;
        self.registry.put_authority(version, document.clone());
        self.registry.log(actor, "authority-changed", &format!("version {version}"), "ok");
        let waiting: Vec<Digest> = self.registry.proposals().map(|record| record.digest).collect();
        for digest in waiting {
            // They would have followed the one before.
            self.registry.remove_proposal(&digest);
        }
        self.authority = next;
        // Not here: the key that the document names is taken in the same breath, and what
        // that makes anew counts. Whatever is planned next is planned by new judgement.
        self.judged = Judged::anew();
        self.plan_soon(now, Duration::ZERO);
        let batch = self.batch_of_changes();
        self.chain.push(version, self.authority.digest(), document, batch);
        self.distrust_vouchers();
        self.distrust_releases(now);
        self.turn_revoked_away(now);
        self.show_authority(now, version);
    }

    /// PROTOCOL A4: at once to every member that is here.
    fn show_authority(&mut self, now: Instant, version: u32) {
        let here: Vec<PeerSlot> = self.connected.values().copied().collect();
        for slot in here {
            let id = self.links.get(&slot).and_then(|link| link.receiver);
            let record = id.and_then(|id| self.registry.receiver(&id));
            if record.is_some_and(|record| record.standing == Standing::Member) {
                self.send_authority(now, slot, version.saturating_sub(1));
            }
        }
    }

    /// Codes that no admin stands behind any more let nobody in.
    fn distrust_vouchers(&mut self) {
        let trusted = |record: &VoucherRecord| {
            let signed = SignedDocument::parse(&record.document, MAX_VOUCHER);
            signed.is_ok_and(|s| self.authority.verify_one(Context::Voucher, &s).is_ok())
        };
        let vouchers = self.registry.vouchers().filter(|record| !record.revoked);
        let lost: Vec<VoucherRecord> = vouchers.filter(|r| !trusted(r)).cloned().collect();
        for record in lost {
            let id = record.token_id.to_string();
            self.registry.put_voucher(VoucherRecord { revoked: true, ..record });
            self.registry.log("server", "invitation-revoked", &id, "its signer is no admin");
        }
    }

    /// Releases that too few admins stand behind now wait for signatures again.
    fn distrust_releases(&mut self, now: Instant) {
        let lacks = |release: &ReleaseRecord| {
            let signed = SignedDocument::parse(&release.document, MAX_ROOT);
            !signed.is_ok_and(|s| self.authority.verify(Context::Release, &s).is_ok())
        };
        // Older ones too: the newest that is trusted takes the place of one that is not.
        let in_force = |release: &&ReleaseRecord| {
            matches!(release.state, ReleaseState::Current | ReleaseState::Superseded)
        };
        let releases = self.registry.releases().filter(in_force);
        let lost: Vec<ReleaseRecord> = releases.filter(|r| lacks(r)).cloned().collect();
        for release in lost {
            let title = self.registry.release_title(&release.name);
            let own = self.registry.deliveries().filter(|d| d.release == release.name);
            let open: Vec<_> = own.filter(|d| !d.state.is_final()).cloned().collect();
            for delivery in open {
                self.withdraw(now, delivery, DeliveryState::Superseded);
            }
            self.registry.put_release(ReleaseRecord { state: ReleaseState::Unsigned, ..release });
            self.registry.log("server", "release-distrusted", &title, "too few admins signed it");
        }
    }

    /// Devices that the document revokes are out, whatever the catalog says.
    fn turn_revoked_away(&mut self, now: Instant) {
        let revoked: BTreeSet<String> = self
            .registry
            .receivers()
            .filter(|record| self.authority.is_revoked(&record.key.0))
            .map(|record| record.id.to_string())
            .collect();
        for id in revoked {
            // It is there: it was listed a line before.
            let _ = self.remove_receiver(now, "server", &id);
        }
    }

    /// Why a device may not even wait for approval, if so.
    pub(super) fn refuses(&self, key: &StaticKey) -> Option<RefusedWhy> {
        self.authority.is_revoked(&key.0).then_some(RefusedWhy::Revoked)
    }
}

/// Whether [`ServerNode::name_admin`] would take a name.
///
/// # Errors
/// `name-unsafe`.
pub fn check_admin_name(name: &str) -> Result<(), Failure> {
    crate::files::check_given(name)
}

/// The beginning of a digest, for logs.
pub(super) fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(16).collect()
}

fn no_proposal(wanted: &str) -> Failure {
    let message = format!("no change of the authority document begins with {}", quoted(wanted));
    Failure::failed("proposal-unknown", message, "fleetcast authority list")
}
