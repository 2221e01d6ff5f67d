//! Releases that are received before they may be installed (PROTOCOL M5).
//!
//! What is whole and held back is *staged*: it is kept open, so that the word of the
//! server is followed at once. After a restart it is opened again from storage when
//! that word comes.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{ReleaseName, Up};

use super::delivery::{Delivery, Staged};
use super::{Agent, AgentEvent};
use crate::disk::Disk;
use crate::staging::area::Area;

/// Staged releases that are kept open, and releases that are held back or due, at most.
const MOST: usize = 64;

/// What is held back, and what is to be installed as soon as there is time.
pub(super) struct Holding<D: Disk> {
    /// At most one of each group.
    back: Vec<ReleaseName>,
    /// The server has said to install these.
    due: Vec<ReleaseName>,
    /// Whole, while something else is being received.
    parked: Vec<Staged<D>>,
}

impl<D: Disk> Default for Holding<D> {
    fn default() -> Self {
        Self { back: Vec::new(), due: Vec::new(), parked: Vec::new() }
    }
}

impl<D: Disk> Holding<D> {
    /// Whether a release must not be installed yet.
    pub(super) fn is_held_back(&self, release: &ReleaseName) -> bool {
        self.back.contains(release)
    }

    /// Whether something is to be installed.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Forgets a release.
    pub(super) fn forget(&mut self, release: &ReleaseName) {
        self.back.retain(|held| held != release);
        self.due.retain(|due| due != release);
        self.parked.retain(|staged| staged.release() != *release);
    }

    /// Forgets a group.
    pub(super) fn forget_group(&mut self, group: GroupId) {
        self.back.retain(|held| held.group != group);
        self.due.retain(|due| due.group != group);
        self.parked.retain(|staged| staged.release().group != group);
    }

    /// Keeps a staged release open while something else is received.
    pub(super) fn park(&mut self, staged: Staged<D>) {
        let release = staged.release();
        self.parked.retain(|other| other.release() != release);
        if self.parked.len() < MOST {
            self.parked.push(staged);
        }
    }

    /// A staged release that is kept open.
    pub(super) fn unpark(&mut self, release: &ReleaseName) -> Option<Staged<D>> {
        let at = self.parked.iter().position(|staged| staged.release() == *release)?;
        Some(self.parked.remove(at))
    }
}

impl<D: Disk, A: Aead> Agent<D, A> {
    /// A release is to be received only.
    pub(super) fn on_hold(&mut self, release: ReleaseName) {
        // PROTOCOL M5
        self.holding.due.retain(|due| *due != release);
        self.holding.back.retain(|held| held.group != release.group);
        if self.holding.back.len() < MOST {
            self.holding.back.push(release);
        }
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
                self.holding.due.push(release);
            }
        } else if !self.holding.due.contains(&release) && self.holding.due.len() < MOST {
            self.holding.due.push(release);
            if self.delivery.is_none() {
                self.work_at = Some(now);
            }
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

    /// Takes up what is to be installed, while nothing else is received; whether there was something.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.holding.due.is_empty() {
            return false;
        }
        let release = self.holding.due.remove(0);
        self.work_at = Some(now);
        let held = Area::open(&self.destination).and_then(|area| area.held());
        if held.is_ok_and(|held| held.iter().any(|held| held.release == release)) {
            self.confirm(now, release);
            return true;
        }
        match self.open_staging(release) {
            Ok(staging) => self.delivery = Some(Delivery::new(staging)),
            Err(failure) => self.refuse(now, release, &failure),
        }
        true
    }
}
