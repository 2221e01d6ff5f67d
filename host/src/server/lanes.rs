//! Lanes: who cannot follow a session's rate leaves it, so that it costs the others
//! nothing, and goes on with others of about the same pace, or alone.
//!
//! A member is compared with the lower median of the other members, by what its
//! reports say and the sender believes. It cannot follow when it takes less than a
//! quarter of what they take, or when it loses so much more than they that its
//! repairs cost them noticeably. Of the latter kind at most a tenth is set aside
//! (one in a small session): more of them steer the rate, which they could follow
//! if it were a little lower. Who cannot follow steers nothing and gets no repairs
//! at the others' cost, at once; when that lasts it leaves.

use fleetcast_core::ids::ReceiverId;
use fleetcast_core::limits::CATCH_UP_SHARE;
use fleetcast_core::session::sender::Flow;
use fleetcast_core::session::tally::Believed;
use fleetcast_core::time::{Duration, Instant};

/// Datagrams that a loss is told of at least.
const LEAST_SAMPLE: u32 = 64;
/// Symbols of reported blocks that a loss is told of at least: more than a burst takes.
const LEAST_MISSING: u32 = 1_000;
/// Loss in per mille above the others' that they can bear: so much more repair.
const BEARABLE: u32 = 150;
/// How many times less than the others one takes who belongs in another lane.
pub(super) const RATIO: u64 = 4;
/// How long a member may fail to follow before it leaves: longer than a disk's pause.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a receiver stays in its lane before it is tried with the others again.
pub(super) const LANE_TIME: Duration = Duration::from_secs(300);
/// Slowest pace that is told apart, in bytes per second.
const LEAST_PACE: u64 = 16 * 1_024;
/// Share of the cap that slow receivers' catch-up takes beside a multicast: it
/// delays the others by no more.
const SLOW_SHARE: u64 = 50;
/// Receivers of about the same pace that are worth a multicast lane.
const LEAST_LANE: usize = 3;

/// What keeps a session's rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limiter {
    /// Its share of what the admin allows.
    Cap,
    /// Most receivers lose too much at any rate.
    Network,
    /// The receiver that is behind, or loses the most, of those who steer the rate.
    Member(ReceiverId),
}

/// How well a member of a session follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Follows {
    /// As well as the others.
    Well,
    /// Its repairs would cost the others too much.
    Dearly,
    /// It takes less than a quarter of what they take.
    Not,
}

/// A member's pace in a session, from its reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Datagrams received and lost since the loss was told last.
    pooled: (u32, u32),
    /// Its loss in per mille, once there was a sample.
    loss: Option<u32>,
    /// Datagrams taken between its last two reports, per second.
    speed: u64,
    /// Whether that was less than a quarter of what was sent meanwhile.
    crawls: bool,
    /// Datagrams that had been sent when it reported last.
    sent: u64,
    behind: u64,
    /// Datagrams that it may be behind.
    most_behind: u64,
    reported: Instant,
    /// Since when it does not follow, and datagrams received since then.
    since: Option<(Instant, u64)>,
    follows: Follows,
}

impl Pace {
    /// A member of a session of that kind, which has reported nothing, `sent` datagrams
    /// after the key's first.
    pub(super) const fn new(now: Instant, sent: u64, flow: &Flow) -> Self {
        Self {
            pooled: (0, 0),
            loss: None,
            speed: 0,
            crawls: false,
            sent,
            behind: 0,
            most_behind: flow.behind,
            reported: now,
            since: None,
            follows: Follows::Well,
        }
    }

    /// Takes a report, at whose time `sent` datagrams had been sent.
    pub(super) fn report(&mut self, now: Instant, believed: Believed, sent: u64) {
        let Believed { received, lost, behind } = believed;
        self.pooled = (self.pooled.0.saturating_add(received), self.pooled.1.saturating_add(lost));
        let total = u64::from(self.pooled.0) + u64::from(self.pooled.1);
        if total >= LEAST_SAMPLE.into() {
            self.loss = Some((u64::from(self.pooled.1) * 1_000 / total) as u32);
            self.pooled = (0, 0);
        }
        let elapsed = now.since(self.reported).as_micros().max(1);
        self.speed = u64::from(received) * 1_000_000 / elapsed;
        // Another key counts from zero.
        let meanwhile = sent.checked_sub(self.sent).unwrap_or(sent);
        self.crawls = u64::from(received).saturating_mul(RATIO) < meanwhile;
        self.sent = sent;
        self.behind = behind;
        self.reported = now;
        if let Some((_, received_since)) = &mut self.since {
            *received_since += u64::from(received);
        }
    }

    /// Takes what a report of missing symbols says of its loss: it comes earlier than
    /// the next count of datagrams.
    pub(super) fn hint(&mut self, missing: u32, of: u32) {
        if of >= LEAST_MISSING {
            let loss = u64::from(missing) * 1_000 / u64::from(of);
            self.loss = self.loss.max(Some(loss.min(1_000) as u32));
        }
    }

    /// When its last report came, or it became a member.
    pub(super) const fn reported(&self) -> Instant {
        self.reported
    }

    /// How long it takes so many datagrams, at the speed of its last report.
    pub(super) const fn time_for(&self, datagrams: u64) -> Duration {
        let speed = if self.speed == 0 { 1 } else { self.speed };
        Duration::from_micros(datagrams.saturating_mul(1_000_000) / speed)
    }

    /// How well it follows by itself, compared with the others' loss.
    pub(super) fn compare(&self, others: u32) -> Follows {
        let lagging = self.is_behind() && self.crawls;
        let Some(loss) = self.loss else {
            return if lagging { Follows::Not } else { Follows::Well };
        };
        let (taken, usual) = (1_000 - loss.min(1_000), 1_000 - others.min(1_000));
        if lagging || u64::from(taken) * RATIO < u64::from(usual) {
            Follows::Not
        } else if loss > others + BEARABLE {
            Follows::Dearly
        } else {
            Follows::Well
        }
    }

    /// Whether it takes less than a quarter of what is sent: waiting for it would cost
    /// the others more than it helps.
    pub(super) const fn crawls(&self) -> bool {
        self.crawls
    }

    /// Notes how well it follows; `true` when it has not for so long that it must leave.
    pub(super) fn note(&mut self, now: Instant, follows: Follows) -> bool {
        self.follows = follows;
        if follows == Follows::Well {
            self.since = None;
            return false;
        }
        let (since, _) = *self.since.get_or_insert((now, 0));
        now.since(since) >= PATIENCE
    }

    /// Whether it follows, so that it steers the rate and its losses are repaired.
    pub(super) fn follows(&self) -> bool {
        self.follows == Follows::Well
    }

    /// Whether it would do with a little less.
    pub(super) fn is_dear(&self) -> bool {
        self.follows == Follows::Dearly
    }

    /// What it keeps the rate down by, if anything, the heavier the greater: that it is
    /// behind with taking datagrams, or its loss in per mille.
    pub(super) fn burden(&self) -> Option<(bool, u32)> {
        let burden = (self.is_behind(), self.loss.unwrap_or(0));
        (burden > (false, 0)).then_some(burden)
    }

    /// Its loss in per mille, once known.
    pub(super) const fn loss(&self) -> Option<u32> {
        self.loss
    }

    const fn is_behind(&self) -> bool {
        self.behind > self.most_behind
    }

    /// Bytes per second that it has taken since it ceased to follow, in datagrams of
    /// `datagram` bytes.
    pub(super) fn bytes_per_second(&self, now: Instant, datagram: u64) -> u64 {
        let Some((since, received)) = self.since else { return LEAST_PACE };
        let elapsed = now.since(since).as_micros().max(1);
        (received * datagram * 1_000_000 / elapsed).max(LEAST_PACE)
    }
}

/// The lower median of losses, where there are any.
pub(super) fn usual_loss(mut losses: Vec<u32>) -> Option<u32> {
    let last = losses.len().checked_sub(1)?;
    Some(*losses.select_nth_unstable(last / 2).1)
}

/// How many members of a session may be set aside although a lower rate would do.
pub(super) const fn few(members: usize) -> usize {
    if members < 20 { 1 } else { members / 10 }
}

/// Puts what has a pace together in lanes: of each the slowest is at most four times
/// slower than the fastest. Lanes of too few are to be served one by one.
pub(super) fn lanes<T>(mut slow: Vec<(u64, T)>) -> Vec<(u64, Vec<T>, bool)> {
    slow.sort_by_key(|(pace, _)| *pace);
    let mut lanes: Vec<(u64, Vec<T>, bool)> = Vec::new();
    for (pace, need) in slow {
        match lanes.last_mut() {
            Some((slowest, lane, worth)) if pace < slowest.saturating_mul(RATIO) => {
                lane.push(need);
                *worth = lane.len() >= LEAST_LANE;
            }
            _ => lanes.push((pace, vec![need], false)),
        }
    }
    lanes
}

/// What a session is, as far as its share of the cap goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Whether it is multicast.
    pub(super) multicast: bool,
    /// The pace of its lane in bytes per second, where it is a slow one.
    pub(super) pace: Option<u64>,
}

/// Shares the cap among sessions, in bytes per second each, in their order.
///
/// Beside a multicast all catch-up together takes a fifth at most, and that of slow
/// receivers a fiftieth. A slow lane takes twice its pace at most; what it
/// leaves is the others'.
pub(super) fn shares(cap: u64, claims: &[Claim]) -> Vec<u64> {
    let multicasts = claims.iter().filter(|claim| claim.multicast).count() as u64;
    let catch_ups = claims.len() as u64 - multicasts;
    let slow = claims.iter().filter(|claim| !claim.multicast && claim.pace.is_some()).count();
    let beside = multicasts > 0;
    let all_catch_up = if beside { cap / CATCH_UP_SHARE } else { cap } / catch_ups.max(1);
    let slow_catch_up = if beside { cap / SLOW_SHARE / (slow as u64).max(1) } else { cap };
    let most = |pace: Option<u64>| pace.map_or(u64::MAX, |pace| pace.saturating_mul(2));
    let of_catch_up = |claim: &Claim| match claim.pace {
        Some(_) => all_catch_up.min(slow_catch_up).max(1),
        None => all_catch_up.max(1),
    };
    let taken: u64 = claims.iter().filter(|claim| !claim.multicast).map(of_catch_up).sum();
    let mut left = cap.saturating_sub(taken);
    // The slowest first: what they leave is shared by the rest.
    let mut order: Vec<usize> = (0..claims.len()).filter(|&at| claims[at].multicast).collect();
    order.sort_by_key(|&at| most(claims[at].pace));
    let mut shares: Vec<u64> = claims.iter().map(of_catch_up).collect();
    for (at, sharers) in order.into_iter().zip((1..=multicasts).rev()) {
        shares[at] = (left / sharers).min(most(claims[at].pace)).max(1);
        left -= shares[at].min(left);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Claim = Claim { multicast: true, pace: None };
    const ALONE: Claim = Claim { multicast: false, pace: None };

    fn slow(multicast: bool, pace: u64) -> Claim {
        Claim { multicast, pace: Some(pace) }
    }

    #[test]
    fn all_catch_up_together_takes_a_fifth_beside_a_multicast() {
        assert_eq!(shares(1_000, &[FAST]), [1_000]);
        assert_eq!(shares(1_000, &[ALONE, ALONE]), [500, 500]);
        assert_eq!(shares(1_000, &[FAST, ALONE, ALONE, ALONE, ALONE]), [800, 50, 50, 50, 50]);
        assert_eq!(shares(1_000, &[FAST, FAST, ALONE]), [400, 400, 200]);
    }

    #[test]
    fn slow_lanes_leave_the_others_what_they_cannot_take() {
        assert_eq!(shares(1_000, &[FAST, slow(true, 10)]), [980, 20]);
        assert_eq!(shares(1_000, &[slow(true, 10), FAST, FAST]), [20, 490, 490]);
        // One by one: a fiftieth together.
        assert_eq!(shares(1_000, &[FAST, slow(false, 10), slow(false, 600)]), [980, 10, 10]);
        assert_eq!(shares(1_000, &[slow(false, 10)]), [1_000]);
        assert_eq!(shares(0, &[FAST, ALONE]), [1, 1]);
    }

    #[test]
    fn the_shares_never_exceed_the_cap() {
        for bits in 0..256_u64 {
            let claims: Vec<Claim> = (0..4)
                .map(|at| Claim {
                    multicast: bits >> (2 * at) & 1 == 1,
                    pace: (bits >> (2 * at + 1) & 1 == 1).then_some(30 + 200 * at),
                })
                .collect();
            let sum: u64 = shares(1_000, &claims).iter().sum();
            assert!(sum <= 1_000, "{claims:?}: {sum}");
        }
    }

    #[test]
    fn receivers_of_about_the_same_pace_share_a_lane() {
        let slow = vec![(100, 'a'), (399, 'b'), (4_000, 'd'), (200, 'c')];
        let expected = vec![(100, vec!['a', 'c', 'b'], true), (4_000, vec!['d'], false)];
        assert_eq!(lanes(slow), expected);
    }

    fn pace(received: u32, lost: u32, behind: u64) -> Pace {
        let mut pace = Pace::new(Instant::ZERO, 0, &Flow::HOSTS);
        pace.report(Instant::from_millis(100), Believed { received, lost, behind }, 1_000);
        pace
    }

    #[test]
    fn who_loses_what_all_lose_follows() {
        assert_eq!(pace(500, 500, 0).compare(500), Follows::Well);
        assert_eq!(pace(500, 500, 0).compare(0), Follows::Dearly);
        assert_eq!(pace(900, 100, 0).compare(0), Follows::Well);
        assert_eq!(pace(200, 800, 0).compare(0), Follows::Not);
        // Ten datagrams lost of ten say nothing yet.
        assert_eq!(pace(0, 10, 0).compare(0), Follows::Well);
    }

    #[test]
    fn what_many_blocks_lack_is_a_loss_and_what_one_lacks_a_burst() {
        let mut pace = pace(900, 100, 0);
        pace.hint(184, 184);
        assert_eq!(pace.loss(), Some(100));
        pace.hint(800, 1_600);
        assert_eq!(pace.loss(), Some(500));
        pace.hint(100, 1_600);
        assert_eq!(pace.loss(), Some(500));
    }

    #[test]
    fn who_is_far_behind_and_gets_on_slowly_does_not_follow() {
        assert_eq!(pace(80, 0, 3_000).compare(0), Follows::Not);
        assert_eq!(pace(80, 0, 100).compare(0), Follows::Well);
        assert_eq!(pace(800, 0, 3_000).compare(0), Follows::Well);
    }

    #[test]
    fn who_is_behind_is_a_heavier_burden_than_who_loses() {
        assert_eq!(pace(900, 0, 0).burden(), None);
        let burdens = [pace(990, 10, 0), pace(900, 100, 0), pace(800, 0, 3_000)];
        assert!(burdens.is_sorted_by_key(Pace::burden));
        assert!(burdens[0].burden() < burdens[1].burden());
        assert!(burdens[1].burden() < burdens[2].burden());
    }

    #[test]
    fn only_who_does_not_follow_for_a_while_must_leave() {
        let mut pace = pace(10, 990, 0);
        let mut note = |ms, follows| pace.note(Instant::from_millis(ms), follows);
        assert!(!note(100, Follows::Not));
        assert!(!note(590, Follows::Not));
        assert!(!note(595, Follows::Well));
        assert!(!note(600, Follows::Dearly));
        assert!(note(1_100, Follows::Not));
    }

    #[test]
    fn the_usual_loss_is_the_lower_median() {
        assert_eq!(usual_loss(vec![]), None);
        assert_eq!(usual_loss(vec![990, 10]), Some(10));
        assert_eq!(usual_loss(vec![500, 10, 990]), Some(500));
    }
}
