//! What a sender believes of a member's reports.
//!
//! A member counts what opens under the session's key, and every member holds that
//! key: whoever invents send counters makes honest members report losses that never
//! were. The sender knows what it has sent. So of a report only that counts which
//! fits into what was sent since the report before, and a counter that was never
//! used stands for the newest that was. What remains to a forger is to hide a loss
//! by as many datagrams as it puts in its place.

/// One member's account: up to which counter its reports have been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counter: u64,
}

/// What is believed of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Datagrams of this sender received.
    pub received: u32,
    /// Datagrams of this sender lost.
    pub lost: u32,
    /// Datagrams sent after the newest that has come.
    pub behind: u64,
}

impl Tally {
    /// An account that begins when `sent` datagrams have been sent.
    #[must_use]
    pub const fn new(sent: u64) -> Self {
        Self { counter: sent }
    }

    /// Counts that have been taken, at most what was sent then.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Takes a report: received and lost since the report before, and the counter
    /// after the highest taken, of `sent` datagrams sent under the present key.
    ///
    /// A report that is missing leaves its datagrams uncounted: they are no loss.
    pub fn take(&mut self, sent: u64, (received, lost): (u32, u32), counter: u64) -> Believed {
        if sent < self.counter {
            // Another key: its counters begin anew.
            self.counter = 0;
        }
        let counter = counter.min(sent);
        let passed = counter.saturating_sub(self.counter);
        self.counter = self.counter.max(counter);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let received = received.min(passed);
        let lost = lost.min(passed - received);
        Believed { received, lost, behind: sent - counter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(received: u32, lost: u32, behind: u64) -> Believed {
        Believed { received, lost, behind }
    }

    #[test]
    fn an_honest_report_is_believed_as_it_is() {
        let mut tally = Tally::new(100);
        assert_eq!(tally.take(1_100, (900, 100), 1_100), believed(900, 100, 0));
        // 50 are still under way.
        assert_eq!(tally.take(2_150, (1_000, 0), 2_100), believed(1_000, 0, 50));
    }

    #[test]
    fn counters_that_were_never_used_make_no_losses() {
        let mut tally = Tally::new(0);
        // 950 of 1,000 came, and one with an invented counter.
        assert_eq!(tally.take(1_000, (951, 1 << 20), 1 << 20), believed(951, 49, 0));
        // From then on its own counters tell no loss; a flood hides it, no more.
        assert_eq!(tally.take(2_000, (1_950, 0), 1 << 21), believed(1_000, 0, 0));
        assert_eq!(tally.take(3_000, (u32::MAX, u32::MAX), u64::MAX), believed(1_000, 0, 0));
    }

    #[test]
    fn a_report_that_got_lost_is_no_loss() {
        let mut tally = Tally::new(0);
        assert_eq!(tally.take(1_000, (1_000, 0), 1_000), believed(1_000, 0, 0));
        assert_eq!(tally.take(3_000, (990, 10), 3_000), believed(990, 10, 0));
    }

    #[test]
    fn reports_out_of_order_count_nothing_twice() {
        let mut tally = Tally::new(0);
        assert_eq!(tally.take(2_000, (1_000, 0), 2_000), believed(1_000, 0, 0));
        assert_eq!(tally.take(2_000, (900, 100), 1_000), believed(0, 0, 1_000));
        assert_eq!(tally.counter(), 2_000);
    }

    #[test]
    fn a_new_key_counts_from_zero() {
        let mut tally = Tally::new(5_000);
        assert_eq!(tally.take(100, (90, 10), 100), believed(90, 10, 0));
    }
}
