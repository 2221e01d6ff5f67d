//! When a board has to begin anew: after a write that failed its store writes nothing
//! more until it is opened again.

use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::FailCode;

use crate::appliance::Event;

/// How long a board goes on after its card has failed: what happened is to reach the
/// server first.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Watches what a receiver tells its driver.
#[derive(Debug, Default)]
pub struct Recovery {
    due: Option<Instant>,
}

impl Recovery {
    /// Nothing has failed.
    #[must_use]
    pub const fn new() -> Self {
        Self { due: None }
    }

    /// Looks at an event.
    pub fn note(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::Failed(FailCode::Storage) | Event::NotKept) {
            self.due.get_or_insert(now + PATIENCE);
        }
    }

    /// Whether to begin anew now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|at| at <= now)
    }
}
