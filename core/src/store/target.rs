//! What is known of the release that arrives, and which work waits.

use embedded_io::{Read, Seek, Write};

use super::book::{Book, Head, Line, State};
use super::card::Card;
use super::error::Result;
use crate::limits::SECTOR;
use crate::tree::entry::EntryReader;
use crate::tree::reference::ReferenceReader;

/// What a [`super::Store::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do at once.
    More,
    /// Nothing to do before more records come.
    Waiting,
    /// The expected release is whole, verified and durable.
    Complete,
}

/// Work that waits.
pub(super) enum Task {
    /// Finding out what is used: the next release and page.
    Scan { slot: usize, page: u32 },
    /// Reading the index.
    Resolve(Progress),
    /// Hashing what claims to be here: the next line.
    Check { line: u32 },
    /// None.
    Idle,
}

impl Task {
    pub(super) const SCAN: Self = Self::Scan { slot: 0, page: 0 };
}

/// The release that arrives.
pub(super) struct Target {
    /// Its place in the superblock.
    pub(super) slot: usize,
    pub(super) book: Book,
    pub(super) head: Head,
    pub(super) counts: Counts,
}

/// What is here of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Chunks that are here, verified.
    pub(super) held: u32,
    /// Bytes of these.
    pub(super) held_bytes: u64,
    /// Chunks whose names are known.
    pub(super) known: u32,
    /// Bytes of these.
    pub(super) known_bytes: u64,
    /// Sectors that those take which are known and lacking, at most.
    pub(super) lacking: u64,
}

impl Counts {
    pub(super) fn add(&mut self, line: &Line) {
        let part = Self::of(line);
        self.held += part.held;
        self.held_bytes += part.held_bytes;
        self.known += part.known;
        self.known_bytes += part.known_bytes;
        self.lacking += part.lacking;
    }

    fn remove(&mut self, line: &Line) {
        let part = Self::of(line);
        self.held = self.held.saturating_sub(part.held);
        self.held_bytes = self.held_bytes.saturating_sub(part.held_bytes);
        self.known = self.known.saturating_sub(part.known);
        self.known_bytes = self.known_bytes.saturating_sub(part.known_bytes);
        self.lacking = self.lacking.saturating_sub(part.lacking);
    }

    fn of(line: &Line) -> Self {
        let (known, held) = (line.len > 0, line.state == State::Held);
        let lacking = line.state == State::Lacking;
        let bytes = u64::from(line.len);
        Self {
            held: held.into(),
            held_bytes: if held { bytes } else { 0 },
            known: known.into(),
            known_bytes: bytes,
            lacking: if lacking { bytes.div_ceil(SECTOR as u64) } else { 0 },
        }
    }
}

impl Target {
    /// Changes a line, and what is counted of it.
    pub(super) fn change<D: Read + Write + Seek>(
        &mut self,
        card: &mut Card<'_, D>,
        line: u32,
        what: &Line,
    ) -> Result<()> {
        let before = card.line(&self.book, line)?;
        card.set(&self.book, line, what)?;
        self.counts.remove(&before);
        self.counts.add(what);
        Ok(())
    }

    /// Bytes that are held, and all bytes as far as these are known.
    pub(super) fn progress(&self, resolved: bool) -> (u64, u64) {
        let stated = self.head.index_bytes.saturating_add(self.head.totals.content_bytes);
        (self.counts.held_bytes, if resolved { self.counts.known_bytes } else { stated })
    }
}

/// How far the index has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) level: usize,
    /// The next chunk of the level, and the next byte of it.
    pub(super) chunk: u32,
    pub(super) byte: u32,
    /// The line that the next new reference gets.
    pub(super) next: u32,
    /// The next chunk is not here.
    pub(super) stalled: bool,
}

/// What reads the present level.
// Without a heap there is no other place for the large one.
#[allow(clippy::large_enum_variant)]
pub(super) enum Reader<'b> {
    None,
    List(ReferenceReader),
    Table(EntryReader<'b>),
}
