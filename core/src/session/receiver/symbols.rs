//! Symbols come: with their header, before it, or never to be used.

use core::ops::DerefMut;

use super::window::{Fate, Place, Window};
use super::{HEADER_WAIT, ReceiveSlot, ReceiverSession, SegmentState, Timer};
use crate::crypto::aead::Aead;
use crate::erasure::MulAdd;
use crate::ids::BlockIndex;
use crate::limits::MAX_SEGMENT_BLOCKS;
use crate::session::intake::Intake;
use crate::session::symbols::Symbol;
use crate::time::Instant;

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    pub(super) fn on_symbol(
        &mut self,
        now: Instant,
        counter: u64,
        (block, symbol): (BlockIndex, Symbol),
        payload: &[u8],
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let Some(place) = self.window.place(block) else {
            return self.early_symbol(now, block, symbol, payload);
        };
        let Some(layout) = self.window.layout(place) else { return };
        // PROTOCOL S4: it is not the sender's, so it tells nothing of what was sent either.
        if layout.symbol_len(symbol) != Some(payload.len()) {
            return;
        }
        // PROTOCOL S18: what has not been checked tells nothing.
        let strict = self.is_strict(place);
        if !strict {
            self.note_order(now, counter, place, symbol);
        }
        if self.window.state(place).fate != Fate::Wanted {
            return;
        }
        let Some(slot) = self.slot_for(block) else { return };
        if strict {
            if !self.admits(now, slot, &layout, symbol, payload) {
                return;
            }
            self.note_order(now, counter, place, symbol);
        } else if self.slots.contradicts(slot, &layout, symbol, payload)
            && self.slots.keeps_digests()
        {
            // PROTOCOL S15
            return self.suspect(now, place, block);
        }
        let before = self.slots.count(block);
        let full = self.slots.store(slot, &layout, symbol, payload);
        if full && (!strict || self.slots.is_checked(slot, layout.sources())) {
            self.deliver(now, place, block, slot, store, mul);
        } else {
            let news = self.slots.count(block) > before;
            self.repair_came(now, place, symbol, news);
        }
    }

    /// What the coming of a symbol tells of those sent before it.
    fn note_order(&mut self, now: Instant, counter: u64, place: Place, symbol: Symbol) {
        if !self.window.is_closed(place) && matches!(symbol, Symbol::Source(_)) {
            self.passed_by(now, counter);
            if let Some(segment) = self.window.segment_of(place) {
                self.close_before(now, segment);
                // PROTOCOL S7: groups of blocks come one after the other.
                let number = Window::<W, B>::number(place);
                let group = number - number % usize::from(self.config.interleave.max(1));
                self.close(now, segment, group);
            }
        }
    }

    /// A symbol of a block whose header has not come.
    fn early_symbol(&mut self, now: Instant, block: BlockIndex, symbol: Symbol, payload: &[u8]) {
        if block < self.window.known() || self.end.is_some_and(|blocks| block.0 >= blocks) {
            return;
        }
        if self.strict {
            // PROTOCOL S18: without its header it has no digest.
            self.headerless = true;
        } else if let Some(slot) = self.slots.find(block).or_else(|| self.early_slot(block)) {
            self.slots.store_early(slot, symbol, payload);
        }
        self.timers.set_earlier(Timer::Header, now + HEADER_WAIT);
    }

    /// A slot for a block whose header has not come. As nothing speaks for such blocks,
    /// they have half of the slots at most: a segment's that has lost its header fit in.
    fn early_slot(&mut self, block: BlockIndex) -> Option<usize> {
        let slots = (0..self.slots.len()).filter_map(|at| self.slots.block(at));
        let early = slots.filter(|&block| self.window.place(block).is_none()).count();
        if early < self.slots.len().div_ceil(2) { self.slots.open(block) } else { None }
    }

    /// The slot of a block. When all are taken a block without a header gives way, which
    /// may be nobody's, or else the lowest other one. Who has fewer slots than a segment
    /// has blocks keeps what it has, and asks for the block when a slot is free.
    pub(super) fn slot_for(&mut self, block: BlockIndex) -> Option<usize> {
        if let Some(at) = self.slots.find(block).or_else(|| self.slots.open(block)) {
            return Some(at);
        }
        if let Some(highest) = self.slots.highest()
            && self.window.place(highest).is_none()
        {
            self.slots.free(highest);
            return self.slots.open(block);
        }
        let has_few = self.slots.len() < MAX_SEGMENT_BLOCKS;
        let lowest = self.slots.lowest().filter(|&lowest| lowest < block && !has_few)?;
        self.give_up(lowest);
        self.slots.open(block)
    }
}
