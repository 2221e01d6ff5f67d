//! How many control signatures a session verifies, and when forgeries take it all.

use crate::time::Instant;

/// Seconds in a row that may bring nothing but forgeries.
const STARVED: u8 = 3;

/// Signatures that are verified in one second, and what the seconds before brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Verifications of one second at most.
    most: u32,
    second: u64,
    used: u32,
    /// Whether this second has brought a valid signature.
    is_of_use: bool,
    /// Seconds in a row whose whole budget went to forgeries.
    lost: u8,
}

impl Budget {
    /// A budget of so many verifications a second.
    pub(super) const fn new(most: u32) -> Self {
        Self { most, second: 0, used: 0, is_of_use: false, lost: 0 }
    }

    /// Whether nothing valid comes through any more: who holds the session's key
    /// floods it. What is lacking comes by catch-up, whose key no other receiver has.
    pub(super) const fn is_starved(&self) -> bool {
        self.lost >= STARVED
    }

    /// Takes one verification of this second, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            let is_lost = !self.has_left() && !self.is_of_use;
            let lost = if is_lost { self.lost.saturating_add(1) } else { 0 };
            *self = Self { second, lost, ..Self::new(self.most) };
        }
        // PROTOCOL S5
        let may = self.has_left();
        self.used += u32::from(may);
        may
    }

    /// What the verification brought.
    pub(super) const fn note(&mut self, valid: bool) {
        self.is_of_use |= valid;
    }

    const fn has_left(&self) -> bool {
        self.used < self.most
    }
}
