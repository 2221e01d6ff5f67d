//! Looking after what is installed, while there is nothing else to do.
//!
//! Chunks are read and hashed again, one after the other, slowly. One that is not what it
//! was is asked for like what was lost on the way: the release stays in use meanwhile, and
//! what is whole of it readable.

use fleetcast_core::store::{Scrub, ScrubStep, StoreError};
use fleetcast_core::time::{Duration, Instant};

use super::{Appliance, Event};
use crate::partition::Disk;

/// From a start, or from the last of a release, to the first chunk.
const FIRST: Duration = Duration::from_secs(5);
/// From one chunk to the next. One takes some seven milliseconds of a processor of 50 MHz.
const NEXT: Duration = Duration::from_millis(250);
/// From one look at everything to the next.
const AGAIN: Duration = Duration::from_secs(3_600);

/// How far the look at everything is.
pub(super) struct Scrubbing {
    scrub: Scrub,
    at: Instant,
}

impl Scrubbing {
    /// Begins soon.
    pub(super) const fn new() -> Self {
        Self { scrub: Scrub::new(), at: Instant::ZERO }
    }
}

impl<D: Disk> Appliance<'_, D> {
    /// When the next chunk is due; never while a release is on its way.
    pub(super) fn scrub_timeout(&self) -> Option<Instant> {
        self.delivery.is_none().then_some(self.scrubbing.at)
    }

    /// Puts the next chunk off: there is something better to do.
    pub(super) fn put_scrub_off(&mut self, now: Instant) {
        self.scrubbing.at = now + FIRST;
    }

    /// Looks at one chunk, if that is due.
    #[inline(never)]
    pub(super) fn scrub(&mut self, now: Instant) {
        if self.scrub_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.scrubbing.at == Instant::ZERO {
            return self.put_scrub_off(now);
        }
        self.scrubbing.at = now + NEXT;
        match self.store.scrub(&mut self.scrubbing.scrub) {
            Ok(ScrubStep::Sound) => {}
            Ok(ScrubStep::Damaged { release, .. }) => {
                self.tell(Event::Damaged(release));
                // PROTOCOL M7
                // Only what is in use is had again: nobody sends its predecessor any more.
                if self.active().any(|active| active == release) {
                    self.mend(now, release);
                }
            }
            Err(StoreError::Busy) => {
                // What is free is found out first, in pieces, like any work of the store,
                // which remembers what goes wrong.
                let _ = self.store.step();
            }
            // What cannot be read or noted now is looked at again in the next round.
            Ok(ScrubStep::Done) | Err(_) => {
                self.scrubbing.scrub = Scrub::new();
                self.scrubbing.at = now + AGAIN;
            }
        }
    }
}
