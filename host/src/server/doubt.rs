//! A catalog that is older than what its receivers hold: it was restored from a copy.
//!
//! Then it may lack releases, removals and approvals, and does not know which tokens were
//! used and which passwords changed. So nothing is sent, nothing changed and nobody taken in
//! until an admin has looked and confirmed it; and the numbers of releases go on far enough
//! above all that anybody is known to hold.
//!
//! A member's word makes nobody doubt: it has to show what admins have signed
//! (`evidence.rs`).

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, PeerSlot, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{Down, ReleaseName};
use fleetcast_core::wire::people::AccountAnswer;

use super::ServerNode;
use super::delivering::MERGE;
use super::registry::Registry;
use crate::model::{DOUBT, UnixTime};

/// By how much the numbers of releases go on after a catalog was confirmed: more than
/// were made since the copy of which receivers that are away may know.
const LEAP: u64 = 1_000;
/// A receiver that only says that it holds more than so many releases beyond ours is not
/// believed.
const CREDIBLE: u64 = 10_000;

impl<A: Aead> ServerNode<A> {
    /// Since when the catalog is in doubt, if it is.
    #[must_use]
    pub fn in_doubt(&self) -> Option<UnixTime> {
        self.registry.mark(DOUBT)
    }

    /// Whether what a member says to hold shows, if it is true, that the catalog is too old:
    /// a release that it does not know, and did not forget.
    pub(super) fn is_news(&self, receiver: ReceiverId, claim: &ReleaseName) -> bool {
        if !self.registry.is_member(receiver, claim.group)
            || self.registry.release(&claim.digest).is_some()
            || claim.order.sequence <= floor(&self.registry, claim.group)
        {
            return false;
        }
        let same = |name: &ReleaseName| (name.group, name.order) == (claim.group, claim.order);
        let differs = self.registry.releases_of(claim.group).any(|release| same(&release.name));
        // What is not beyond those we know we have known, and pruned.
        differs || claim.order.sequence > highest(&self.registry, claim.group)
    }

    /// The catalog is older than what a receiver has proved to hold.
    pub(super) fn doubt(&mut self, receiver: ReceiverId, proved: &ReleaseName) {
        if self.in_doubt().is_none() {
            let (name, title) = (self.name_of(&receiver), self.registry.release_title(proved));
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
        self.take_up(now);
        let here: Vec<ReceiverId> = self.connected.keys().copied().collect();
        for receiver in here {
            self.owe_current(now, receiver);
            self.release_to(now, receiver);
        }
        self.plan_soon(now, MERGE);
    }
    /// PROTOCOL G7: says that nothing is taken in for now. What has been used or taken back
    /// since the copy was made is not known, neither of tokens nor of passwords.
    pub(super) fn put_off(&mut self, now: Instant, slot: PeerSlot) {
        self.tell(now, slot, &Down::Account { answer: AccountAnswer::Suspended });
        if let Some(link) = self.links.get_mut(&slot) {
            link.put_off = true;
        }
    }

    /// Takes up what was put off: tokens are used now, and who logs in is asked again by
    /// a welcome.
    fn take_up(&mut self, now: Instant) {
        let put_off = self.links.iter_mut().filter(|(_, link)| link.put_off);
        let put_off = put_off.filter_map(|(&slot, link)| {
            link.put_off = false;
            Some((slot, link.receiver?, link.key, link.token))
        });
        for (slot, id, key, token) in put_off.collect::<Vec<_>>() {
            match token.and_then(|token| self.redeem(now, id, key, token)) {
                None => self.welcome(now, slot),
                Some(why) => self.tell(now, slot, &Down::Refused { why }),
            }
        }
    }
}

/// The sequence above which the next release of a group must be.
pub(super) fn above(registry: &Registry, group: GroupId) -> u64 {
    highest(registry, group).max(floor(registry, group))
}

/// The highest sequence of a group's releases.
fn highest(registry: &Registry, group: GroupId) -> u64 {
    registry.releases_of(group).map(|release| release.name.order.sequence).max().unwrap_or(0)
}

/// Forgets what was noted of a group that is gone: its identity is never given again.
pub(super) fn forget_floor(registry: &mut Registry, group: GroupId) {
    let mark = mark_of(group);
    if registry.mark(&mark).is_some() {
        registry.put_mark(&mark, None);
    }
}

fn floor(registry: &Registry, group: GroupId) -> u64 {
    registry.mark(&mark_of(group)).unwrap_or(0)
}

fn mark_of(group: GroupId) -> String {
    format!("floor {group}")
}
