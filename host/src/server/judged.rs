//! What memberships are worth under the newest authority document, as far as it was asked.

use std::collections::BTreeMap;

use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::trust::membership::VerifiedMembership;

/// What was found under the authority document in force.
#[derive(Default)]
pub(super) struct Judged {
    /// Certificates, and what they prove, if anything.
    pub(super) known: BTreeMap<(ReceiverId, GroupId), (Vec<u8>, Option<VerifiedMembership>)>,
    /// The document is new: those who take part in sessions have not been judged.
    pub(super) is_new: bool,
}

impl Judged {
    /// Nothing, under a document that has just come into force.
    pub(super) fn anew() -> Self {
        Self { is_new: true, ..Self::default() }
    }
}
