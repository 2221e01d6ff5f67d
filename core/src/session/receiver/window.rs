//! Segments whose headers are known, and what has become of their blocks.

use core::ops::DerefMut;

use crate::ids::{BlockIndex, SegmentIndex};
use crate::limits::{MAX_SEGMENT_BLOCKS, MAX_SYMBOL, SYMBOL_HEADER};
use crate::session::layout::BlockLayout;
use crate::time::Instant;
use crate::wire::segment::SegmentView;

/// Longest segment header.
const MAX_HEADER: usize = MAX_SYMBOL + SYMBOL_HEADER;

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Something in it is lacking.
    Wanted,
    /// Its records have been taken, or none of them is lacking.
    Done,
    /// Left to be asked for after the session.
    GivenUp,
}

/// One block of a known segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockState {
    /// How it is cut into symbols; `None` when the header's length cannot be.
    layout: Option<BlockLayout>,
    pub(super) fate: Fate,
    /// Parity promised, in symbols.
    pub(super) promised: u8,
    /// Parity that has passed, in symbols.
    pub(super) passed: u8,
    /// Counter of the echo whose repairs are awaited.
    pub(super) awaiting: Option<u64>,
    /// When to report it.
    pub(super) due: Option<Instant>,
    /// Reports sent.
    pub(super) asked: u8,
    /// Times an echo has put a report off since the last repair came.
    pub(super) delays: u8,
}

impl BlockState {
    const NEW: Self = Self {
        layout: None,
        fate: Fate::Wanted,
        promised: 0,
        passed: 0,
        awaiting: None,
        due: None,
        asked: 0,
        delays: 0,
    };
}

/// One segment: its header as it came, and its blocks.
#[derive(Clone, Debug)]
pub struct SegmentState {
    header: heapless::Vec<u8, MAX_HEADER>,
    /// All its symbols have been sent: what is lacking may be reported.
    closed: bool,
    blocks: [BlockState; MAX_SEGMENT_BLOCKS],
}

impl Default for SegmentState {
    fn default() -> Self {
        Self {
            header: heapless::Vec::new(),
            closed: false,
            blocks: [BlockState::NEW; MAX_SEGMENT_BLOCKS],
        }
    }
}

/// A block's place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    segment: usize,
    block: usize,
}

/// The latest segments of a session.
pub(super) struct Window<W> {
    segments: W,
    /// Below it every block's header is known or given up.
    known: BlockIndex,
    /// Where the last block was found: the next one is likely there.
    last: usize,
    symbol: usize,
    sources: usize,
}

impl<W: DerefMut<Target = [SegmentState]>> Window<W> {
    /// A window over `segments`, at least one, that begins at a block.
    pub(super) fn new(segments: W, first: BlockIndex, symbol: usize, sources: usize) -> Self {
        Self { segments, known: first, last: 0, symbol, sources }
    }

    /// Below it every block's header is known or given up.
    pub(super) const fn known(&self) -> BlockIndex {
        self.known
    }

    /// Gives up the headers of blocks before `block`.
    pub(super) fn skip_to(&mut self, block: BlockIndex) {
        self.known = self.known.max(block);
        self.advance();
    }

    /// Lowest block above the known ones that a header has been seen for.
    pub(super) fn after_gap(&self) -> Option<BlockIndex> {
        let firsts = self.views().map(|(_, view)| view.first_block());
        firsts.filter(|&first| first > self.known).min()
    }

    /// Whether the header of this segment is held, and if so whether it is closed.
    pub(super) fn holds(&self, segment: SegmentIndex) -> Option<bool> {
        let at = self.position(segment)?;
        Some(self.segments[at].closed)
    }

    /// Whether a header of this number is too old for the window.
    pub(super) fn is_past(&self, segment: SegmentIndex) -> bool {
        let place = segment.0 as usize % self.segments.len();
        view(&self.segments[place]).is_some_and(|view| view.segment() > segment)
    }

    /// Takes a verified header in, in place of the segment that had its place.
    ///
    /// `lost` is told the blocks of that one that were still wanted.
    pub(super) fn insert(&mut self, header: &SegmentView<'_>, mut lost: impl FnMut(BlockIndex)) {
        let at = header.segment().0 as usize % self.segments.len();
        if let Some(old) = view(&self.segments[at]) {
            let blocks = self.segments[at].blocks.iter().take(old.block_count());
            for (index, _) in
                (old.first_block().0..).zip(blocks).filter(|(_, b)| b.fate == Fate::Wanted)
            {
                lost(BlockIndex(index));
            }
        }
        let state = &mut self.segments[at];
        *state = SegmentState::default();
        // A header that was parsed fits.
        let _ = state.header.extend_from_slice(header.bytes());
        for (n, block) in state.blocks.iter_mut().enumerate() {
            block.promised = header.proactive();
            block.layout = header.block(n).and_then(|described| {
                let (symbol, sources) = (self.symbol, self.sources);
                BlockLayout::checked(described.object, described.bytes, symbol, sources)
            });
        }
        self.advance();
    }

    /// Marks a segment as sent; `false` when it was marked or is not held.
    pub(super) fn close(&mut self, segment: SegmentIndex) -> bool {
        let Some(at) = self.position(segment) else { return false };
        !core::mem::replace(&mut self.segments[at].closed, true)
    }

    /// Some segment below `segment` that is held and not closed.
    pub(super) fn open_before(&self, segment: SegmentIndex) -> Option<SegmentIndex> {
        let open = self.views().filter(|(state, view)| !state.closed && view.segment() < segment);
        open.map(|(_, view)| view.segment()).next()
    }

    /// A block's place, if its header is known.
    pub(super) fn place(&mut self, block: BlockIndex) -> Option<Place> {
        let len = self.segments.len();
        for i in 0..len {
            let segment = (self.last + i) % len;
            let Some(view) = view(&self.segments[segment]) else { continue };
            let ahead = block.0.wrapping_sub(view.first_block().0) as usize;
            if ahead < view.block_count() {
                self.last = segment;
                return Some(Place { segment, block: ahead });
            }
        }
        None
    }

    pub(super) fn state(&mut self, place: Place) -> &mut BlockState {
        &mut self.segments[place.segment].blocks[place.block]
    }

    pub(super) fn is_closed(&self, place: Place) -> bool {
        self.segments[place.segment].closed
    }

    /// The header of a block's segment.
    pub(super) fn header(&self, place: Place) -> Option<SegmentView<'_>> {
        view(&self.segments[place.segment])
    }

    pub(super) fn segment_of(&self, place: Place) -> Option<SegmentIndex> {
        self.header(place).map(|view| view.segment())
    }

    /// How a block is cut into symbols.
    pub(super) fn layout(&self, place: Place) -> Option<BlockLayout> {
        self.segments[place.segment].blocks[place.block].layout
    }

    /// Number of the block within its segment.
    pub(super) const fn number(place: Place) -> usize {
        place.block
    }

    /// The next wanted block of a closed segment, from a cursor on that begins at zero.
    pub(super) fn next_lacking(&self, cursor: &mut usize) -> Option<(BlockIndex, Place)> {
        while let Some(state) = self.segments.get(*cursor / MAX_SEGMENT_BLOCKS) {
            let place = Place {
                segment: *cursor / MAX_SEGMENT_BLOCKS,
                block: *cursor % MAX_SEGMENT_BLOCKS,
            };
            *cursor += 1;
            let Some(view) = view(state).filter(|_| state.closed) else { continue };
            let wanted = state.blocks[place.block].fate == Fate::Wanted;
            if wanted && place.block < view.block_count() {
                return Some((BlockIndex(view.first_block().0 + place.block as u32), place));
            }
        }
        None
    }

    /// Whether any block of any known segment is still wanted.
    pub(super) fn any_wanted(&self) -> bool {
        self.views().any(|(state, view)| {
            state.blocks.iter().take(view.block_count()).any(|block| block.fate == Fate::Wanted)
        })
    }

    fn views(&self) -> impl Iterator<Item = (&SegmentState, SegmentView<'_>)> {
        self.segments.iter().filter_map(|state| Some((state, view(state)?)))
    }

    fn position(&self, segment: SegmentIndex) -> Option<usize> {
        let at = segment.0 as usize % self.segments.len();
        view(&self.segments[at]).is_some_and(|view| view.segment() == segment).then_some(at)
    }

    fn advance(&mut self) {
        loop {
            let known = self.known;
            let next = self.views().find_map(|(_, view)| {
                let end = BlockIndex(view.first_block().0 + view.block_count() as u32);
                (view.first_block() <= known && end > known).then_some(end)
            });
            let Some(next) = next else { break };
            self.known = next;
        }
    }
}

/// The header of a segment that is held.
fn view(state: &SegmentState) -> Option<SegmentView<'_>> {
    (!state.header.is_empty()).then(|| SegmentView::assume_checked(&state.header))
}
