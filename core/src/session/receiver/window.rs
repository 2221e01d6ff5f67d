//! Segments whose headers are known, and what has become of their blocks.

use core::ops::DerefMut;

use crate::ids::{BlockIndex, SegmentIndex};
use crate::limits::{MAX_DATAGRAM, MAX_SEGMENT_BLOCKS, SYMBOL_HEADER};
use crate::session::layout::BlockLayout;
use crate::time::Instant;
use crate::wire::control::Object;
use crate::wire::segment::SegmentView;

/// Bytes of the longest segment header of a session with symbols of `symbol`
/// bytes: its datagram is no larger than a symbol's.
#[must_use]
pub const fn longest_header(symbol: usize) -> usize {
    symbol + SYMBOL_HEADER
}

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
    /// What it holds, and its length in bytes; zero until a header told it.
    object: Object,
    bytes: u32,
    pub(super) fate: Fate,
    /// It held what is not the sender's: its symbols count by digests only.
    pub(super) suspect: bool,
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
        object: Object::Root,
        bytes: 0,
        fate: Fate::Wanted,
        suspect: false,
        promised: 0,
        passed: 0,
        awaiting: None,
        due: None,
        asked: 0,
        delays: 0,
    };
}

/// One segment: its blocks, and how much of the window's memory its header takes.
#[derive(Clone, Debug)]
pub struct SegmentState {
    /// Length of its header, zero when no segment has this place.
    header: u16,
    /// So many of its blocks, the first ones, have been sent: what is lacking of them may
    /// be reported.
    closed: u8,
    blocks: [BlockState; MAX_SEGMENT_BLOCKS],
}

impl SegmentState {
    /// A place that no segment has.
    pub const EMPTY: Self =
        Self { header: 0, closed: 0, blocks: [BlockState::NEW; MAX_SEGMENT_BLOCKS] };
}

impl Default for SegmentState {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A block's place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    segment: usize,
    block: usize,
}

/// The latest segments of a session.
pub(super) struct Window<W, B> {
    segments: W,
    /// The headers as they came, `room` bytes for each segment.
    headers: B,
    room: usize,
    /// Below it every block's header is known or given up.
    known: BlockIndex,
    /// Where the last block was found: the next one is likely there.
    last: usize,
    symbol: usize,
    sources: usize,
}

impl<W, B> Window<W, B>
where
    W: DerefMut<Target = [SegmentState]>,
    B: DerefMut<Target = [u8]>,
{
    /// Its memory again: places and headers of segments.
    pub(super) fn into_memory(self) -> (W, B) {
        (self.segments, self.headers)
    }

    /// A window over `segments`, at least one, and memory for their headers,
    /// that begins at a block.
    pub(super) fn new(
        segments: W,
        headers: B,
        first: BlockIndex,
        symbol: usize,
        sources: usize,
    ) -> Self {
        let room = headers.len() / segments.len().max(1);
        Self { segments, headers, room, known: first, last: 0, symbol, sources }
    }

    /// Whether there is memory for a header: else no sender of this session made it.
    pub(super) const fn fits(&self, header: &SegmentView<'_>) -> bool {
        header.bytes().len() <= self.room
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
        Some(self.is_whole(at))
    }

    /// Whether anything is lacking of a segment that is held.
    pub(super) fn lacks(&self, segment: SegmentIndex) -> bool {
        let Some(at) = self.position(segment) else { return false };
        let count = self.view(at).map_or(0, |view| view.block_count());
        self.segments[at].blocks.iter().take(count).any(|block| block.fate == Fate::Wanted)
    }

    /// Whether a header of this number is too old for the window.
    pub(super) fn is_past(&self, segment: SegmentIndex) -> bool {
        let place = segment.0 as usize % self.segments.len();
        self.view(place).is_some_and(|view| view.segment() > segment)
    }

    /// Takes a verified header in, in place of the segment that had its place.
    ///
    /// `lost` is told the blocks of that one that were still wanted. Nothing
    /// happens where there is no memory for it.
    pub(super) fn insert(&mut self, header: &SegmentView<'_>, mut lost: impl FnMut(BlockIndex)) {
        let at = header.segment().0 as usize % self.segments.len();
        if let Some(old) = self.view(at) {
            let blocks = self.segments[at].blocks.iter().take(old.block_count());
            for (index, _) in
                (old.first_block().0..).zip(blocks).filter(|(_, b)| b.fate == Fate::Wanted)
            {
                lost(BlockIndex(index));
            }
        }
        let text = header.bytes();
        let start = at * self.room;
        let memory = self.headers.get_mut(start..start + self.room);
        let Some(place) = memory.and_then(|memory| memory.get_mut(..text.len())) else { return };
        place.copy_from_slice(text);
        let state = &mut self.segments[at];
        *state = SegmentState { header: text.len() as u16, ..SegmentState::default() };
        for (n, block) in state.blocks.iter_mut().enumerate() {
            block.promised = header.proactive();
            if let Some(described) = header.block(n) {
                block.object = described.object;
                block.bytes = described.bytes as u32;
            }
        }
        self.advance();
    }

    /// Marks the first `count` blocks of a segment as sent, or all that it has; the number
    /// of those that were marked before, or `None` when that is no news.
    pub(super) fn close(&mut self, segment: SegmentIndex, count: usize) -> Option<usize> {
        let at = self.position(segment)?;
        let count = count.min(self.view(at)?.block_count()) as u8;
        let before = self.segments[at].closed;
        self.segments[at].closed = before.max(count);
        (count > before).then_some(before.into())
    }

    /// Some segment below `segment` that is held and not closed.
    pub(super) fn open_before(&self, segment: SegmentIndex) -> Option<SegmentIndex> {
        let is_open = |state: &SegmentState, view: &SegmentView<'_>| {
            usize::from(state.closed) < view.block_count() && view.segment() < segment
        };
        let open = self.views().filter(|(state, view)| is_open(state, view));
        open.map(|(_, view)| view.segment()).next()
    }

    /// A block's place, if its header is known.
    pub(super) fn place(&mut self, block: BlockIndex) -> Option<Place> {
        let len = self.segments.len();
        for i in 0..len {
            let segment = (self.last + i) % len;
            let Some(view) = self.view(segment) else { continue };
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
        place.block < usize::from(self.segments[place.segment].closed)
    }

    /// The header of a block's segment.
    pub(super) fn header(&self, place: Place) -> Option<SegmentView<'_>> {
        self.view(place.segment)
    }

    pub(super) fn segment_of(&self, place: Place) -> Option<SegmentIndex> {
        self.header(place).map(|view| view.segment())
    }

    /// How a block is cut into symbols; `None` when the header's length cannot be.
    pub(super) fn layout(&self, place: Place) -> Option<BlockLayout> {
        let block = &self.segments[place.segment].blocks[place.block];
        BlockLayout::checked(block.object, block.bytes as usize, self.symbol, self.sources)
    }

    /// Number of the block within its segment.
    pub(super) const fn number(place: Place) -> usize {
        place.block
    }

    /// The next wanted block that is closed, from a cursor on that begins at zero.
    pub(super) fn next_lacking(&self, cursor: &mut usize) -> Option<(BlockIndex, Place)> {
        loop {
            let next = self.next_wanted(cursor)?;
            if self.is_closed(next.1) {
                return Some(next);
            }
        }
    }

    /// The next wanted block, from a cursor on that begins at zero.
    pub(super) fn next_wanted(&self, cursor: &mut usize) -> Option<(BlockIndex, Place)> {
        while let Some(state) = self.segments.get(*cursor / MAX_SEGMENT_BLOCKS) {
            let place = Place {
                segment: *cursor / MAX_SEGMENT_BLOCKS,
                block: *cursor % MAX_SEGMENT_BLOCKS,
            };
            *cursor += 1;
            let Some(view) = self.view(place.segment) else { continue };
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
        let segments = self.segments.iter().enumerate();
        segments.filter_map(|(at, state)| Some((state, self.view(at)?)))
    }

    /// Whether all blocks of the segment at a place are closed.
    fn is_whole(&self, at: usize) -> bool {
        let count = self.view(at).map_or(0, |view| view.block_count());
        usize::from(self.segments[at].closed) >= count
    }

    fn position(&self, segment: SegmentIndex) -> Option<usize> {
        let at = segment.0 as usize % self.segments.len();
        self.view(at).is_some_and(|view| view.segment() == segment).then_some(at)
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
    /// The header of the segment at a place, if there is one.
    fn view(&self, at: usize) -> Option<SegmentView<'_>> {
        let len = usize::from(self.segments.get(at)?.header);
        let text = self.headers.get(at * self.room..)?.get(..len)?;
        (len > 0).then(|| SegmentView::assume_checked(text))
    }
}

// A header's length is kept in 16 bits; it is no longer than a datagram.
const _: () = assert!(MAX_DATAGRAM <= u16::MAX as usize);
