//! A catalog that is older than what its receivers hold: it was restored from a copy.
//!
//! Then it may lack releases, removals and approvals. So nothing is sent and nothing
//! changed until an admin has looked and confirmed it; and the numbers of releases go
//! on far enough above all that anybody is known to hold.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;
use super::delivering::MERGE;
use super::registry::Registry;
use crate::model::{DOUBT, UnixTime};

/// By how much the numbers of releases go on after a catalog was confirmed: more than
/// were made since the copy of which receivers that are away may know.
const LEAP: u64 = 1_000;
/// A receiver that claims more than so many releases beyond ours is not believed.
const CREDIBLE: u64 = 10_000;

impl<A: Aead> ServerNode<A> {
    /// Since when the catalog is in doubt, if it is.
    #[must_use]
    pub fn in_doubt(&self) -> Option<UnixTime> {
        self.registry.mark(DOUBT)
    }

    /// Compares what a receiver holds with what we know.
    pub(super) fn weigh(&mut self, receiver: ReceiverId, claim: &ReleaseName) {
        if !self.registry.is_member(receiver, claim.group)
            || self.registry.release(&claim.digest).is_some()
            || claim.order.sequence <= floor(&self.registry, claim.group)
        {
            return;
        }
        let known = highest(&self.registry, claim.group);
        let same = |name: &ReleaseName| (name.group, name.order) == (claim.group, claim.order);
        let differs = self.registry.releases().any(|release| same(&release.name));
        if claim.order.sequence <= known && !differs {
            // We knew it, and have pruned it.
            return;
        }
        let credible = differs || claim.order.sequence - known <= CREDIBLE;
        let (name, title) = (self.name_of(&receiver), self.registry.release_title(claim));
        if !credible {
            tracing::warn!(%name, %title, "claim refused: far beyond all releases");
            return;
        }
        if self.in_doubt().is_none() {
            self.registry.put_mark(DOUBT, Some(self.registry.time()));
            self.registry.log(&name, "catalog-doubted", &title, "held, and unknown here");
        }
    }

    /// An admin has looked at the catalog: it counts again.
    pub fn confirm_catalog(&mut self, now: Instant, actor: &str) {
        if self.in_doubt().is_none() {
            return;
        }
        let groups: Vec<GroupId> = self.registry.groups().map(|group| group.id).collect();
        for group in groups {
            let held = self.registry.all_held().filter(|held| held.release.group == group);
            let held = held.map(|held| held.release.order.sequence).max().unwrap_or(0);
            let known = highest(&self.registry, group);
            let held = held.min(known.saturating_add(CREDIBLE));
            let floor = known.max(held).saturating_add(LEAP);
            self.registry.put_mark(&mark_of(group), Some(floor));
        }
        // Those that were revoked since the copy was made are in it again.
        self.forget_tokens(actor);
        self.registry.put_mark(DOUBT, None);
        self.registry.log(actor, "catalog-confirmed", "", "ok");
        let here: Vec<ReceiverId> = self.connected.keys().copied().collect();
        for receiver in here {
            self.release_to(now, receiver);
            self.owe_current(now, receiver);
        }
        self.plan_soon(now, MERGE);
    }
}

/// The sequence above which the next release of a group must be.
pub(super) fn above(registry: &Registry, group: GroupId) -> u64 {
    highest(registry, group).max(floor(registry, group))
}

/// The highest sequence of a group's releases.
fn highest(registry: &Registry, group: GroupId) -> u64 {
    let of_group = registry.releases().filter(|release| release.name.group == group);
    of_group.map(|release| release.name.order.sequence).max().unwrap_or(0)
}

fn floor(registry: &Registry, group: GroupId) -> u64 {
    registry.mark(&mark_of(group)).unwrap_or(0)
}

fn mark_of(group: GroupId) -> String {
    format!("floor {group}")
}
