//! Reading the index: which chunks a release is made of.
//!
//! Lists are read chunk by chunk, from the one in the root down to the entry table;
//! each reference becomes a line of the map. Content is numbered by first occurrence,
//! each id once: the finder tells which have occurred. Doing all of it once more
//! changes nothing, so it needs no memory of its own across a restart.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, Line, State};
use super::card::Card;
use super::error::{Result, StoreError};
use super::superblock::Stage;
use super::target::{Progress, Reader, Step, Target, Task};
use crate::tree::entry::{BadTree, EntryReader, FeedError, TreeEvent};
use crate::tree::reference::{ChunkRef, ReferenceReader};
use crate::wire::Malformed;

/// Bytes of an index chunk that are read at a time.
const PIECE: usize = 256;

impl<'b, D: Read + Write + Seek> Store<'b, D> {
    /// Begins at the first level.
    pub(super) fn begin_resolving(&mut self) -> Progress {
        self.stop_resolving();
        let first = self.target.as_ref().map_or(0, |t| t.head.layout.ordinals(1).start);
        Progress { level: 0, chunk: 0, byte: 0, next: first, stalled: false }
    }

    /// Gets the room for names back.
    pub(super) fn stop_resolving(&mut self) {
        if let Reader::Table(reader) = core::mem::replace(&mut self.reader, Reader::None) {
            self.names = Some(reader.into_slots());
        }
    }

    /// Reads the next piece of the index.
    pub(super) fn resolve(&mut self, mut progress: Progress) -> Result<Step> {
        if progress.stalled {
            return Ok(Step::Waiting);
        }
        let Some(target) = &self.target else {
            self.task = Task::Idle;
            return Ok(Step::More);
        };
        let (book, layout) = (target.book, target.head.layout);
        if progress.level >= layout.levels() {
            return self.end_resolving();
        }
        let number = layout.ordinals(progress.level).start.saturating_add(progress.chunk);
        if progress.level == 0 && self.card.line(&book, number)?.len == 0 {
            return self.begin_anew();
        }
        let Some(len) = self.load_index(&book, number)? else {
            progress.stalled = true;
            self.task = Task::Resolve(progress);
            return Ok(Step::Waiting);
        };
        self.prepare_reader(progress.level);
        let start = progress.byte as usize;
        let end = len.min(start.saturating_add(PIECE));
        self.read_piece(start..end, &mut progress)?;
        progress.byte = end as u32;
        if end == len {
            progress.byte = 0;
            progress.chunk += 1;
        }
        if progress.chunk as usize == layout.ordinals(progress.level).len() {
            self.end_level(&mut progress)?;
        }
        self.task = Task::Resolve(progress);
        Ok(Step::More)
    }

    /// The chunks that the root names are not in the map any more: an unfinished release
    /// begins again with its root, a kept one is for its owner to discard.
    fn begin_anew(&mut self) -> Result<Step> {
        let slot = self.target.as_ref().map_or(usize::MAX, |target| target.slot);
        let place = self.card.superblock.slots.get_mut(slot);
        match place {
            Some(place) if place.as_ref().is_some_and(|slot| !slot.is_kept()) => *place = None,
            _ => return Err(StoreError::Damaged),
        }
        self.stop_resolving();
        self.target = None;
        self.card.write_superblock()?;
        self.card.space.clear();
        self.task = Task::SCAN;
        Ok(Step::More)
    }

    /// Has an index chunk in memory, verified; its length, or `None` when it is not here.
    fn load_index(&mut self, book: &Book, number: u32) -> Result<Option<usize>> {
        let line = self.card.line(book, number)?;
        if line.state == State::Lacking || line.len == 0 {
            return Ok(None);
        }
        if self.chunk_of == Some((book.tag, number)) {
            return Ok(Some(line.len as usize));
        }
        self.chunk_of = None;
        let right = matches!(self.card.load(&line, self.chunk), Ok(Some(_)));
        let Some(target) = &mut self.target else { return Ok(None) };
        if !right {
            target.change(&mut self.card, number, &line.lacking())?;
            return Ok(None);
        }
        if line.state == State::Claimed {
            target.change(&mut self.card, number, &Line { state: State::Held, ..line })?;
        }
        self.chunk_of = Some((book.tag, number));
        Ok(Some(line.len as usize))
    }

    fn prepare_reader(&mut self, level: usize) {
        if !matches!(self.reader, Reader::None) {
            return;
        }
        let Some(target) = &self.target else { return };
        if !target.head.layout.is_entry_table(level) {
            self.reader = Reader::List(ReferenceReader::new());
        } else if let Some(names) = self.names.take() {
            self.reader = Reader::Table(EntryReader::new(names, target.head.totals));
        }
    }

    /// Hands a piece of the chunk in memory to the reader.
    fn read_piece(
        &mut self,
        piece: core::ops::Range<usize>,
        progress: &mut Progress,
    ) -> Result<()> {
        let Self { card, chunk, reader, target: Some(target), .. } = self else { return Ok(()) };
        let mut piece = chunk.get(piece).unwrap_or(&[]);
        let most = chunk.len() as u32;
        match reader {
            Reader::None => Err(StoreError::Busy),
            Reader::List(list) => {
                let end = target.head.layout.ordinals(progress.level + 1).end;
                while let Some(reference) = list.next(&mut piece).map_err(malformed)? {
                    enter(card, target, &reference, &mut progress.next, (end, most))?;
                }
                Ok(())
            }
            Reader::Table(table) => {
                let (first, end) = (target.book.index, target.book.lines());
                let mut sink = |event: TreeEvent<'_>| {
                    let TreeEvent::Chunk(reference) = event else { return Ok(()) };
                    let seen = first..progress.next;
                    if card.find(&target.book, &reference.id, seen)?.is_some() {
                        return Ok(());
                    }
                    enter(card, target, &reference, &mut progress.next, (end, most))
                };
                table.feed(piece, &mut sink).map_err(|error| match error {
                    FeedError::Tree(fault) => StoreError::Tree(fault),
                    FeedError::Sink(error) => error,
                })
            }
        }
    }

    /// Checks that a level said what it had to say.
    fn end_level(&mut self, progress: &mut Progress) -> Result<()> {
        let Some(target) = &self.target else { return Ok(()) };
        let layout = target.head.layout;
        let (ended, expected) = match &self.reader {
            Reader::Table(table) => (table.check_end(), target.book.lines()),
            Reader::List(list) => {
                let whole = if list.is_between() { Ok(()) } else { Err(BadTree::Unfinished) };
                (whole, layout.ordinals(progress.level + 1).end)
            }
            Reader::None => (Ok(()), progress.next),
        };
        ended.map_err(StoreError::Tree)?;
        if progress.next != expected {
            // PROTOCOL R1: fewer chunks than the root states.
            return Err(StoreError::Tree(BadTree::Size));
        }
        self.stop_resolving();
        progress.level += 1;
        (progress.chunk, progress.byte) = (0, 0);
        // Behind the last level of the index comes the content.
        progress.next = layout.ordinals(progress.level + 1).start;
        Ok(())
    }

    /// All is known: what claims to be here is checked next.
    fn end_resolving(&mut self) -> Result<Step> {
        self.stop_resolving();
        self.card.commit()?;
        if let Some(target) = &self.target {
            let slot = self.card.superblock.slots.get_mut(target.slot).and_then(Option::as_mut);
            if let Some(slot) = slot.filter(|slot| slot.stage == Stage::Index) {
                slot.stage = Stage::Content;
                self.card.write_superblock()?;
            }
        }
        self.task = Task::Check { line: 0 };
        Ok(Step::More)
    }
}

/// Gives a reference the next line of the map, below `end`.
pub(super) fn enter<D: Read + Write + Seek>(
    card: &mut Card<'_, D>,
    target: &mut Target,
    reference: &ChunkRef,
    next: &mut u32,
    (end, most): (u32, u32),
) -> Result<()> {
    let (id, len) = (reference.id, reference.len);
    if len > most {
        return Err(StoreError::ChunkTooLong { found: len, most });
    }
    if *next >= end {
        // PROTOCOL R1: more chunks than the root states.
        return Err(StoreError::Tree(BadTree::Size));
    }
    let before = card.line(&target.book, *next)?;
    let mut line = match (before.len, before.id) {
        // What came before its name was known stays, and is checked.
        (0, _) => Line { id, len, ..before },
        (known, same) if (known, same) == (len, id) => before,
        _ => Line { id, len, ..Line::EMPTY },
    };
    if line.state == State::Lacking
        && let Some(older) = in_older_releases(card, target.slot, reference)?
    {
        line = Line { state: State::Claimed, ..older };
    }
    target.change(card, *next, &line)?;
    card.note(&target.book, &id, *next)?;
    *next += 1;
    Ok(())
}

/// Where another whole release has a chunk.
fn in_older_releases<D: Read + Write + Seek>(
    card: &mut Card<'_, D>,
    own: usize,
    reference: &ChunkRef,
) -> Result<Option<Line>> {
    for slot in 0..card.superblock.slots.len() {
        let Some(Some(other)) = card.superblock.slots.get(slot).copied() else { continue };
        if slot == own || !other.is_kept() {
            continue;
        }
        let book = Book::of(&other);
        if let Some((_, line)) = card.find(&book, &reference.id, 0..book.lines())?
            && line.state == State::Held
            && line.len == reference.len
        {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

fn malformed(fault: Malformed) -> StoreError {
    StoreError::Tree(BadTree::Malformed(fault))
}
