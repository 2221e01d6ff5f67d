//! Moments that the server keeps in mind about its receivers and its network.

use std::collections::BTreeMap;

use fleetcast_core::ids::SessionId;

use crate::health::Condition;
use crate::model::UnixTime;

/// Since when a condition of the network, or of a session in it, has been there without a
/// break; and the second that was looked at last.
#[derive(Debug, Default)]
pub(super) struct NetworkSince(
    pub(super) BTreeMap<(Condition, Option<SessionId>), UnixTime>,
    pub(super) Option<UnixTime>,
);

/// When it was kept last that receivers are here, by the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Presence(pub(super) UnixTime);
