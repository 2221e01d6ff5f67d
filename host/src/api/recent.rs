//! Chunks that an upload was told not to send: they must be there when its release comes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleetcast_core::digest::Digest;

/// How long an upload may take between asking for a chunk and its release.
const INGEST: Duration = Duration::from_secs(3_600);

/// Ids below which nobody looks for old ones.
const FEW: usize = 65_536;

/// Ids that an unfinished upload counts on.
#[derive(Default)]
pub(super) struct Recent(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    since: HashMap<Digest, Instant>,
    /// When there are so many, the old ones are looked for: not with every question.
    sweep_at: usize,
}

impl Noted {
    fn sweep(&mut self, now: Instant) {
        self.since.retain(|_, since| now.duration_since(*since) < INGEST);
        self.sweep_at = FEW.max(2 * self.since.len());
    }
}

impl Recent {
    /// Notes ids that an upload counts on.
    pub(super) fn note(&self, ids: impl IntoIterator<Item = Digest>) {
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.since.extend(ids.into_iter().map(|id| (id, now)));
        if noted.since.len() >= noted.sweep_at.max(FEW) {
            noted.sweep(now);
        }
    }

    /// Forgets ids that a release counts on now.
    pub(super) fn settle(&self, ids: impl IntoIterator<Item = Digest>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            noted.since.remove(&id);
        }
    }

    /// All that were noted within the hour.
    pub(super) fn ids(&self) -> HashSet<Digest> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.sweep(Instant::now());
        noted.since.keys().copied().collect()
    }
}
