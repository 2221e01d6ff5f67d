//! What is lacking, and when it is reported (PROTOCOL S9, S10).

use core::ops::DerefMut;

use super::window::{Fate, Place, Window};
use super::{ReceiveSlot, ReceiverEvent, ReceiverSession, SegmentState, Timer};
use crate::crypto::aead::Aead;
use crate::ids::{BlockIndex, SegmentIndex};
use crate::limits::{MAX_ECHO_DELAYS, MAX_SEGMENT_BLOCKS, MAX_SOURCES};
use crate::session::symbols::Symbol;
use crate::time::{Duration, Instant};
use crate::wire::nack::Entry;
use crate::wire::session::EchoView;

/// Least time before an unanswered report is repeated.
const RETRY: Duration = Duration::from_millis(60);
/// Repairs that were promised but did not come in this time are asked for again.
const OVERDUE: Duration = Duration::from_millis(400);
/// A slow sender gets so much longer at most: what keeps coming may be a liar's.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// When to look again whether there is room for the repairs of another block.
const NO_ROOM: Duration = Duration::from_millis(10);
/// Reports of one block before it is left for after the session.
const MAX_REPORTS: u8 = 40;
/// A retry is never put off longer than this many doublings.
const MAX_DOUBLINGS: u8 = 4;

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    /// All symbols of the segments before `segment` have been sent.
    pub(super) fn close_before(&mut self, now: Instant, segment: SegmentIndex) {
        while let Some(open) = self.window.open_before(segment) {
            self.close(now, open, MAX_SEGMENT_BLOCKS);
        }
    }

    /// All symbols of the first `count` blocks of a segment have been sent: what is
    /// lacking of them is to be reported.
    pub(super) fn close(&mut self, now: Instant, segment: SegmentIndex, count: usize) {
        let Some(before) = self.window.close(segment, count) else { return };
        // One draw for all of them: they go into one report.
        let due = now + self.backoff();
        let mut cursor = 0;
        while let Some((_, place)) = self.window.next_lacking(&mut cursor) {
            let is_new = Window::<W, B>::number(place) >= before;
            if is_new && self.window.segment_of(place) == Some(segment) {
                let state = self.window.state(place);
                state.passed = state.promised;
                state.due = Some(due);
                self.timers.set_earlier(Timer::Nack, due);
            }
        }
    }

    /// Promises came: reports that they cover are put off.
    pub(super) fn on_echo(&mut self, now: Instant, counter: u64, view: EchoView<'_>) {
        for (block, promised) in view.entries() {
            let Some(place) = self.window.place(block) else { continue };
            let Some(layout) = self.window.layout(place) else { continue };
            let lacking = layout.sources().saturating_sub(self.slots.count(block));
            let state = self.window.state(place);
            if state.fate != Fate::Wanted || usize::from(promised) > layout.parities() {
                continue;
            }
            state.promised = state.promised.max(promised);
            let coming = usize::from(state.promised - state.passed.min(state.promised));
            let spent = usize::from(state.passed) + lacking > layout.parities() && state.asked > 0;
            if coming < lacking && !spent {
                continue;
            }
            // What was promised is watched in any case: a report that did not count
            // it as passed would get nothing but the same promise again.
            state.awaiting = Some(counter);
            self.awaited = Some(self.awaited.map_or(counter, |was| was.min(counter)));
            // PROTOCOL S10
            if state.delays < MAX_ECHO_DELAYS {
                state.delays += 1;
                state.due = Some(now + OVERDUE);
                self.timers.set_earlier(Timer::Nack, now + OVERDUE);
            }
        }
    }

    /// A symbol of a wanted block came, which was news or not; of a closed block
    /// it is a repair.
    pub(super) fn repair_came(&mut self, now: Instant, place: Place, symbol: Symbol, news: bool) {
        let closed = self.window.is_closed(place);
        let state = self.window.state(place);
        if let Symbol::Parity(number) = symbol {
            let count = number.saturating_add(1);
            state.passed = state.passed.max(count);
            state.promised = state.promised.max(count);
        }
        if closed {
            state.delays = 0;
            if news {
                // Reports are answered: there is no need to grow patient, or to despair.
                state.asked = state.asked.min(1);
            }
            if state.due.is_some() && state.awaiting.is_some() {
                state.due = Some(now + OVERDUE);
            }
        }
    }

    /// Something that is no repair came: what an earlier echo promised has passed.
    pub(super) fn passed_by(&mut self, now: Instant, counter: u64) {
        if self.awaited.is_none_or(|echo| counter < echo) {
            return;
        }
        let due = now + self.backoff();
        self.awaited = None;
        let mut cursor = 0;
        while let Some((_, place)) = self.window.next_lacking(&mut cursor) {
            let state = self.window.state(place);
            match state.awaiting {
                Some(echo) if echo <= counter => {
                    state.awaiting = None;
                    state.passed = state.promised;
                    state.due = Some(state.due.map_or(due, |was| was.min(due)));
                    self.timers.set_earlier(Timer::Nack, due);
                }
                Some(echo) => self.awaited = Some(self.awaited.map_or(echo, |was| was.min(echo))),
                None => {}
            }
        }
    }

    /// Reports blocks that are due, and with them all others that would be soon.
    pub(super) fn report_due(&mut self, now: Instant) {
        self.nack.begin(self.config.session, self.config.epoch);
        let horizon = now + self.backoff_span();
        // While anything comes the promised may still come: a slow sender is not a
        // lost repair. That it has passed is told by what is sent after it.
        // PROTOCOL S10: but not for ever, since nothing of it need be the sender's.
        let overdue = self.last_heard().map_or(now, |heard| heard + OVERDUE);
        let mut cursor = 0;
        let mut full = false;
        let mut room = self.room_for_repairs();
        while let Some((block, place)) = self.window.next_lacking(&mut cursor) {
            let state = self.window.state(place);
            let Some(due) = state.due else { continue };
            let patient = due.max(overdue.min(due + PATIENCE));
            let due = if state.awaiting.is_some() { patient } else { due };
            let soon = state.awaiting.is_none() && due <= horizon;
            if due > now && !soon || full {
                self.timers.set_earlier(Timer::Nack, due.max(now));
                continue;
            }
            if self.window.state(place).asked == 0 && self.slots.find(block).is_none() {
                // Repairs of more blocks than there are slots for would be lost again.
                if room == 0 {
                    self.timers.set_earlier(Timer::Nack, now + NO_ROOM);
                    continue;
                }
                room -= 1;
            }
            full = !self.report_block(now, block, place);
            if full {
                self.timers.set_earlier(Timer::Nack, now);
            }
        }
        if self.nack.message().is_some() {
            self.stats.nacks += 1;
            self.tell(ReceiverEvent::Nack);
        }
    }

    /// Blocks without a slot whose repairs may be asked for now, where there are fewer slots
    /// than a segment has blocks: one slot is for what comes.
    fn room_for_repairs(&mut self) -> usize {
        if self.slots.len() >= MAX_SEGMENT_BLOCKS {
            return usize::MAX;
        }
        let (mut cursor, mut taken) = (0, 1);
        while let Some((block, place)) = self.window.next_lacking(&mut cursor) {
            let asked = self.window.state(place).asked > 0;
            taken += usize::from(asked || self.slots.find(block).is_some());
        }
        self.slots.len().saturating_sub(taken)
    }

    /// Adds a block to the report; `false` when the report is full.
    fn report_block(&mut self, now: Instant, block: BlockIndex, place: Place) -> bool {
        let Some(layout) = self.window.layout(place) else { return true };
        let k = layout.sources();
        let missing = k.saturating_sub(self.slots.count(block));
        if missing == 0 {
            // In strict mode: enough is here, but not all digests of it.
            self.window.state(place).due = Some(now + RETRY);
            self.timers.set_earlier(Timer::Nack, now + RETRY);
            return true;
        }
        let state = self.window.state(place);
        if state.awaiting.take().is_some() {
            // Overdue: whatever was promised counts as lost.
            state.passed = state.promised;
        }
        let passed = state.passed;
        let left = layout.parities().saturating_sub(usize::from(passed));
        let mut list = [0; MAX_SOURCES];
        let spent = missing.saturating_sub(left);
        let listed = self.slots.missing_sources(block, k, spent, &mut list);
        let entry = Entry { block, missing: missing as u8, passed, sources: &list[..listed] };
        if !self.nack.push(entry) {
            return false;
        }
        let spread = self.backoff();
        let state = self.window.state(place);
        state.asked += 1;
        if state.asked >= MAX_REPORTS {
            self.give_up(block);
            return true;
        }
        let doublings = 1_u64 << state.asked.min(MAX_DOUBLINGS);
        let retry = now + RETRY.saturating_mul(doublings / 2) + spread;
        state.due = Some(retry);
        self.timers.set_earlier(Timer::Nack, retry);
        true
    }

    /// A random time within the back-off of this session (PROTOCOL S9).
    ///
    /// Truncated exponential (RFC 5401, section 3.2.2.1): few draw an early time, so that
    /// their echo comes before the many would report; the base-2 logarithm is
    /// linear between powers.
    pub(super) fn backoff(&mut self) -> Duration {
        let span = self.backoff_span().as_micros();
        let draw = self.random_bits() | 1;
        let whole = u64::from(draw.leading_zeros());
        let fraction = (draw << whole << 1) >> 48;
        let bits = (whole << 16) + (0x1_0000 - fraction);
        let scale = (u64::from(self.config.receivers.max(1).ilog2()) + 2) << 16;
        Duration::from_micros(span - span * bits.min(scale) / scale)
    }

    fn backoff_span(&self) -> Duration {
        let grown = 1 + u64::from(self.config.receivers.max(1).ilog2()) / 2;
        self.config.backoff.saturating_mul(grown.min(8))
    }
}
