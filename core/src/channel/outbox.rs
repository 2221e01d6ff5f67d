//! Messages that wait to be sent, or to be acknowledged.
//!
//! Reliable messages go back to the first unacknowledged one when a timer
//! runs out (go-back-N): the peer keeps nothing that came out of order, so a
//! board needs no memory for it.

use super::messages::Messages;
use crate::lent::Bytes;
use crate::limits::{MESSAGE_RETRY, MESSAGE_RETRY_MAX, SEND_WINDOW};
use crate::time::{Duration, Instant};

/// What waits on one channel. Of the reliable messages `base` is the first
/// unacknowledged one, `next` the next to be sent, `fresh` the first that was
/// never sent, `end` the next number. Unreliable ones are sent once, in the
/// order they came.
#[derive(Clone, Debug)]
pub(super) struct Outbox<M, const LOOSE: usize> {
    messages: Messages<M, LOOSE>,
    base: u32,
    next: u32,
    fresh: u32,
    end: u32,
    pause: Duration,
    retry_at: Instant,
}

impl<M: Bytes, const LOOSE: usize> Outbox<M, LOOSE> {
    /// An empty outbox over `memory`.
    pub(super) const fn new(memory: M) -> Self {
        Self {
            messages: Messages::new(memory),
            base: 0,
            next: 0,
            fresh: 0,
            end: 0,
            pause: MESSAGE_RETRY,
            retry_at: Instant::FAR_FUTURE,
        }
    }

    /// Forgets everything; numbers begin at 0 again.
    pub(super) fn reset(&mut self) {
        self.messages.clear();
        (self.base, self.next, self.fresh, self.end) = (0, 0, 0, 0);
        self.pause = MESSAGE_RETRY;
        self.retry_at = Instant::FAR_FUTURE;
    }

    /// The longest message that ever fits, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.messages.longest()
    }

    /// Reliable messages that the window still takes.
    pub(super) const fn room(&self) -> usize {
        // PROTOCOL C4: never more than SEND_WINDOW unacknowledged.
        SEND_WINDOW - self.end.wrapping_sub(self.base) as usize
    }

    /// Whether no reliable message waits for anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.base == self.end
    }

    /// Keeps a reliable message; `false` when there is no room.
    pub(super) fn push(&mut self, body: &[u8]) -> bool {
        let kept = self.messages.push_reliable(body);
        if kept {
            self.end = self.end.wrapping_add(1);
        }
        kept
    }

    /// Keeps an unreliable message; `false` when there is no room.
    pub(super) fn push_loose(&mut self, body: &[u8]) -> bool {
        self.messages.push_loose(body)
    }

    /// The reliable message to be sent next, with its number.
    pub(super) fn due(&self) -> Option<(u32, &[u8])> {
        let place = self.next.wrapping_sub(self.base) as usize;
        Some((self.next, self.messages.reliable(place)?))
    }

    /// The unreliable message to be sent next.
    pub(super) fn due_loose(&self) -> Option<&[u8]> {
        self.messages.loose()
    }

    /// The message of [`Outbox::due`] was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.next = self.next.wrapping_add(1);
        if reaches(self.next, self.fresh) {
            self.fresh = self.next;
        }
        self.retry_at = now + self.pause;
    }

    /// The message of [`Outbox::due_loose`] was sent.
    pub(super) fn sent_loose(&mut self) {
        self.messages.pop_loose();
    }

    /// Takes an acknowledgement: `expected` is the number that the peer expects
    /// next. Returns whether that is news.
    pub(super) fn acknowledge(&mut self, now: Instant, expected: u32) -> bool {
        let news = expected.wrapping_sub(self.base);
        // Only what was sent can be acknowledged; old acknowledgements say nothing.
        if news == 0 || news > self.fresh.wrapping_sub(self.base) {
            return false;
        }
        (0..news).for_each(|_| self.messages.pop_reliable());
        self.base = expected;
        if !reaches(self.next, expected) {
            self.next = expected;
        }
        self.pause = MESSAGE_RETRY;
        let in_flight = self.next != self.base;
        self.retry_at = if in_flight { now + self.pause } else { Instant::FAR_FUTURE };
        true
    }

    /// When to send again what nobody acknowledged.
    pub(super) const fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Goes back to the first unacknowledged message when it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now < self.retry_at {
            return;
        }
        // PROTOCOL C4: from MESSAGE_RETRY to MESSAGE_RETRY_MAX.
        self.next = self.base;
        self.pause = self.pause.saturating_mul(2).min(MESSAGE_RETRY_MAX);
        // Armed again when the message has really been sent.
        self.retry_at = Instant::FAR_FUTURE;
    }

    /// The first number that was never sent.
    pub(super) const fn fresh(&self) -> u32 {
        self.fresh
    }

    /// Whether the message numbered `number` has been acknowledged.
    pub(super) const fn is_acknowledged(&self, number: u32) -> bool {
        reaches(self.base, number.wrapping_add(1))
    }
}

/// Whether `number` is not before `other`, counting around.
const fn reaches(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Outbox<[u8; 8], 1> {
        Outbox::new([0; 8])
    }

    fn drain(outbox: &mut Outbox<[u8; 8], 1>, now: Instant) -> std::vec::Vec<u32> {
        let mut numbers = std::vec::Vec::new();
        while let Some((number, _)) = outbox.due() {
            numbers.push(number);
            outbox.sent(now);
        }
        numbers
    }

    // PROTOCOL C4
    #[test]
    fn at_most_four_messages_are_unacknowledged() {
        let mut outbox = empty();
        assert!((0..4).all(|i| outbox.push(&[i])));
        assert!(!outbox.push(&[4]));
        assert_eq!(drain(&mut outbox, Instant::ZERO), [0, 1, 2, 3]);
        assert!(outbox.acknowledge(Instant::ZERO, 2));
        assert_eq!(outbox.room(), 2);
        assert!(outbox.push(&[4]));
        assert_eq!(outbox.due(), Some((4, &[4][..])));
    }

    // PROTOCOL C4
    #[test]
    fn pauses_double_from_200_milliseconds_to_three_seconds() {
        let mut outbox = empty();
        outbox.push(b"a");
        outbox.push(b"b");
        let (mut now, mut pauses) = (Instant::ZERO, std::vec::Vec::new());
        for _ in 0..6 {
            assert_eq!(drain(&mut outbox, now), [0, 1]);
            pauses.push(outbox.retry_at().since(now).as_millis());
            now = outbox.retry_at();
            outbox.handle_timeout(now);
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_000, 3_000]);
        assert!(outbox.acknowledge(now, 1));
        assert_eq!(drain(&mut outbox, now), [1]);
        assert_eq!(outbox.retry_at().since(now).as_millis(), 200);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_says_nothing() {
        let mut outbox = empty();
        outbox.push(b"a");
        assert!(!outbox.acknowledge(Instant::ZERO, 1));
        drain(&mut outbox, Instant::ZERO);
        assert!(!outbox.acknowledge(Instant::ZERO, 2));
        assert!(!outbox.acknowledge(Instant::ZERO, u32::MAX));
        assert!(outbox.acknowledge(Instant::ZERO, 1));
        assert!(!outbox.acknowledge(Instant::ZERO, 1));
        assert!(outbox.is_empty() && outbox.is_acknowledged(0) && !outbox.is_acknowledged(1));
    }

    #[test]
    fn numbers_wrap_around() {
        let mut outbox = empty();
        let last = u32::MAX - 1;
        (outbox.base, outbox.next, outbox.fresh, outbox.end) = (last, last, last, last);
        assert!((0..4).all(|i| outbox.push(&[i])));
        assert_eq!(drain(&mut outbox, Instant::ZERO), [u32::MAX - 1, u32::MAX, 0, 1]);
        assert!(outbox.acknowledge(Instant::ZERO, 1));
        assert_eq!(outbox.room(), 3);
        outbox.handle_timeout(Instant::FAR_FUTURE);
        assert_eq!(drain(&mut outbox, Instant::ZERO), [1]);
    }
}
