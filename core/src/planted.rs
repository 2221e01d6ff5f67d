//! Bugs for the test of the tests: the simulator must find each of them. They
//! exist in builds with the feature `planted` only, and one at a time.

use core::sync::atomic::{AtomicU8, Ordering};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// Session: a parity symbol is taken for its neighbour.
    Parity = 1,
    /// Channel: the newest packet is accepted again, as new.
    Replay = 2,
    /// Staging: data is named as durable, and was never synced.
    Sync = 3,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants a bug in place of the one before, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

/// Whether this bug is planted.
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as u8
}
