//! What lists and health show of the authority document.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{StaticKey, VerifyingKey};
use fleetcast_core::limits::{MAX_AUTHORITY, MAX_ROOT};
use fleetcast_core::trust::authority::AuthorityDocument;
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};
use fleetcast_core::trust::membership::{MAX_MEMBERSHIP, MAX_VOUCHER};
use fleetcast_core::wire::control::Standing;

use crate::health::{Condition, Health};
use crate::model::{GroupRecord, MembershipRecord, ProposalRecord, ReleaseRecord, ReleaseState};
use crate::server::{ServerNode, signatures};

/// How far the signatures on a proposal are: what it has, and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Admins that have signed.
    pub signers: Vec<Fingerprint>,
    /// Of the document in force: signatures, and how many are needed.
    pub before: (usize, usize),
    /// The same of the proposed document.
    pub after: (usize, usize),
}

/// Which receivers trust the newest authority document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Those that have said so.
    pub current: u64,
    /// Those that are here, and have not yet.
    pub behind: u64,
    /// Those that are away.
    pub away: u64,
}

/// What would count no more if only certain admins did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubtful {
    /// Memberships.
    pub memberships: Vec<MembershipRecord>,
    /// Groups that are open by a voucher.
    pub groups: Vec<GroupRecord>,
    /// Current releases.
    pub releases: Vec<Digest>,
}

impl<A: Aead> ServerNode<A> {
    /// Our own key for handshakes.
    #[must_use]
    pub const fn own_key(&self) -> &StaticKey {
        &self.own
    }

    /// All signed authority documents, oldest first.
    #[must_use]
    pub fn authority_chain(&self) -> Vec<(u32, Vec<u8>)> {
        self.chain.above(0).map(|(version, document)| (version, document.to_vec())).collect()
    }

    /// How far a proposal is.
    #[must_use]
    pub fn progress_of(&self, proposal: &ProposalRecord) -> Progress {
        let mut progress = Progress::default();
        let Ok(signed) = SignedDocument::parse(&proposal.document, MAX_AUTHORITY) else {
            return progress;
        };
        let Ok(next) = AuthorityDocument::decode(signed.body()) else { return progress };
        let has = |key: &VerifyingKey| signed.signature_by(Context::Authority, key).is_some();
        let before: Vec<VerifyingKey> = self.authority.admins().filter(has).collect();
        let after: Vec<VerifyingKey> = signatures::counting(&next).filter(has).collect();
        progress.before = (before.len(), self.authority.document().threshold.into());
        progress.after = (after.len(), next.threshold.into());
        for key in before.iter().chain(&after) {
            let signer = Fingerprint::of(&key.0);
            if !progress.signers.contains(&signer) {
                progress.signers.push(signer);
            }
        }
        progress
    }

    /// Which receivers trust the newest document.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let newest = self.authority.document().version;
        let mut spread = Spread::default();
        for receiver in self.registry.receivers().filter(|r| r.standing == Standing::Member) {
            let trusts = self.link_of(&receiver.id).and_then(|(_, link)| link.hello);
            match trusts {
                None => spread.away += 1,
                Some((version, _)) if version >= newest => spread.current += 1,
                Some(_) => spread.behind += 1,
            }
        }
        spread
    }

    /// What receivers would not believe if these were the admins, and `threshold` of them
    /// had to sign. What the controller has made from vouchers, it makes anew by itself.
    #[must_use]
    pub fn doubtful(&self, admins: &[VerifyingKey], threshold: u8) -> Doubtful {
        let signers = |document: &[u8], context: Context, most: usize| {
            SignedDocument::parse(document, most).map_or(0, |signed| {
                let has = |key: &&VerifyingKey| signed.signature_by(context, key).is_some();
                admins.iter().filter(has).count()
            })
        };
        let vouched = |digest: &Digest| {
            let voucher = self.registry.voucher_of(digest);
            voucher.is_some_and(|v| signers(&v.document, Context::Voucher, MAX_VOUCHER) > 0)
        };
        let counts = |record: &&MembershipRecord| {
            let own = || signers(&record.certificate, Context::Membership, MAX_MEMBERSHIP) > 0;
            record.voucher.as_ref().map_or_else(own, vouched)
        };
        let memberships = self.registry.memberships().filter(|record| !counts(record));
        let open = self.registry.groups().filter(|group| group.open);
        let groups = open.filter(|group| !group.voucher.as_ref().is_some_and(vouched));
        let lacks = |release: &&ReleaseRecord| {
            signers(&release.document, Context::Release, MAX_ROOT) < usize::from(threshold)
        };
        let current = self.registry.releases().filter(|r| r.state == ReleaseState::Current);
        Doubtful {
            memberships: memberships.cloned().collect(),
            groups: groups.cloned().collect(),
            releases: current.filter(lacks).map(|release| release.name.digest).collect(),
        }
    }

    /// What a person should know of the fleet's trust.
    pub(in crate::server) fn trust_conditions(&self, health: &mut Health) {
        let now = self.registry.time();
        if self.authority.controller(&self.own).is_none() {
            health.raise(Condition::ControllerUnannounced, "server", now);
        }
        let unsigned = self.registry.releases().filter(|r| r.state == ReleaseState::Unsigned);
        for release in unsigned {
            let title = self.registry.release_title(&release.name);
            health.raise(Condition::ReleaseUnsigned, &title, release.created);
        }
        for proposal in self.registry.proposals() {
            let id = super::short(&proposal.digest);
            health.raise(Condition::AuthorityUnsigned, &id, proposal.since);
        }
        // Before there is anybody whom the fleet could lose it is no news.
        let members = self.registry.receivers().filter(|r| r.standing == Standing::Member);
        if self.authority.admins().count() == usize::from(self.authority.document().threshold)
            && let Some(since) = members.map(|record| record.enrolled).min()
        {
            health.raise(Condition::NoSpareKey, "server", since);
        }
    }
}
