//! The client's functions about the authority document, and signatures on releases.

use super::{Client, Outcome, segment};
use crate::api::model::authority::{
    AuthorityState, ControllerKeys, DoubtfulAnswer, DoubtfulRequest, MoreSignatures, NewProposal,
    ProposalAnswer, Renewals,
};
use crate::status::{Item, ReleaseItem};

impl Client {
    // Each of these fails as the server says, or with `server-not-running` and `server-lost`.

    /// The chain of authority documents, what is proposed, and who trusts it.
    pub fn authority(&self) -> Outcome<AuthorityState> {
        self.get("/authority")
    }

    /// Proposes a change of the authority document, or adds signatures to one.
    pub fn propose(&self, proposal: &NewProposal) -> Outcome<ProposalAnswer> {
        self.post("/authority/proposals", proposal)
    }

    /// Takes a proposal back.
    pub fn drop_proposal(&self, digest: &str) -> Outcome<()> {
        self.delete(&format!("/authority/proposals/{}", segment(digest)))
    }

    /// The keys that the server will have once a document names them.
    pub fn next_controller(&self) -> Outcome<ControllerKeys> {
        self.post("/authority/controller", &())
    }

    /// What would count no more under other admins.
    pub fn doubtful(&self, request: &DoubtfulRequest) -> Outcome<DoubtfulAnswer> {
        self.post("/authority/doubtful", request)
    }

    /// Hands in memberships that were signed anew.
    pub fn renew(&self, certificates: Vec<String>) -> Outcome<()> {
        self.post("/authority/memberships", &Renewals { certificates })
    }

    /// Hands in further signatures on a release.
    pub fn sign_release(&self, release: &str, document: String) -> Outcome<ReleaseItem> {
        let path = format!("/releases/{}/signatures", segment(release));
        let more = MoreSignatures { document };
        self.post::<Item<ReleaseItem>>(&path, &more).map(|document| document.item)
    }
}
