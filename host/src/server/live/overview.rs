//! What the members of a session are like together: one of them is compared with all others
//! at each of its reports, and new data waits while too many are behind.
//!
//! In a small session all members are looked at each time. In a large one each report would
//! cost time in proportion to the members. So there what was seen stands for as many reports
//! as an eighth of the members send, or until twice as many have reported at all; and whoever
//! changes is counted anew at once.

use std::collections::BTreeMap;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::time::{Duration, Instant};

use super::LiveSession;
use crate::server::lanes::{Follows, few, usual_loss};
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
    receive: usize,
    /// Those whose loss is known.
    known: usize,
    /// Those who follow.
    follow: usize,
    /// Those who would do with a little less.
    dear: usize,
    /// The lower median of their losses, where any is known.
    usual: Option<u32>,
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
    fn others(&mut self, members: &BTreeMap<ReceiverId, Member>, id: &ReceiverId) -> Seen {
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
    fn looks(&mut self, now: Instant, members: usize) -> bool {
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
fn look_again(members: usize) -> Duration {
    LOOK_AGAIN.max(Duration::from_micros(LOOK_EACH.as_micros() * members as u64))
}

impl<A: Aead> LiveSession<A> {
    /// Members that receive, of which one is this, if it does.
    pub(super) fn receiving(&mut self, id: &ReceiverId) -> usize {
        let itself = self.members.get(id).is_some_and(Member::receives);
        self.overview.others(&self.members, id).receive + usize::from(itself)
    }

    /// Whether a member's reports steer the rate: it follows, as far as that can be told.
    pub(super) fn steers(&mut self, id: &ReceiverId) -> bool {
        let others = self.overview.others(&self.members, id);
        let Some(member) = self.members.get(id) else { return false };
        // The first to report may be the one that loses what nobody else does.
        let alone = others.receive == 0;
        member.pace.follows() && (alone || member.pace.loss().is_some() && others.known > 0)
    }

    /// How well a member follows, beside the others that receive, by a report before which
    /// it was as told; its pace if it has to leave.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        id: &ReceiverId,
        before: &Member,
    ) -> Option<u64> {
        self.overview.changed(before, self.members.get(id)?);
        let others = self.overview.others(&self.members, id);
        let alone = !self.is_multicast() || others.follow == 0;
        let room = others.dear < few(others.receive + 1);
        let datagram = self.datagram();
        let member = self.members.get_mut(id)?;
        let was = *member;
        let follows = match member.pace.compare(others.usual.unwrap_or(0)) {
            _ if alone || others.usual.is_none() || !member.joined => Follows::Well,
            Follows::Dearly if !room => Follows::Well,
            follows => follows,
        };
        let leaves = member.pace.note(now, follows);
        self.overview.changed(&was, member);
        leaves.then(|| member.pace.bytes_per_second(now, datagram))
    }

    /// Holds new data while more than a tenth are behind but moving: what they lack must
    /// still be in their windows. Who stopped, or is hopelessly behind, goes to catch-up.
    pub(super) fn wait_for_members(&mut self, now: Instant) {
        if !self.overview.looks(now, self.members.len()) {
            return;
        }
        let (mut all, mut behind) = (0, 0);
        let sent = self.sender.counter();
        let interval = Duration::from_millis(self.report_ms.into());
        let flow = &self.config.shape.flow;
        let waited_for = |m: &&Member| m.receives() && m.pace.follows() && !m.pace.crawls();
        for member in self.members.values().filter(waited_for) {
            all += 1;
            behind += u32::from(member.is_behind(now, sent, interval, flow));
        }
        let held = behind * 10 > all;
        self.sender.hold(held);
        self.look_again = held.then_some(now + look_again(self.members.len()));
    }
}

#[cfg(test)]
mod tests;
