//! Blocks being received: symbols lie where their sources belong, parity in
//! the places of sources that are missing, so that decoding needs no more room.

use core::ops::DerefMut;

use super::digests::Digests;
use crate::erasure::{self, FIRST_PARITY, MulAdd};
use crate::ids::BlockIndex;
use crate::limits::MAX_SOURCES;
use crate::session::layout::BlockLayout;
use crate::session::symbols::{Symbol, SymbolSet};

/// One block being received.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveSlot {
    block: Option<BlockIndex>,
    /// Positions that hold their own source.
    own: SymbolSet,
    /// Positions that hold a symbol.
    filled: SymbolSet,
    /// Which parity lies at each position that holds another symbol than its own.
    parity: [u8; MAX_SOURCES],
}

impl ReceiveSlot {
    /// A place that no block has.
    pub const EMPTY: Self = Self {
        block: None,
        own: SymbolSet::EMPTY,
        filled: SymbolSet::EMPTY,
        parity: [0; MAX_SOURCES],
    };

    /// The parity that lies at a position in the stead of its source.
    fn parity_at(&self, position: u8) -> Option<u8> {
        let stands_in = self.filled.contains(position) && !self.own.contains(position);
        self.parity.get(usize::from(position)).copied().filter(|_| stands_in)
    }

    fn holds(&self, symbol: Symbol) -> bool {
        match symbol {
            Symbol::Source(index) => self.own.contains(index),
            Symbol::Parity(number) => {
                (0..FIRST_PARITY).any(|position| self.parity_at(position) == Some(number))
            }
        }
    }
}

impl Default for ReceiveSlot {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The table of blocks being received.
pub(super) struct Slots<S, B> {
    slots: S,
    memory: B,
    symbol: usize,
    block_size: usize,
    pub(super) digests: Digests<B>,
    /// Where the last symbol went: the next one is likely near.
    last: usize,
}

impl<S, B> Slots<S, B>
where
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// A table over `slots` and a memory of `sources` symbols for each of them.
    pub(super) fn new(
        slots: S,
        memory: B,
        digests: Digests<B>,
        symbol: usize,
        sources: usize,
    ) -> Self {
        Self { slots, memory, symbol, block_size: symbol * sources, digests, last: 0 }
    }

    /// Its memory again: places, bytes and digests of blocks.
    pub(super) fn into_memory(self) -> (S, B, B) {
        (self.slots, self.memory, self.digests.into_memory())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The block of a slot.
    pub(super) fn block(&self, at: usize) -> Option<BlockIndex> {
        self.slots.get(at)?.block
    }

    /// The symbol that lies at a position of a slot.
    pub(super) fn held_at(&self, at: usize, position: u8) -> Option<Symbol> {
        let slot = self.slots.get(at)?;
        let own = slot.own.contains(position).then_some(Symbol::Source(position));
        own.or_else(|| slot.parity_at(position).map(Symbol::Parity))
    }

    /// The bytes of a position of a slot, filled up with zeros.
    pub(super) fn bytes_at(&self, at: usize, position: u8) -> &[u8] {
        let start = at * self.block_size + usize::from(position) * self.symbol;
        &self.memory[start..start + self.symbol]
    }

    /// Forgets what lies at a position.
    pub(super) fn drop_at(&mut self, at: usize, position: u8) {
        self.slots[at].own.remove(position);
        self.slots[at].filled.remove(position);
    }

    /// Forgets all parity of a slot: decoding has changed it.
    pub(super) fn keep_own(&mut self, at: usize) {
        self.slots[at].filled = self.slots[at].own;
    }

    /// Whether a symbol is held, with these bytes or others.
    pub(super) fn holds(&self, at: usize, symbol: Symbol) -> bool {
        self.slots[at].holds(symbol)
    }

    /// Whether the same symbol is held with other bytes: one of them is not the sender's.
    pub(super) fn contradicts(
        &self,
        at: usize,
        layout: &BlockLayout,
        symbol: Symbol,
        payload: &[u8],
    ) -> bool {
        if layout.symbol_len(symbol) != Some(payload.len()) || !self.slots[at].holds(symbol) {
            return false;
        }
        let position = (0..FIRST_PARITY)
            .take(layout.sources())
            .find(|&position| self.held_at(at, position) == Some(symbol));
        position.is_some_and(|position| !self.bytes_at(at, position).starts_with(payload))
    }

    /// Whether as many symbols are here as the block has sources.
    pub(super) fn is_full(&self, at: usize, k: usize) -> bool {
        self.slots[at].filled.len() == k
    }

    /// The highest block that has a slot.
    pub(super) fn highest(&self) -> Option<BlockIndex> {
        self.slots.iter().filter_map(|slot| slot.block).max()
    }

    pub(super) fn find(&mut self, block: BlockIndex) -> Option<usize> {
        let len = self.slots.len();
        let at = (0..len)
            .map(|i| (self.last + i) % len)
            .find(|&at| self.slots[at].block == Some(block))?;
        self.last = at;
        Some(at)
    }

    /// Takes a free slot for a block.
    pub(super) fn open(&mut self, block: BlockIndex) -> Option<usize> {
        let at = self.slots.iter().position(|slot| slot.block.is_none())?;
        self.slots[at] = ReceiveSlot { block: Some(block), ..ReceiveSlot::default() };
        self.digests.clear(at);
        Some(at)
    }

    /// The lowest block from `first` on that has a slot.
    pub(super) fn lowest_from(&self, first: BlockIndex) -> Option<BlockIndex> {
        self.slots.iter().filter_map(|slot| slot.block).filter(|&block| block >= first).min()
    }

    /// The lowest block that has a slot.
    pub(super) fn lowest(&self) -> Option<BlockIndex> {
        self.slots.iter().filter_map(|slot| slot.block).min()
    }

    pub(super) fn free(&mut self, block: BlockIndex) {
        if let Some(at) = self.find(block) {
            self.slots[at].block = None;
        }
    }

    /// Symbols of a block that are here.
    pub(super) fn count(&mut self, block: BlockIndex) -> usize {
        self.find(block).map_or(0, |at| self.slots[at].filled.len())
    }

    /// Indices of missing sources, lowest first, into `out`; how many there are at most `limit`.
    pub(super) fn missing_sources(
        &mut self,
        block: BlockIndex,
        k: usize,
        limit: usize,
        out: &mut [u8; MAX_SOURCES],
    ) -> usize {
        let own = self.find(block).map_or(SymbolSet::EMPTY, |at| self.slots[at].own);
        let lacking = (0..FIRST_PARITY).take(k).filter(|&index| !own.contains(index));
        let mut count = 0;
        for (place, index) in out.iter_mut().zip(lacking.take(limit)) {
            *place = index;
            count += 1;
        }
        count
    }

    /// Stores a symbol that came before its block's header. Which source is the short one at
    /// the end is not known yet, so only full ones are kept; nor is how many there are, so
    /// parity is kept only where a source is missing below one that has come.
    pub(super) fn store_early(&mut self, at: usize, symbol: Symbol, payload: &[u8]) {
        // PROTOCOL S4
        if payload.len() != self.symbol || self.slots[at].holds(symbol) {
            return;
        }
        let known = self.slots[at].own.last().map_or(0, |last| usize::from(last) + 1);
        match symbol {
            Symbol::Source(index) => {
                if usize::from(index) * self.symbol < self.block_size {
                    self.make_room(at, index, known.max(usize::from(index) + 1));
                    self.place(at, index, symbol, payload);
                }
            }
            Symbol::Parity(_) => {
                if let Some(free) = self.free_position(at, known) {
                    self.place(at, free, symbol, payload);
                }
            }
        }
    }

    /// Stores a symbol of a block with a known layout; whether the block is complete.
    pub(super) fn store(
        &mut self,
        at: usize,
        layout: &BlockLayout,
        symbol: Symbol,
        payload: &[u8],
    ) -> bool {
        let k = layout.sources();
        // PROTOCOL S4
        if layout.symbol_len(symbol) != Some(payload.len()) {
            return self.slots[at].filled.len() == k;
        }
        if self.slots[at].filled.len() >= k || self.slots[at].holds(symbol) {
            return self.slots[at].filled.len() == k;
        }
        match symbol {
            Symbol::Parity(_) => {
                if let Some(free) = self.free_position(at, k) {
                    self.place(at, free, symbol, payload);
                }
            }
            Symbol::Source(index) => {
                self.make_room(at, index, k);
                self.place(at, index, symbol, payload);
            }
        }
        self.slots[at].filled.len() == k
    }

    /// Drops what cannot belong to a block of this layout, now that it is known.
    pub(super) fn fit(&mut self, at: usize, layout: &BlockLayout) -> bool {
        let k = layout.sources();
        let slot = &mut self.slots[at];
        for index in 0..FIRST_PARITY {
            let beyond = slot.parity_at(index).is_some_and(|n| usize::from(n) >= layout.parities());
            if usize::from(index) >= k || beyond {
                slot.filled.remove(index);
                slot.own.remove(index);
            }
        }
        slot.filled.len() == k
    }

    /// Parity symbols that stand in for sources which never came.
    pub(super) fn stand_ins(&self, at: usize, layout: &BlockLayout) -> usize {
        let positions = (0..FIRST_PARITY).take(layout.sources());
        positions.filter(|&position| self.slots[at].parity_at(position).is_some()).count()
    }

    /// Decodes a complete block in place and lends its bytes.
    pub(super) fn decode(
        &mut self,
        at: usize,
        layout: &BlockLayout,
        mul: &impl MulAdd,
    ) -> Option<&[u8]> {
        let k = layout.sources();
        let start = at * self.block_size;
        let positions = self.memory.get_mut(start..start + k * self.symbol)?;
        let slot = &self.slots[at];
        let parity_at = |position| slot.parity_at(position);
        erasure::decode(mul, k, self.symbol, positions, parity_at).ok()?;
        positions.get(..layout.bytes)
    }

    fn place(&mut self, at: usize, position: u8, symbol: Symbol, payload: &[u8]) {
        let start = at * self.block_size + usize::from(position) * self.symbol;
        let Some(room) = self.memory.get_mut(start..start + self.symbol) else { return };
        let (text, padding) = room.split_at_mut(payload.len());
        text.copy_from_slice(payload);
        padding.fill(0);
        let slot = &mut self.slots[at];
        slot.filled.insert(position);
        match symbol {
            Symbol::Source(_) => {
                slot.own.insert(position);
            }
            Symbol::Parity(number) => {
                slot.parity[usize::from(position)] = number;
                // A bug for the simulator to find; not in a product.
                #[cfg(feature = "planted")]
                if crate::planted::is(crate::planted::Bug::Parity) {
                    slot.parity[usize::from(position)] = number ^ 1;
                }
            }
        }
    }

    /// Moves a parity away from the place of a source that has come after all.
    fn make_room(&mut self, at: usize, position: u8, k: usize) {
        if !self.slots[at].filled.contains(position) {
            return;
        }
        let Some(free) = self.free_position(at, k) else { return };
        let base = at * self.block_size;
        let from = base + usize::from(position) * self.symbol;
        let to = base + usize::from(free) * self.symbol;
        self.memory.copy_within(from..from + self.symbol, to);
        let slot = &mut self.slots[at];
        slot.parity[usize::from(free)] = slot.parity[usize::from(position)];
        slot.filled.insert(free);
    }

    fn free_position(&self, at: usize, k: usize) -> Option<u8> {
        (0..FIRST_PARITY).take(k).find(|&position| !self.slots[at].filled.contains(position))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::erasure::Portable;
    use crate::wire::control::Object;

    const SYMBOL: usize = 8;

    fn table() -> Slots<Vec<ReceiveSlot>, Vec<u8>> {
        let digests = Digests::new(Vec::new(), [0; 8]);
        let memory = vec![0xAA; 2 * 4 * SYMBOL];
        Slots::new(vec![ReceiveSlot::default(); 2], memory, digests, SYMBOL, 4)
    }

    #[test]
    fn a_source_that_comes_after_its_stand_in_moves_the_stand_in_away() {
        let block: Vec<u8> = (0..27).collect();
        let layout = BlockLayout::checked(Object::Content, 27, SYMBOL, 4).unwrap();
        let parity = |index: u8| {
            let mut out = vec![0; SYMBOL];
            erasure::parity(&Portable, 4, SYMBOL, &block, index, &mut out);
            out
        };
        let mut slots = table();
        let at = slots.open(BlockIndex(7)).unwrap();
        let (first, other) = (Symbol::Parity(8), Symbol::Parity(254));
        assert!(!slots.store(at, &layout, first, &parity(8)));
        assert!(!slots.store(at, &layout, first, &parity(8)), "counted once");
        assert!(!slots.store(at, &layout, Symbol::Source(0), &block[..8]));
        assert!(!slots.store(at, &layout, first, &parity(8)), "counted once where it is now");
        assert!(!slots.store(at, &layout, other, &parity(254)));
        // PROTOCOL S4: the last source has three bytes, not eight.
        assert!(!slots.store(at, &layout, Symbol::Source(3), &[9; 8]));
        assert!(slots.store(at, &layout, Symbol::Source(3), &block[24..]));
        assert_eq!(slots.decode(at, &layout, &Portable).unwrap(), block);
    }
    #[test]
    fn what_came_before_the_header_decodes_the_block_when_it_is_known() {
        // Three full sources and one of three bytes, of which the second never comes, and the
        // last is no full one.
        let block: Vec<u8> = (0..27).collect();
        let layout = BlockLayout::checked(Object::Content, 27, SYMBOL, 4).unwrap();
        let parity = |number: u8| {
            let mut out = vec![0; SYMBOL];
            erasure::parity(&Portable, 4, SYMBOL, &block, number, &mut out);
            out
        };
        let mut slots = table();
        let at = slots.open(BlockIndex(7)).unwrap();
        // PROTOCOL S4: nothing says yet that there is a place for it.
        slots.store_early(at, Symbol::Parity(0), &parity(0));
        assert_eq!(slots.count(BlockIndex(7)), 0);
        slots.store_early(at, Symbol::Source(2), &block[16..24]);
        slots.store_early(at, Symbol::Parity(1), &parity(1));
        slots.store_early(at, Symbol::Parity(1), &parity(1));
        slots.store_early(at, Symbol::Source(3), &block[24..]);
        assert_eq!(slots.count(BlockIndex(7)), 2, "a source and a parity");
        // The parity lay in its place.
        slots.store_early(at, Symbol::Source(0), &block[..8]);
        assert_eq!(slots.count(BlockIndex(7)), 3);
        assert!(!slots.fit(at, &layout));
        assert!(slots.store(at, &layout, Symbol::Parity(200), &parity(200)));
        assert_eq!(slots.decode(at, &layout, &Portable).unwrap(), block);
    }

    #[test]
    fn early_parity_that_the_block_cannot_have_is_dropped_with_its_header() {
        let mut slots = table();
        let at = slots.open(BlockIndex(7)).unwrap();
        slots.store_early(at, Symbol::Source(3), &[1; SYMBOL]);
        slots.store_early(at, Symbol::Parity(64), &[2; SYMBOL]);
        slots.store_early(at, Symbol::Parity(63), &[3; SYMBOL]);
        // A block of one source has 64 parities; and source 3 is none of it.
        let lone = BlockLayout::checked(Object::Content, SYMBOL, SYMBOL, 4).unwrap();
        assert!(!slots.fit(at, &lone));
        assert_eq!(slots.count(BlockIndex(7)), 0);
    }
}
