//! The part of the facts that is about the authority document.

use fleetcast_core::digest::Digest;
use fleetcast_core::trust::document::Fingerprint;

use super::Registry;
use crate::model::{AdminNameRecord, Change, MembershipRecord, ProposalRecord};

impl Registry {
    /// Makes a signed authority document durable.
    pub fn put_authority(&mut self, version: u32, document: Vec<u8>) {
        self.changes.push(Change::Authority(version, document));
    }

    /// All memberships.
    pub fn memberships(&self) -> impl Iterator<Item = &MembershipRecord> {
        self.memberships.values()
    }

    /// Proposed authority documents, in the order of their digests.
    pub fn proposals(&self) -> impl Iterator<Item = &ProposalRecord> {
        self.proposals.values()
    }

    /// A proposed authority document.
    #[must_use]
    pub fn proposal(&self, digest: &Digest) -> Option<&ProposalRecord> {
        self.proposals.get(digest)
    }

    /// Writes a proposal.
    pub fn put_proposal(&mut self, record: ProposalRecord) {
        self.changes.push(Change::Proposal(record.clone()));
        self.proposals.insert(record.digest, record);
    }

    /// Forgets a proposal; whether there was one.
    pub fn remove_proposal(&mut self, digest: &Digest) -> bool {
        let removed = self.proposals.remove(digest).is_some();
        if removed {
            self.changes.push(Change::ProposalGone(*digest));
        }
        removed
    }

    /// What people call an admin, or empty.
    #[must_use]
    pub fn admin_name(&self, admin: &Fingerprint) -> &str {
        self.admin_names.get(admin).map_or("", String::as_str)
    }

    /// Gives an admin a name.
    pub fn put_admin_name(&mut self, admin: Fingerprint, name: &str) {
        if self.admin_name(&admin) != name {
            let name = name.to_owned();
            self.changes.push(Change::AdminName(AdminNameRecord { admin, name: name.clone() }));
            self.admin_names.insert(admin, name);
        }
    }
}
