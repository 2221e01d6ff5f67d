//! How a member follows beside the others, and whether new data waits for those behind.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::time::{Duration, Instant};

use super::LiveSession;
use super::overview::look_again;
use crate::server::lanes::{Follows, few};
use crate::server::member::Member;

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
