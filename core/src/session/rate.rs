//! Steering of a session's rate between a floor and the admin's cap.
//!
//! Receivers report how many datagrams they got and lost. At the end of each
//! interval the loss that 90 % of the reports stay under is compared with the
//! least such loss of late: what is above it came from sending too fast. So a
//! link that always loses 5 % is not mistaken for a full one. One slow receiver
//! among ten does not hold the others. Receivers whose buffers hide their
//! slowness say how far they are behind; that counts like loss.
//!
//! Where most receivers lose much even at the floor, sending on only does harm: the
//! session pauses, and tries again after a while.
//!
//! A loss that was counted over few datagrams says little: small reports are put
//! together, and what chance alone explains is no excess.

use crate::time::{Duration, Instant};

/// Loss in per mille that the rate may cause before it falls.
const TOLERATED_EXCESS: u32 = 25;
/// Loss in per mille beyond which a link is taken to be merely lossy only once the
/// rate has fallen to an eighth without any less of it.
const PLAUSIBLE_LOSS: u32 = 300;
/// How long most receivers may lose more than that at the floor before a pause.
const UNBEARABLE: Duration = Duration::from_secs(10);
/// What of that has passed when it is tried again after a pause: 2 s are left.
const TRIED: Duration = Duration::from_secs(8);
/// Most microseconds that one interval counts for.
const LONGEST: u64 = 1_000_000;
/// How long a pause is: shorter than receivers take silence for the end.
const PAUSE: Duration = Duration::from_secs(10);
/// Datagrams that a loss is told of at least.
const LEAST_SAMPLE: u32 = 32;
/// Standard deviations that the loss of an interval may lie above the least of late.
const TOLERATED_DEVIATIONS: u32 = 4;
/// Intervals that the least loss is looked for in.
const MEMORY: usize = 16;
/// Bins of the histogram of reports, each 25 per mille wide.
const BINS: usize = 41;
const BIN_WIDTH: u32 = 25;

/// Bounds of a session's rate in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// What the admin allows.
    pub cap: u64,
    /// What is never gone below.
    pub floor: u64,
    /// Where a session begins.
    pub start: u64,
}

/// The steering machine: reports in, a rate out.
#[derive(Clone, Debug)]
pub struct RateControl {
    limits: RateLimits,
    rate: u64,
    fast_start: bool,
    interval: Duration,
    ends: Instant,
    hold: bool,
    histogram: [u32; BINS],
    /// Datagrams received and lost of reports too small to count alone.
    pooled: (u32, u32),
    /// Datagrams that the reports of this interval speak of.
    sample: u64,
    /// Reports of this interval by receivers that are too far behind.
    behind: u32,
    recent: [u32; MEMORY],
    intervals: usize,
    loss: u32,
    /// The rate at which such heavy loss was first seen; 0: none.
    heavy_from: u64,
    /// How long most receivers have lost much at the floor.
    borne: Duration,
    /// When that was looked at last.
    judged: Instant,
    /// When a pause ends.
    paused: Option<Instant>,
    /// Whether it has paused, and most have not received well since.
    trying: bool,
}

impl RateControl {
    /// Begins at the starting rate; `interval` is how often receivers report.
    #[must_use]
    pub fn new(limits: RateLimits, interval: Duration, now: Instant) -> Self {
        let cap = limits.cap.max(1);
        let limits = RateLimits { cap, floor: limits.floor.clamp(1, cap), start: limits.start };
        Self {
            limits,
            rate: limits.start.clamp(limits.floor, cap),
            fast_start: true,
            interval,
            ends: now + interval,
            hold: false,
            histogram: [0; BINS],
            pooled: (0, 0),
            sample: 0,
            behind: 0,
            recent: [u32::MAX; MEMORY],
            intervals: 0,
            loss: 0,
            heavy_from: 0,
            borne: Duration::ZERO,
            judged: now,
            paused: None,
            trying: false,
        }
    }

    /// Changes the bounds; the rate moves into them at once.
    pub fn change_limits(&mut self, limits: RateLimits) {
        let cap = limits.cap.max(1);
        self.limits = RateLimits { cap, floor: limits.floor.clamp(1, cap), start: limits.start };
        self.rate = self.rate.clamp(self.limits.floor, cap);
    }

    /// The present rate in bytes per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Loss of the last interval in per mille, as 90 % of the reports have it or less.
    #[must_use]
    pub const fn loss(&self) -> u32 {
        self.loss
    }

    /// When the pause ends, while nothing is to be sent.
    #[must_use]
    pub const fn paused_until(&self) -> Option<Instant> {
        self.paused
    }

    /// Whether most receivers lose too much even at the floor: it pauses, or tries
    /// again after a pause.
    #[must_use]
    pub const fn is_unbearable(&self) -> bool {
        self.trying
    }

    /// Counts one receiver's report: datagrams received and lost, and whether it
    /// is too far behind with taking them.
    pub fn report(&mut self, (received, lost): (u32, u32), behind: bool) {
        self.behind += u32::from(behind);
        let (mut received, mut lost) = (received, lost);
        if received.saturating_add(lost) < LEAST_SAMPLE {
            received = received.saturating_add(self.pooled.0);
            lost = lost.saturating_add(self.pooled.1);
            self.pooled = (received, lost);
            if received.saturating_add(lost) < LEAST_SAMPLE {
                return;
            }
            self.pooled = (0, 0);
        }
        let total = u64::from(received) + u64::from(lost);
        let per_mille = (u64::from(lost) * 1_000).checked_div(total).unwrap_or(0) as u32;
        let bin = (per_mille.div_ceil(BIN_WIDTH) as usize).min(BINS - 1);
        self.histogram[bin] = self.histogram[bin].saturating_add(1);
        self.sample += total;
    }

    /// Ends the interval when it is time, and steers the rate by its reports.
    pub fn tick(&mut self, now: Instant) {
        if let Some(end) = self.paused {
            // What was sent before the pause is no news.
            self.histogram = [0; BINS];
            self.paused = (now < end).then_some(end);
            self.judged = now;
            self.ends = now + self.interval;
        }
        if now < self.ends {
            return;
        }
        self.ends = now + self.interval;
        let (Some(loss), Some(most)) = (self.quantile(9), self.quantile(5)) else { return };
        let reports: u32 = self.histogram.iter().sum();
        let behind = core::mem::take(&mut self.behind) * 10 > reports;
        self.histogram = [0; BINS];
        let each = core::mem::take(&mut self.sample) / u64::from(reports.max(1));
        self.loss = loss;
        self.recent[self.intervals % MEMORY] = loss;
        self.intervals += 1;
        self.bear(now, most);
        self.steer(loss, chance(loss, each), behind);
    }

    /// Pauses when for too long most receivers have lost much, and got less than the
    /// floor would bring over a link that loses what is plausible: whatever the rate
    /// is now, less of it would not do. Intervals of chance in between count little.
    fn bear(&mut self, now: Instant, most: u32) {
        let elapsed = now.since(core::mem::replace(&mut self.judged, now)).as_micros();
        let borne = self.borne.as_micros();
        if most <= PLAUSIBLE_LOSS {
            self.borne = Duration::from_micros(borne.saturating_sub(elapsed.saturating_mul(4)));
            self.trying &= self.borne > Duration::ZERO;
        } else if through(self.rate, most) <= through(self.limits.floor, PLAUSIBLE_LOSS) {
            self.borne = Duration::from_micros(borne.saturating_add(elapsed.min(LONGEST)));
        }
        if self.borne >= UNBEARABLE {
            self.paused = Some(now + PAUSE);
            self.trying = true;
            self.borne = TRIED;
        }
    }

    /// Follows an interval's loss, of which `chance` may be nothing but chance.
    fn steer(&mut self, loss: u32, chance: u32, behind: bool) {
        let least = self.recent.iter().min().copied().unwrap_or(0);
        if loss <= PLAUSIBLE_LOSS / 2 {
            self.heavy_from = 0;
        } else if self.heavy_from == 0 && loss > PLAUSIBLE_LOSS {
            self.heavy_from = self.rate;
        }
        // Sending less is the only way to tell a full link from a lossy one.
        let low = (self.heavy_from / 8).max(self.limits.floor);
        let in_doubt = self.heavy_from > 0 && self.heavy_from < u64::MAX;
        let doubtful = in_doubt && self.rate > low;
        if in_doubt && !doubtful && self.heavy_from > low {
            return self.judge(loss, chance);
        }
        let least = if in_doubt { least.min(PLAUSIBLE_LOSS) } else { least };
        let excess = loss.saturating_sub(least);
        if behind || excess > TOLERATED_EXCESS + chance || doubtful {
            self.fast_start = false;
            // The interval after a fall still reports what was sent before it.
            if !core::mem::replace(&mut self.hold, true) {
                let keep = u64::from(1_000 - excess.clamp(200, 500));
                self.rate = (self.rate / 1_000).saturating_mul(keep);
            } else {
                self.hold = false;
            }
        } else {
            self.hold = false;
            let growth = if self.fast_start { self.rate / 2 } else { self.rate / 16 };
            self.rate = self.rate.saturating_add(growth.max(1));
        }
        self.rate = self.rate.clamp(self.limits.floor, self.limits.cap);
    }

    /// Tells a lossy link from a full one, after the rate has fallen much: one loses as
    /// before, the other lets as much through as before.
    fn judge(&mut self, loss: u32, chance: u32) {
        let known = self.recent.iter().filter(|&&loss| loss <= 1_000);
        let worst = known.max().copied().unwrap_or(0);
        let carried = through(self.heavy_from, worst);
        let room = (carried * 1_000).checked_div(self.rate).unwrap_or(0).min(1_000) as u32;
        let if_full = 1_000 - room;
        if loss + TOLERATED_EXCESS + chance >= worst && loss >= worst.midpoint(if_full) {
            // Sending less has brought nothing: it is the link's own, and judged by
            // what is above it from now on.
            self.rate = core::mem::replace(&mut self.heavy_from, u64::MAX);
        } else if if_full > PLAUSIBLE_LOSS {
            // Still full: what it lets through is known.
            self.rate = through(self.rate, loss);
            self.recent = [u32::MAX; MEMORY];
            self.heavy_from = 0;
        } else {
            self.heavy_from = u64::MAX;
        }
        self.hold = true;
        self.rate = self.rate.clamp(self.limits.floor, self.limits.cap);
    }

    /// The loss in per mille that so many tenths of this interval's reports do not exceed.
    fn quantile(&self, tenths: u64) -> Option<u32> {
        let total: u32 = self.histogram.iter().sum();
        let wanted = (u64::from(total) * tenths).div_ceil(10);
        let mut seen = 0_u64;
        let bin = self.histogram.iter().position(|&count| {
            seen += u64::from(count);
            count > 0 && seen >= wanted
        })?;
        Some(bin as u32 * BIN_WIDTH)
    }
}

/// What comes through of a rate, by the loss in per mille.
fn through(rate: u64, loss: u32) -> u64 {
    rate / 1_000 * u64::from(1_000 - loss.min(1_000))
}

/// Per mille that a loss counted over `sample` datagrams may be off by chance.
fn chance(loss: u32, sample: u64) -> u32 {
    let variance = u64::from(loss) * u64::from(1_000_u32.saturating_sub(loss)) / sample.max(1);
    // At most 500 per mille squared: it fits.
    TOLERATED_DEVIATIONS * variance.isqrt() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RateLimits = RateLimits { cap: 100_000_000, floor: 100_000, start: 5_000_000 };

    /// Runs `intervals` in which `loss_at(rate)` tells each of ten receivers' loss in per mille.
    fn settle(control: &mut RateControl, intervals: u64, loss_at: impl Fn(u64, u32) -> u32) -> u64 {
        for i in 1..=intervals {
            for receiver in 0..10 {
                let lost = loss_at(control.rate(), receiver);
                control.report((1_000 - lost, lost), false);
            }
            control.tick(Instant::from_millis(i * 100));
        }
        control.rate()
    }

    fn control() -> RateControl {
        RateControl::new(LIMITS, Duration::from_millis(100), Instant::ZERO)
    }

    #[test]
    fn a_clean_path_is_filled_to_the_cap_within_a_second() {
        assert_eq!(settle(&mut control(), 9, |_, _| 0), LIMITS.cap);
    }

    #[test]
    fn a_path_that_always_loses_a_tenth_is_filled_too() {
        assert_eq!(settle(&mut control(), 20, |_, _| 100), LIMITS.cap);
    }

    #[test]
    fn a_bottleneck_is_found_from_above_and_kept() {
        let bottleneck = 20_000_000_u64;
        let loss = |rate: u64, _| ((rate.saturating_sub(bottleneck)) * 1_000 / rate) as u32;
        let mut control = control();
        let mut total = 0;
        for _ in 0..200 {
            total += settle(&mut control, 1, loss).min(bottleneck);
            control.ends = Instant::ZERO;
        }
        let mean = total / 200;
        assert!(mean > bottleneck * 8 / 10, "mean useful rate {mean}");
        assert!(control.rate() < bottleneck * 3 / 2, "rate {}", control.rate());
    }

    #[test]
    fn a_path_that_always_loses_half_is_filled_once_less_did_not_help() {
        let rate = settle(&mut control(), 120, |_, _| 500);
        assert!(rate > LIMITS.cap / 4, "{rate}");
    }

    #[test]
    fn what_chance_adds_to_the_loss_of_few_datagrams_does_not_slow_the_sender() {
        // One receiver that loses half of the 8 to 71 datagrams of an interval: each
        // by the toss of a coin. A third of the intervals is off by a tenth and more.
        let (mut control, mut random) = (control(), 7_u64);
        for i in 1..=300 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let sent = 8 + (random >> 58) as u32;
            let lost = (random & ((1 << sent.min(56)) - 1)).count_ones();
            control.report((sent.min(56) - lost, lost), false);
            control.tick(Instant::from_millis(i * 100));
        }
        assert!(control.rate() > LIMITS.cap / 4, "{}", control.rate());
    }

    #[test]
    fn one_receiver_in_ten_that_loses_half_does_not_slow_the_others() {
        let loss = |_, receiver| if receiver == 0 { 500 } else { 0 };
        assert_eq!(settle(&mut control(), 20, loss), LIMITS.cap);
    }

    #[test]
    fn receivers_that_fall_behind_without_losing_slow_the_sender() {
        let mut control = control();
        settle(&mut control, 9, |_, _| 0);
        for i in 10..30 {
            (0..10).for_each(|receiver| control.report((1_000, 0), receiver < 2));
            control.tick(Instant::from_millis(i * 100));
        }
        assert!(control.rate() < LIMITS.cap / 4, "{}", control.rate());
    }

    #[test]
    fn a_path_a_hundred_times_below_the_start_is_taken_for_full_and_not_for_lossy() {
        // 1 % of the start: at an eighth of the rate it still loses 92 %.
        let limits = RateLimits { start: 50_000_000, floor: 8_192, ..LIMITS };
        let loss = |rate: u64, _| (rate.saturating_sub(500_000) * 1_000 / rate) as u32;
        let mut control = RateControl::new(limits, Duration::from_millis(100), Instant::ZERO);
        let rate = settle(&mut control, 40, loss);
        assert!((250_000..1_000_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_network_that_is_full_at_the_floor_gets_a_pause_after_ten_seconds_and_tries() {
        // It carries half of the floor, until it carries more after 60 s.
        let mut control = control();
        let (mut begun, mut paused, mut told_at_last) = (None, 0, true);
        for i in 1..=900_u64 {
            let carries = if i < 600 { 50_000 } else { 10_000_000 };
            let rate = control.rate();
            let lost = (rate.saturating_sub(carries) * 1_000 / rate) as u32;
            if control.paused_until().is_none() {
                (0..10).for_each(|_| control.report((1_000 - lost, lost), false));
            }
            control.tick(Instant::from_millis(i * 100));
            if control.paused_until().is_some() {
                begun.get_or_insert(i);
                paused += u32::from(i < 600);
            }
            told_at_last = control.is_unbearable();
        }
        // The floor is reached within two seconds, and ten more are borne.
        assert!(begun.is_some_and(|begun| (100..=120).contains(&begun)), "{begun:?}");
        // Then 10 s of every 12 are quiet.
        assert!((350..=420).contains(&paused), "{paused}");
        assert!(!told_at_last && control.rate() > 2_000_000, "{}", control.rate());
    }

    #[test]
    fn a_tenth_that_is_lost_at_the_floor_is_no_reason_for_a_pause() {
        let limits = RateLimits { cap: 100_000, ..LIMITS };
        let mut control = RateControl::new(limits, Duration::from_millis(100), Instant::ZERO);
        settle(&mut control, 300, |_, receiver| if receiver < 5 { 300 } else { 900 });
        assert_eq!(control.paused_until(), None);
    }

    #[test]
    fn a_path_far_below_the_start_is_reached_downwards() {
        let loss = |rate: u64, _| (rate.saturating_sub(400_000) * 1_000 / rate) as u32;
        let rate = settle(&mut control(), 40, loss);
        assert!((LIMITS.floor..1_200_000).contains(&rate), "{rate}");
    }
}
