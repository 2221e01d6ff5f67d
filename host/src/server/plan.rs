//! The plan of one session: which chunk records stand in which block, and
//! which blocks in which segment. It is the session machine's block source.

use std::sync::Arc;

use fleetcast_core::constrained;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{BlockIndex, Ordinal, SegmentIndex};
use fleetcast_core::limits::{
    CONSTRAINED_SYMBOL, MAX_BLOCK_RUNS, MAX_SEGMENT_BLOCKS, MAX_SLOTS, MAX_SOURCES, RECORD_HEADER,
    STORE_CHUNK, SYMBOL_HEADER,
};
use fleetcast_core::session::layout::BlockLayout;
use fleetcast_core::session::sender::Flow;
use fleetcast_core::session::source::{BlockSource, SegmentSpan, SourceFailed};
use fleetcast_core::tree::record::{NONE, Records, ZSTD, encode_header};
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{CODEC_LZ4, CODEC_ZSTD, Object};
use fleetcast_core::wire::segment::{Run, SegmentWriter};

use crate::codec::Decoder;
use crate::packs::{ChunkStore, StoreError};

/// Bytes of a segment header besides its blocks: head and signature.
const HEADER_FRAME: usize = 17 + 64;
/// Bytes that describe a block besides its runs and slots.
const BLOCK_FRAME: usize = 4;
/// Bytes of a run.
const RUN: usize = 6;

/// One record of a plan.
#[derive(Clone, Debug)]
struct Item {
    bytes: ItemBytes,
    /// Length of the record.
    len: u32,
    /// Its ordinal in each release slot of the session.
    ordinals: [u32; MAX_SLOTS],
}

#[derive(Clone, Debug)]
enum ItemBytes {
    /// A record of the chunk store.
    Chunk(Digest),
    /// The same, sent without compression: its readers do not decode what is stored.
    Plain(Digest),
    /// A record of this session only: a patch.
    Patch(Arc<[u8]>),
    /// A root document, as a record without compression.
    Root(Arc<[u8]>),
}

#[derive(Clone, Copy, Debug)]
struct Block {
    object: Object,
    bytes: u32,
    first: u32,
    count: u16,
    runs: u16,
}

/// A chunk to be sent, and its ordinal in each release slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedChunk {
    /// The chunk.
    pub(super) id: Digest,
    /// Its ordinals, one per slot.
    pub(super) ordinals: [u32; MAX_SLOTS],
}

/// What a session's receivers can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of a full symbol.
    pub(super) symbol: usize,
    /// Most source symbols of a block.
    pub(super) sources: usize,
    /// Most blocks of a segment.
    pub(super) segment: usize,
    /// Bits of the codecs that they decode.
    pub(super) codecs: u8,
    /// How datagrams may follow each other.
    pub(super) flow: Flow,
}

impl Shape {
    /// Receivers of the standard profile.
    pub(super) const fn standard(symbol: usize) -> Self {
        let codecs = CODEC_LZ4 | CODEC_ZSTD;
        let (sources, segment) = (MAX_SOURCES, MAX_SEGMENT_BLOCKS);
        Self { symbol, sources, segment, codecs, flow: Flow::HOSTS }
    }

    /// Boards within these bounds.
    pub(super) fn constrained(bounds: Bounds) -> Self {
        let flow = Flow {
            interleave: bounds.interleave,
            behind: bounds.behind.into(),
            unreported: bounds.behind.into(),
            burst: constrained::BURST,
        };
        // Datagrams as short as every path carries, where blocks of them hold the longest record.
        let least = (STORE_CHUNK + RECORD_HEADER).div_ceil(usize::from(bounds.sources).max(1));
        let symbol = CONSTRAINED_SYMBOL.max(least);
        Self {
            symbol: usize::from(bounds.symbol).min(symbol),
            sources: bounds.sources.into(),
            segment: bounds.segment.into(),
            codecs: CODEC_LZ4,
            flow,
        }
    }
}

/// Of boards that do not tell what they have room for: the first firmware's.
pub(super) const UNTOLD: Bounds = Bounds { segment: 2, interleave: 2, ..constrained::BOUNDS };

/// A session's blocks and segments over the chunk store.
pub(super) struct SessionPlan {
    chunks: Arc<dyn ChunkStore>,
    slots: usize,
    shape: Shape,
    items: Vec<Item>,
    blocks: Vec<Block>,
    segments: Vec<SegmentSpan>,
}

impl SessionPlan {
    /// An empty plan.
    #[must_use]
    pub(super) fn new(chunks: Arc<dyn ChunkStore>, shape: Shape, slots: usize) -> Self {
        let (items, blocks, segments) = (Vec::new(), Vec::new(), Vec::new());
        Self { chunks, slots, shape, items, blocks, segments }
    }

    /// Adds the root document of a session with one slot.
    pub(super) fn push_root(&mut self, document: &[u8]) {
        let len = (RECORD_HEADER + document.len()) as u32;
        let bytes = ItemBytes::Root(document.into());
        self.push(Object::Root, Item { bytes, len, ordinals: [0; MAX_SLOTS] });
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not have it.
    pub(super) fn push_chunk(
        &mut self,
        object: Object,
        chunk: &PlannedChunk,
    ) -> Result<(), StoreError> {
        let len = self.chunks.record_len(&chunk.id)?.ok_or(StoreError::Missing(chunk.id))?;
        let (bytes, len) = match self.plain_len(&chunk.id, len)? {
            Some(plain) => (ItemBytes::Plain(chunk.id), plain),
            None => (ItemBytes::Chunk(chunk.id), len),
        };
        self.push(object, Item { bytes, len: len as u32, ordinals: chunk.ordinals });
        Ok(())
    }

    /// Adds a chunk whose record is a patch.
    pub(super) fn push_patch(
        &mut self,
        object: Object,
        record: Arc<[u8]>,
        ordinals: [u32; MAX_SLOTS],
    ) {
        let len = record.len() as u32;
        self.push(object, Item { bytes: ItemBytes::Patch(record), len, ordinals });
    }

    /// Length of a chunk's record without compression, where its stored one is of a codec
    /// that the session's receivers have not.
    fn plain_len(&self, id: &Digest, len: usize) -> Result<Option<usize>, StoreError> {
        if self.shape.codecs & CODEC_ZSTD != 0 {
            return Ok(None);
        }
        let mut record = vec![0; len];
        self.chunks.read(id, &mut record)?;
        let first = Records::new(&record).next().and_then(Result::ok);
        let foreign = first.filter(|record| record.codec == ZSTD);
        Ok(foreign.map(|record| RECORD_HEADER + record.len))
    }

    /// Cuts the blocks into segments whose headers fit one datagram each.
    #[must_use]
    pub(super) fn finish(mut self) -> Self {
        let room = self.header_room();
        let mut used = 0;
        for (at, block) in self.blocks.iter().enumerate() {
            let needed = BLOCK_FRAME + self.slots + usize::from(block.runs) * RUN;
            match self.segments.last_mut() {
                Some(span)
                    if used + needed <= room && usize::from(span.count) < self.shape.segment =>
                {
                    span.count += 1;
                    used += needed;
                }
                _ => {
                    self.segments.push(SegmentSpan { first: BlockIndex(at as u32), count: 1 });
                    used = needed;
                }
            }
        }
        self
    }

    /// Bytes of all blocks.
    #[must_use]
    pub(super) fn payload(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.bytes)).sum()
    }

    /// Whether it has nothing to send.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Number of blocks.
    #[must_use]
    pub(super) const fn block_count(&self) -> usize {
        self.blocks.len()
    }

    fn push(&mut self, object: Object, item: Item) {
        let capacity = (self.shape.symbol * self.shape.sources) as u32;
        let broken = self.breaks_runs(object, &item);
        let most_runs = self.most_runs();
        let grow = self.blocks.last_mut().filter(|block| {
            block.object == object
                && block.bytes + item.len <= capacity
                && usize::from(block.runs + broken) <= most_runs
        });
        match grow {
            Some(block) => {
                block.bytes += item.len;
                block.count += 1;
                block.runs += broken;
            }
            None => self.blocks.push(Block {
                object,
                bytes: item.len,
                first: self.items.len() as u32,
                count: 1,
                runs: self.slots as u16,
            }),
        }
        self.items.push(item);
    }

    /// Bytes that the blocks of a segment take of its header at most: a header is no longer
    /// than a symbol.
    const fn header_room(&self) -> usize {
        (self.shape.symbol + SYMBOL_HEADER).saturating_sub(HEADER_FRAME)
    }

    /// Runs that a block may have so that its segment has a header, be it of this block alone.
    fn most_runs(&self) -> usize {
        let room = self.header_room().saturating_sub(BLOCK_FRAME + self.slots);
        MAX_BLOCK_RUNS.min(room / RUN)
    }

    /// How many slots' runs the next item of this object cannot be added to.
    fn breaks_runs(&self, object: Object, item: &Item) -> u16 {
        let last = self.blocks.last().filter(|block| block.object == object);
        let Some(last) = last.and_then(|_| self.items.last()) else { return self.slots as u16 };
        let pairs = last.ordinals.iter().zip(&item.ordinals).take(self.slots);
        pairs.filter(|(before, after)| before.checked_add(1) != Some(**after)).count() as u16
    }

    fn items_of(&self, block: BlockIndex) -> Option<(&Block, &[Item])> {
        let block = self.blocks.get(block.0 as usize)?;
        let first = block.first as usize;
        Some((block, &self.items[first..first + usize::from(block.count)]))
    }
}

impl SessionPlan {
    /// Whether the chunks of a block are in storage as their ids name them.
    pub(super) fn is_intact(&self, block: BlockIndex) -> bool {
        let mut decoder = Decoder::default();
        let (mut record, mut chunk) = (Vec::new(), Vec::new());
        let mut matches = |item: &Item| {
            // The rest is in memory, and was right when the plan was made.
            let (ItemBytes::Chunk(id) | ItemBytes::Plain(id)) = &item.bytes else { return true };
            let len = self.chunks.record_len(id).ok().flatten().unwrap_or(0);
            record.resize(len, 0);
            self.chunks.read(id, &mut record).is_ok_and(|len| len == record.len())
                && decoder.decode_record(&record, &mut chunk).is_ok()
                && Digest::of(&chunk) == *id
        };
        self.items_of(block).is_some_and(|(_, items)| items.iter().all(&mut matches))
    }
}

impl SessionPlan {
    /// Writes a chunk's record without compression.
    fn read_plain(&self, id: &Digest, out: &mut [u8]) -> Result<(), SourceFailed> {
        let len = self.chunks.record_len(id).ok().flatten().ok_or(SourceFailed)?;
        let (mut record, mut chunk) = (vec![0; len], Vec::new());
        self.chunks.read(id, &mut record).map_err(|_| SourceFailed)?;
        Decoder::default().decode_record(&record, &mut chunk).map_err(|_| SourceFailed)?;
        let header = encode_header(NONE, chunk.len(), chunk.len()).map_err(|_| SourceFailed)?;
        let (head, body) = out.split_at_mut_checked(RECORD_HEADER).ok_or(SourceFailed)?;
        if body.len() != chunk.len() {
            return Err(SourceFailed);
        }
        head.copy_from_slice(&header);
        body.copy_from_slice(&chunk);
        Ok(())
    }
}

impl BlockSource for SessionPlan {
    fn segments(&self) -> u32 {
        self.segments.len() as u32
    }

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan> {
        self.segments.get(segment.0 as usize).copied()
    }

    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex> {
        if block.0 >= self.blocks() {
            return None;
        }
        let after = self.segments.partition_point(|span| span.first <= block);
        Some(SegmentIndex(after as u32 - 1))
    }

    fn layout(&self, block: BlockIndex) -> Option<BlockLayout> {
        let planned = self.blocks.get(block.0 as usize)?;
        let Shape { symbol, sources, .. } = self.shape;
        BlockLayout::checked(planned.object, planned.bytes as usize, symbol, sources)
    }

    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed> {
        let (_, items) = self.items_of(block).ok_or(Malformed::Bound)?;
        for slot in 0..self.slots {
            let mut runs: Vec<Run> = Vec::new();
            for item in items {
                let ordinal = item.ordinals[slot];
                match runs.last_mut() {
                    Some(run) if run.first.0.checked_add(run.count.into()) == Some(ordinal) => {
                        run.count += 1;
                    }
                    _ => runs.push(Run { first: Ordinal(ordinal), count: 1 }),
                }
            }
            out.runs(&runs)?;
        }
        Ok(())
    }

    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed> {
        let (_, items) = self.items_of(block).ok_or(SourceFailed)?;
        let mut rest = out;
        for item in items {
            let (record, after) =
                rest.split_at_mut_checked(item.len as usize).ok_or(SourceFailed)?;
            match &item.bytes {
                ItemBytes::Chunk(id) => {
                    let read = self.chunks.read(id, record).map_err(|_| SourceFailed)?;
                    if read != record.len() {
                        return Err(SourceFailed);
                    }
                }
                ItemBytes::Plain(id) => self.read_plain(id, record)?,
                ItemBytes::Patch(bytes) => record.copy_from_slice(bytes),
                ItemBytes::Root(document) => {
                    let len = document.len();
                    let header = encode_header(NONE, len, len).map_err(|_| SourceFailed)?;
                    record[..RECORD_HEADER].copy_from_slice(&header);
                    record[RECORD_HEADER..].copy_from_slice(document);
                }
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::MemoryChunks;

    /// Bytes of the header of each segment of a plan with this many records of ten bytes,
    /// none of which follows another one in its release.
    fn headers(shape: Shape, records: u32) -> Vec<usize> {
        let mut plan = SessionPlan::new(Arc::new(MemoryChunks::default()), shape, 1);
        for at in 0..records {
            let ordinals = [2 * at, 0, 0, 0];
            plan.push_patch(Object::Content, Arc::from([0; 17]), ordinals);
        }
        let plan = plan.finish();
        let of_block = |block: u32| {
            let (_, items) = plan.items_of(BlockIndex(block)).unwrap();
            // Kind of object and length, a count, and six bytes for each run.
            4 + 1 + 6 * items.len()
        };
        let of_segment = |span: &SegmentSpan| {
            let blocks = span.first.0..span.first.0 + u32::from(span.count);
            17 + blocks.map(of_block).sum::<usize>() + 64
        };
        assert_eq!(plan.items.len(), records as usize);
        plan.segments.iter().map(of_segment).collect()
    }

    #[test]
    fn a_block_has_no_more_runs_than_a_header_has_room_for() {
        // A board's datagram has 510 bytes of a symbol, or 516 of a header: by hand,
        // 17 + 4 + 1 + 6 · 71 + 64 are 512, and 29 more runs take a segment of their own.
        assert_eq!(headers(Shape::constrained(UNTOLD), 100), [512, 17 + 5 + 6 * 29 + 64]);
        // The narrowest that a board may tell: 32 bytes for one block.
        let narrow = Bounds { symbol: 107, sources: 192, ..UNTOLD };
        assert!(headers(Shape::constrained(narrow), 9).iter().all(|&bytes| bytes <= 113));
        // Hosts' headers have room for all the runs that a block may have.
        assert_eq!(headers(Shape::standard(1_434), 160), [17 + 5 + 6 * 160 + 64]);
    }

    #[test]
    fn symbols_are_as_short_as_every_path_carries_where_a_chunk_fits_the_block() {
        let symbol = |symbol, sources| {
            let shape = Shape::constrained(Bounds { symbol, sources, ..UNTOLD });
            (shape.symbol, shape.symbol * shape.sources >= 4_096 + 7)
        };
        assert_eq!(symbol(510, 10), (510, true));
        assert_eq!(symbol(1_434, 10), (510, true));
        // By hand: 4,103 / 3 is 1,367 and two thirds.
        assert_eq!(symbol(1_434, 3), (1_368, true));
        assert_eq!(symbol(107, 39), (107, true));
    }
}
