//! One serialisable picture of now: what lists, `--json` and the page show.

use std::collections::HashMap;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};
use fleetcast_core::wire::control::Standing;

use super::lanes::Limiter;
use super::live::LiveSession;
use super::registry::Registry;
use super::{Link, ServerNode, Traffic};
use crate::model::{DeliveryRecord, DeliveryState, ReceiverRecord, ReleaseRecord, ReleaseState};
use crate::status::{
    DeliveryItem, GroupItem, InstalledItem, Profile, ReceiverCounts, ReceiverItem, ReceiverState,
    ReleaseItem, SessionItem, StatusItem, TotalsItem,
};

impl<A: Aead> ServerNode<A> {
    /// The facts, for reading.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whom the fleet trusts.
    #[must_use]
    pub const fn authority(&self) -> &TrustedAuthority {
        &self.authority
    }

    /// A receiver as lists show it.
    #[must_use]
    pub fn receiver_item(&self, record: &ReceiverRecord) -> ReceiverItem {
        let groups = self.registry.memberships_of(record.id);
        let mut groups: Vec<String> =
            groups.filter_map(|m| Some(self.registry.group(&m.group)?.name.clone())).collect();
        groups.sort_unstable();
        let held = self.registry.held_by(record.id);
        let mut installed: Vec<InstalledItem> = held
            .filter_map(|held| {
                Some(InstalledItem {
                    group: self.registry.group(&held.release.group)?.name.clone(),
                    sequence: held.release.order.sequence,
                    release: held.release.digest.to_string(),
                })
            })
            .collect();
        installed.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        let here = self.connected.contains_key(&record.id);
        let state = match record.standing {
            Standing::Revoked => ReceiverState::Revoked,
            Standing::Waiting => ReceiverState::Waiting,
            Standing::Member if here => ReceiverState::Active,
            Standing::Member => ReceiverState::Away,
        };
        ReceiverItem {
            name: record.name.clone(),
            id: record.id.to_string(),
            fingerprint: Digest::of(&record.key.0).to_string(),
            state,
            last_seen: if here { self.registry.time() } else { record.last_seen },
            address: record.address.map(|address| address.to_string()),
            version: record.version.clone(),
            profile: if record.constrained { Profile::Constrained } else { Profile::Standard },
            groups,
            free_bytes: record.free,
            installed,
        }
    }

    /// All receivers, by name.
    #[must_use]
    pub fn receiver_items(&self) -> Vec<ReceiverItem> {
        let mut items: Vec<_> = self.registry.receivers().map(|r| self.receiver_item(r)).collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        items
    }

    /// The round trip of a receiver's last answered ping.
    #[must_use]
    pub fn round_trip(&self, receiver: &ReceiverId) -> Option<Duration> {
        self.link_of(receiver)?.1.round_trip
    }

    /// Whether a receiver has a channel.
    #[must_use]
    pub fn is_here(&self, receiver: &ReceiverId) -> bool {
        self.connected.contains_key(receiver)
    }

    /// A receiver's channel.
    pub(super) fn link_of(&self, receiver: &ReceiverId) -> Option<(PeerSlot, &Link)> {
        let slot = *self.connected.get(receiver)?;
        Some((slot, self.links.get(&slot)?))
    }

    /// By which path a receiver would be reached now.
    #[must_use]
    pub fn path_of(&self, receiver: &ReceiverId) -> &'static str {
        match self.link_of(receiver) {
            None => "later",
            Some((_, link)) if link.slow.is_some() || link.hears.is_deaf() => "unicast",
            Some(_) => "multicast",
        }
    }

    /// All groups, by name.
    #[must_use]
    pub fn group_items(&self) -> Vec<GroupItem> {
        let item = |group: &crate::model::GroupRecord| GroupItem {
            name: group.name.clone(),
            open: group.open,
            receivers: self.registry.members(group.id).count() as u64,
            sequence: self.registry.current_release(group.id).map_or(0, |r| r.name.order.sequence),
        };
        let mut items: Vec<_> = self.registry.groups().map(item).collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        items
    }

    /// A release as lists show it.
    #[must_use]
    pub fn release_item(&self, release: &ReleaseRecord) -> ReleaseItem {
        let signed = SignedDocument::parse(&release.document, MAX_ROOT).ok();
        // They were checked before they were kept; here it counts whose they are.
        let admins: Vec<Fingerprint> =
            self.authority.admins().map(|key| Fingerprint::of(&key.0)).collect();
        let signatures = signed
            .map_or(0, |document| document.signers().filter(|key| admins.contains(key)).count());
        let state = match release.state {
            ReleaseState::Current if self.is_waiting(&release.name) => "waiting",
            ReleaseState::Current => "current",
            ReleaseState::Superseded => "superseded",
            ReleaseState::Cancelled => "cancelled",
            ReleaseState::Unsigned => "unsigned",
        };
        ReleaseItem {
            release: release.name.digest.to_string(),
            group: self
                .registry
                .group(&release.name.group)
                .map_or_else(String::new, |g| g.name.clone()),
            sequence: release.name.order.sequence,
            name: release.label.clone(),
            files: release.files,
            bytes: release.bytes,
            created: release.created,
            expires: release.expires,
            signatures: signatures as u32,
            threshold: self.authority.document().threshold.into(),
            state: state.to_owned(),
        }
    }

    /// Releases of a group, or all, newest first.
    #[must_use]
    pub fn release_items(&self, group: Option<&str>) -> Vec<ReleaseItem> {
        let mut items: Vec<_> = self.registry.releases().map(|r| self.release_item(r)).collect();
        items.retain(|item| group.is_none_or(|group| item.group == group));
        items.sort_unstable_by(|a, b| (&a.group, b.sequence).cmp(&(&b.group, a.sequence)));
        items
    }

    /// A delivery as lists show it.
    #[must_use]
    pub fn delivery_item(&self, delivery: &DeliveryRecord) -> DeliveryItem {
        let group = self.registry.group(&delivery.release.group);
        let terms = self.registry.terms(&delivery.release.digest);
        DeliveryItem {
            id: delivery.id,
            receiver: self.name_of(&delivery.receiver),
            group: group.map_or_else(String::new, |group| group.name.clone()),
            release: delivery.release.digest.to_string(),
            sequence: delivery.release.order.sequence,
            state: delivery.state.word().to_owned(),
            code: delivery.code.clone(),
            reason: delivery.reason.clone(),
            bytes: delivery.bytes,
            path: delivery.path.word().to_owned(),
            waits: delivery.hold.word().to_owned(),
            at: terms.at,
            priority: terms.priority,
        }
    }

    /// Deliveries that are not final.
    #[must_use]
    pub fn pending_items(&self) -> Vec<DeliveryItem> {
        let open = self.registry.deliveries().filter(|delivery| {
            !delivery.state.is_final() || delivery.state == DeliveryState::Failed
        });
        open.map(|delivery| self.delivery_item(delivery)).collect()
    }

    /// What has been sent for releases, running sessions included.
    #[must_use]
    pub fn traffic(&self, releases: &[Digest]) -> Traffic {
        let mut sum = Traffic::default();
        let closed: HashMap<&Digest, &Traffic> = self.traffic.iter().collect();
        for traffic in releases.iter().filter_map(|release| closed.get(release)) {
            sum.payload += traffic.payload;
            sum.multicast += traffic.multicast;
            sum.unicast += traffic.unicast;
            sum.repairs += traffic.repairs;
            sum.nacks += traffic.nacks;
        }
        for session in &self.sessions {
            if session.releases().first().is_some_and(|r| releases.contains(&r.digest)) {
                add_running(&mut sum, session);
            }
        }
        sum
    }

    /// The picture of now.
    #[must_use]
    pub fn status(&self, now: Instant) -> StatusItem {
        let mut totals = self.total;
        self.sessions.iter().for_each(|session| add_running(&mut totals, session));
        let wire = totals.multicast + totals.unicast;
        let count = |standing: Standing, here: bool| {
            let receivers = self.registry.receivers().filter(|r| r.standing == standing);
            receivers.filter(|r| self.is_here(&r.id) == here).count() as u64
        };
        StatusItem {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: now.since(self.started).as_micros() / 1_000_000,
            receivers: ReceiverCounts {
                active: count(Standing::Member, true),
                away: count(Standing::Member, false),
                waiting: count(Standing::Waiting, true) + count(Standing::Waiting, false),
            },
            rate: self.rate_item(),
            sessions: self.sessions.iter().map(|session| self.session_item(session)).collect(),
            totals: TotalsItem {
                payload_bytes: totals.payload,
                wire_bytes: wire,
                saved_bytes: self.savings.total(),
            },
            health: self.health().items(),
        }
    }

    fn session_item(&self, session: &LiveSession<A>) -> SessionItem {
        let sender = session.sender();
        let limiter = session.limiter();
        let group = |release: &fleetcast_core::wire::control::ReleaseName| {
            self.registry.group(&release.group).map(|group| group.name.clone())
        };
        SessionItem {
            id: session.id().0,
            groups: session.releases().iter().filter_map(group).collect(),
            rate: sender.current_rate(),
            loss: f64::from(sender.loss()) / 1_000.0,
            repair_symbols: sender.stats().parity + sender.stats().resent,
            cause: match limiter {
                Some(Limiter::Cap) => self.cause_of_cap(session.releases()),
                _ => String::new(),
            },
            limiter: match limiter {
                None => String::new(),
                Some(Limiter::Cap) => "cap".to_owned(),
                Some(Limiter::Network) => "network".to_owned(),
                Some(Limiter::Member(receiver)) => self.name_of(&receiver),
            },
            path: if session.is_multicast() { "multicast" } else { "unicast" }.to_owned(),
        }
    }

    /// Writes a line of the log about what was done beside this machine.
    pub fn note(&mut self, actor: &str, action: &str, subject: &str, result: &str) {
        self.registry.log(actor, action, subject, result);
    }
}

fn add_running<A: Aead>(traffic: &mut Traffic, session: &LiveSession<A>) {
    let stats = session.sender().stats();
    traffic.payload += stats.payload_bytes;
    traffic.repairs += stats.parity + stats.resent;
    traffic.nacks += stats.nacks;
    if session.is_multicast() {
        traffic.multicast += stats.wire_bytes;
    } else {
        traffic.unicast += stats.wire_bytes;
    }
}
