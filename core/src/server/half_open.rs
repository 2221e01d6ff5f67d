//! Handshakes that the server has answered and nobody has confirmed: every call
//! takes a time that does not grow with their number, so that a whole fleet may
//! begin at once.
//!
//! Three lists run through the places: the free ones, those in use by age, and a
//! chain per bucket of keys.

use core::net::SocketAddr;

use super::peer::NONE;
use crate::crypto::noise::TransportKeys;
use crate::digest::Digest;
use crate::ids::{PeerSlot, StaticKey};
use crate::lent::Lent;
use crate::limits::HALF_OPEN_TIMEOUT;
use crate::time::Instant;
use crate::wire::handshake::Payload;

/// A place for one handshake that waits for its first transport packet.
#[derive(Clone)]
pub struct HalfOpen {
    pending: Option<Pending>,
    /// The one that began before, and the one that began after.
    older: u32,
    newer: u32,
    /// The next free place, or the next in the same bucket.
    next: u32,
    /// The first place of the bucket that has this place's number.
    bucket: u32,
}

impl HalfOpen {
    /// An unused place.
    #[must_use]
    pub const fn vacant() -> Self {
        Self { pending: None, older: NONE, newer: NONE, next: NONE, bucket: NONE }
    }
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self::vacant()
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

/// The table of unconfirmed handshakes, in memory that the caller lends.
pub(super) struct Waiting<H> {
    places: H,
    free: u32,
    oldest: u32,
    newest: u32,
    /// Keyed, so that nobody can choose keys that fall into one bucket.
    bucket_secret: [u8; 32],
}

impl<H: Lent<HalfOpen>> Waiting<H> {
    /// Takes the places over; whatever was in them is forgotten.
    pub(super) fn new(mut places: H, bucket_secret: [u8; 32]) -> Self {
        let mut free = NONE;
        for (at, place) in places.iter_mut().enumerate().rev() {
            *place = HalfOpen { next: free, ..HalfOpen::vacant() };
            free = at as u32;
        }
        Self { places, free, oldest: NONE, newest: NONE, bucket_secret }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Pending> {
        self.places.get(at)?.pending.as_ref()
    }

    /// Keeps a handshake in the next free place, of which there is one.
    pub(super) fn put(&mut self, pending: Pending) {
        let (at, bucket) = (self.free, self.bucket(&pending.key));
        let Some(head) = self.places.get(bucket).map(|place| place.bucket) else { return };
        let older = self.newest;
        let Some(place) = self.places.get_mut(at as usize) else { return };
        self.free = place.next;
        (place.pending, place.next) = (Some(pending), head);
        (place.older, place.newer) = (older, NONE);
        self.places[bucket].bucket = at;
        match self.places.get_mut(older as usize) {
            Some(older) => older.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    pub(super) fn take(&mut self, at: usize) -> Option<Pending> {
        let place = self.places.get_mut(at)?;
        let pending = place.pending.take()?;
        let (older, newer, next) = (place.older, place.newer, place.next);
        place.next = self.free;
        self.free = at as u32;
        match self.places.get_mut(older as usize) {
            Some(place) => place.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(newer as usize) {
            Some(place) => place.older = older,
            None => self.newest = older,
        }
        self.leave_bucket(at as u32, &pending.key, next);
        Some(pending)
    }

    /// The handshake of this key from this address, if there is one.
    pub(super) fn find(&self, from: SocketAddr, key: &StaticKey) -> Option<usize> {
        let mut at = self.places.get(self.bucket(key))?.bucket;
        while let Some(place) = self.places.get(at as usize) {
            if place.pending.as_ref().is_some_and(|it| it.from == from && it.key == *key) {
                return Some(at as usize);
            }
            at = place.next;
        }
        None
    }

    /// The place that the next handshake will get.
    pub(super) fn free(&self) -> Option<usize> {
        Some(self.free as usize).filter(|&at| at < self.places.len())
    }

    /// The place of the oldest handshake.
    pub(super) fn oldest(&self) -> Option<usize> {
        Some(self.oldest as usize).filter(|&at| at < self.places.len())
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

    fn leave_bucket(&mut self, at: u32, key: &StaticKey, next: u32) {
        let bucket = self.bucket(key);
        if self.places[bucket].bucket == at {
            self.places[bucket].bucket = next;
            return;
        }
        let mut before = self.places[bucket].bucket;
        while let Some(place) = self.places.get_mut(before as usize) {
            if place.next == at {
                place.next = next;
                return;
            }
            before = place.next;
        }
    }

    fn bucket(&self, key: &StaticKey) -> usize {
        let digest = Digest::of_parts(&[&self.bucket_secret, &key.0]).0;
        let hash = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        hash as usize % self.places.len().max(1)
    }
}

impl Pending {
    fn deadline(&self) -> Instant {
        self.since + HALF_OPEN_TIMEOUT
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn pending(name: u8, from: u8, since: u64) -> Pending {
        let order = (u64::from(name), since);
        Pending {
            slot: PeerSlot(u32::from(name)),
            peer_index: 0,
            from: SocketAddr::from(([10, 0, 0, from], 1)),
            key: StaticKey([name; 32]),
            payload: Payload { order, token: None, constrained: false, max_datagram: 1_200 },
            keys: TransportKeys { send: [0; 32], receive: [0; 32] },
            is_proved: true,
            since: Instant::from_millis(since),
        }
    }

    proptest! {
        /// Beside a list in order of age that is searched from its beginning.
        #[test]
        fn handshakes_are_found_and_age_as_in_a_plain_list(
            steps in proptest::collection::vec((0u8..6, 0u8..3, 0u8..4), 0..200),
        ) {
            let mut places: Vec<HalfOpen> = (0..7).map(|_| HalfOpen::vacant()).collect();
            let mut waiting = Waiting::new(&mut places[..], [3; 32]);
            let mut model: Vec<(u8, u8, u64)> = Vec::new();
            for ((name, from, what), since) in steps.into_iter().zip(1_u64..) {
                let address = SocketAddr::from(([10, 0, 0, from], 1));
                let at = waiting.find(address, &StaticKey([name; 32]));
                let known = model.iter().position(|it| (it.0, it.1) == (name, from));
                prop_assert_eq!(at.is_some(), known.is_some());
                match (what, at, known) {
                    (0, Some(at), Some(known)) => {
                        prop_assert_eq!(waiting.take(at).unwrap().since.as_micros() / 1_000,
                            model.remove(known).2);
                    }
                    (1, _, _) if !model.is_empty() => {
                        let at = waiting.oldest().unwrap();
                        prop_assert!(waiting.take(at).is_some());
                        model.remove(0);
                    }
                    (2 | 3, None, None) => {
                        prop_assert_eq!(waiting.free().is_some(), model.len() < 7);
                        if let Some(at) = waiting.free() {
                            waiting.put(pending(name, from, since));
                            prop_assert!(waiting.get(at).is_some());
                            model.push((name, from, since));
                        }
                    }
                    _ => {}
                }
                let first = model.first().map(|it| Instant::from_millis(it.2) + HALF_OPEN_TIMEOUT);
                prop_assert_eq!(waiting.poll_timeout(), first.unwrap_or(Instant::FAR_FUTURE));
            }
        }
    }
}
