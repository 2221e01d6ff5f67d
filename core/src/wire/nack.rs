//! The NACK: symbols that a receiver lacks, per block (PROTOCOL §5).

use core::ops::DerefMut;

use super::Malformed;
use crate::ids::{BlockIndex, Epoch, SessionId};
use crate::limits::{MAX_MESSAGE, MAX_NACKS, MAX_SOURCES};

/// Kind byte of the message.
pub const KIND: u8 = 3;
/// Where the number of blocks stands.
const COUNT: usize = 7;
const HEAD: usize = 8;
const ENTRY: usize = 7;

/// What one receiver lacks of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The block.
    pub block: BlockIndex,
    /// Symbols missing.
    pub missing: u8,
    /// Parity symbols that have passed, received or lost.
    pub passed: u8,
    /// Indices of missing sources; empty unless parity is spent.
    pub sources: &'a [u8],
}

/// A checked view over a NACK message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    bytes: &'a [u8],
}

impl<'a> Nack<'a> {
    /// Checks a message whose first byte is [`KIND`].
    ///
    /// # Errors
    /// [`Malformed`] when counts and lengths do not agree.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEAD || bytes.len() > MAX_MESSAGE || bytes[0] != KIND {
            return Err(Malformed::Length { expected: HEAD, found: bytes.len() });
        }
        let count = usize::from(bytes[COUNT]);
        if count == 0 || count > MAX_NACKS {
            return Err(Malformed::Bound);
        }
        let mut rest = &bytes[HEAD..];
        for _ in 0..count {
            (_, rest) = split(rest)?;
        }
        // PROTOCOL D2
        if rest.is_empty() { Ok(Self { bytes }) } else { Err(Malformed::Trailing) }
    }

    /// The session it speaks of.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(u32::from_le_bytes([self.bytes[1], self.bytes[2], self.bytes[3], self.bytes[4]]))
    }

    /// The epoch that its sender has the key of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(u16::from_le_bytes([self.bytes[5], self.bytes[6]]))
    }

    /// The blocks.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = &self.bytes[HEAD..];
        core::iter::from_fn(move || {
            let (entry, after) = split(rest).ok()?;
            rest = after;
            Some(entry)
        })
    }
}

fn split(bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), Malformed> {
    let short = Malformed::Length { expected: ENTRY, found: bytes.len() };
    let (head, rest) = bytes.split_at_checked(ENTRY).ok_or(short)?;
    let (sources, rest) = rest.split_at_checked(usize::from(head[6])).ok_or(short)?;
    if sources.iter().any(|&index| usize::from(index) >= MAX_SOURCES) {
        return Err(Malformed::Bound);
    }
    let block = BlockIndex(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    Ok((Entry { block, missing: head[4], passed: head[5], sources }, rest))
}

/// A NACK being written, in memory of its owner.
pub struct NackWriter<B> {
    memory: B,
    used: usize,
}

impl<B: DerefMut<Target = [u8]>> NackWriter<B> {
    /// An empty report, in `memory` of up to MAX_MESSAGE bytes.
    #[must_use]
    pub fn new(memory: B, session: SessionId, epoch: Epoch) -> Self {
        let mut writer = Self { memory, used: 0 };
        writer.begin(session, epoch);
        writer
    }

    /// Its memory again.
    #[must_use]
    pub fn into_memory(self) -> B {
        self.memory
    }

    /// Begins anew; what was in the report is gone.
    pub fn begin(&mut self, session: SessionId, epoch: Epoch) {
        self.used = 0;
        let (session, epoch) = (session.0.to_le_bytes(), epoch.0.to_le_bytes());
        self.put(&[&[KIND], &session[..], &epoch, &[0]]);
    }

    /// Adds a block; `false` when the report is full and the block is not in it.
    pub fn push(&mut self, entry: Entry<'_>) -> bool {
        if entry.sources.len() > MAX_SOURCES || usize::from(self.count()) >= MAX_NACKS {
            return false;
        }
        let head = [entry.missing, entry.passed, entry.sources.len() as u8];
        let added =
            self.used > 0 && self.put(&[&entry.block.0.to_le_bytes(), &head, entry.sources]);
        if added {
            self.memory[COUNT] += 1;
        }
        added
    }

    /// The message, or `None` when no block is in it.
    #[must_use]
    pub fn message(&self) -> Option<&[u8]> {
        self.memory.get(..self.used).filter(|_| self.count() > 0)
    }

    fn count(&self) -> u8 {
        self.memory.get(..self.used).and_then(|written| written.get(COUNT)).copied().unwrap_or(0)
    }

    /// Appends all parts, or none where they do not fit.
    fn put(&mut self, parts: &[&[u8]]) -> bool {
        let end = self.used + parts.iter().map(|part| part.len()).sum::<usize>();
        let room = self.memory.len().min(MAX_MESSAGE);
        if end > room {
            return false;
        }
        for part in parts {
            self.memory[self.used..self.used + part.len()].copy_from_slice(part);
            self.used += part.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nack_has_the_bytes_of_the_diagram_and_nothing_else_is_read() {
        let mut memory = [0xFF; 24];
        let mut writer = NackWriter::new(&mut memory[..], SessionId(0x0403_0201), Epoch(5));
        assert_eq!(writer.message(), None);
        let plain = Entry { block: BlockIndex(6), missing: 2, passed: 1, sources: &[] };
        let spent = Entry { block: BlockIndex(7), missing: 2, passed: 64, sources: &[0, 191] };
        assert!(writer.push(plain) && writer.push(spent));
        assert!(!writer.push(plain), "no room for a byte more");
        let bytes = writer.message().unwrap();
        let expected = [3, 1, 2, 3, 4, 5, 0, 2, 6, 0, 0, 0, 2, 1, 0, 7, 0, 0, 0, 2, 64, 2, 0, 191];
        assert_eq!(bytes, expected);
        let nack = Nack::parse(bytes).unwrap();
        assert_eq!((nack.session(), nack.epoch()), (SessionId(0x0403_0201), Epoch(5)));
        assert!(nack.entries().eq([plain, spent]));
        for cut in 0..bytes.len() {
            assert!(Nack::parse(&bytes[..cut]).is_err());
        }
        let mut bad = expected;
        bad[23] = 192;
        assert_eq!(Nack::parse(&bad), Err(Malformed::Bound));
    }
    #[test]
    fn a_report_holds_48_blocks_and_no_memory_is_too_short_to_begin_one() {
        let entry = |block| Entry { block: BlockIndex(block), missing: 1, passed: 0, sources: &[] };
        let mut memory = [0; 2_000];
        let mut writer = NackWriter::new(&mut memory[..], SessionId(1), Epoch(1));
        assert!((0..48).all(|block| writer.push(entry(block))));
        assert!(!writer.push(entry(48)));
        assert_eq!(Nack::parse(writer.message().unwrap()).unwrap().entries().count(), 48);
        writer.begin(SessionId(1), Epoch(2));
        assert_eq!(writer.message(), None);
        for len in 0..15 {
            let mut writer = NackWriter::new(&mut memory[..len], SessionId(1), Epoch(1));
            assert!(!writer.push(entry(0)), "{len}");
            assert_eq!(writer.message(), None);
        }
    }
}
