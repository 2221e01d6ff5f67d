//! Which releases stay: taking one back, and forgetting those that nobody needs.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;
use crate::error::Failure;
use crate::model::{DeliveryState, ReleaseRecord, ReleaseState};

impl<A: Aead> ServerNode<A> {
    /// Takes a release back: who has not installed it gets it no more; again is fine.
    /// Its number is never given again.
    ///
    /// # Errors
    /// `release-unknown`.
    pub fn cancel_release(
        &mut self,
        now: Instant,
        actor: &str,
        digest: &Digest,
    ) -> Result<(), Failure> {
        let unknown = || {
            let message = format!("there is no release {digest}");
            Failure::failed("release-unknown", message, "fleetcast releases list")
        };
        let release = self.registry.release(digest).cloned().ok_or_else(unknown)?;
        if release.state == ReleaseState::Cancelled {
            return Ok(());
        }
        let name = release.name;
        let open = self.registry.open_deliveries_of(digest);
        for delivery in open.cloned().collect::<Vec<_>>() {
            self.withdraw(now, delivery, DeliveryState::Cancelled);
        }
        self.scheduled.remove(digest);
        self.registry.put_release(ReleaseRecord { state: ReleaseState::Cancelled, ..release });
        self.reinstate(name.group);
        let title = self.registry.release_title(&name);
        self.registry.log(actor, "release-cancelled", &title, "ok");
        self.forget_contents();
        // Whose delivery of the one before was overtaken is owed it again.
        let members = self.registry.members(name.group).map(|member| member.receiver);
        for member in members.collect::<Vec<_>>() {
            self.owe_current(now, member);
        }
        Ok(())
    }

    /// The chunks of a release that is being sent.
    #[must_use]
    pub fn chunks_of(&self, release: &ReleaseName) -> Vec<Digest> {
        let contents = self.contents.get(&release.digest);
        contents.map(|c| c.all_chunks().map(|chunk| chunk.id).collect()).unwrap_or_default()
    }

    /// Releases that nobody needs: older than the newest `keep` of their group, none that its
    /// members are to have, on their way to nobody, and held by no receiver, which would be a
    /// loss for deltas.
    #[must_use]
    pub fn removable(&self, keep: usize) -> Vec<ReleaseName> {
        let mut needed: BTreeSet<Digest> =
            self.registry.all_held().map(|held| held.release.digest).collect();
        let open = self.registry.deliveries().filter(|d| !d.state.is_final());
        needed.extend(open.map(|delivery| delivery.release.digest));
        let sessions = self.sessions.iter().flat_map(|session| session.releases());
        needed.extend(sessions.map(|release| release.digest));
        let groups: BTreeSet<GroupId> = self.registry.groups().map(|group| group.id).collect();
        let mut removable = Vec::new();
        for group in groups {
            let due = self.due_of(group);
            let of_group = self.registry.releases().filter(|release| release.name.group == group);
            // What waits for signatures stays until it is cancelled.
            let of_group = of_group.filter(|release| release.state != ReleaseState::Unsigned);
            let mut names: Vec<ReleaseName> = of_group.map(|release| release.name).collect();
            names.sort_unstable_by_key(|name| Reverse(name.order));
            // The highest number stays known, so that it is not given again.
            let old = names.into_iter().skip(keep.max(1));
            removable.extend(old.filter(|n| !due.contains(n) && !needed.contains(&n.digest)));
        }
        removable
    }

    /// Forgets releases and their deliveries; the log and all receipts stay.
    pub fn forget_releases(&mut self, actor: &str, releases: &[ReleaseName]) {
        for name in releases {
            let title = self.registry.release_title(name);
            self.registry.remove_release(name);
            self.registry.log(actor, "release-pruned", &title, "ok");
            self.forget_traces(name);
        }
    }

    /// Forgets what is kept in memory of a release that is gone.
    pub(super) fn forget_traces(&mut self, name: &ReleaseName) {
        self.contents.remove(&name.digest);
        self.traffic.remove(&name.digest);
        self.savings.forget(&name.digest);
        self.scheduled.remove(&name.digest);
        self.wanted.retain(|(_, release), _| *release != name.digest);
    }
}
