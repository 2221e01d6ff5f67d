//! Releases that are received before they may be installed (PROTOCOL M5).
//!
//! What is whole and held back is *staged*: it is kept open, so that the word of the
//! server is followed at once. After a restart it is opened again from storage when
//! that word comes.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{ReleaseName, Up};

use super::delivery::{Delivery, Staged};
use super::{Agent, AgentEvent, WANT_AGAIN};
use crate::disk::Disk;
use crate::staging::area::Area;

impl<D: Disk, A: Aead> Agent<D, A> {
    /// A release is to be received only.
    pub(super) fn on_hold(&mut self, release: ReleaseName) {
        // PROTOCOL M5
        self.holding.due.retain(|due| *due != release);
        self.holding.back.retain(|held| held.group != release.group);
        // What is no member's is installed in no case (PROTOCOL T3).
        if self.is_member(&release) {
            self.holding.back.push(release);
        }
    }

    fn is_member(&self, release: &ReleaseName) -> bool {
        self.state.memberships.iter().any(|member| member.group == release.group)
    }

    /// A release is to be installed now.
    pub(super) fn on_activate(&mut self, now: Instant, release: ReleaseName) {
        // PROTOCOL M5
        self.holding.back.retain(|held| *held != release);
        if self.delivery.as_ref().is_some_and(|delivery| delivery.release() == release) {
            self.work_at = Some(now);
        } else if let Some(mut staged) = self.holding.unpark(&release) {
            // At once, whatever else is being received.
            if !self.install_from(now, &mut staged) {
                self.holding.make_due(release);
                self.make_way(now);
            }
        } else if self.is_member(&release) {
            self.holding.make_due(release);
            self.make_way(now);
        }
    }

    /// What is whole and held back makes way for what is to be installed now.
    fn make_way(&mut self, now: Instant) {
        if self.delivery.as_ref().is_some_and(|delivery| delivery.staged) {
            self.put_aside();
        }
        if self.delivery.is_none() {
            self.work_at = Some(now);
        }
    }

    /// All of what is held back is here: the server is told, once a session or channel.
    pub(super) fn stage(&mut self, now: Instant, release: ReleaseName) {
        self.drop_finished_sessions(now);
        let Some(delivery) = &mut self.delivery else { return };
        if !std::mem::replace(&mut delivery.staged, true) {
            self.say(now, &Up::Staged { release });
            self.tell(AgentEvent::Staged { release });
        }
        if !self.holding.due.is_empty() {
            self.make_way(now);
        }
    }

    /// A new channel: the server may not have heard what was said on the one before.
    pub(super) fn tell_staged(&mut self, now: Instant) {
        let current = self.delivery.as_ref().filter(|delivery| delivery.staged);
        let current = current.map(Delivery::release);
        let parked = self.holding.parked.iter().map(Staged::release);
        for release in parked.chain(current).collect::<Vec<_>>() {
            self.say(now, &Up::Staged { release });
        }
    }

    /// Takes up what is to be installed, while nothing else is received; whether there was
    /// something.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.holding.due.is_empty() {
            return false;
        }
        if self.queue.is_long() {
            // It stays due: what comes of it would only wait behind what nobody reads.
            self.work_at = Some(now + WANT_AGAIN);
            return true;
        }
        let release = self.holding.due.remove(0);
        self.work_at = Some(now);
        let held = Area::open(&self.destination).and_then(|area| area.held());
        if held.is_ok_and(|held| held.iter().any(|held| held.release == release)) {
            self.confirm(now, release);
            return true;
        }
        match self.begin(now, release) {
            Ok(staging) => self.delivery = staging.map(Delivery::new),
            Err(failure) => self.refuse(now, release, &failure),
        }
        true
    }
}
