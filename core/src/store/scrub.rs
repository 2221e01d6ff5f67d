//! Looking after what is kept: each chunk is hashed again, one per call.
//!
//! What is damaged is lacking from then on. To have it again the release is expected
//! once more: it stays active meanwhile, and what is whole of it readable.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, State};
use super::error::{Result, StoreError};
use super::superblock::Slot;
use super::target::Task;
use crate::ids::Ordinal;
use crate::wire::control::{Object, ReleaseName};

/// How far a scrub has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scrub {
    slot: usize,
    line: u32,
}

/// What one call found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubStep {
    /// Nothing amiss so far.
    Sound,
    /// A chunk of a kept release is not what it was.
    Damaged {
        /// The release.
        release: ReleaseName,
        /// Which list of ordinals.
        object: Object,
        /// Which of them.
        ordinal: Ordinal,
    },
    /// Everything has been looked at.
    Done,
}

impl Scrub {
    /// From the beginning.
    #[must_use]
    pub const fn new() -> Self {
        Self { slot: 0, line: 0 }
    }
}

impl<D: Read + Write + Seek> Store<'_, D> {
    /// Hashes the next chunk of what is kept, and notes that it is lacking when it is
    /// not what it was.
    ///
    /// # Errors
    /// [`StoreError::Busy`] until it is known what is free; when a map cannot be read,
    /// or the damage not be noted.
    pub fn scrub(&mut self, scrub: &mut Scrub) -> Result<ScrubStep> {
        if matches!(self.task, Task::Scan { .. }) {
            return Err(StoreError::Busy);
        }
        let found = self.inspect(scrub)?;
        if let ScrubStep::Damaged { release, object, ordinal } = found {
            let book = self.book_of(&release)?;
            let number = book.line(object, ordinal).ok_or(StoreError::Unknown)?;
            let line = self.card.line(&book, number)?;
            if line.state != State::Lacking {
                match self.target.as_mut().filter(|target| target.book.tag == book.tag) {
                    Some(target) => target.change(&mut self.card, number, &line.lacking())?,
                    None => self.card.set(&book, number, &line.lacking())?,
                }
                self.card.commit()?;
            }
        }
        Ok(found)
    }

    /// The same without noting anything: the card may be read only.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn inspect(&mut self, scrub: &mut Scrub) -> Result<ScrubStep> {
        let Some(slot) = self.card.superblock.slots.get(scrub.slot).copied() else {
            return Ok(ScrubStep::Done);
        };
        let kept = slot.filter(Slot::is_kept);
        let Some(slot) = kept.filter(|slot| scrub.line < Book::of(slot).lines()) else {
            (scrub.slot, scrub.line) = (scrub.slot + 1, 0);
            return Ok(ScrubStep::Sound);
        };
        let (book, number) = (Book::of(&slot), scrub.line);
        scrub.line += 1;
        let line = self.card.line(&book, number)?;
        self.chunk_of = None;
        let sound = line.state == State::Held
            && line.len > 0
            && matches!(self.card.load(&line, self.chunk), Ok(Some(_)));
        if sound {
            return Ok(ScrubStep::Sound);
        }
        let (object, ordinal) = book.ordinal(number);
        Ok(ScrubStep::Damaged { release: slot.name, object, ordinal })
    }
}
