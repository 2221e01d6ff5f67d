//! Segment headers (PROTOCOL §5): which blocks a segment has, how long they
//! are, and which chunks of which release stand in them.

use super::control::Object;
use super::{Malformed, SIGNATURE, before_signature, byte_at, last_64, short, u32_at};
use crate::ids::{BlockIndex, Ordinal, SegmentIndex};
use crate::limits::{MAX_BLOCK, MAX_BLOCK_RUNS, MAX_SEGMENT_BLOCKS, MAX_SLOTS};

/// Kind byte of a segment header.
pub const KIND: u8 = 1;

/// Consecutive ordinals in a release's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub first: Ordinal,
    /// How many.
    pub count: u16,
}

/// Bytes in front of the blocks.
pub(super) const SEGMENT_HEAD: usize = 17;

/// A view over a segment header whose structure has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentView<'a> {
    bytes: &'a [u8],
}

/// What a segment header says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockView<'a> {
    /// What it holds.
    pub object: Object,
    /// Its length in bytes.
    pub bytes: usize,
    /// Run lists of all slots, each with its count byte in front.
    runs: &'a [u8],
}

impl<'a> SegmentView<'a> {
    /// Checks the structure of a header, signature bytes included.
    ///
    /// # Errors
    /// [`Malformed`] when a count or length is out of bounds or bytes are left.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < SEGMENT_HEAD + SIGNATURE {
            return Err(short(bytes, SEGMENT_HEAD + SIGNATURE));
        }
        let view = Self { bytes };
        let in_bounds = byte_at(bytes, 3) <= 1
            && (1..=MAX_SEGMENT_BLOCKS).contains(&view.block_count())
            && (1..=MAX_SLOTS).contains(&view.slots())
            && view.first_block().0.checked_add(MAX_SEGMENT_BLOCKS as u32).is_some();
        if byte_at(bytes, 0) != KIND || !in_bounds {
            return Err(Malformed::Bound);
        }
        let mut rest = view.descriptions();
        for _ in 0..view.block_count() {
            (_, rest) = split_block(rest, view.slots())?;
        }
        // PROTOCOL D2
        if rest.is_empty() { Ok(view) } else { Err(Malformed::Trailing) }
    }

    /// A view over bytes that `parse` has accepted before: nothing is checked again.
    #[must_use]
    pub(crate) const fn assume_checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The whole header with its signature.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether no segment follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        byte_at(self.bytes, 1) & 1 != 0
    }

    /// Parity symbols per block that come without being asked for.
    #[must_use]
    pub fn proactive(&self) -> u8 {
        byte_at(self.bytes, 1) >> 1
    }

    /// Number of blocks.
    #[must_use]
    pub fn block_count(&self) -> usize {
        usize::from(byte_at(self.bytes, 2))
    }

    /// Whether all its symbols have been sent before this header.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        byte_at(self.bytes, 3) != 0
    }

    /// Its number in the session.
    #[must_use]
    pub fn segment(&self) -> SegmentIndex {
        SegmentIndex(u32_at(self.bytes, 4))
    }

    /// Its first block.
    #[must_use]
    pub fn first_block(&self) -> BlockIndex {
        BlockIndex(u32_at(self.bytes, 8))
    }

    /// Its control sequence.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        u32_at(self.bytes, 12)
    }

    /// Number of release slots of the session.
    #[must_use]
    pub fn slots(&self) -> usize {
        usize::from(byte_at(self.bytes, 16))
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        before_signature(self.bytes)
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> [u8; SIGNATURE] {
        last_64(self.bytes)
    }

    /// What it says of its `n`th block.
    #[must_use]
    pub fn block(&self, n: usize) -> Option<BlockView<'a>> {
        let mut rest = self.descriptions();
        for i in 0..self.block_count() {
            let (block, next) = split_block(rest, self.slots()).ok()?;
            if i == n {
                return Some(block);
            }
            rest = next;
        }
        None
    }

    fn descriptions(&self) -> &'a [u8] {
        self.signed().get(SEGMENT_HEAD..).unwrap_or(&[])
    }
}

impl<'a> BlockView<'a> {
    /// The runs of one release slot, in the order of the block's records.
    pub fn runs(&self, slot: u8) -> impl Iterator<Item = Run> + Clone + use<'a> {
        let mut rest = self.runs;
        for _ in 0..slot {
            rest = split_runs(rest).map_or(&[][..], |(_, rest)| rest);
        }
        let list = split_runs(rest).map_or(&[][..], |(list, _)| list);
        list.as_chunks::<RUN>().0.iter().map(|&[a, b, c, d, few, many]| Run {
            first: Ordinal(u32::from_le_bytes([a, b, c, d])),
            count: u16::from_le_bytes([few, many]),
        })
    }
}

const RUN: usize = 6;

fn split_runs(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(count) * RUN)
}

fn split_block(bytes: &[u8], slots: usize) -> Result<(BlockView<'_>, &[u8]), Malformed> {
    let (&[object, a, b, c], rest) = bytes.split_first_chunk().ok_or(short(bytes, 4))?;
    let object = Object::from_byte(object)?;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    if !(1..=MAX_BLOCK).contains(&len) {
        return Err(Malformed::Bound);
    }
    let mut after = rest;
    let mut runs = 0;
    for _ in 0..slots {
        let (list, next) = split_runs(after).ok_or(short(after, 1))?;
        let empty_run = list.as_chunks::<RUN>().0.iter().any(|run| matches!(run, [.., 0, 0]));
        runs += list.len() / RUN;
        if empty_run || runs > MAX_BLOCK_RUNS {
            return Err(Malformed::Bound);
        }
        after = next;
    }
    let runs = rest.get(..rest.len() - after.len()).unwrap_or(&[]);
    Ok((BlockView { object, bytes: len, runs }, after))
}

/// What stands in front of a segment header's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Whether no segment follows.
    pub last: bool,
    /// Parity symbols per block that come without being asked for.
    pub proactive: u8,
    /// Number of blocks.
    pub blocks: u8,
    /// Whether all its symbols have been sent before this header.
    pub sent: bool,
    /// Its number.
    pub segment: SegmentIndex,
    /// Its first block.
    pub first: BlockIndex,
    /// Its control sequence.
    pub sequence: u32,
    /// Release slots of the session.
    pub slots: u8,
}

/// Writes a segment header piece by piece; the signature is appended by the caller.
pub struct SegmentWriter<'b> {
    out: &'b mut [u8],
    used: usize,
}

impl<'b> SegmentWriter<'b> {
    /// Begins a header.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when `out` is too short.
    pub fn new(out: &'b mut [u8], head: SegmentHead) -> Result<Self, Malformed> {
        let mut writer = Self { out, used: 0 };
        writer.put(&[KIND, u8::from(head.last) | head.proactive << 1])?;
        writer.put(&[head.blocks, u8::from(head.sent)])?;
        writer.put(&head.segment.0.to_le_bytes())?;
        writer.put(&head.first.0.to_le_bytes())?;
        writer.put(&head.sequence.to_le_bytes())?;
        writer.put(&[head.slots])?;
        Ok(writer)
    }

    /// Describes the next block; its run lists follow, one per slot.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when the buffer is full.
    pub fn block(&mut self, object: Object, bytes: usize) -> Result<(), Malformed> {
        let len = u32::try_from(bytes).map_err(|_| Malformed::Bound)?.to_le_bytes();
        self.put(&[object as u8, len[0], len[1], len[2]])
    }

    /// Writes the run list of the next slot.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when the buffer is full or there are more than 255 runs.
    pub fn runs(&mut self, runs: &[Run]) -> Result<(), Malformed> {
        self.put(&[u8::try_from(runs.len()).map_err(|_| Malformed::Bound)?])?;
        runs.iter().try_for_each(|run| {
            self.put(&run.first.0.to_le_bytes())?;
            self.put(&run.count.to_le_bytes())
        })
    }

    /// Bytes written so far: what the signature covers.
    #[must_use]
    pub fn finish(self) -> usize {
        self.used
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let end = self.used + bytes.len();
        self.out.get_mut(self.used..end).ok_or(Malformed::Bound)?.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(out: &mut [u8]) -> usize {
        let head = SegmentHead {
            last: true,
            proactive: 3,
            blocks: 2,
            sent: true,
            segment: SegmentIndex(7),
            first: BlockIndex(100),
            sequence: 9,
            slots: 2,
        };
        let mut writer = SegmentWriter::new(out, head).unwrap();
        writer.block(Object::Index, 5_000).unwrap();
        writer.runs(&[Run { first: Ordinal(1), count: 2 }]).unwrap();
        writer.runs(&[]).unwrap();
        writer.block(Object::Content, 70_000).unwrap();
        writer
            .runs(&[Run { first: Ordinal(3), count: 1 }, Run { first: Ordinal(9), count: 4 }])
            .unwrap();
        writer.runs(&[Run { first: Ordinal(8), count: 5 }]).unwrap();
        writer.finish() + SIGNATURE
    }

    #[test]
    fn a_segment_header_has_the_bytes_of_the_diagram() {
        let mut bytes = [0; 300];
        let len = sample(&mut bytes);
        let expected: &[u8] = &[
            1, 0b111, 2, 1, 7, 0, 0, 0, 100, 0, 0, 0, 9, 0, 0, 0, 2, // head
            1, 0x88, 0x13, 0, 1, 1, 0, 0, 0, 2, 0, 0, // 5,000 = 0x1388
            2, 0x70, 0x11, 1, 2, 3, 0, 0, 0, 1, 0, 9, 0, 0, 0, 4, 0, 1, 8, 0, 0, 0, 5, 0,
        ];
        assert_eq!(&bytes[..len - SIGNATURE], expected);
    }

    #[test]
    fn a_segment_header_is_read_back_per_block_and_slot() {
        let mut bytes = [0; 300];
        let len = sample(&mut bytes);
        let view = SegmentView::parse(&bytes[..len]).unwrap();
        assert!(view.is_last());
        assert_eq!(view.proactive(), 3);
        let block = view.block(1).unwrap();
        assert_eq!((block.object, block.bytes), (Object::Content, 70_000));
        let counts = |slot| block.runs(slot).map(|r| r.count).sum::<u16>();
        assert_eq!((counts(0), counts(1), counts(2)), (5, 5, 0));
        assert_eq!(view.block(2), None);
    }

    #[test]
    fn every_truncation_and_extension_of_a_segment_header_is_refused() {
        let mut bytes = [0; 300];
        let len = sample(&mut bytes);
        for cut in 0..len {
            assert!(SegmentView::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // PROTOCOL D2
        assert!(SegmentView::parse(&bytes[..len + 1]).is_err());
    }
}
