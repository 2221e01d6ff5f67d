//! Blocks being received: symbols lie where their sources belong, parity in
//! the places of sources that are missing, so that decoding needs no more room.

use core::ops::DerefMut;

use crate::erasure::{self, FIRST_PARITY, MulAdd};
use crate::ids::{BlockIndex, SymbolIndex};
use crate::limits::MAX_SOURCES;
use crate::session::layout::BlockLayout;
use crate::session::symbols::SymbolSet;

/// One block being received.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveSlot {
    block: Option<BlockIndex>,
    /// Symbols received.
    have: SymbolSet,
    /// Positions that hold a symbol.
    filled: SymbolSet,
    /// Which symbol lies at each filled position.
    held: [SymbolIndex; MAX_SOURCES],
}

impl Default for ReceiveSlot {
    fn default() -> Self {
        Self {
            block: None,
            have: SymbolSet::EMPTY,
            filled: SymbolSet::EMPTY,
            held: [SymbolIndex(0); MAX_SOURCES],
        }
    }
}

/// The table of blocks being received.
pub(super) struct Slots<S, B> {
    slots: S,
    memory: B,
    symbol: usize,
    block_size: usize,
    /// Where the last symbol went: the next one is likely near.
    last: usize,
}

impl<S, B> Slots<S, B>
where
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// A table over `slots` and a memory of `sources` symbols for each of them.
    pub(super) fn new(slots: S, memory: B, symbol: usize, sources: usize) -> Self {
        Self { slots, memory, symbol, block_size: symbol * sources, last: 0 }
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
        Some(at)
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
        let have = self.find(block).map_or(SymbolSet::EMPTY, |at| self.slots[at].have);
        let lacking = (0..FIRST_PARITY).take(k).filter(|&index| !have.contains(index));
        let mut count = 0;
        for (place, index) in out.iter_mut().zip(lacking.take(limit)) {
            *place = index;
            count += 1;
        }
        count
    }

    /// Stores a source that came before its block's header.
    pub(super) fn store_early(&mut self, at: usize, index: SymbolIndex, payload: &[u8]) {
        let fits = usize::from(index.0) * self.symbol < self.block_size;
        if index.0 < FIRST_PARITY && fits && payload.len() <= self.symbol {
            self.place(at, index.0, index, payload);
        }
    }

    /// Stores a symbol of a block with a known layout; whether the block is complete.
    pub(super) fn store(
        &mut self,
        at: usize,
        layout: &BlockLayout,
        index: SymbolIndex,
        payload: &[u8],
    ) -> bool {
        let k = layout.sources();
        // PROTOCOL S4
        if layout.symbol_len(index) != Some(payload.len()) {
            return self.slots[at].filled.len() == k;
        }
        if self.slots[at].have.contains(index.0) || self.slots[at].filled.len() >= k {
            return self.slots[at].filled.len() == k;
        }
        if index.0 >= FIRST_PARITY {
            if let Some(free) = self.free_position(at, k) {
                self.place(at, free, index, payload);
            }
        } else {
            self.make_room(at, index.0, k);
            self.place(at, index.0, index, payload);
        }
        self.slots[at].filled.len() == k
    }

    /// Drops what cannot belong to a block of this layout, now that it is known.
    pub(super) fn fit(&mut self, at: usize, layout: &BlockLayout) -> bool {
        let k = layout.sources();
        let slot = &mut self.slots[at];
        for index in (0..FIRST_PARITY).skip(k) {
            slot.filled.remove(index);
            slot.have.remove(index);
        }
        slot.filled.len() == k
    }

    /// Parity symbols that stand in for sources which never came.
    pub(super) fn stand_ins(&self, at: usize, layout: &BlockLayout) -> usize {
        let held = self.slots[at].held.iter().take(layout.sources());
        held.filter(|index| index.0 >= FIRST_PARITY).count()
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
        let held = self.slots[at].held.get_mut(..k)?;
        erasure::decode(mul, k, self.symbol, positions, held).ok()?;
        positions.get(..layout.bytes)
    }

    fn place(&mut self, at: usize, position: u8, index: SymbolIndex, payload: &[u8]) {
        let start = at * self.block_size + usize::from(position) * self.symbol;
        let Some(room) = self.memory.get_mut(start..start + self.symbol) else { return };
        let (text, padding) = room.split_at_mut(payload.len());
        text.copy_from_slice(payload);
        padding.fill(0);
        let slot = &mut self.slots[at];
        slot.have.insert(index.0);
        slot.filled.insert(position);
        slot.held[usize::from(position)] = index;
        // A bug for the simulator to find; not in a product.
        #[cfg(feature = "planted")]
        if index.0 >= FIRST_PARITY && crate::planted::is(crate::planted::Bug::Parity) {
            slot.held[usize::from(position)] = SymbolIndex(index.0 ^ 1);
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
        slot.held[usize::from(free)] = slot.held[usize::from(position)];
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
        Slots::new(vec![ReceiveSlot::default(); 2], vec![0xAA; 2 * 4 * SYMBOL], SYMBOL, 4)
    }

    #[test]
    fn a_source_that_comes_after_its_stand_in_moves_the_stand_in_away() {
        let block: Vec<u8> = (0..27).collect();
        let layout = BlockLayout::checked(Object::Content, 27, SYMBOL, 4).unwrap();
        let parity = |index| {
            let mut out = vec![0; SYMBOL];
            erasure::parity(&Portable, 4, SYMBOL, &block, SymbolIndex(index), &mut out);
            out
        };
        let mut slots = table();
        let at = slots.open(BlockIndex(7)).unwrap();
        assert!(!slots.store(at, &layout, SymbolIndex(200), &parity(200)));
        assert!(!slots.store(at, &layout, SymbolIndex(200), &parity(200)), "counted once");
        assert!(!slots.store(at, &layout, SymbolIndex(0), &block[..8]));
        assert!(!slots.store(at, &layout, SymbolIndex(255), &parity(255)));
        // PROTOCOL S4: the last source has three bytes, not eight.
        assert!(!slots.store(at, &layout, SymbolIndex(3), &[9; 8]));
        assert!(slots.store(at, &layout, SymbolIndex(3), &block[24..]));
        assert_eq!(slots.decode(at, &layout, &Portable).unwrap(), block);
    }
}
