//! States as words in the database, so that a person can read it.

use fleetcast_core::wire::control::Standing;

use crate::model::{DeliveryPath, Hold, ReleaseState, Role};

const STANDINGS: [Standing; 3] = [Standing::Waiting, Standing::Member, Standing::Revoked];
const RELEASE_STATES: [ReleaseState; 4] = [
    ReleaseState::Current,
    ReleaseState::Superseded,
    ReleaseState::Cancelled,
    ReleaseState::Unsigned,
];
const ROLES: [Role; 3] = [Role::Admin, Role::Operator, Role::Member];
const DELIVERY_PATHS: [DeliveryPath; 3] =
    [DeliveryPath::Multicast, DeliveryPath::Unicast, DeliveryPath::Local];

pub(super) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::Member => "member",
        Standing::Revoked => "revoked",
    }
}

pub(super) const fn release_state(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Current => "current",
        ReleaseState::Superseded => "superseded",
        ReleaseState::Cancelled => "cancelled",
        ReleaseState::Unsigned => "unsigned",
    }
}

/// The state of a request, denied or not.
pub(super) const fn request_state(denied: bool) -> &'static str {
    if denied { "denied" } else { "asked" }
}

pub(super) fn parse_role(word: &str) -> Option<Role> {
    ROLES.into_iter().find(|other| other.word() == word)
}

pub(super) fn parse_request_state(word: &str) -> Option<bool> {
    [false, true].into_iter().find(|denied| request_state(*denied) == word)
}

pub(super) fn parse_standing(word: &str) -> Option<Standing> {
    STANDINGS.into_iter().find(|other| standing(*other) == word)
}

pub(super) fn parse_release_state(word: &str) -> Option<ReleaseState> {
    RELEASE_STATES.into_iter().find(|other| release_state(*other) == word)
}

pub(super) fn parse_delivery_path(word: &str) -> Option<DeliveryPath> {
    DELIVERY_PATHS.into_iter().find(|other| other.word() == word)
}

pub(super) fn parse_hold(word: &str) -> Option<Hold> {
    Hold::ALL.into_iter().find(|other| other.kept_word() == word)
}
