//! What a session of the tests carries: a pure function that both sides know.

use std::vec;
use std::vec::Vec;

use crate::ids::{BlockIndex, Ordinal, SegmentIndex};
use crate::session::intake::{Intake, Taken};
use crate::session::layout::BlockLayout;
use crate::session::source::{BlockSource, SegmentSpan, SourceFailed};
use crate::tree::record::encode_header;
use crate::wire::Malformed;
use crate::wire::control::Object;
use crate::wire::segment::{Run, SegmentWriter};

pub(super) const SYMBOL: usize = 1_434;
pub(super) const SOURCES: usize = 192;
const CHUNK: usize = 16_384;
const PER_BLOCK: usize = 16;

/// The bytes of chunk `ordinal`: a pure function, known to both sides.
fn chunk(ordinal: u32, total: usize) -> Vec<u8> {
    let len = CHUNK.min(total - ordinal as usize * CHUNK);
    let mut state = u64::from(ordinal) + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

/// Block 0 is a root of 64 bytes, the rest are chunks, sixteen a block.
pub(super) struct Plan {
    pub(super) total: usize,
    pub(super) chunks: u32,
    /// A chunk that the sender's storage has spoiled.
    pub(super) rotten: Option<u32>,
}

impl Plan {
    pub(super) fn new(total: usize) -> Self {
        Self { total, chunks: total.div_ceil(CHUNK) as u32, rotten: None }
    }

    fn chunks_of(&self, block: BlockIndex) -> core::ops::Range<u32> {
        let first = (block.0 - 1) * PER_BLOCK as u32;
        first..(first + PER_BLOCK as u32).min(self.chunks)
    }

    pub(super) fn bytes(&self, block: BlockIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |text: &[u8]| {
            bytes.extend(encode_header(0, text.len(), text.len()).unwrap());
            bytes.extend_from_slice(text);
        };
        if block.0 == 0 {
            put(&[0x52; 64]);
        } else {
            for ordinal in self.chunks_of(block) {
                let mut text = chunk(ordinal, self.total);
                text[0] ^= u8::from(self.rotten == Some(ordinal));
                put(&text);
            }
        }
        bytes
    }
}

impl BlockSource for Plan {
    fn segments(&self) -> u32 {
        self.blocks().div_ceil(8)
    }

    fn blocks(&self) -> u32 {
        1 + self.chunks.div_ceil(PER_BLOCK as u32)
    }

    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan> {
        let first = segment.0 * 8;
        let count = self.blocks().checked_sub(first).filter(|&left| left > 0)?.min(8) as u8;
        Some(SegmentSpan { first: BlockIndex(first), count })
    }

    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex> {
        (block.0 < self.blocks()).then_some(SegmentIndex(block.0 / 8))
    }

    fn layout(&self, block: BlockIndex) -> Option<BlockLayout> {
        if block.0 >= self.blocks() {
            return None;
        }
        let object = if block.0 == 0 { Object::Root } else { Object::Content };
        BlockLayout::checked(object, self.bytes(block).len(), SYMBOL, SOURCES)
    }

    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed> {
        let range = if block.0 == 0 { 0..1 } else { self.chunks_of(block) };
        out.runs(&[Run { first: Ordinal(range.start), count: range.len() as u16 }])
    }

    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed> {
        out.copy_from_slice(&self.bytes(block));
        Ok(())
    }
}

/// A receiver's storage: it knows what each record must be.
pub(super) struct Store {
    pub(super) total: usize,
    pub(super) have: Vec<bool>,
    pub(super) root: bool,
    /// Whether what comes was said to be the sender's, and which chunks were so.
    proved: bool,
    pub(super) proved_of: Vec<Option<bool>>,
}

impl Store {
    pub(super) fn of(plan: &Plan) -> Self {
        let (have, proved_of) =
            (vec![false; plan.chunks as usize], vec![None; plan.chunks as usize]);
        Self { total: plan.total, have, root: false, proved: false, proved_of }
    }
}

impl Intake for Store {
    fn wants(&mut self, object: Object, first: Ordinal, count: u16) -> bool {
        match object {
            Object::Root => !self.root,
            _ => (first.0..first.0 + u32::from(count)).any(|i| !self.have[i as usize]),
        }
    }

    fn attest(&mut self, proved: bool) {
        self.proved = proved;
    }

    fn record(&mut self, object: Object, at: Ordinal, codec: u8, len: usize, text: &[u8]) -> Taken {
        assert_eq!((codec, len), (0, text.len()));
        if object == Object::Root {
            self.root = true;
            return Taken::Stored;
        }
        if text != chunk(at.0, self.total) {
            return Taken::Poisoned;
        }
        self.have[at.0 as usize] = true;
        self.proved_of[at.0 as usize] = Some(self.proved);
        Taken::Stored
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    fn is_complete(&self) -> bool {
        self.root && self.have.iter().all(|&have| have)
    }
}
