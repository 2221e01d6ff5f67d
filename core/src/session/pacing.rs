//! A paced token bucket: bytes leave at a rate, in small bursts.

use crate::time::{Duration, Instant};

/// Longest burst in time.
const BURST_TIME_US: u64 = 2_000;

/// Tokens are bytes, kept in byte-microseconds so that nothing is rounded away.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: u64,
    /// Least burst in bytes.
    burst: i64,
    /// Below zero by one datagram at most: what it took on credit is repaid first.
    level: i64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket of `rate` bytes per second (at least one), from which `burst` bytes
    /// may leave at once, or what two milliseconds bring where that is more.
    #[must_use]
    pub fn new(rate: u64, burst: u32, now: Instant) -> Self {
        let burst = i64::from(burst.max(1));
        let mut bucket = Self { rate: rate.max(1), burst, level: 0, filled: now };
        bucket.level = bucket.capacity();
        bucket
    }

    /// Bytes per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Changes the rate from now on.
    pub fn change_rate(&mut self, rate: u64, now: Instant) {
        self.fill(now);
        self.rate = rate.max(1);
        self.level = self.level.min(self.capacity());
    }

    /// Whether anything may leave now; tokens may go below zero by one datagram.
    #[must_use]
    pub fn ready(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= MICROS
    }

    /// Whether a batch of `most` bytes may begin now, or one as long as half a burst: what
    /// comes in while one batch is sent would let the next be smaller, and so on down to
    /// single datagrams, which cost most.
    #[must_use]
    pub fn ready_for(&mut self, most: usize, now: Instant) -> bool {
        self.fill(now);
        let most = i64::try_from(most).unwrap_or(i64::MAX).saturating_mul(MICROS);
        self.level >= most.min(self.capacity() / 2).max(MICROS)
    }

    /// Takes `bytes` out.
    pub fn take(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.level = self.level.saturating_sub(bytes.saturating_mul(MICROS));
    }

    /// When half a burst is there again: sleeping that long keeps batches large.
    #[must_use]
    pub fn refill_at(&self) -> Instant {
        let lacking = (self.capacity() / 2).saturating_sub(self.level).max(0);
        self.filled + Duration::from_micros(lacking.unsigned_abs().div_ceil(self.rate))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.since(self.filled).as_micros();
        let gained = i64::try_from(self.rate.saturating_mul(elapsed)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gained).min(self.capacity());
        self.filled = self.filled.max(now);
    }

    fn capacity(&self) -> i64 {
        let burst = self.rate.saturating_mul(BURST_TIME_US);
        i64::try_from(burst).unwrap_or(i64::MAX).max(self.burst * MICROS)
    }
}

const MICROS: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = 48 * 1_024;

    #[test]
    fn a_second_lets_through_the_rate_and_one_burst() {
        let mut now = Instant::ZERO;
        let mut bucket = TokenBucket::new(1_000_000, BURST, now);
        let mut sent = 0_u64;
        while now < Instant::from_millis(1_000) {
            while bucket.ready(now) {
                bucket.take(1_000);
                sent += 1_000;
            }
            now = bucket.refill_at().max(now + Duration::from_micros(1));
        }
        let burst = u64::from(BURST) + 1_000;
        assert!((1_000_000 - burst..=1_000_000 + burst).contains(&sent), "{sent}");
    }

    #[test]
    fn batches_stay_long_when_sending_takes_half_of_the_time() {
        // 64 KiB of 1 KiB at 100 MB/s, each of which takes 5 of the 10.24 microseconds
        // that it brings. Asked at every turn, batches would shrink to single ones.
        let mut bucket = TokenBucket::new(100_000_000, BURST, Instant::ZERO);
        let (mut micros, mut batches, mut datagrams) = (0, 0, 0_u64);
        while micros < 1_000_000 {
            let now = Instant::from_micros(micros);
            if !bucket.ready_for(64 * 1_024, now) {
                micros = bucket.refill_at().since(Instant::ZERO).as_micros().max(micros + 1);
                continue;
            }
            batches += 1;
            for _ in 0..64 {
                if bucket.ready(now) {
                    bucket.take(1_024);
                    (datagrams, micros) = (datagrams + 1, micros + 5);
                }
            }
        }
        // 97,656 of 1 KiB are 100 MB, and the bucket was full: 195.
        assert!((97_000..=97_900).contains(&datagrams), "{datagrams}");
        assert!(datagrams / batches >= 60, "{batches} batches of {datagrams}");
    }

    #[test]
    fn a_batch_longer_than_the_bucket_need_not_be_waited_for() {
        let mut bucket = TokenBucket::new(300_000, 3 * 576, Instant::ZERO);
        bucket.take(3 * 576);
        assert!(!bucket.ready_for(64 * 1_024, Instant::from_micros(2_879)));
        // Half of 1,728 bytes at 300 KB/s.
        assert!(bucket.ready_for(64 * 1_024, Instant::from_micros(2_880)));
    }

    #[test]
    fn what_a_datagram_takes_beyond_the_level_is_repaid() {
        let mut bucket = TokenBucket::new(1_000_000, BURST, Instant::ZERO);
        let mut sent = 0;
        for micro in 0..1_000_000 {
            // Polled every microsecond: one datagram on credit each time would show.
            if bucket.ready(Instant::from_micros(micro)) {
                bucket.take(1_500);
                sent += 1_500;
            }
        }
        assert!(sent <= 1_000_000 + BURST as usize + 1_500, "{sent}");
    }

    #[test]
    fn a_small_burst_never_lets_more_than_a_few_datagrams_leave_at_once() {
        // At 300 KB/s three datagrams of 576 bytes: what took longer to wake up finds no
        // more, and over a second the rate is kept.
        let mut bucket = TokenBucket::new(300_000, 3 * 576, Instant::ZERO);
        let (mut sent, mut largest) = (0, 0);
        for milli in 1..=1_000 {
            let mut burst = 0;
            while bucket.ready(Instant::from_millis(milli)) {
                bucket.take(576);
                burst += 576;
            }
            largest = largest.max(burst);
            sent += burst;
        }
        assert_eq!(largest, 3 * 576);
        // A full bucket more, and a datagram on credit.
        assert!((300_000 - 576..=300_000 + 4 * 576).contains(&sent), "{sent}");
    }

    #[test]
    fn a_lower_rate_counts_at_once() {
        let mut bucket = TokenBucket::new(1_000_000_000, BURST, Instant::ZERO);
        bucket.change_rate(1, Instant::ZERO);
        bucket.take(2_000_000);
        assert!(!bucket.ready(Instant::from_millis(999)));
        assert_eq!(bucket.rate(), 1);
    }
}
