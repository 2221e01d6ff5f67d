//! When to announce a multicast membership again.
//!
//! A switch that snoops on IGMP forgets who listens unless somebody asks for it
//! now and then. Where nobody asks, listeners have to speak by themselves. An
//! unprivileged program cannot see whether somebody asks, and one report a
//! minute does no harm: it is made in any case. Whoever hears nothing suspects
//! that it was forgotten, and says so at once.

use crate::time::{Duration, Instant};

/// How often to look whether anything has come.
const LOOK: Duration = Duration::from_secs(1);
/// The same while nothing has come at all: the probes are over soon.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// Longest time between two announcements; RFC 3376 lets memberships lapse after 260 s.
const REPEAT: Duration = Duration::from_secs(60);

/// The announcements of one membership, which is announced when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Announcing {
    look_at: Instant,
    last: Instant,
    /// Datagrams that had come at the last look.
    received: u64,
}

impl Announcing {
    /// A membership that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { look_at: now + FIRST_LOOK, last: now, received: 0 }
    }

    /// Whether to announce it now, `received` datagrams having come until now.
    pub fn is_due(&mut self, now: Instant, received: u64) -> bool {
        if now < self.look_at {
            return false;
        }
        let silent = received == self.received;
        self.received = received;
        self.look_at = now + if received == 0 { FIRST_LOOK } else { LOOK };
        let due = silent || now.since(self.last) >= REPEAT;
        if due {
            self.last = now;
        }
        due
    }

    /// When to look again.
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.look_at
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Milliseconds of the announcements until `end`, of a receiver that gets a
    /// datagram in every millisecond that `hears` names.
    fn announced(end: u64, hears: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut announcing = Announcing::new(Instant::ZERO);
        let (mut received, mut at) = (0, Vec::new());
        for ms in 0..end {
            received += u64::from(hears(ms));
            if announcing.is_due(Instant::from_millis(ms), received) {
                at.push(ms);
            }
        }
        at
    }

    #[test]
    fn it_is_announced_until_a_probe_arrives() {
        // Probes come at 0, 0.1, 0.3, 1 and 2 s: one announcement before each of the last two.
        assert_eq!(announced(2_500, |_| false), [400, 800, 1_200, 1_600, 2_000, 2_400]);
        assert_eq!(announced(2_500, |ms| ms > 700), [400]);
    }

    #[test]
    fn it_is_announced_every_minute_while_all_is_well() {
        // Looked at each second from 0.4 s on.
        assert_eq!(announced(125_000, |_| true), [60_400, 120_400]);
    }

    #[test]
    fn it_is_announced_each_second_while_nothing_comes_any_more() {
        let stops = |ms| ms < 5_000;
        assert_eq!(announced(8_500, stops), [6_400, 7_400, 8_400]);
    }
}
