//! One release on its way: its staging, and the sessions that feed it.

use std::net::SocketAddrV4;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::limits::MAX_DATAGRAM;
use fleetcast_core::session::announcing::Announcing;
use fleetcast_core::session::receiver::{ReceiveSlot, ReceiverSession, SegmentState};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::event::AgentStats;
use super::gate::TrustGate;
use crate::codec::Decoder;
use crate::disk::Disk;
use crate::staging::Staging;

/// A session machine over buffers of its own.
pub(super) type Session<A> = ReceiverSession<A, Vec<ReceiveSlot>, Vec<u8>, Vec<SegmentState>>;

/// A session that runs, and the multicast group that it listens to.
pub(super) struct Running<A> {
    pub(super) machine: Session<A>,
    pub(super) group: Option<SocketAddrV4>,
    pub(super) announcing: Announcing,
    /// What has come of a header that the server says over the channel.
    pub(super) told: Vec<u8>,
}

impl<A: Aead> Running<A> {
    /// Takes the next piece of a header that has `total` bytes; the header once it is whole.
    pub(super) fn tell(&mut self, offset: usize, total: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        if offset == 0 {
            self.told.clear();
        }
        // The channel keeps the order: what does not follow belongs to nothing.
        if offset != self.told.len() || total > MAX_DATAGRAM || offset + bytes.len() > total {
            return None;
        }
        self.told.extend_from_slice(bytes);
        (self.told.len() == total).then(|| std::mem::take(&mut self.told))
    }

    /// The group whose membership is to be announced again now, if it is.
    pub(super) fn announces(&mut self, now: Instant) -> Option<SocketAddrV4> {
        let received = self.machine.stats().received;
        self.group.filter(|_| self.announcing.is_due(now, received))
    }
}

/// The storage of a release that is being received, or is whole.
pub(super) type Staged<D> = Staging<D, Decoder, TrustGate>;

/// A release that is being received.
pub(super) struct Delivery<D: Disk, A> {
    pub(super) staging: Staged<D>,
    pub(super) sessions: Vec<Running<A>>,
    /// It was told that all of it is verified.
    pub(super) told: bool,
    /// The server was told that all of it is here, and holds it back.
    pub(super) staged: bool,
}

impl<D: Disk, A: Aead> Delivery<D, A> {
    /// A release without sessions.
    pub(super) const fn new(staging: Staged<D>) -> Self {
        Self { staging, sessions: Vec::new(), told: false, staged: false }
    }

    pub(super) const fn release(&self) -> ReleaseName {
        self.staging.release()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let machines = self.sessions.iter().filter_map(|running| running.machine.poll_timeout());
        let listening = self.sessions.iter().filter(|running| running.group.is_some());
        machines.chain(listening.map(|running| running.announcing.poll_timeout())).min()
    }

    pub(super) fn add_stats(&self, stats: &mut AgentStats) {
        for running in &self.sessions {
            add(stats, &running.machine);
        }
    }
}

/// Adds a session's counts.
pub(super) fn add<A: Aead>(stats: &mut AgentStats, machine: &Session<A>) {
    stats.received += machine.stats().received;
    stats.lost += machine.stats().lost;
    stats.repaired += machine.stats().repaired;
    stats.nacks += machine.stats().nacks;
}
