//! What members of a session lack, and what they found poisoned.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{BlockIndex, ReceiverId};
use fleetcast_core::session::source::BlockSource as _;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::nack::Nack;

use super::LiveSession;
use crate::server::spoiled::Course;

impl<A: Aead> LiveSession<A> {
    /// A member's NACK. Who cannot follow gets no repairs while others receive: they
    /// would pay for them. It asks again, or in its own lane.
    ///
    /// Returns the blocks that the member is to be told to give up, where it takes that.
    pub(in crate::server) fn handle_nack(
        &mut self,
        now: Instant,
        (id, gives_up): (&ReceiverId, bool),
        nack: &Nack<'_>,
    ) -> Vec<BlockIndex> {
        let Some(member) = self.members.get_mut(id) else { return Vec::new() };
        let of = |block| self.plan.layout(block).map_or(0, |layout| layout.sources() as u32);
        let asked = nack.entries().map(|entry| (u32::from(entry.missing), of(entry.block)));
        let (missing, of) = asked.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let was = *member;
        member.pace.hint(missing, of);
        self.compare(now, id, &was);
        if self.members.get(id).is_none_or(|member| !member.pace.follows()) {
            return Vec::new();
        }
        let members = self.receiving(id);
        let (mut repaired, mut given_up) = (Vec::new(), Vec::new());
        for entry in nack.entries() {
            let sources = self.plan.layout(entry.block).map_or(0, |layout| layout.sources());
            let lacks = (usize::from(entry.missing), sources);
            let course = match gives_up {
                true => self.spoiled.course(now, (entry.block, *id), lacks, members),
                false => Course::Repair,
            };
            match course {
                Course::Repair => repaired.push(entry.block),
                Course::GiveUp => given_up.push(entry.block),
                Course::Wait | Course::Told => {}
            }
        }
        self.sender.handle_nack(now, nack, &|block| repaired.contains(&block), &mut self.plan);
        given_up
    }

    /// A member found what is not ours in a block; whether the session goes over to strict
    /// mode because of it. What our own storage spoiled no digest makes better.
    pub(in crate::server) fn handle_poisoned(
        &mut self,
        now: Instant,
        id: &ReceiverId,
        block: BlockIndex,
    ) -> bool {
        if !self.sender.is_strict() && !self.plan.is_intact(block) {
            return false;
        }
        if self.is_multicast() && self.plan.layout(block).is_some() {
            self.spoiled.report(now, block, *id);
        }
        self.sender.handle_poisoned(now, block, &mut self.plan)
    }
}
