//! What is more urgent goes first: it takes receivers out of the sessions of what is
//! less urgent, and leaves other such sessions a small part of the rate.

use std::cmp::Reverse;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;
use super::lanes::{Claim, shares};
use crate::model::{DeliveryRecord, DeliveryState, ReleaseRecord, ReleaseState};

/// Part of the rate that sessions keep beside more urgent ones: enough that their
/// receivers notice no silence.
const YIELD: u64 = 20;

impl<A: Aead> ServerNode<A> {
    /// The delivery that a receiver is to get next: the most urgent, the oldest of these.
    pub(super) fn next_delivery_of(&mut self, receiver: ReceiverId) -> Option<DeliveryRecord> {
        let open = self.registry.open_deliveries(receiver);
        // Nobody works on it, whatever was under way when its session ended.
        let mut open: Vec<DeliveryRecord> = open
            .filter(|d| self.may_go(d))
            // A crash must not free the number of a release that somebody knows.
            .filter(|d| self.batches.has_delivery(d.id))
            .cloned()
            .collect();
        // PROTOCOL M2
        open.retain(|d| self.counts(receiver, d.release.group));
        open.into_iter().max_by_key(|d| (self.urgency(&[d.release]), Reverse(d.id)))
    }

    /// How urgent a session of these releases is: as the most urgent of them.
    pub(super) fn urgency(&self, releases: &[ReleaseName]) -> u8 {
        let urgency = releases.iter().map(|r| self.registry.terms(&r.digest).priority);
        urgency.max().unwrap_or(0)
    }

    /// Takes receivers out of the sessions of what is less urgent than what they are owed.
    /// They say what they lack of it, and get it afterwards.
    pub(super) fn preempt(&mut self, now: Instant) {
        let urgent = |r: &ReleaseRecord| r.terms.priority > 0 && r.state == ReleaseState::Current;
        if !self.registry.releases().any(urgent) {
            return;
        }
        let busy: Vec<(ReceiverId, u64)> = self
            .links
            .iter()
            .filter(|(_, link)| link.ready)
            .filter_map(|(_, link)| Some((link.receiver?, link.busy?)))
            .collect();
        for (receiver, id) in busy {
            let Some(delivery) = self.registry.delivery(id).cloned() else { continue };
            let Some(next) = self.next_delivery_of(receiver) else { continue };
            let urgent = self.urgency(&[next.release]) > self.urgency(&[delivery.release]);
            if urgent && self.interrupt(now, receiver, &delivery.release) {
                let state = DeliveryState::Queued;
                self.registry.put_delivery(DeliveryRecord { state, ..delivery });
            }
        }
    }
}

/// Shares a cap in bytes per second: what is less urgent than something else gets a
/// small part together.
pub(super) fn urgent_shares(cap: u64, claims: &[Claim], urgency: &[u8]) -> Vec<u64> {
    let top = urgency.iter().max().copied().unwrap_or(0);
    let of = |first: bool| -> Vec<Claim> {
        let chosen = claims.iter().zip(urgency).filter(|(_, u)| (**u == top) == first);
        chosen.map(|(claim, _)| *claim).collect()
    };
    let rest = if urgency.iter().all(|u| *u == top) { 0 } else { cap / YIELD };
    let mut first = shares(cap - rest, &of(true)).into_iter();
    let mut others = shares(rest, &of(false)).into_iter();
    let share = |u: &u8| if *u == top { first.next() } else { others.next() };
    urgency.iter().map(share).map(|share| share.unwrap_or(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTICAST: Claim = Claim { multicast: true, pace: None };

    #[test]
    fn sessions_of_one_urgency_share_as_ever() {
        let claims = [MULTICAST, MULTICAST];
        assert_eq!(urgent_shares(1_000, &claims, &[3, 3]), shares(1_000, &claims));
        assert_eq!(urgent_shares(1_000, &[], &[]), Vec::<u64>::new());
    }

    #[test]
    fn what_is_less_urgent_keeps_a_twentieth_of_the_rate() {
        let claims = [MULTICAST, MULTICAST, MULTICAST];
        assert_eq!(urgent_shares(1_000, &claims, &[0, 5, 0]), [25, 950, 25]);
        assert_eq!(urgent_shares(1_000, &claims, &[0, 1, 2]), [25, 25, 950]);
    }
}
