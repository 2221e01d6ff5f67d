//! People's questions under way, and what is remembered of the answers.

use std::collections::{BTreeMap, VecDeque};

use fleetcast_core::ids::GroupId;
use fleetcast_core::time::Instant;

use super::person::GroupSeen;

/// Somebody who waits for an answer.
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) what: What,
}

/// For what somebody waits.
#[derive(PartialEq, Eq)]
pub(super) enum What {
    /// The list of groups.
    List,
    /// What becomes of the request about a group.
    Group(String),
    /// What becomes of a password.
    Account,
}

/// Questions under way, and what is remembered of answers.
#[derive(Default)]
pub(super) struct Asking {
    /// The list that comes in, and when its last page came.
    pub(super) list: Option<(Vec<GroupSeen>, Instant)>,
    /// Who waits for what, the first first.
    pub(super) asked: VecDeque<Asked>,
    /// Names of groups, as far as the server has told them.
    pub(super) names: BTreeMap<GroupId, String>,
    /// Denials that the server has told, by group.
    pub(super) denied: BTreeMap<String, String>,
}
