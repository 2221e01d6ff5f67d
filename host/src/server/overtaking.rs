//! Which release takes the place of which, and when.
//!
//! A release contains what its group was to have before it, so a newer one makes older
//! ones pointless: but only once it is *let go*, when nothing but the way to its receiver
//! holds its installation up. What waits for `pending send`, for `pending resume` or for its
//! time has taken no place yet: until then a receiver gets what was on its way before, is
//! told of both, and ends with the newer one. So nobody has neither of them because an admin
//! thinks about the newer one, and orders only grow (PROTOCOL T3).
//!
//! Of what may be staged before its time a receiver holds back one release of each group at
//! most (PROTOCOL M4): a later one is staged when the one before is installed or over, and
//! takes its place at once where that could be switched to no earlier.
//!
//! A delivery that is let go and those that it overtakes change in one call, and so in one
//! batch of the catalog: after a crash both have, or neither.

use std::cmp::Reverse;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;
use super::delivering::LEFT;
use crate::model::{DeliveryRecord, DeliveryState, Hold, ReleaseRecord, ReleaseState, Terms};

impl<A: Aead> ServerNode<A> {
    /// Whether nothing but its way holds the installation of a delivery up, or held it up
    /// before it ended.
    pub(super) fn is_let_go(&self, delivery: &DeliveryRecord) -> bool {
        match delivery.hold {
            Hold::Free => true,
            Hold::Send | Hold::ResumeToSend => false,
            Hold::Activation | Hold::Staged | Hold::Resume | Hold::ResumeStaged => {
                !self.registry.terms(&delivery.release.digest).is_scheduled()
            }
        }
    }

    /// Whether a release waits for its time, or for the word of an admin at some receiver.
    pub(super) fn is_waiting(&self, release: &ReleaseName) -> bool {
        self.registry.terms(&release.digest).is_scheduled()
            || self.registry.is_queued(&release.digest)
    }

    /// A delivery is let go, or installed: what is older of its group is over for its receiver.
    ///
    /// Before the receiver is told to install it, so that it never installs the older one after.
    pub(super) fn take_place(&mut self, now: Instant, receiver: ReceiverId, of: &ReleaseName) {
        self.overtake(now, receiver, of, |_| true);
    }

    /// A delivery is new: what it makes pointless is over for its receiver.
    pub(super) fn displace(&mut self, now: Instant, new: &DeliveryRecord) {
        let (of, terms) = (new.release, self.registry.terms(&new.release.digest));
        if self.is_let_go(new) {
            self.take_place(now, new.receiver, &of);
        } else if new.hold == Hold::Activation {
            let open = self.registry.open_deliveries(new.receiver).filter(|d| !self.is_let_go(d));
            let pointless = open
                .filter(|d| is_seen_never(&self.registry.terms(&d.release.digest), &terms))
                .map(|d| d.id);
            let pointless: Vec<u64> = pointless.collect();
            self.overtake(now, new.receiver, &of, |older| pointless.contains(&older.id));
        }
    }

    fn overtake(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        by: &ReleaseName,
        chosen: impl Fn(&DeliveryRecord) -> bool,
    ) {
        let open = self.registry.open_deliveries(receiver);
        let older = open
            .filter(|d| d.release.group == by.group && d.release.order < by.order)
            .filter(|d| chosen(d));
        let reason = format!("{} took its place", self.registry.release_title(by));
        for delivery in older.cloned().collect::<Vec<_>>() {
            let delivery = DeliveryRecord { reason: reason.clone(), ..delivery };
            self.withdraw(now, delivery, DeliveryState::Superseded);
        }
    }

    /// Older releases of a group are superseded, once a release waits for nothing any more.
    pub(super) fn outdate(&mut self, by: &ReleaseName) {
        if self.is_waiting(by) {
            return;
        }
        let older = self.registry.releases_of(by.group).filter(|release| {
            release.state == ReleaseState::Current && release.name.order < by.order
        });
        for release in older.cloned().collect::<Vec<_>>() {
            let state = ReleaseState::Superseded;
            self.registry.put_release(ReleaseRecord { state, ..release });
        }
    }

    /// What is newest of a group counts again, after something newer was taken back: it, and
    /// where it waits for its time what receivers get until then.
    pub(super) fn reinstate(&mut self, group: GroupId) {
        for name in self.due_of(group) {
            let Some(release) = self.registry.release(&name.digest).cloned() else { continue };
            if release.state == ReleaseState::Superseded {
                if release.terms.is_scheduled() {
                    self.scheduled.insert(name.digest);
                }
                let state = ReleaseState::Current;
                self.registry.put_release(ReleaseRecord { state, ..release });
            }
        }
    }

    /// What the members of a group are to have: the newest release that waits for nothing,
    /// and those after it that do; in their order.
    pub(super) fn due_of(&self, group: GroupId) -> Vec<ReleaseName> {
        let mut due = Vec::new();
        for release in self.registry.releases_of(group).rev() {
            if counts(release) {
                due.push(release.name);
                if !self.is_waiting(&release.name) {
                    break;
                }
            }
        }
        due.reverse();
        due
    }

    /// The same, less what its receiver has, is owed, or was not to get; with what it waits for.
    pub(super) fn lacking(&self, receiver: ReceiverId, group: GroupId) -> Vec<(ReleaseName, Hold)> {
        // Never back: a release that was taken back may be installed here and there.
        let held = self.registry.held(receiver, group).map(|held| held.release);
        let has =
            |name: &ReleaseName| held.is_some_and(|held| held == *name || held.order > name.order);
        let owed = |name: &ReleaseName| self.registry.delivery_of(receiver, &name.digest);
        let due = self.due_of(group).into_iter().filter(|name| !has(name));
        let due = due.filter(|name| !owed(name).is_some_and(is_decided));
        let due = due.filter(|name| !self.is_overtaken(receiver, name));
        let hold = |name: ReleaseName| {
            let queued = self.registry.is_queued(&name.digest);
            (name, if queued { Hold::Send } else { self.hold_of_new(&name.digest) })
        };
        due.map(hold).collect()
    }

    /// Whether something newer of its group was let go to a receiver.
    pub(super) fn is_overtaken(&self, receiver: ReceiverId, release: &ReleaseName) -> bool {
        let newer = self.registry.releases_of(release.group).rev();
        let mut newer = newer.take_while(|newer| newer.name.order > release.order);
        newer.any(|newer| {
            let delivery = self.registry.delivery_of(receiver, &newer.name.digest);
            counts(newer) && delivery.is_some_and(|d| is_decided(d) && self.is_let_go(d))
        })
    }

    /// Whether a release is none that its group's members are to have any more.
    pub(super) fn is_outdated(&self, release: &ReleaseName) -> bool {
        !self.due_of(release.group).contains(release)
    }

    /// Whether a receiver holds something else of the group back, or is about to
    /// (PROTOCOL M4).
    pub(super) fn has_staged_before(&self, delivery: &DeliveryRecord) -> bool {
        self.registry.open_deliveries(delivery.receiver).any(|other| {
            let same = other.release.group == delivery.release.group && other.id != delivery.id;
            let told = match other.hold {
                Hold::Staged | Hold::ResumeStaged => true,
                Hold::Activation | Hold::Resume => other.id < delivery.id && !self.is_let_go(other),
                Hold::Free | Hold::Send | Hold::ResumeToSend => false,
            };
            same && told
        })
    }
}

/// Deliveries, those of the newest releases first: what these overtake is over before its turn.
pub(super) fn newest_first(mut deliveries: Vec<DeliveryRecord>) -> Vec<DeliveryRecord> {
    deliveries.sort_by_key(|delivery| Reverse(delivery.release.order));
    deliveries
}

/// Whether a release may be had: enough admins have signed it, and nobody took it back.
const fn counts(release: &ReleaseRecord) -> bool {
    matches!(release.state, ReleaseState::Current | ReleaseState::Superseded)
}

/// Whether a delivery is under way, or ended by a decision; what ended only because its
/// receiver left the group, or since something newer came, may be owed again.
fn is_decided(delivery: &DeliveryRecord) -> bool {
    match delivery.state {
        DeliveryState::Cancelled => delivery.code != LEFT,
        state => !state.is_final() || state == DeliveryState::Failed,
    }
}

/// Whether what waits for its time would be switched to no earlier than what is newer.
fn is_seen_never(older: &Terms, newer: &Terms) -> bool {
    let never = |(older, newer)| older >= newer;
    older.ready.is_none() && older.at.zip(newer.at).is_some_and(never)
}
