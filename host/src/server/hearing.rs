//! What of multicast reaches a receiver, and how a server notices that it
//! reaches it no longer.
//!
//! A switch may forget in mid-session who listens. The receiver cannot tell
//! that from a sender that waits; the server can: the reports of a member go on,
//! and what they tell stands still although more was sent.

use fleetcast_core::limits::{MAX_SYMBOL, SMALL_SYMBOL};
use fleetcast_core::time::{Duration, Instant};

/// Nothing new for so long is no hiccup of the network.
const SILENT: Duration = Duration::from_millis(2_500);
/// So long after the first report that told of nothing new there must be another:
/// after a cut of all that leads there, the first report may come before the first data.
const CONFIRMED: Duration = Duration::from_secs(1);
/// Datagrams that it missed at least: at half loss so many in a row are lost once in 65,536.
const MISSED: u64 = 16;

/// What of multicast reaches a receiver, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hears {
    /// Datagrams of full size, or nobody has tried yet.
    #[default]
    Full,
    /// None of full size; small ones were not tried.
    Doubtful,
    /// Small ones, none of full size.
    Small,
    /// None.
    Nothing,
}

impl Hears {
    /// It has heard a session of this symbol size.
    pub(super) const fn of(symbol: usize) -> Self {
        if symbol > SMALL_SYMBOL { Self::Full } else { Self::Small }
    }

    /// It has heard no probe of a session of this symbol size.
    pub(super) const fn after_silence(self, symbol: usize) -> Self {
        match self {
            Self::Full | Self::Doubtful if symbol > SMALL_SYMBOL => Self::Doubtful,
            _ => Self::Nothing,
        }
    }

    /// Nobody has joined a session of this symbol size that it was invited to. Of a unicast
    /// one this says nothing: its member joins whatever it hears, and was late.
    pub(super) const fn after_unjoined(self, multicast: bool, symbol: usize) -> Self {
        if multicast { self.after_silence(symbol) } else { self }
    }

    /// Whether multicast with this symbol size may reach it.
    pub(super) const fn hears(self, symbol: usize) -> bool {
        match self {
            Self::Full => true,
            Self::Small => symbol <= SMALL_SYMBOL,
            Self::Doubtful | Self::Nothing => false,
        }
    }

    /// The symbol size of its sessions: small unless full size has been heard, for
    /// silence may mean that only small datagrams get there.
    pub(super) const fn symbol(self) -> usize {
        if matches!(self, Self::Full) { MAX_SYMBOL } else { SMALL_SYMBOL }
    }

    /// Whether it has heard no multicast.
    pub(super) const fn is_deaf(self) -> bool {
        matches!(self, Self::Doubtful | Self::Nothing)
    }
}

/// Whether a session still reaches a member, by its reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    /// The highest counter that it has taken, and since when.
    taken: (u64, Instant),
    /// Datagrams that had been sent then: what a full network lost before is no silence.
    sent: u64,
    /// The first report since then that told of nothing new.
    stuck: Option<Instant>,
}

impl Hearing {
    /// A member that takes part from now on.
    pub(super) const fn new(now: Instant) -> Self {
        Self { taken: (0, now), sent: 0, stuck: None }
    }

    /// A report of `received` datagrams up to `counter`, of `sent`; whether the
    /// session does not reach the member any more.
    pub(super) fn report(&mut self, now: Instant, received: u32, counter: u64, sent: u64) -> bool {
        if received > 0 || counter != self.taken.0 {
            *self = Self { taken: (counter, now), sent, stuck: None };
            return false;
        }
        let stuck = *self.stuck.get_or_insert(now);
        now.since(stuck) >= CONFIRMED
            && now.since(self.taken.1) >= SILENT
            && sent.saturating_sub(self.sent) >= MISSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds after which a member counts as deaf that reports every `every` ms,
    /// and takes nothing after 1 s of a session that sends a datagram each millisecond
    /// until `ends`.
    fn noticed(every: u64, ends: u64) -> Option<u64> {
        let mut hearing = Hearing::new(Instant::ZERO);
        let mut reported = 0;
        (0..20_000).step_by(every as usize).find(|&ms| {
            let taken = ms.min(1_000);
            let received = (taken - reported) as u32;
            reported = taken;
            hearing.report(Instant::from_millis(ms), received, taken, ms.min(ends))
        })
    }

    #[test]
    fn who_takes_nothing_of_what_is_sent_is_noticed_within_seven_seconds() {
        // The last report of something is at 1.00 s; 2.5 s later the next one decides.
        assert_eq!(noticed(50, 20_000), Some(3_500));
        // At 2 s something is new, at 4 s nothing is, at 6 s it is so still.
        assert_eq!(noticed(2_000, 20_000), Some(6_000));
    }

    #[test]
    fn a_session_that_sends_nothing_loses_nobody() {
        assert_eq!(noticed(50, 1_000), None);
        assert_eq!(noticed(50, 1_015), None);
        assert_eq!(noticed(50, 1_016), Some(3_500));
    }

    #[test]
    fn what_was_lost_before_a_pause_is_no_silence() {
        let mut hearing = Hearing::new(Instant::ZERO);
        // The network is full: of 3,000 datagrams 1,000 came; then nothing is sent.
        assert!(!hearing.report(Instant::from_millis(1_000), 1_000, 1_000, 3_000));
        let mut reports = (1_050..9_000).step_by(50);
        assert!(!reports.any(|ms| hearing.report(Instant::from_millis(ms), 0, 1_000, 3_000)));
        assert!(hearing.report(Instant::from_millis(9_000), 0, 1_000, 3_016));
    }

    #[test]
    fn the_first_report_after_a_cut_decides_nothing() {
        let mut hearing = Hearing::new(Instant::ZERO);
        assert!(!hearing.report(Instant::from_millis(100), 5, 5, 5));
        // Ten seconds without reports, then one that left before the first data came.
        assert!(!hearing.report(Instant::from_millis(10_000), 0, 5, 9_000));
        assert!(!hearing.report(Instant::from_millis(10_050), 3, 9_010, 9_010));
        assert!(!hearing.report(Instant::from_millis(10_100), 0, 9_010, 9_999));
    }

    #[test]
    fn who_is_late_for_catch_up_is_not_taken_for_deaf() {
        let after = |multicast| Hears::Full.after_unjoined(multicast, MAX_SYMBOL);
        assert_eq!((after(true), after(false)), (Hears::Doubtful, Hears::Full));
        // A board's symbols are small.
        assert_eq!(Hears::Full.after_unjoined(false, 510), Hears::Full);
    }

    #[test]
    fn silence_at_full_size_leads_to_small_datagrams_and_then_to_none() {
        let silent = Hears::Full.after_silence(MAX_SYMBOL);
        assert_eq!((silent, silent.symbol()), (Hears::Doubtful, 1_162));
        assert_eq!(silent.after_silence(1_162), Hears::Nothing);
        assert_eq!(Hears::of(1_162), Hears::Small);
        assert!(Hears::Small.hears(1_162) && !Hears::Small.hears(1_434));
        assert_eq!(Hears::Small.after_silence(1_162), Hears::Nothing);
    }
}
