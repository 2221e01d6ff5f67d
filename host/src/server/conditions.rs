//! What a person should know, derived from the state: shown while it is so, and gone when
//! it is so no more. What only the driver can see it notes here.

use std::collections::BTreeMap;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{ReceiverId, SessionId};

use super::ServerNode;
use super::hearing::Hears;
use crate::health::{Condition, Health};
use crate::model::{DeliveryRecord, DeliveryState, Hold, ReleaseRecord, ReleaseState, UnixTime};
use crate::units::format_time;

/// A release is near its expiry in the last 30 days before it.
const NEAR: UnixTime = 30 * 86_400;
/// One that lives for less than four times that is in the last quarter of its life.
const QUARTER: UnixTime = 4;
/// What was put right at the start is shown for a day.
const PUT_RIGHT: UnixTime = 86_400;

impl<A: Aead> ServerNode<A> {
    /// Adds a condition that only the driver can know, such as an unsealed key.
    pub fn note_condition(&mut self, condition: Condition, subject: &str) {
        self.noted.raise(condition, subject, self.registry.time());
    }

    /// Tells whether the disk of the state directory, `subject`, is nearly full.
    pub fn note_room(&mut self, subject: &str, scarce: bool) {
        if scarce {
            self.note_condition(Condition::DiskNearlyFull, subject);
        } else {
            self.noted.lower(Condition::DiskNearlyFull, subject);
        }
    }

    /// What a person should know.
    pub(super) fn health(&self) -> Health {
        let mut health = self.noted.clone();
        let now = self.registry.time();
        health.lower_before(Condition::StoreRepaired, now.saturating_sub(PUT_RIGHT));
        self.network_conditions(&mut health);
        self.delivery_conditions(&mut health);
        self.trust_conditions(&mut health);
        for (id, since) in self.clones.shown(now) {
            health.raise(Condition::OrderRegressed, &self.name_of(id), since);
        }
        if let Some(since) = self.in_doubt() {
            health.raise(Condition::CatalogInDoubt, "server", since);
        }
        if let Some((before, since)) = self.registry.clock_went_back() {
            let subject = format!("from {} to {}", format_time(before), format_time(since));
            health.raise(Condition::ClockWentBack, &subject, since);
        }
        health
    }

    fn network_conditions(&self, health: &mut Health) {
        let now = self.registry.time();
        for (condition, session, subject) in self.network_now() {
            // What has come up within this second was not looked at yet.
            let since = self.network.0.get(&(condition, session)).copied().unwrap_or(now);
            health.raise(condition, &subject, since);
        }
        for link in self.links.values() {
            if let (Some(slow), Some(id)) = (link.slow, link.receiver) {
                let subject = format!("{} {slow}", self.name_of(&id));
                health.raise(Condition::SlowReceiver, &subject, slow.since);
            }
        }
        for session in &self.sessions {
            let subject = format!("session {}", session.id());
            if let Some(since) = session.strict_since {
                health.raise(Condition::Poisoned, &subject, since);
            }
        }
    }

    /// Looks, once a second, since when the network is as it should not be.
    pub(super) fn watch_network(&mut self) {
        let time = self.registry.time();
        if self.network.1.replace(time) == Some(time) {
            return;
        }
        let before = std::mem::take(&mut self.network.0);
        let found = self.network_now().into_iter().map(|(condition, session, _)| {
            let key = (condition, session);
            (key, before.get(&key).copied().unwrap_or(time))
        });
        self.network.0 = found.collect();
    }

    /// What is wrong with the network now: with which session, and what is told of it.
    fn network_now(&self) -> Vec<(Condition, Option<SessionId>, String)> {
        let mut found = Vec::new();
        let (mut ready, mut deaf, mut small) = (0, 0, 0);
        for link in self.links.values().filter(|link| link.ready) {
            ready += 1;
            deaf += usize::from(link.hears.is_deaf());
            small += usize::from(link.hears == Hears::Small);
        }
        if deaf * 10 > ready {
            let subject = format!("{deaf} of {ready} receivers");
            found.push((Condition::MulticastBlocked, None, subject));
        }
        if small > 0 {
            let subject = format!("{small} of {ready} receivers");
            found.push((Condition::SmallDatagrams, None, subject));
        }
        for session in self.sessions.iter().filter(|session| session.sender().is_unbearable()) {
            let id = session.id();
            found.push((Condition::LossTooHigh, Some(id), format!("session {id}")));
        }
        found
    }

    fn delivery_conditions(&self, health: &mut Health) {
        let mut behind: BTreeMap<ReceiverId, UnixTime> = BTreeMap::new();
        for delivery in self.registry.deliveries() {
            if delivery.state == DeliveryState::Failed {
                let title = self.registry.release_title(&delivery.release);
                let subject = format!("{title} of {}", self.name_of(&delivery.receiver));
                health.raise(Condition::DeliveryFailed, &subject, delivery.updated);
            } else if waits_for_its_receiver(delivery) && !self.is_here(&delivery.receiver) {
                let since = behind.entry(delivery.receiver).or_insert(delivery.created);
                *since = delivery.created.min(*since);
            }
        }
        // In one line: a fleet that is switched off at night would fill the page otherwise.
        if let Some((longest, since)) = behind.iter().min_by_key(|&(id, since)| (*since, *id)) {
            let name = self.name_of(longest);
            let subject = match behind.len() - 1 {
                0 => name,
                others => format!("{name} and {others} more"),
            };
            health.raise(Condition::ReceiverBehind, &subject, *since);
        }
        let current = self.registry.releases().filter(|r| r.state == ReleaseState::Current);
        for release in current {
            let from = near_expiry(release);
            if let Some(from) = from.filter(|from| *from <= self.registry.time()) {
                let title = self.registry.release_title(&release.name);
                health.raise(Condition::ReleaseExpiring, &title, from);
            }
        }
    }
}

/// Whether nothing but its receiver's absence can hold a delivery up.
fn waits_for_its_receiver(delivery: &DeliveryRecord) -> bool {
    let waits = matches!(delivery.hold, Hold::Free | Hold::Send | Hold::Activation);
    waits && !delivery.state.is_final()
}

/// From when on a release is near its expiry, if it has one.
fn near_expiry(release: &ReleaseRecord) -> Option<UnixTime> {
    let life = release.expires.checked_sub(release.created)?;
    Some(release.expires - NEAR.min(life / QUARTER))
}
