//! Blocks kept in memory: those being sent, and the latest before them, so
//! that repairs need not go back to storage.

use core::ops::DerefMut;

use crate::ids::BlockIndex;
use crate::limits::MAX_SOURCES;
use crate::session::layout::BlockLayout;
use crate::session::source::{BlockSource, SegmentSpan};
use crate::session::symbols::{Symbol, SymbolSet};
use crate::time::{Duration, Instant};

/// Sources sent again are not sent once more within this time.
const RESEND_PAUSE: Duration = Duration::from_millis(30);

/// Digests told again are not told once more within this time: many ask for what is
/// already on its way.
const TELL_PAUSE: Duration = Duration::from_millis(4);

/// One block in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockSlot {
    held: Option<Held>,
    /// When it was used last, by the table's own count.
    used: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) block: BlockIndex,
    pub(super) layout: BlockLayout,
    /// Parity symbols promised in all.
    pub(super) promised: u8,
    /// A promise that has not been told yet.
    pub(super) echo_due: bool,
    /// Whether a report has asked for anything of this block.
    pub(super) asked: bool,
    /// Sources to be sent again.
    pub(super) resend: SymbolSet,
    /// Sources sent again lately.
    resent: SymbolSet,
    resent_at: Instant,
    told: Told,
}

/// Which digests of a block have been told, in strict mode.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Sources below this one.
    sources: u8,
    /// Parities below this number.
    parity: u8,
    /// Parities below this number are to be told before they are promised.
    goal: u8,
    /// When the last was told.
    at: Instant,
}

impl Told {
    const NOTHING: Self = Self { sources: 0, parity: 0, goal: 0, at: Instant::ZERO };
}

/// Symbols of a block in memory whose digests are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Untold {
    /// The block's place.
    pub(super) at: usize,
    /// Whether they are parity.
    pub(super) of_parity: bool,
    /// Index of the first source, or number of the first parity.
    pub(super) first: u8,
    /// How many they are, at least one.
    pub(super) count: u8,
}

/// Why a block is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLoaded {
    /// Every slot has something to send; whoever asked will ask again.
    Busy,
    /// Storage could not give it.
    Failed,
}

/// The table of blocks in memory and, per block of the session, of parity sent.
pub(super) struct Blocks<S, B> {
    slots: S,
    memory: B,
    parity_sent: B,
    block_size: usize,
    clock: u64,
    /// Slots that may have repairs to send or promises to tell.
    busy: usize,
    /// The slot whose repairs come first next time.
    turn: usize,
    /// The segment being sent: its blocks stay.
    pinned: SegmentSpan,
    /// Digests are told of whatever is sent.
    strict: bool,
}

impl<S, B> Blocks<S, B>
where
    S: DerefMut<Target = [BlockSlot]>,
    B: DerefMut<Target = [u8]>,
{
    pub(super) const fn new(slots: S, memory: B, parity_sent: B, block_size: usize) -> Self {
        let pinned = SegmentSpan { first: BlockIndex(0), count: 0 };
        Self {
            slots,
            memory,
            parity_sent,
            block_size,
            clock: 0,
            busy: 0,
            turn: 0,
            pinned,
            strict: false,
        }
    }

    /// Keeps the blocks of a segment in memory, and no longer those pinned before.
    pub(super) const fn pin(&mut self, span: SegmentSpan) {
        self.pinned = span;
    }

    /// Place of a block in memory, read there first if it is not.
    pub(super) fn load(
        &mut self,
        block: BlockIndex,
        source: &mut impl BlockSource,
    ) -> Result<usize, NotLoaded> {
        self.clock += 1;
        if let Some(at) = self.find(block) {
            self.slots[at].used = self.clock;
            return Ok(at);
        }
        let layout = source.layout(block).ok_or(NotLoaded::Failed)?;
        let at = self.evictable().ok_or(NotLoaded::Busy)?;
        let start = at * self.block_size;
        let bytes = self.memory.get_mut(start..start + layout.bytes).ok_or(NotLoaded::Failed)?;
        // Forgotten first: a failed read leaves no half block under the old name.
        self.slots[at] = BlockSlot::default();
        source.read(block, bytes).map_err(|_| NotLoaded::Failed)?;
        let promised = self.sent(block);
        self.slots[at] =
            BlockSlot { held: Some(Held::new(block, layout, promised)), used: self.clock };
        self.busy += usize::from(self.strict);
        Ok(at)
    }

    /// The slot used longest ago that has nothing to send.
    fn evictable(&self) -> Option<usize> {
        let free = |slot: &BlockSlot| {
            slot.held.is_none_or(|held| {
                let digests = self.strict && held.owes_digests();
                let pinned = self.is_pinned(held.block);
                !pinned
                    && !digests
                    && !held.echo_due
                    && held.resend.is_empty()
                    && held.promised <= self.sent(held.block)
            })
        };
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| free(slot));
        slots.min_by_key(|(_, slot)| (slot.held.is_some(), slot.used)).map(|(at, _)| at)
    }

    fn is_pinned(&self, block: BlockIndex) -> bool {
        block.0.wrapping_sub(self.pinned.first.0) < u32::from(self.pinned.count)
    }

    /// Parity symbols of a block that have been sent.
    pub(super) fn sent(&self, block: BlockIndex) -> u8 {
        self.parity_sent.get(block.0 as usize).copied().unwrap_or(0)
    }

    pub(super) fn find(&self, block: BlockIndex) -> Option<usize> {
        self.slots.iter().position(|slot| slot.held.is_some_and(|held| held.block == block))
    }

    pub(super) fn held(&self, at: usize) -> Option<&Held> {
        self.slots.get(at)?.held.as_ref()
    }

    /// The bytes of a block in memory.
    pub(super) fn bytes(&self, at: usize) -> &[u8] {
        let len = self.held(at).map_or(0, |held| held.layout.bytes);
        let start = at * self.block_size;
        self.memory.get(start..start + len).unwrap_or(&[])
    }

    /// Promises parity up to `count` symbols in all; it is told by an echo if `echo`.
    pub(super) fn promise(&mut self, at: usize, count: u8, echo: bool) {
        let Some(held) = self.slots.get_mut(at).and_then(|slot| slot.held.as_mut()) else { return };
        let count = usize::from(count).min(held.layout.parities()) as u8;
        held.asked |= echo;
        if count > held.promised {
            held.promised = count;
            held.echo_due |= echo;
            self.busy += 1;
        } else if echo {
            // Told again: whoever reported has not heard the promise.
            held.echo_due = true;
            self.busy += 1;
        }
    }

    /// Has sources sent again that were not just sent.
    pub(super) fn resend(&mut self, at: usize, now: Instant, sources: &[u8]) {
        let Some(held) = self.slots.get_mut(at).and_then(|slot| slot.held.as_mut()) else { return };
        if now.since(held.resent_at) > RESEND_PAUSE {
            held.resent = SymbolSet::EMPTY;
        }
        held.asked = true;
        let k = held.layout.sources();
        for &index in sources.iter().filter(|&&index| usize::from(index) < k.min(MAX_SOURCES)) {
            if !held.resent.contains(index) {
                held.resend.insert(index);
                self.busy += 1;
            }
        }
    }

    pub(super) fn repairs_wait(&self) -> bool {
        self.busy > 0
    }

    /// A place whose promise has not been told.
    pub(super) fn next_echo(&mut self) -> Option<(BlockIndex, u8)> {
        if self.busy == 0 {
            return None;
        }
        let held =
            self.slots.iter_mut().filter_map(|slot| slot.held.as_mut()).find(|h| h.echo_due)?;
        held.echo_due = false;
        Some((held.block, held.promised))
    }

    /// The next repair symbol, counted as sent. Blocks take turns, so that a burst
    /// of losses does not meet one alone.
    pub(super) fn next_repair(&mut self, now: Instant) -> Option<(usize, Symbol)> {
        if self.busy == 0 {
            return None;
        }
        let len = self.slots.len();
        for at in (0..len).map(|i| (self.turn + i) % len) {
            let Some(held) = self.slots[at].held.as_mut() else { continue };
            if let Some(index) = held.resend.first() {
                held.resend.remove(index);
                held.resent.insert(index);
                held.resent_at = now;
                self.turn = at + 1;
                return Some((at, Symbol::Source(index)));
            }
            let promised = held.promised;
            let Some(sent) = self.parity_sent.get_mut(held.block.0 as usize) else { continue };
            if *sent < promised {
                *sent += 1;
                self.turn = at + 1;
                return Some((at, Symbol::Parity(*sent - 1)));
            }
        }
        self.busy = 0;
        None
    }

    // --- strict mode ---

    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// From now on digests are told of all that is sent: at once of the segment under way
    /// and of what has been reported, of the rest when it is asked for.
    pub(super) fn begin_strict(&mut self) {
        self.strict = true;
        self.busy += 1;
        for at in 0..self.slots.len() {
            let Some(mut held) = self.slots[at].held else { continue };
            if !held.asked && !self.is_pinned(held.block) {
                held.told.sources = held.layout.sources() as u8;
                held.told.parity = held.promised;
            }
            self.slots[at].held = Some(held);
        }
    }

    /// All digests of a block are to be told again, unless they just were.
    pub(super) fn tell_again(&mut self, at: usize, now: Instant) {
        let Some(held) = self.slots.get_mut(at).and_then(|slot| slot.held.as_mut()) else { return };
        if self.strict && !held.owes_digests() && now.since(held.told.at) > TELL_PAUSE {
            held.told = Told { goal: held.promised, ..Told::NOTHING };
            self.busy += 1;
        }
    }

    /// The digests of parity below `count` are to be told with those of the sources.
    pub(super) fn tell_parity(&mut self, at: usize, count: u8) {
        let Some(held) = self.slots.get_mut(at).and_then(|slot| slot.held.as_mut()) else { return };
        held.told.goal = held.told.goal.max(usize::from(count).min(held.layout.parities()) as u8);
    }

    /// Digests to be told next, `most` at most, counted as told. Parity goes first: what a
    /// receiver holds without a digest it drops when those of all sources have come.
    pub(super) fn next_digests(&mut self, now: Instant, most: usize) -> Option<Untold> {
        if !self.strict || self.busy == 0 {
            return None;
        }
        let mut slots = self.slots.iter_mut().enumerate();
        let (at, held) = slots
            .find_map(|(at, slot)| Some((at, slot.held.as_mut().filter(|h| h.owes_digests())?)))?;
        let goal = held.told.goal.max(held.promised);
        let of_parity = held.told.parity < goal;
        let sources = held.layout.sources() as u8;
        let (told, goal) = if of_parity {
            (&mut held.told.parity, goal)
        } else {
            (&mut held.told.sources, sources)
        };
        let first = *told;
        let count = usize::from(goal - first).min(most) as u8;
        *told += count;
        held.told.at = now;
        (count > 0).then_some(Untold { at, of_parity, first, count })
    }

    /// Parity of a block not sent before, below `limit`, counted as sent.
    pub(super) fn next_parity(&mut self, at: usize, limit: u8) -> Option<u8> {
        let block = self.held(at)?.block;
        let sent = self.parity_sent.get_mut(block.0 as usize)?;
        (*sent < limit).then(|| {
            *sent += 1;
            *sent - 1
        })
    }
}

impl Held {
    const fn new(block: BlockIndex, layout: BlockLayout, promised: u8) -> Self {
        Self {
            block,
            layout,
            promised,
            echo_due: false,
            asked: false,
            resend: SymbolSet::EMPTY,
            resent: SymbolSet::EMPTY,
            resent_at: Instant::ZERO,
            told: Told::NOTHING,
        }
    }

    fn owes_digests(&self) -> bool {
        usize::from(self.told.sources) < self.layout.sources()
            || self.told.parity < self.told.goal.max(self.promised)
    }
}
