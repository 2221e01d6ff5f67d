//! A release that arrives: what is held of it, and the work that waits.
//!
//! ```text
//! Scan ─► Resolve ─► Check ─► Idle
//! ```
//!
//! A scan finds out what the card's releases use, and counts what the expected one
//! has. Resolving reads the index, chunk by chunk, as soon as each is here. Checking
//! hashes what claims to be here: chunks that came before they were known, and those
//! that an older release has.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, LINES, Line, State};
use super::error::{Result, StoreError};
use super::superblock::{LOG, Stage};
use super::target::{Step, Task};
use crate::ids::Ordinal;
use crate::limits::SECTOR;
use crate::session::intake::Taken;
use crate::tree::record::{LZ4, NONE};
use crate::tree::reference::ChunkRef;
use crate::wire::control::{MAX_WANT_RUNS, Object, WantRun};

impl<D: Read + Write + Seek> Store<'_, D> {
    /// Does a bounded piece of the work that waits: some ten sectors and a chunk.
    ///
    /// # Errors
    /// [`StoreError`]; the release cannot be received then, and [`Self::failure`]
    /// repeats it.
    pub fn step(&mut self) -> Result<Step> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let worked = match self.task {
            Task::Scan { slot, page } => self.scan(slot, page),
            Task::Resolve(progress) => self.resolve(progress),
            Task::Check { line } => self.check(line),
            Task::Idle => self.rest(),
        };
        worked.inspect_err(|&error| self.failure = Some(error))
    }

    /// Why the expected release cannot be received, if so.
    #[must_use]
    pub const fn failure(&self) -> Option<StoreError> {
        self.failure
    }

    /// Tells what is lacking of the expected release, one page of at most
    /// [`MAX_WANT_RUNS`] runs, from line `from` on; whether there may be more.
    ///
    /// Content is named only when all of the index is here.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while it is not known yet, or when the device fails.
    pub fn missing(&mut self, from: &mut u32, mut each: impl FnMut(WantRun)) -> Result<bool> {
        if matches!(self.task, Task::Scan { .. }) {
            return Err(StoreError::Busy);
        }
        let Some(target) = &self.target else {
            if self.expected.is_some() {
                each(WantRun { object: Object::Root, first: 0, count: 1 });
            }
            return Ok(false);
        };
        let book = target.book;
        let end = if self.is_resolved() { book.lines() } else { book.index };
        let (mut runs, mut run) = (0, None);
        while *from < end {
            let lacks = self.card.line(&book, *from)?.state == State::Lacking;
            run = match run.take() {
                // Runs are of one object.
                Some(run) if !lacks || *from == book.index => {
                    each(run);
                    runs += 1;
                    None
                }
                run => run,
            };
            if runs == MAX_WANT_RUNS {
                return Ok(true);
            }
            if lacks {
                let (object, Ordinal(first)) = book.ordinal(*from);
                let run = run.get_or_insert(WantRun { object, first, count: 0 });
                run.count += 1;
            }
            *from += 1;
        }
        run.into_iter().for_each(each);
        Ok(false)
    }

    /// Whether it is known which chunks the files of the target are made of.
    pub(super) fn is_resolved(&self) -> bool {
        let slots = &self.card.superblock.slots;
        let slot = self.target.as_ref().and_then(|target| slots.get(target.slot)?.as_ref());
        slot.is_some_and(|slot| slot.stage != Stage::Index)
    }

    /// Whether nothing is lacking.
    pub(super) fn is_whole(&self) -> bool {
        let whole = self.target.as_ref().is_some_and(|t| t.counts.held == t.book.lines());
        let waits = matches!(self.task, Task::Scan { .. } | Task::Resolve(_));
        whole && !waits && self.is_resolved() && self.failure.is_none()
    }

    /// Whether any of the chunks from a line on is lacking; `true` when that is unknown.
    pub(super) fn lacks(&mut self, object: Object, first: Ordinal, count: u16) -> bool {
        let busy = matches!(self.task, Task::Scan { .. });
        let Some(target) = self.target.as_ref().filter(|_| !busy) else { return true };
        let book = target.book;
        let ordinals = first.0..first.0.saturating_add(u32::from(count));
        let mut lines = ordinals.filter_map(|ordinal| book.line(object, Ordinal(ordinal)));
        lines.any(|line| {
            self.card.line(&book, line).map_or(true, |line| line.state == State::Lacking)
        })
    }

    /// Takes a chunk as it came.
    pub(super) fn take(
        &mut self,
        object: Object,
        ordinal: Ordinal,
        (codec, len): (u8, usize),
        encoded: &[u8],
    ) -> Result<Taken> {
        let busy = matches!(self.task, Task::Scan { .. });
        let Some(target) = self.target.as_mut().filter(|_| !busy) else {
            return Ok(Taken::Deferred);
        };
        let Some(number) = target.book.line(object, ordinal) else { return Ok(Taken::Unneeded) };
        let line = self.card.line(&target.book, number)?;
        if line.state != State::Lacking {
            return Ok(Taken::Unneeded);
        }
        let stored = u16::try_from(encoded.len()).ok().filter(|&stored| stored > 0);
        let Some(stored) = stored.filter(|_| (1..=self.chunk.len()).contains(&len)) else {
            return Ok(Taken::Poisoned);
        };
        if line.len > 0 {
            let reference = ChunkRef { id: line.id, len: line.len };
            self.chunk_of = if codec == LZ4 { None } else { self.chunk_of };
            if !is_chunk(&reference, (codec, len), encoded, self.chunk) {
                return Ok(Taken::Poisoned);
            }
        } else if codec != LZ4 && (codec != NONE || len != encoded.len()) {
            return Ok(Taken::Poisoned);
        }
        let place = self.card.append(encoded)?;
        // What cannot be checked yet only claims to be the chunk.
        let state = if line.len > 0 { State::Held } else { State::Claimed };
        let line = Line { place, stored, codec, state, ..line };
        target.change(&mut self.card, number, &line)?;
        self.card.commit_some(len)?;
        if let (Object::Index, Task::Resolve(progress)) = (object, &mut self.task) {
            progress.stalled = false;
        }
        Ok(Taken::Stored)
    }

    /// Notes what one page of a map uses.
    fn scan(&mut self, slot: usize, page: u32) -> Result<Step> {
        let Some(found) = self.card.superblock.slots.get(slot) else {
            self.task = self.after_scan();
            return Ok(Step::More);
        };
        let Some(found) = found else {
            self.task = Task::Scan { slot: slot + 1, page: 0 };
            return Ok(Step::More);
        };
        let book = Book::of(found);
        if page == 0 {
            self.card.space.mark(book.first(), book.sectors().unwrap_or(u32::MAX));
        }
        let mut target = self.target.as_mut().filter(|target| target.slot == slot);
        let first = page.saturating_mul(LINES);
        for number in first..first.saturating_add(LINES).min(book.lines()) {
            let line = self.card.line(&book, number)?;
            if line.state != State::Lacking && line.place >= LOG {
                self.card.space.mark(line.place, line.sectors());
            }
            if let Some(target) = &mut target {
                target.counts.add(&line);
            }
        }
        let done = page + 1 >= book.pages();
        self.task = if done {
            Task::Scan { slot: slot + 1, page: 0 }
        } else {
            Task::Scan { slot, page: page + 1 }
        };
        Ok(Step::More)
    }

    fn after_scan(&mut self) -> Task {
        let Some(target) = &self.target else { return Task::Idle };
        // Names that were lost with a page of the map are read again.
        if !self.is_resolved() || target.counts.known < target.book.lines() {
            return Task::Resolve(self.begin_resolving());
        }
        Task::Check { line: 0 }
    }

    /// Hashes the next chunk that claims to be here.
    fn check(&mut self, from: u32) -> Result<Step> {
        let Some(target) = &mut self.target else {
            self.task = Task::Idle;
            return Ok(Step::More);
        };
        let end = from.saturating_add(LINES).min(target.book.lines());
        for number in from..end {
            let line = self.card.line(&target.book, number)?;
            if line.state != State::Claimed || line.len == 0 {
                continue;
            }
            self.chunk_of = None;
            // What the device cannot read is not here.
            let right = matches!(self.card.load(&line, self.chunk), Ok(Some(_)));
            let state = State::Held;
            let line = if right { Line { state, ..line } } else { line.lacking() };
            target.change(&mut self.card, number, &line)?;
            self.card.commit_some(line.len as usize)?;
            self.task = Task::Check { line: number + 1 };
            return Ok(Step::More);
        }
        self.task = Task::Check { line: end };
        if end == target.book.lines() {
            self.card.commit()?;
            let (needed, free) = (target.counts.lacking * SECTOR as u64, self.card.space.free());
            if needed > free {
                return Err(StoreError::Full { needed, free });
            }
            self.task = Task::Idle;
        }
        Ok(Step::More)
    }

    fn rest(&mut self) -> Result<Step> {
        if !self.is_whole() {
            return Ok(Step::Waiting);
        }
        self.card.commit()?;
        Ok(Step::Complete)
    }
}

/// Whether a record is the chunk that a reference names.
fn is_chunk(
    reference: &ChunkRef,
    (codec, len): (u8, usize),
    encoded: &[u8],
    memory: &mut [u8],
) -> bool {
    if u32::try_from(len) != Ok(reference.len) {
        return false;
    }
    match codec {
        NONE => reference.verify(encoded).is_ok(),
        LZ4 => {
            // PROTOCOL R3: bounded by the length in the record, and our own memory.
            let Some(out) = memory.get_mut(..len) else { return false };
            let decoded = super::lz4::decode(&mut &encoded[..], encoded.len(), out);
            decoded.is_ok() && reference.verify(out).is_ok()
        }
        _ => false,
    }
}
