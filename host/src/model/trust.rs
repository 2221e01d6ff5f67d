//! What the server knows about the authority document besides its chain.

use fleetcast_core::digest::Digest;
use fleetcast_core::trust::document::Fingerprint;

/// A change of the authority document that waits for signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalRecord {
    /// Digest of the document, which signatures do not change.
    pub digest: Digest,
    /// The document, with the signatures so far.
    pub document: Vec<u8>,
    /// Who proposed it.
    pub proposer: String,
    /// When, in seconds since 1970.
    pub since: u64,
}

/// What people call an admin; nothing rests on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminNameRecord {
    /// Of the admin's key.
    pub admin: Fingerprint,
    /// The name.
    pub name: String,
}
