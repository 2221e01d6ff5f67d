//! Chunks that follow one another in a file, written in pieces that begin and end where
//! pages do: the page cache takes those at a third of the price of single chunks, which
//! end within a page, and the file system keeps them in fewer parts.
//!
//! What waits here counts as written and not synced. If it can never be written, the next
//! sync must fail, so that it is not named in the journal: [`Run::take_lost`].

use crate::disk::{self, DiskError};

/// Bytes after which a run is written, and of which an even piece is a multiple. Longer
/// pieces make the page cache take larger pages, which costs a virtual machine more than
/// it saves: they come from memory that its host must find first.
const PIECE: usize = 64 * 1024;

/// Bytes on their way to one file.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The file's entry number.
    number: u32,
    /// Where the first byte goes.
    offset: u64,
    bytes: Vec<u8>,
    /// Why bytes that were taken will never be written.
    lost: Option<DiskError>,
}

impl Run {
    /// Whether bytes wait for this file.
    pub(super) const fn is_of(&self, number: u32) -> bool {
        !self.bytes.is_empty() && self.number == number
    }

    /// Whether these bytes would follow the last ones, or be the first.
    pub(super) const fn goes_on(&self, number: u32, offset: u64) -> bool {
        let end = self.offset + self.bytes.len() as u64;
        self.bytes.is_empty() || (self.number == number && end == offset)
    }

    /// Takes bytes that go on.
    pub(super) fn add(&mut self, number: u32, offset: u64, bytes: &[u8]) {
        if self.bytes.is_empty() {
            (self.number, self.offset) = (number, offset);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a piece should be written.
    pub(super) const fn is_long(&self) -> bool {
        self.bytes.len() >= PIECE
    }

    /// Where the first byte goes.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes wait.
    pub(super) const fn all(&self) -> usize {
        self.bytes.len()
    }

    /// How many of them end where a page does.
    pub(super) fn even(&self) -> usize {
        let end = self.offset + self.bytes.len() as u64;
        let even = (end - end % PIECE as u64).saturating_sub(self.offset);
        // Not more than there are.
        even as usize
    }

    /// The first bytes that wait.
    pub(super) fn front(&self, len: usize) -> &[u8] {
        &self.bytes[..len]
    }

    /// The first bytes were written, or all that wait are lost.
    pub(super) fn written(&mut self, len: usize, result: disk::Result<()>) -> disk::Result<()> {
        match result {
            Ok(()) => {
                self.bytes.drain(..len);
                self.offset += len as u64;
            }
            Err(error) => self.lose(error),
        }
        result
    }

    /// What waits will not be written.
    pub(super) fn lose(&mut self, error: DiskError) {
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.lost = Some(error);
        }
    }

    /// Why bytes were lost since this was asked last, if any were.
    pub(super) const fn take_lost(&mut self) -> Option<DiskError> {
        self.lost.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_pages_and_the_rest_waits() {
        let mut run = Run::default();
        assert!(run.goes_on(3, 1_000));
        run.add(3, 1_000, &[7; 50_000]);
        assert!(!run.is_long() && run.is_of(3) && !run.is_of(2));
        assert!(run.goes_on(3, 51_000));
        assert!(!run.goes_on(3, 51_001) && !run.goes_on(4, 51_000));
        run.add(3, 51_000, &[8; 20_000]);
        assert!(run.is_long());
        // 71,000 is 65,536 and 5,464.
        assert_eq!((run.offset(), run.even(), run.all()), (1_000, 64_536, 70_000));
        run.written(64_536, Ok(())).unwrap();
        assert_eq!((run.offset(), run.front(run.all())), (65_536, &[8; 5_464][..]));
        assert_eq!(run.take_lost(), None);
    }

    #[test]
    fn what_cannot_be_written_is_lost_once() {
        let mut run = Run::default();
        run.add(1, 0, b"abc");
        assert_eq!(run.written(3, Err(DiskError::NoSpace)), Err(DiskError::NoSpace));
        assert_eq!((run.all(), run.take_lost()), (0, Some(DiskError::NoSpace)));
        run.lose(DiskError::NotFound);
        assert_eq!(run.take_lost(), None);
    }
}
