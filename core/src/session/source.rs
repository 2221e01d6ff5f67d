//! Where a sender session takes its blocks from: the storage behind the
//! machine, handed to each call as its last argument.

use super::layout::BlockLayout;
use crate::ids::{BlockIndex, SegmentIndex};
use crate::wire::Malformed;
use crate::wire::segment::SegmentWriter;

/// The blocks of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSpan {
    /// Its first block.
    pub first: BlockIndex,
    /// How many blocks it has, at least one.
    pub count: u8,
}

/// The storage could not give a block; the session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFailed;

/// The plan of a session and the bytes behind it.
///
/// What it answers never changes during a session (PROTOCOL S2).
pub trait BlockSource {
    /// Number of segments, at least one.
    fn segments(&self) -> u32;

    /// Number of blocks of all segments.
    fn blocks(&self) -> u32;

    /// The blocks of a segment; `None` beyond the last.
    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan>;

    /// The segment that a block belongs to; `None` beyond the last.
    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex>;

    /// Kind and length of a block; `None` beyond the last.
    fn layout(&self, block: BlockIndex) -> Option<BlockLayout>;

    /// Writes the run lists of a block, one per release slot.
    ///
    /// # Errors
    /// Those of the writer.
    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed>;

    /// Fills `out`, which has the block's length, with the block's records.
    ///
    /// # Errors
    /// [`SourceFailed`] when a chunk cannot be read.
    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed>;
}
