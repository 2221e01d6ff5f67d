//! From written to durable: what was written is synced while more arrives, and
//! only then named in the journal.
//!
//! ```text
//! pending ── sync begun ──► under way ── ended ──► noted ── next sync ended ──► settled
//!    ▲                          └── failed: pending and under way are lost
//!    └───────────── noted: its data is durable, only the note is to be repeated
//! ```

use super::bits::Bits;
use super::files::Files;
use super::journal::Journal;
use crate::disk::{self, Disk, DiskError};

/// New data after which a sync begins, if none is under way.
const BATCH: u64 = 1024 * 1024;
/// Data that a power cut may take at most: then the sync is waited for (safety S9).
const MOST_AT_STAKE: u64 = 4 * 1024 * 1024;
/// Syncs that may fail one after the other before the release does.
const MAX_FAILURES: u32 = 3;

/// What a sync that ended means for the chunks.
pub(super) enum Ended {
    /// These are named in the journal.
    Named(Vec<u32>),
    /// These count as never written.
    Lost(Vec<u32>),
}

/// Chunks on their way to being durable.
pub(super) struct Commits<D: Disk> {
    journal: Journal<D>,
    pending: Batch,
    under_way: Option<(D::Sync, Batch)>,
    noted: Batch,
    /// Where the journal ended when the last sync that has ended was begun, and
    /// when the one under way was.
    durable_end: u64,
    covered_end: u64,
    failures: u32,
}

#[derive(Default)]
struct Batch {
    ordinals: Vec<u32>,
    bytes: u64,
}

impl<D: Disk> Commits<D> {
    /// Nothing is pending; what `journal` names is durable.
    pub(super) fn new(journal: Journal<D>) -> Self {
        let durable_end = journal.end();
        Self {
            journal,
            pending: Batch::default(),
            under_way: None,
            noted: Batch::default(),
            durable_end,
            covered_end: durable_end,
            failures: 0,
        }
    }

    /// Notes that a chunk was written.
    pub(super) fn written(&mut self, ordinal: u32, bytes: u64) {
        self.pending.ordinals.push(ordinal);
        self.pending.bytes += bytes;
    }

    /// Whether nothing waits to be synced or named.
    pub(super) const fn is_done(&self) -> bool {
        self.pending.ordinals.is_empty() && self.under_way.is_none()
    }

    /// Begins a sync when enough is pending (or anything, with `now`) and none is
    /// under way; what lost its chance for good.
    pub(super) fn begin(
        &mut self,
        disk: &D,
        files: &mut Files<D>,
        now: bool,
    ) -> disk::Result<Option<Ended>> {
        let enough = self.pending.bytes >= BATCH || (now && !self.pending.ordinals.is_empty());
        if !enough || self.under_way.is_some() {
            return Ok(None);
        }
        self.covered_end = self.journal.end();
        match files.begin_sync(disk, self.journal.file()) {
            Ok(sync) => {
                self.under_way = Some((sync, std::mem::take(&mut self.pending)));
                Ok(None)
            }
            Err(error) => self.failed(error, Batch::default()).map(Some),
        }
    }

    /// Looks whether the sync under way has ended; waits for it when `wait`
    /// says so, or too much is at stake.
    pub(super) fn end(&mut self, disk: &D, held: &Bits, wait: bool) -> disk::Result<Option<Ended>> {
        let Some((mut sync, batch)) = self.under_way.take() else { return Ok(None) };
        let at_stake = self.pending.bytes + batch.bytes + self.noted.bytes;
        let ended = if wait || at_stake >= MOST_AT_STAKE {
            disk.wait_sync(sync)
        } else {
            match disk.poll_sync(&mut sync) {
                Some(ended) => ended,
                None => {
                    self.under_way = Some((sync, batch));
                    return Ok(None);
                }
            }
        };
        match ended {
            Ok(()) => self.synced(disk, held, batch).map(Some),
            Err(error) => self.failed(error, batch).map(Some),
        }
    }

    fn synced(&mut self, disk: &D, held: &Bits, mut batch: Batch) -> disk::Result<Ended> {
        self.durable_end = self.covered_end;
        self.noted = Batch::default();
        batch.ordinals.retain(|&ordinal| held.has(ordinal));
        let before = self.journal.end();
        if let Err(error) = self.journal.append(disk, &batch.ordinals) {
            // The data is durable; only the note of it is to be written again.
            self.journal.rewind(before);
            self.pending.ordinals.append(&mut batch.ordinals);
            self.count_failure(error)?;
            return Ok(Ended::Named(Vec::new()));
        }
        self.failures = 0;
        let named = batch.ordinals.clone();
        self.noted = batch;
        Ok(Ended::Named(named))
    }

    /// A sync that failed is never assumed to have worked later.
    fn failed(&mut self, error: DiskError, batch: Batch) -> disk::Result<Ended> {
        let mut lost = batch.ordinals;
        lost.append(&mut self.pending.ordinals);
        self.journal.rewind(self.durable_end);
        self.pending = std::mem::take(&mut self.noted);
        self.count_failure(error)?;
        Ok(Ended::Lost(lost))
    }

    fn count_failure(&mut self, error: DiskError) -> disk::Result<()> {
        self.failures += 1;
        if self.failures < MAX_FAILURES { Ok(()) } else { Err(error) }
    }
}
