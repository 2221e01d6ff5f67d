//! How many control signatures a session verifies, and when forgeries take it all.

use crate::time::Instant;

/// Seconds in a row that may bring hardly anything but forgeries.
const STARVED: u8 = 3;
/// A second whose whole budget was used is lost when less than such a part of it was
/// valid: of a flood, what the sender says between is verified now and then, and nobody
/// gets anywhere with that.
const USEFUL: u32 = 8;

/// Signatures that are verified in one second, and what the seconds before brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Verifications of one second at most.
    most: u32,
    second: u64,
    used: u32,
    /// Of those the valid ones.
    valid: u32,
    /// Seconds in a row whose budget went to forgeries.
    lost: u8,
}

impl Budget {
    /// A budget of so many verifications a second.
    pub(super) const fn new(most: u32) -> Self {
        Self { most, second: 0, used: 0, valid: 0, lost: 0 }
    }

    /// Whether hardly anything valid comes through any more: who holds the session's key
    /// floods it. What is lacking comes by catch-up, whose key no other receiver has.
    pub(super) const fn is_starved(&self) -> bool {
        self.lost >= STARVED
    }

    /// Takes one verification of this second, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            let is_lost = !self.has_left() && self.valid < self.most / USEFUL;
            let lost = if is_lost { self.lost.saturating_add(1) } else { 0 };
            *self = Self { second, lost, ..Self::new(self.most) };
        }
        // PROTOCOL S5
        let may = self.has_left();
        self.used += u32::from(may);
        may
    }

    /// The session gets on by another way: what was lost counts no more.
    pub(super) const fn reprieve(&mut self) {
        self.lost = 0;
    }

    /// What the verification brought.
    pub(super) const fn note(&mut self, valid: bool) {
        if valid {
            self.valid += 1;
        }
    }

    const fn has_left(&self) -> bool {
        self.used < self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    /// Seconds until a budget of 80 a second is starved, when of every `of` datagrams
    /// one is valid, and so many come in a second.
    fn starves(rate: u64, of: u64) -> Option<u64> {
        let mut budget = Budget::new(80);
        let pause = Duration::from_micros(1_000_000 / rate);
        let mut now = Instant::ZERO;
        (0..10 * rate).find_map(|number| {
            if budget.take(now) {
                budget.note(number % of == 0);
            }
            now += pause;
            budget.is_starved().then(|| now.as_micros() / 1_000_000)
        })
    }

    // PROTOCOL S5
    #[test]
    fn three_seconds_of_hardly_anything_but_forgeries_starve_it() {
        assert_eq!(starves(1_000, u64::MAX), Some(3));
        // 2 of 80 are valid, 16 of 80 are, and less comes than it can bear.
        assert_eq!(starves(1_000, 40), Some(3));
        assert_eq!(starves(1_000, 5), None);
        assert_eq!(starves(50, 40), None);
    }
}
