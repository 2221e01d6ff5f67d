//! What the members of a session are like together: one of them is compared with all others
//! at each of its reports, and new data waits while too many are behind.
//!
//! In a small session all members are looked at each time. In a large one each report would
//! cost time in proportion to the members. So there what was seen stands for as many reports
//! as an eighth of the members send, or until twice as many have reported at all; and whoever
//! changes is counted anew at once.

use std::collections::BTreeMap;

use fleetcast_core::ids::ReceiverId;
use fleetcast_core::time::{Duration, Instant};

use crate::server::lanes::usual_loss;
use crate::server::member::Member;

/// Sessions of fewer members are looked at each time.
const LARGE: usize = 64;
/// Members that are looked at per report of a large session.
const EACH: usize = 8;
/// How often to look whether those who were behind have caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The same of large sessions, for each member: 100,000 looks at members per second. Their
/// reports are the rarer the more they are, so that a later look misses nothing.
const LOOK_EACH: Duration = Duration::from_micros(10);

/// What was seen of members that receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many they are.
    pub(super) receive: usize,
    /// Those whose loss is known.
    pub(super) known: usize,
    /// Those who follow.
    pub(super) follow: usize,
    /// Those who would do with a little less.
    pub(super) dear: usize,
    /// The lower median of their losses, where any is known.
    pub(super) usual: Option<u32>,
}

impl Seen {
    fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Self {
        let (mut seen, mut losses) = (Self::default(), Vec::new());
        for member in members.filter(|member| member.receives()) {
            losses.extend(member.pace.loss());
            seen.count(member, true);
        }
        Self { usual: usual_loss(losses), ..seen }
    }

    /// Counts a member in, or out; its loss is one of many.
    fn count(&mut self, member: &Member, comes: bool) {
        let add = |count: &mut usize, counts: bool| {
            let one = usize::from(counts && member.receives());
            *count = if comes { *count + one } else { count.saturating_sub(one) };
        };
        add(&mut self.receive, true);
        add(&mut self.known, member.pace.loss().is_some());
        add(&mut self.follow, member.pace.follows());
        add(&mut self.dear, member.pace.is_dear());
    }
}

/// What was seen of all members of a large session, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overview {
    seen: Option<Seen>,
    /// Those whose loss was known when all were looked at.
    knew: usize,
    /// Reports since then.
    reports: usize,
    /// When it was last looked who is behind.
    looked: Option<Instant>,
    /// Members looked at: what this costs.
    visits: u64,
}

impl Overview {
    /// What the members are like that receive, without this one.
    pub(super) fn others(
        &mut self,
        members: &BTreeMap<ReceiverId, Member>,
        id: &ReceiverId,
    ) -> Seen {
        if members.len() < LARGE {
            self.visits += members.len() as u64;
            let others = members.iter().filter(|(other, _)| *other != id);
            return Seen::of(others.map(|(_, member)| member));
        }
        self.reports += 1;
        let stands = |seen: &Seen| {
            self.reports * EACH <= members.len() && seen.known <= self.knew.saturating_mul(2)
        };
        let mut seen = self.seen.filter(stands).unwrap_or_else(|| {
            let seen = Seen::of(members.values());
            self.visits += members.len() as u64;
            (self.reports, self.knew) = (0, seen.known);
            seen
        });
        self.seen = Some(seen);
        if let Some(member) = members.get(id) {
            seen.count(member, false);
        }
        seen
    }

    /// A member is another one than before.
    pub(super) fn changed(&mut self, before: &Member, after: &Member) {
        self.left(before);
        if let Some(seen) = &mut self.seen {
            seen.count(after, true);
        }
    }

    /// A member is no longer one.
    pub(super) fn left(&mut self, member: &Member) {
        if let Some(seen) = &mut self.seen {
            seen.count(member, false);
        }
    }

    /// Whether it is time to look who is behind.
    pub(super) fn looks(&mut self, now: Instant, members: usize) -> bool {
        let stands = self.looked.is_some_and(|at| now.since(at) < look_again(members));
        let looks = members < LARGE || !stands;
        if looks {
            self.looked = Some(now);
            self.visits += members as u64;
        }
        looks
    }
}

/// How often to look who of so many members is behind.
pub(super) fn look_again(members: usize) -> Duration {
    LOOK_AGAIN.max(Duration::from_micros(LOOK_EACH.as_micros() * members as u64))
}

#[cfg(test)]
mod tests;
