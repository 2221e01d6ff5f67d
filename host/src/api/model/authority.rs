//! Bodies of requests and answers about the authority document.
//!
//! Documents, keys, digests and fingerprints travel as lower-case hex.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Moment, rfc3339};

/// `GET /authority`: the chain, what is proposed, and who trusts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityState {
    /// All signed documents, the first version first.
    pub chain: Vec<String>,
    /// Changes that wait for signatures.
    pub proposals: Vec<ProposalState>,
    /// What people call admins.
    pub names: Vec<AdminName>,
    /// The server's own X25519 key, whether a document names it or not.
    pub controller: String,
    /// Receivers that trust the newest document.
    pub current: u64,
    /// Receivers that are here and do not yet.
    pub behind: u64,
    /// Receivers that are away.
    pub away: u64,
    /// Memberships that no admin stands behind any more.
    pub doubtful: u64,
}

/// A change that waits for signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProposalState {
    /// Its digest.
    pub digest: String,
    /// The document, with the signatures so far.
    pub document: String,
    /// Who proposed it.
    pub proposer: String,
    /// When.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub since: u64,
    /// Fingerprints of those who have signed it.
    pub signers: Vec<String>,
    /// Signatures of admins of the document in force: there are, and are needed.
    pub before: (usize, usize),
    /// The same of its own admins.
    pub after: (usize, usize),
}

/// What people call an admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminName {
    /// Fingerprint of the key.
    pub admin: String,
    /// The name.
    pub name: String,
}

/// `POST /authority/proposals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewProposal {
    /// The document, with at least one signature.
    pub document: String,
    /// Names of admins that come with it.
    #[serde(default)]
    pub names: Vec<AdminName>,
}

/// What has become of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProposalAnswer {
    /// Its digest.
    pub digest: String,
    /// It is in force.
    pub in_force: bool,
}

/// `POST /authority/controller`: the keys that the server will have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControllerKeys {
    /// X25519.
    pub exchange: String,
    /// Ed25519.
    pub signing: String,
}

/// `POST /authority/doubtful`: what would count no more if only these were admins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoubtfulRequest {
    /// Their keys.
    pub admins: Vec<String>,
    /// How many of them would have to sign a release.
    pub threshold: u8,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoubtfulAnswer {
    /// Memberships: device key and group.
    pub memberships: Vec<(String, String)>,
    /// Names of groups that are open by such a voucher.
    pub groups: Vec<String>,
    /// Digests of current releases.
    pub releases: Vec<String>,
}

/// `POST /authority/memberships`: memberships signed anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewals {
    /// The certificates.
    pub certificates: Vec<String>,
}

/// `POST /releases/{release}/signatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoreSignatures {
    /// The release's root, with further signatures.
    pub document: String,
}
