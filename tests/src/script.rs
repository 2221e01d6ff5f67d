//! What the admin does: takes receivers in, sends releases, sees to it that
//! everything is in the end as it should be.

use fleetcast::model::DeliveryState;
use fleetcast::server::releases::SendOptions;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{ReleaseName, Standing};

use crate::admin::Tree;
use crate::world::World;

/// A release to be sent at a time.
pub struct Planned {
    /// Not before.
    pub at: Instant,
    /// Place of its group among the groups.
    pub group: usize,
    /// What it contains.
    pub tree: Tree,
}

/// What is to be done.
#[derive(Default)]
pub struct Script {
    /// Releases in the order of their sending.
    pub planned: Vec<Planned>,
    /// How many of them are durable at the server.
    pub sent: usize,
    /// The one under way.
    pub under_way: Option<Digest>,
    /// Per receiver: places of the groups that it belongs in.
    pub members: Vec<Vec<usize>>,
    /// How releases are sent.
    pub options: SendOptions,
    /// Whether deliveries that failed are tried again.
    pub retries: bool,
    /// The newest durable release of each group.
    pub newest: Vec<Option<ReleaseName>>,
}

impl World {
    /// The admin looks at the fleet, and does what is to be done.
    pub(crate) fn tick(&mut self) {
        self.take_in();
        self.send();
        if self.script.retries {
            self.retry();
        }
    }

    /// Approves receivers that wait, and puts them where they belong.
    fn take_in(&mut self) {
        let Some(node) = &mut self.server.node else { return };
        for (receiver, groups) in self.receivers.iter().zip(&self.script.members) {
            let id = receiver.id();
            let Some(record) = node.registry().receiver(&id) else { continue };
            let name = id.to_string();
            if record.standing == Standing::Waiting
                && let Err(failure) = node.approve_receiver(self.now, "admin", &name)
            {
                self.oracle.violate(format!("an approval failed: {failure:?}"));
            }
            for &group in groups {
                let (group, group_name) = &self.groups[group];
                if node.registry().is_member(id, *group) {
                    continue;
                }
                let certificate = self.admin.certificate(receiver.key, *group, 1);
                let added = node.add_member(self.now, "admin", group_name, &name, certificate);
                if let Err(failure) = added {
                    self.oracle.violate(format!("a member was not added: {failure:?}"));
                }
            }
        }
    }

    /// Sends the next release, or notes that the last one is durable; one that
    /// a crash of the server took is signed and sent again.
    fn send(&mut self) {
        let Some(node) = &mut self.server.node else { return };
        if let Some(digest) = self.script.under_way {
            if let Some(release) = self.server.catalog.release(&digest) {
                let planned = &self.script.planned[self.script.sent];
                self.script.newest[planned.group] = Some(release.name);
                self.script.sent += 1;
                self.script.under_way = None;
            } else if node.registry().release(&digest).is_none() {
                self.script.under_way = None;
            }
            return;
        }
        let Some(planned) = self.script.planned.get(self.script.sent) else { return };
        if planned.at > self.now {
            return;
        }
        let (group, name) = &self.groups[planned.group];
        let sent = node.next_order(name).and_then(|order| {
            let chunks = &self.server.chunks;
            let signed = self.admin.release(*group, name, order, &planned.tree, chunks);
            self.script.under_way = Some(signed.name.digest);
            let document = signed.document.clone();
            node.submit_release(self.now, "admin", document, self.script.options)
        });
        if let Err(failure) = sent {
            self.oracle.violate(format!("a release was not taken: {failure:?}"));
        }
    }

    /// Tries failed deliveries of newest releases again.
    fn retry(&mut self) {
        let Some(node) = &mut self.server.node else { return };
        let newest: Vec<ReleaseName> = self.script.newest.iter().flatten().copied().collect();
        let mut again = Vec::new();
        for receiver in &self.receivers {
            for release in &newest {
                let delivery = node.registry().delivery_of(receiver.id(), &release.digest);
                again.extend(delivery.filter(|d| d.state == DeliveryState::Failed).map(|d| d.id));
            }
        }
        for id in again {
            // It may have been settled by the one before.
            let _ = node.retry_delivery(self.now, "admin", id);
        }
    }

    /// Whether every receiver has a channel.
    #[must_use]
    pub fn all_are_here(&self) -> bool {
        let node = self.server.node.as_ref();
        node.is_some_and(|node| self.receivers.iter().all(|r| node.is_here(&r.id())))
    }

    /// Whether all is as it should be in the end, and if not, what is not.
    #[must_use]
    pub fn behind(&self) -> Option<String> {
        if self.script.sent < self.script.planned.len() {
            return Some(format!("release {} was never sent", self.script.sent));
        }
        let Some(node) = &self.server.node else { return Some("the server is down".into()) };
        for (at, (receiver, groups)) in self.receivers.iter().zip(&self.script.members).enumerate()
        {
            for &group in groups {
                let Some(release) = self.script.newest[group] else { continue };
                let id = receiver.id();
                let shown = self.oracle.shown(at, &release.group);
                let held = node.registry().held(id, release.group).map(|held| held.release);
                if shown != Some(release) || held != Some(release) {
                    let delivery = node.registry().delivery_of(id, &release.digest);
                    let told = delivery.map(|d| (d.state, d.reason.clone()));
                    let order = |name: Option<ReleaseName>| name.map(|n| n.order.sequence);
                    return Some(format!(
                        "receiver {at}, group {group}: shows {:?}, reported {:?}, \
                         delivery {told:?}, of release {}; here: {}",
                        order(shown),
                        order(held),
                        release.order.sequence,
                        node.is_here(&id),
                    ));
                }
            }
        }
        None
    }

    /// The identity of a group by its place.
    #[must_use]
    pub fn group(&self, place: usize) -> GroupId {
        self.groups[place].0
    }
}
