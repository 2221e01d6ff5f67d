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
    #[inline(never)]
    pub(super) fn on_segment(
        &mut self,
        now: Instant,
        counter: u64,
        view: SegmentView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        // PROTOCOL S5: nothing is verified that would change nothing.
        if self.is_news(&view) && self.verify(now, view.signed(), &view.signature()) {
            self.passed_by(now, counter);
            self.take_segment(now, view, store, mul);
        }
    }

    /// Takes a segment header that came over the unicast channel: no other member can have
    /// put it there, so it takes nothing from the budget, and shows that the session still
    /// brings something.
    #[inline(never)]
    pub(super) fn on_told_segment(
        &mut self,
        now: Instant,
        view: SegmentView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        // PROTOCOL S24
        if self.is_news(&view) && self.is_signed(view.signed(), &view.signature()) {
            self.budget.reprieve();
            self.take_segment(now, view, store, mul);
        }
    }

    /// Whether a header would change anything.
    fn is_news(&self, view: &SegmentView<'_>) -> bool {
        let segment = view.segment();
        let news = match self.window.holds(segment) {
            // Of a whole one it is no news that it has been sent.
            Some(closed) => view.is_sent() && !closed && self.window.lacks(segment),
            None => !self.window.is_past(segment),
        };
        let past = view.first_block() < self.config.first_block;
        news && !past && self.window.fits(view)
    }

    fn take_segment(
        &mut self,
        now: Instant,
        view: SegmentView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let segment = view.segment();
        if self.window.holds(segment).is_none() {
            self.open_segment(now, view, store, mul);
        }
        self.close_before(now, segment);
        if view.is_sent() {
            self.close(now, segment, view.block_count());
        }
        self.check_gap(now);
    }

    #[inline(never)]
    fn open_segment(
        &mut self,
        now: Instant,
        view: SegmentView<'_>,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let slots = &mut self.slots;
        self.window.insert(&view, |lost| slots.free(lost));
        self.header_requests = 0;
        self.headerless = false;
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
                && !self.strict
            {
                self.deliver(now, place, block, slot, store, mul);
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_end(&mut self, now: Instant, counter: u64, end: End<'_>) {
        let first = self.end.is_none();
        let passes = self.awaited.is_some_and(|echo| echo <= counter);
        // PROTOCOL S5: nothing is verified that would change nothing. Each end counts once:
        // whoever has the key can say it again under any counter.
        if first || (passes && end.sequence() > self.last_end) {
            if !self.verify(now, end.signed(), &end.signature()) {
                return;
            }
            self.end.get_or_insert(end.blocks());
            self.last_end = end.sequence();
            self.passed_by(now, counter);
        }
        // It is known to have ended, whoever says so again.
        self.close_before(now, SegmentIndex(u32::MAX));
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
        // Whatever of the blocks before it is still being repaired.
        let early = self.slots.lowest_from(known);
        let early = early.or(core::mem::take(&mut self.headerless).then_some(known));
        let ends_later = self.end.is_some_and(|blocks| known.0 < blocks);
        if beyond.is_none() && early.is_none() && !ends_later {
            return;
        }
        if self.header_requests >= HEADER_REQUESTS {
            // What lies in the gap is asked for after the session.
            self.header_requests = 0;
            // Symbols without a header may be nobody's: they are no reason to skip any.
            let next = beyond.or(self.end.map(BlockIndex));
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
        if !self.budget.take(now) {
            return false;
        }
        let valid = self.is_signed(signed, signature);
        self.budget.note(valid);
        valid
    }

    /// Checks a control signature, whatever it costs.
    #[inline(never)]
    pub(super) fn is_signed(&mut self, signed: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        let session = self.config.session.0.to_le_bytes();
        let epoch = self.config.epoch.0.to_le_bytes();
        let parts = [&self.config.fleet.0[..], &session, &epoch, signed];
        let valid = verify(&self.config.controller, Context::Session, &parts, signature).is_ok();
        self.stats.refused += u64::from(!valid);
        valid
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::super::fixture::{Bottomless, FLEET, SESSION, with_session};
    use super::*;
    use crate::crypto::aead::ChaCha;
    use crate::crypto::packet::{Opener, Sealer};
    use crate::crypto::sign::SigningKey;
    use crate::erasure::Portable;
    use crate::ids::{Epoch, Ordinal, SymbolIndex};
    use crate::limits::CONSTRAINED_SYMBOL;
    use crate::wire::control::Object;
    use crate::wire::segment::{Run, SegmentHead, SegmentWriter};
    use crate::wire::session::{Header, symbol_head};

    /// The body of the header of a segment of one block, signed by this key.
    fn body(segment: u32, signing: &SigningKey) -> Vec<u8> {
        let mut sealer = Sealer::<ChaCha>::new(SESSION, Epoch(1), &[1; 32]);
        let mut datagram = header(&mut sealer, segment, 1, signing);
        let opener = Opener::<ChaCha>::new(&[1; 32]);
        let head = Header::parse(&datagram).unwrap();
        opener.open(head, &mut datagram).unwrap().to_vec()
    }

    /// The header of a segment of one block with `runs` runs, signed by this key.
    fn header(
        sealer: &mut Sealer<ChaCha>,
        segment: u32,
        runs: usize,
        signing: &SigningKey,
    ) -> Vec<u8> {
        let mut datagram = vec![0; 1_472];
        let head = SegmentHead {
            last: false,
            proactive: 0,
            blocks: 1,
            sent: false,
            segment: SegmentIndex(segment),
            first: BlockIndex(segment),
            sequence: segment,
            slots: 1,
        };
        let mut writer = SegmentWriter::new(&mut datagram[16..], head).unwrap();
        writer.block(Object::Content, 1_000).unwrap();
        writer.runs(&vec![Run { first: Ordinal(segment), count: 1 }; runs]).unwrap();
        let len = writer.finish();
        let (session, epoch) = (SESSION.0.to_le_bytes(), 1_u16.to_le_bytes());
        let parts = [&FLEET.0[..], &session, &epoch, &datagram[16..16 + len]];
        let signature = signing.sign(Context::Session, &parts);
        datagram[16 + len..][..SIGNATURE].copy_from_slice(&signature);
        let len = sealer.seal(&mut datagram, len + SIGNATURE).unwrap();
        datagram.truncate(len);
        datagram
    }

    // PROTOCOL S5
    #[test]
    fn sixty_four_signatures_are_verified_a_second_and_three_seconds_of_forgeries_end_it() {
        let forger = SigningKey::from_seed(&[8; 32]);
        with_session(|session, sealer| {
            for second in 0..3 {
                for n in 0..200 {
                    let now = Instant::from_millis(second * 1_000 + n * 5);
                    let mut forged = header(sealer, n as u32, 1, &forger);
                    session.handle_datagram(now, &mut forged, &mut Bottomless, &Portable);
                }
                assert_eq!(session.stats().refused, 64 * (second + 1));
                assert!(!session.is_finished());
            }
            let mut forged = header(sealer, 0, 1, &forger);
            let now = Instant::from_millis(3_000);
            session.handle_datagram(now, &mut forged, &mut Bottomless, &Portable);
            assert!(session.is_finished());
        });
    }

    #[test]
    fn a_header_is_asked_for_while_blocks_before_it_are_repaired() {
        let controller = SigningKey::from_seed(&[9; 32]);
        with_session(|session, sealer| {
            let mut told = header(sealer, 0, 1, &controller);
            session.handle_datagram(Instant::ZERO, &mut told, &mut Bottomless, &Portable);
            // The first of the two sources of block 0; then one of block 1, which is unknown.
            for block in 0..2 {
                let mut symbol = vec![7; 16 + 6 + CONSTRAINED_SYMBOL + 16];
                let head = symbol_head(SymbolIndex(0), BlockIndex(block));
                symbol[16..22].copy_from_slice(&head);
                sealer.seal(&mut symbol, 6 + CONSTRAINED_SYMBOL).unwrap();
                session.handle_datagram(Instant::ZERO, &mut symbol, &mut Bottomless, &Portable);
            }
            session.handle_timeout(Instant::ZERO + HEADER_WAIT, &mut Bottomless);
            let mut events = core::iter::from_fn(|| session.poll_event());
            let request = ReceiverEvent::HeaderRequest(BlockIndex(1));
            assert!(events.any(|event| event == request), "block 0 lacks a source");
        });
    }

    // PROTOCOL S24
    #[test]
    fn who_is_told_headers_over_its_channel_stays_whatever_floods_the_session() {
        let (forger, controller) =
            (SigningKey::from_seed(&[8; 32]), SigningKey::from_seed(&[9; 32]));
        with_session(|session, sealer| {
            for second in 0..10 {
                for n in 0..100 {
                    let now = Instant::from_millis(second * 1_000 + n * 10);
                    let mut forged = header(sealer, second as u32, 1, &forger);
                    session.handle_datagram(now, &mut forged, &mut Bottomless, &Portable);
                }
                let refused = session.stats().refused;
                // As the server says it: the body alone, without a key or a counter.
                let now = Instant::from_millis(second * 1_000 + 995);
                let (told, others) = (body(second as u32, &controller), body(50, &forger));
                session.handle_header(now, &others, &mut Bottomless, &Portable);
                session.handle_header(now, &told, &mut Bottomless, &Portable);
                assert_eq!(session.stats().refused, refused + 1, "a signature it has to have");
                assert_eq!(session.window.known(), BlockIndex(second as u32 + 1));
            }
            assert!(!session.is_finished());
        });
    }

    // PROTOCOL S5
    #[test]
    fn a_session_that_still_brings_valid_headers_goes_on_among_forgeries() {
        let (forger, controller) =
            (SigningKey::from_seed(&[8; 32]), SigningKey::from_seed(&[9; 32]));
        with_session(|session, sealer| {
            for second in 0..10 {
                for n in 0..100 {
                    let now = Instant::from_millis(second * 1_000 + n * 10);
                    let key = if n == 20 { &controller } else { &forger };
                    let mut datagram = header(sealer, second as u32, 1, key);
                    session.handle_datagram(now, &mut datagram, &mut Bottomless, &Portable);
                }
            }
            assert!(!session.is_finished());
        });
    }

    #[test]
    fn a_header_longer_than_a_datagram_of_its_session_is_not_taken() {
        let controller = SigningKey::from_seed(&[9; 32]);
        // By hand: 17 + 4 + 1 + 6 × 71 + 64 are 512 of 516 bytes, 72 runs make 518.
        for (runs, taken) in [(71, true), (72, false)] {
            with_session(|session, sealer| {
                let mut datagram = header(sealer, 0, runs, &controller);
                session.handle_datagram(Instant::ZERO, &mut datagram, &mut Bottomless, &Portable);
                assert_eq!(session.window.known() == BlockIndex(1), taken, "{runs}");
            });
        }
    }
}
