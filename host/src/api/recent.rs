//! Chunks that an upload was told not to send: they must be there when its release comes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleetcast_core::digest::Digest;

/// How long an upload may take between asking for a chunk and its release.
const INGEST: Duration = Duration::from_secs(3_600);

/// Ids that an unfinished upload counts on.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Digest, Instant>>);

impl Recent {
    /// Notes ids that an upload counts on.
    pub(super) fn note(&self, ids: impl IntoIterator<Item = Digest>) {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, since| now.duration_since(*since) < INGEST);
        known.extend(ids.into_iter().map(|id| (id, now)));
    }

    /// Forgets ids that a release counts on now.
    pub(super) fn settle(&self, ids: impl IntoIterator<Item = Digest>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            known.remove(&id);
        }
    }

    /// All that were noted within the hour.
    pub(super) fn ids(&self) -> HashSet<Digest> {
        self.note([]);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys().copied().collect()
    }
}
