//! Strict mode (PROTOCOL S17 to S20): a symbol counts only by its digest.

use core::ops::DerefMut;

use super::checks::Verdict;
use super::window::{Fate, Place};
use super::{ReceiveSlot, ReceiverEvent, ReceiverSession, SegmentState, Timer};
use crate::crypto::aead::Aead;
use crate::erasure::MulAdd;
use crate::ids::BlockIndex;
use crate::session::intake::Intake;
use crate::session::layout::BlockLayout;
use crate::session::symbols::Symbol;
use crate::time::{Duration, Instant};
use crate::wire::session::DigestsView;

/// Digests that are missing are asked for after this time and a back-off: those of
/// a block come in several datagrams.
const DIGESTS_WAIT: Duration = Duration::from_millis(5);
/// Digests of a block that was reported as poisoned come without being asked for;
/// they are asked for after this time.
const SUSPECT_WAIT: Duration = Duration::from_millis(30);
/// Least time between two requests that nothing answered.
const RETRY: Duration = Duration::from_millis(60);
/// Requests in a row that nothing answered before blocks are left for after the
/// session.
const REQUESTS: u8 = 12;
/// The pause between requests is doubled so often at most.
const MAX_DOUBLINGS: u8 = 4;
/// Blocks whose digests are asked for at a time.
const AT_ONCE: usize = 4;

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    /// Whether symbols of a block count by their digests only.
    pub(super) fn is_strict(&mut self, place: Place) -> bool {
        self.strict || self.window.state(place).suspect
    }

    /// Whether a symbol of a block in strict mode is the sender's, and news.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        slot: usize,
        layout: &BlockLayout,
        symbol: Symbol,
        payload: &[u8],
    ) -> bool {
        // PROTOCOL S4; and what is held needs no digest computed.
        let checked = self.slots.is_checked(slot, layout.sources());
        let fits = layout.symbol_len(symbol) == Some(payload.len());
        if !fits || (checked && self.slots.holds(slot, symbol)) {
            return false;
        }
        // PROTOCOL S18
        match self.slots.verdict(slot, symbol, payload) {
            Verdict::Right => true,
            Verdict::Wrong => {
                self.stats.forged += 1;
                false
            }
            Verdict::Unknown => {
                // PROTOCOL S19: parity without one is asked for anew, by a report.
                if !checked && self.timers.deadline(Timer::Digests).is_none() {
                    let due = now + DIGESTS_WAIT + self.backoff();
                    self.timers.set(Timer::Digests, due);
                }
                false
            }
        }
    }

    /// A block holds what is not the sender's.
    pub(super) fn suspect(&mut self, now: Instant, place: Place, block: BlockIndex) {
        // PROTOCOL S15
        self.poisoned += 1;
        self.tell(ReceiverEvent::Poisoned(block));
        // Nobody else has the key of a unicast session, and what digests have proved to
        // be the sender's is its own fault: neither becomes better by sending it again.
        let hopeless = self.config.unicast || self.is_strict(place) || !self.slots.keeps_digests();
        let state = self.window.state(place);
        if hopeless {
            state.fate = Fate::GivenUp;
            self.slots.free(block);
            return;
        }
        // PROTOCOL S20
        state.suspect = true;
        state.fate = Fate::Wanted;
        state.due = None;
        state.awaiting = None;
        self.timers.set_earlier(Timer::Digests, now + SUSPECT_WAIT);
    }

    /// Digests came.
    pub(super) fn on_digests(
        &mut self,
        now: Instant,
        view: DigestsView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let block = view.block();
        let Some(place) = self.window.place(block) else { return };
        let Some(layout) = self.window.layout(place) else { return };
        let last = usize::from(view.first()) + view.count();
        let most = if view.of_parity() { layout.parities() } else { layout.sources() };
        let known = self.slots.find(block).is_some_and(|slot| self.slots.knows(slot, &view));
        let wanted = self.window.state(place).fate == Fate::Wanted;
        // PROTOCOL S5: nothing is verified that would change nothing.
        if !wanted || last > most || known || !self.digest_budget.take(now) {
            return;
        }
        let valid = self.is_signed(view.signed(), &view.signature());
        self.digest_budget.note(valid);
        if !valid {
            return;
        }
        if !self.slots.keeps_digests() {
            // PROTOCOL S20: what is lacking comes by catch-up, whose key no other has.
            return self.finish();
        }
        if !core::mem::replace(&mut self.strict, true) {
            self.drop_early();
        }
        let Some(slot) = self.slot_for(block) else { return };
        let dropped = self.slots.learn(slot, &layout, &view);
        self.stats.forged += dropped as u64;
        self.digest_requests = 0;
        if self.slots.is_full(slot, layout.sources()) {
            if self.slots.is_checked(slot, layout.sources()) {
                self.deliver(now, place, block, slot, store, mul);
            }
        } else if self.window.is_closed(place) {
            let due = now + self.backoff();
            let state = self.window.state(place);
            state.due = Some(state.due.map_or(due, |was| was.min(due)));
            self.timers.set_earlier(Timer::Nack, due);
        }
    }

    /// Asks for the digests of blocks that lack some.
    pub(super) fn request_digests(&mut self, now: Instant) {
        let mut cursor = 0;
        let mut asked = 0;
        let despair = self.digest_requests >= REQUESTS;
        while asked < AT_ONCE
            && let Some((block, place)) = self.window.next_wanted(&mut cursor)
        {
            let Some(layout) = self.window.layout(place) else { continue };
            let Some(slot) = self.slots.find(block) else { continue };
            if !self.is_strict(place) || self.slots.is_checked(slot, layout.sources()) {
                continue;
            }
            if despair {
                self.give_up(block);
                continue;
            }
            // PROTOCOL S19
            asked += 1;
            self.tell(ReceiverEvent::HeaderRequest(block));
        }
        if despair {
            self.digest_requests = 0;
        } else if asked > 0 {
            let doublings = self.digest_requests.min(MAX_DOUBLINGS);
            self.digest_requests += 1;
            let pause = RETRY.saturating_mul(1 << doublings);
            let due = now + pause + self.backoff();
            self.timers.set_earlier(Timer::Digests, due);
        }
    }

    /// Forgets symbols of blocks without a header: nothing speaks for them.
    fn drop_early(&mut self) {
        let known = self.window.known();
        while let Some(block) = self.slots.highest().filter(|&block| block >= known)
            && self.window.place(block).is_none()
        {
            self.slots.free(block);
        }
    }
}
