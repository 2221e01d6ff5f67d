//! What a LAN is to be like.

use std::fmt;
use std::str::FromStr;

/// How many hosts there are, and how fast their ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Hosts, the admin's among them.
    pub hosts: usize,
    /// Of every port in both directions.
    pub rate: Rate,
}

impl Plan {
    /// Most hosts: what addresses there are for.
    pub const MAX_HOSTS: usize = 250;

    /// A LAN of `hosts` hosts with ports of 1 Gbit/s.
    #[must_use]
    pub const fn gigabit(hosts: usize) -> Self {
        Self { hosts, rate: Rate::GIGABIT }
    }
}

/// Bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// 1 Gbit/s.
    pub const GIGABIT: Self = Self(1_000_000_000);

    /// Bits per second.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The bytes that pass at once: those of a millisecond, and at least ten
    /// packets, or else the timer of the queue is too coarse to reach the rate.
    #[must_use]
    pub fn burst(self) -> u64 {
        (self.0 / 8 / 1_000).max(16_000)
    }
}

const UNITS: [(&str, u64); 3] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let lower = lower.trim_end_matches("/s");
        let parse = || {
            let (unit, factor) = UNITS.iter().find(|(unit, _)| lower.ends_with(unit))?;
            let number: u64 = lower.trim_end_matches(unit).parse().ok()?;
            number.checked_mul(*factor).filter(|bits| (8_000..=100_000_000_000).contains(bits))
        };
        parse().map(Self).ok_or_else(|| format!("`{text}` is no rate such as 1gbit or 100mbit"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(out, "{}{unit}", self.0 / factor),
            None => write!(out, "{}bit", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_with_a_unit() {
        assert_eq!("1gbit".parse(), Ok(Rate::GIGABIT));
        assert_eq!("1000Mbit/s".parse(), Ok(Rate::GIGABIT));
        assert_eq!("250kbit".parse(), Ok(Rate(250_000)));
        for text in ["", "1", "gbit", "-1gbit", "1kbit", "1e9gbit", "99999999999999gbit"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_printed_as_tc_reads_it() {
        let printed = |text: &str| text.parse::<Rate>().map(|rate| rate.to_string());
        assert_eq!(printed("1gbit"), Ok("1gbit".to_owned()));
        assert_eq!(printed("2500mbit"), Ok("2500mbit".to_owned()));
        assert_eq!(printed("64kbit"), Ok("64kbit".to_owned()));
    }

    #[test]
    fn a_burst_is_a_millisecond_and_never_less_than_ten_packets() {
        assert_eq!(Rate::GIGABIT.burst(), 125_000);
        assert_eq!(Rate(1_000_000).burst(), 16_000);
    }
}
