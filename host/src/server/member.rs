//! What a session knows of a receiver that takes part.

use fleetcast_core::ids::Epoch;
use fleetcast_core::session::sender::Flow;
use fleetcast_core::session::tally::Tally;
use fleetcast_core::time::Instant;

use super::hearing::Hearing;
use super::lanes::Pace;

/// A receiver in a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its release slot.
    pub(super) slot: u8,
    /// It hears the session.
    pub(super) joined: bool,
    /// It has said that the session can give it nothing more.
    pub(super) finished: bool,
    /// The epoch whose key it has confirmed.
    pub(super) epoch: Epoch,
    /// What its reports have told of what it has taken, and since when.
    pub(super) taken: (Tally, Instant),
    /// How well it follows.
    pub(super) pace: Pace,
    /// Whether the session still reaches it.
    pub(super) hearing: Hearing,
    /// Data waits for it in the beginning.
    pub(super) awaited: bool,
}

impl Member {
    /// A member of a session of that kind, which has said nothing yet.
    pub(super) fn new(
        slot: u8,
        epoch: Epoch,
        taken: Tally,
        awaited: bool,
        flow: &Flow,
        now: Instant,
    ) -> Self {
        Self {
            slot,
            joined: false,
            finished: false,
            epoch,
            taken: (taken, now),
            pace: Pace::new(now, flow),
            hearing: Hearing::new(now),
            awaited,
        }
    }

    /// Whether data reaches it that it still lacks.
    pub(super) const fn receives(&self) -> bool {
        self.joined && !self.finished
    }
}
