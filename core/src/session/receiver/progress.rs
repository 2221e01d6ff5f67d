//! Reports of what came and what was lost, and that nothing comes any more.

use core::ops::DerefMut;

use super::{HEADER_WAIT, QUIET, ReceiveSlot, ReceiverEvent, ReceiverSession, SegmentState, Timer};
use crate::crypto::aead::Aead;
use crate::time::{Duration, Instant};

/// Such reports of all receivers are spread over so long.
const SPREAD: Duration = Duration::from_secs(1);

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    pub(super) fn report_progress(&mut self, now: Instant) {
        let expected = self.counter.saturating_sub(self.reported_counter);
        let lost = expected.saturating_sub(u64::from(self.received));
        self.reported_counter = self.counter;
        self.stats.lost += lost;
        let received = core::mem::take(&mut self.received);
        let counter = self.counter;
        self.tell(ReceiverEvent::Progress { received, lost: lost as u32, counter });
        self.timers.set(Timer::Report, now + self.config.report);
    }

    /// Reports what is lacking, once it is known that repairs of full size get here.
    pub(super) fn report_if_heard(&mut self, now: Instant) {
        if self.timers.deadline(Timer::NotHeard).is_some() {
            self.timers.set(Timer::Nack, now + HEADER_WAIT);
        } else {
            self.report_due(now);
        }
    }

    /// Nothing has come of late.
    pub(super) fn report_quiet(&mut self, now: Instant) {
        // PROTOCOL S21: not all at the same time, should all be cut off together.
        let within = self.random_within(SPREAD);
        self.timers.set_earlier(Timer::Report, now + within);
        self.timers.set(Timer::Quiet, now + QUIET);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::fixture::{self, Bottomless};
    use super::*;
    use crate::constrained::{BLOCKS, ConstrainedSession, HEADERS, REPORT, SEGMENTS, SLOTS};
    use crate::crypto::aead::ChaCha;
    use crate::crypto::packet::Sealer;
    use crate::erasure::Portable;
    use crate::ids::{Epoch, SessionId};
    use crate::session::receiver::{Buffers, ReceiverConfig};
    use crate::wire::session::kind::PROBE;

    /// A receiver of a thousand: it reports every ten seconds.
    fn config() -> ReceiverConfig {
        ReceiverConfig { receivers: 1_000, report: Duration::from_secs(10), ..fixture::config() }
    }

    // PROTOCOL S21
    #[test]
    fn a_session_that_falls_silent_is_reported_on_within_three_seconds_and_again() {
        let mut slots = [ReceiveSlot::default(); SLOTS];
        let (mut blocks, mut headers) = ([0; BLOCKS], [0; HEADERS]);
        let mut segments: [_; SEGMENTS] = core::array::from_fn(|_| SegmentState::default());
        let mut report = [0; REPORT];
        let lent = Buffers {
            slots: &mut slots[..],
            blocks: &mut blocks[..],
            segments: &mut segments[..],
            headers: &mut headers[..],
            report: &mut report[..],
            digests: &mut [],
        };
        let mut session = ConstrainedSession::new(config(), lent, Instant::ZERO);
        let mut sealer = Sealer::<ChaCha>::new(SessionId(5), Epoch(1), &[1; 32]);
        let mut probe = [0; 64];
        probe[16] = PROBE;
        let len = sealer.seal(&mut probe, 10).unwrap();
        session.handle_datagram(Instant::ZERO, &mut probe[..len], &mut Bottomless, &Portable);
        let mut reports = Vec::new();
        for ms in 0..8_000 {
            session.handle_timeout(Instant::from_millis(ms), &mut Bottomless);
            while let Some(event) = session.poll_event() {
                if let ReceiverEvent::Progress { received, counter, .. } = event {
                    reports.push((ms / 1_000, received, counter));
                }
            }
        }
        // Each within the third second since the last: what came first, then nothing.
        let late: Vec<_> = reports.iter().copied().filter(|(second, ..)| *second >= 2).collect();
        let seconds: Vec<_> = late.iter().map(|(second, ..)| *second).collect();
        assert!(seconds.len() >= 3 && seconds[0] == 2, "{reports:?}");
        assert!(reports.iter().map(|(_, received, _)| received).sum::<u32>() == 1);
        assert!(late.iter().all(|(.., counter)| *counter == 1), "{reports:?}");
    }
}
