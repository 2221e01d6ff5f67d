//! What a session knows of a receiver that takes part.

use fleetcast_core::ids::{BlockIndex, Epoch};
use fleetcast_core::session::sender::Flow;
use fleetcast_core::session::tally::Tally;
use fleetcast_core::time::{Duration, Instant};

use super::hearing::Hearing;
use super::lanes::Pace;

/// A member that takes nothing for so long is not waited for.
const STANDSTILL: Duration = Duration::from_millis(1_500);
/// Intervals of reports after which one is overdue.
const OVERDUE: u64 = 2;
/// Datagrams behind which a member's window cannot be filled any more.
const HOPELESS: u64 = 24_000;

/// A receiver in a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its release slot.
    pub(super) slot: u8,
    /// It hears the session.
    pub(super) joined: bool,
    /// It has said that the session can give it nothing more.
    pub(super) finished: bool,
    /// The epoch whose key it has confirmed.
    pub(super) epoch: Epoch,
    /// What its reports have told of what it has taken, and since when.
    pub(super) taken: (Tally, Instant),
    /// Until when it is behind, by what its last report said.
    pub(super) behind_until: Option<Instant>,
    /// How well it follows.
    pub(super) pace: Pace,
    /// Whether the session still reaches it.
    pub(super) hearing: Hearing,
    /// Data waits for it in the beginning.
    pub(super) awaited: bool,
    /// Which headers it asks for.
    pub(super) asks: Asks,
}

/// Requests for headers: who asks for the same one again finds none in the session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asks {
    /// The last one, and how often in a row.
    last: Option<(BlockIndex, u8)>,
    /// It is told headers over its channel from now on, and was last then.
    told: Option<Instant>,
}

/// So often the answer in the session may get lost.
const IN_VAIN: u8 = 3;
/// Least time between two headers that a member is told over its channel.
const TOLD_AGAIN: Duration = Duration::from_millis(20);

impl Asks {
    /// Takes a request; whether it is to be answered over the member's channel too.
    pub(super) fn take(&mut self, now: Instant, block: BlockIndex) -> bool {
        let times = match self.last {
            Some((last, times)) if last == block => times.saturating_add(1),
            _ => 1,
        };
        self.last = Some((block, times));
        let may = self.told.is_none_or(|told| now.since(told) >= TOLD_AGAIN);
        let tells = may && (self.told.is_some() || times > IN_VAIN);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

impl Member {
    /// A member of a session of that kind, which has said nothing yet.
    pub(super) fn new(
        slot: u8,
        epoch: Epoch,
        taken: Tally,
        awaited: bool,
        flow: &Flow,
        now: Instant,
    ) -> Self {
        Self {
            slot,
            joined: false,
            finished: false,
            epoch,
            taken: (taken, now),
            behind_until: None,
            pace: Pace::new(now, taken.counter(), flow),
            hearing: Hearing::new(now),
            awaited,
            asks: Asks::default(),
        }
    }

    /// Whether data reaches it that it still lacks.
    pub(super) const fn receives(&self) -> bool {
        self.joined && !self.finished
    }

    /// Notes of how many datagrams its report shows it to be `behind`, and how many it may be.
    pub(super) fn note_lag(&mut self, now: Instant, behind: u64, most: u64) {
        self.behind_until = (most..HOPELESS)
            .contains(&behind)
            .then(|| now + self.pace.time_for(behind).min(STANDSTILL));
    }

    /// Whether it is behind but moving: by its last report, for as long as it takes what
    /// it lacked then; or by all that was `sent` since, once the next report is overdue.
    /// What is sent between two reports is no sign of slowness, but must have room.
    pub(super) fn is_behind(
        &self,
        now: Instant,
        sent: u64,
        interval: Duration,
        flow: &Flow,
    ) -> bool {
        if self.behind_until.is_some_and(|until| now < until) {
            return true;
        }
        let (taken, changed) = self.taken;
        let overdue = Duration::from_micros(interval.as_micros().saturating_mul(OVERDUE));
        let is_overdue = now.since(self.pace.reported()) > overdue;
        let most = if is_overdue { flow.behind } else { flow.unreported };
        let lag = sent.saturating_sub(taken.counter());
        lag > most && lag < HOPELESS && now.since(changed) < STANDSTILL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL S24
    #[test]
    fn who_asks_in_vain_is_told_over_its_channel_and_from_then_on_at_once() {
        let at = Instant::from_millis;
        let mut asks = Asks::default();
        // Each time another one: answers come, and the next one gets lost.
        assert!((0..50).all(|n| !asks.take(at(n), BlockIndex(n as u32))));
        assert!((0..3).all(|n| !asks.take(at(60 + n), BlockIndex(90))));
        assert!(asks.take(at(70), BlockIndex(90)), "the fourth time");
        assert!(!asks.take(at(89), BlockIndex(91)), "not more often than every 20 ms");
        assert!(asks.take(at(90), BlockIndex(91)));
    }
}
