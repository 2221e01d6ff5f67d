//! Signed control: segment headers, the end, and headers that are missing.

use core::ops::DerefMut;

use super::window::Fate;
use super::{
    HEADER_REQUESTS, HEADER_WAIT, ReceiveSlot, ReceiverEvent, ReceiverSession, SegmentState, Timer,
};
use crate::crypto::aead::Aead;
use crate::crypto::sign::{Context, SIGNATURE, verify};
use crate::erasure::MulAdd;
use crate::ids::{BlockIndex, SegmentIndex};
use crate::limits::CONTROL_VERIFICATIONS_PER_SECOND;
use crate::session::intake::Intake;
use crate::time::Instant;
use crate::wire::segment::SegmentView;
use crate::wire::session::End;

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    pub(super) fn on_segment(
        &mut self,
        now: Instant,
        counter: u64,
        view: SegmentView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let segment = view.segment();
        let news = match self.window.holds(segment) {
            Some(closed) => view.is_sent() && !closed,
            None => !self.window.is_past(segment),
        };
        let past = view.first_block() < self.config.first_block;
        // PROTOCOL S5: nothing is verified that would change nothing.
        if past || !news || !self.verify(now, view.signed(), &view.signature()) {
            return;
        }
        self.passed_by(now, counter);
        if self.window.holds(segment).is_none() {
            self.open_segment(view, store, mul);
        }
        self.close_before(now, segment);
        if view.is_sent() {
            self.close(now, segment);
        }
        self.check_gap(now);
    }

    fn open_segment(&mut self, view: SegmentView<'_>, store: &mut impl Intake, mul: &impl MulAdd) {
        let slots = &mut self.slots;
        self.window.insert(&view, |lost| slots.free(lost));
        self.header_requests = 0;
        for n in 0..view.block_count() {
            let block = BlockIndex(view.first_block().0 + n as u32);
            let Some(place) = self.window.place(block) else { continue };
            let lacking = view.block(n).is_some_and(|described| {
                let mut runs = described.runs(self.config.slot);
                runs.any(|run| store.wants(described.object, run.first, run.count))
            });
            let layout = self.window.layout(place).filter(|_| lacking);
            let Some(layout) = layout else {
                self.window.state(place).fate = Fate::Done;
                self.slots.free(block);
                continue;
            };
            if let Some(slot) = self.slots.find(block)
                && self.slots.fit(slot, &layout)
            {
                self.deliver(place, block, slot, store, mul);
            }
        }
    }

    pub(super) fn on_end(&mut self, now: Instant, counter: u64, end: End<'_>) {
        if self.end.is_none() && !self.verify(now, end.signed(), &end.signature()) {
            return;
        }
        self.end.get_or_insert(end.blocks());
        self.passed_by(now, counter);
        self.close_before(now, SegmentIndex(end.segments()));
        self.check_gap(now);
    }

    /// Asks for a header when blocks are known to lie before or after those that are held.
    fn check_gap(&mut self, now: Instant) {
        let ends_later = self.end.is_some_and(|blocks| self.window.known().0 < blocks);
        if self.window.after_gap().is_some() || ends_later {
            self.timers.set_earlier(Timer::Header, now + HEADER_WAIT);
        } else {
            self.header_requests = 0;
        }
    }

    pub(super) fn request_header(&mut self, now: Instant) {
        let known = self.window.known();
        let beyond = self.window.after_gap();
        let early = self.slots.lowest().filter(|&block| block >= known);
        let ends_later = self.end.is_some_and(|blocks| known.0 < blocks);
        if beyond.is_none() && early.is_none() && !ends_later {
            return;
        }
        if self.header_requests >= HEADER_REQUESTS {
            // What lies in the gap is asked for after the session.
            self.header_requests = 0;
            let next = beyond.or(self.end.map(BlockIndex)).or(early);
            if let Some(next) = next {
                self.window.skip_to(next);
            }
            return;
        }
        self.header_requests += 1;
        self.tell(ReceiverEvent::HeaderRequest(known));
        let pause = HEADER_WAIT.saturating_mul(2 << self.header_requests);
        self.timers.set_earlier(Timer::Header, now + pause);
    }

    /// Checks a control signature within the budget.
    fn verify(&mut self, now: Instant, signed: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        let second = now.as_micros() / 1_000_000;
        if self.verified.0 != second {
            self.verified = (second, 0);
        }
        // PROTOCOL S5
        if self.verified.1 >= CONTROL_VERIFICATIONS_PER_SECOND {
            return false;
        }
        self.verified.1 += 1;
        let session = self.config.session.0.to_le_bytes();
        let epoch = self.config.epoch.0.to_le_bytes();
        let parts = [&self.config.fleet.0[..], &session, &epoch, signed];
        let valid = verify(&self.config.controller, Context::Session, &parts, signature).is_ok();
        self.stats.refused += u64::from(!valid);
        valid
    }
}
