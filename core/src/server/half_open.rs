//! Handshakes that the server has answered and nobody has confirmed.

use core::net::SocketAddr;

use crate::crypto::noise::TransportKeys;
use crate::ids::{PeerSlot, StaticKey};
use crate::lent::Lent;
use crate::limits::HALF_OPEN_TIMEOUT;
use crate::time::Instant;
use crate::wire::handshake::Payload;

/// A place for one handshake that waits for its first transport packet.
#[derive(Clone, Default)]
pub struct HalfOpen(Option<Pending>);

impl HalfOpen {
    /// An unused place.
    #[must_use]
    pub const fn vacant() -> Self {
        Self(None)
    }
}

/// What is kept of a handshake.
#[derive(Clone)]
pub(super) struct Pending {
    /// The place kept for it in the table of peers.
    pub(super) slot: PeerSlot,
    /// The index that the initiator chose.
    pub(super) peer_index: u32,
    pub(super) from: SocketAddr,
    pub(super) key: StaticKey,
    pub(super) payload: Payload,
    pub(super) keys: TransportKeys,
    /// Whether the initiation carried a valid cookie.
    pub(super) is_proved: bool,
    pub(super) since: Instant,
}

/// The table of unconfirmed handshakes, in memory that the caller lends. It is
/// small, and everything that searches it has cost its sender more.
pub(super) struct Waiting<H>(H);

impl<H: Lent<HalfOpen>> Waiting<H> {
    /// Takes the places over; whatever was in them is forgotten.
    pub(super) fn new(mut places: H) -> Self {
        places.fill(HalfOpen(None));
        Self(places)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Pending> {
        self.0.get(at)?.0.as_ref()
    }

    pub(super) fn put(&mut self, at: usize, pending: Pending) {
        if let Some(place) = self.0.get_mut(at) {
            place.0 = Some(pending);
        }
    }

    pub(super) fn take(&mut self, at: usize) -> Option<Pending> {
        self.0.get_mut(at)?.0.take()
    }

    /// The handshake of this key from this address, if there is one.
    pub(super) fn find(&self, from: SocketAddr, key: &StaticKey) -> Option<usize> {
        self.0
            .iter()
            .position(|place| place.0.as_ref().is_some_and(|it| it.from == from && it.key == *key))
    }

    /// A free place.
    pub(super) fn free(&self) -> Option<usize> {
        self.0.iter().position(|place| place.0.is_none())
    }

    /// The place of the oldest handshake.
    pub(super) fn oldest(&self) -> Option<usize> {
        let ages = self.0.iter().enumerate();
        ages.filter_map(|(at, place)| Some((place.0.as_ref()?.since, at))).min().map(|(_, at)| at)
    }

    /// The place of a handshake that nobody confirmed in time.
    pub(super) fn expired(&self, now: Instant) -> Option<usize> {
        self.oldest().filter(|at| self.get(*at).is_some_and(|it| now >= it.deadline()))
    }

    /// When the oldest handshake expires.
    pub(super) fn poll_timeout(&self) -> Instant {
        let oldest = self.oldest().and_then(|at| self.get(at));
        oldest.map_or(Instant::FAR_FUTURE, Pending::deadline)
    }
}

impl Pending {
    fn deadline(&self) -> Instant {
        self.since + HALF_OPEN_TIMEOUT
    }
}
