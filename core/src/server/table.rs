//! The table of peers: every look-up and every turn takes a time that does not
//! grow with the number of peers.
//!
//! Three lists run through the places themselves: the free ones, those with
//! something to send, and a chain per bucket of keys. A receiver's index is its
//! place, with random bits above it.

use core::marker::PhantomData;

use super::peer::{NONE, Path, Peer, Use};
use crate::crypto::aead::Aead;
use crate::digest::Digest;
use crate::ids::{PeerSlot, StaticKey};
use crate::lent::{Bytes, Lent};

/// The table of peers, in memory that the caller lends.
pub(super) struct Table<A, P, M> {
    peers: P,
    kind: PhantomData<(A, M)>,
    free: u32,
    due_first: u32,
    due_last: u32,
    /// Keyed, so that nobody can choose keys that fall into one bucket.
    bucket_secret: [u8; 32],
    live: usize,
    /// Places from here on were never taken.
    reached: usize,
    /// Places looked at by [`Table::next_due`], for the test that bounds them.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

impl<A: Aead, M: Bytes, P: Lent<Peer<A, M>>> Table<A, P, M> {
    /// Takes the places over; whatever was in them is forgotten.
    pub(super) fn new(mut peers: P, bucket_secret: [u8; 32]) -> Self {
        debug_assert!(peers.len() <= 1 << 24, "places are numbered with 24 bits");
        let mut free = NONE;
        for (at, peer) in peers.iter_mut().enumerate().rev() {
            peer.used = Use::Free;
            peer.links.next_free = free;
            peer.links.next_due = NONE;
            peer.links.is_due = false;
            peer.links.bucket = NONE;
            free = at as u32;
        }
        Self {
            peers,
            kind: PhantomData,
            free,
            due_first: NONE,
            due_last: NONE,
            bucket_secret,
            live: 0,
            reached: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// How many places were ever taken: the first ones, of which some may be free again.
    pub(super) const fn reached(&self) -> usize {
        self.reached
    }

    /// Receivers in the table.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    pub(super) fn get(&self, slot: PeerSlot) -> Option<&Peer<A, M>> {
        self.peers.get(slot.0 as usize).filter(|peer| peer.used == Use::Live)
    }

    pub(super) fn get_mut(&mut self, slot: PeerSlot) -> Option<&mut Peer<A, M>> {
        self.peers.get_mut(slot.0 as usize).filter(|peer| peer.used == Use::Live)
    }

    /// The place that `index` names, if it is still used under that index.
    pub(super) fn find(&self, index: u32) -> Option<(PeerSlot, Use)> {
        let slot = index & self.mask();
        let peer = self.peers.get(slot as usize)?;
        (peer.used != Use::Free && peer.index == index).then_some((PeerSlot(slot), peer.used))
    }

    /// The place of the receiver with this key.
    pub(super) fn find_key(&self, key: &StaticKey) -> Option<PeerSlot> {
        let mut at = self.peers.get(self.bucket(key))?.links.bucket;
        while let Some(peer) = self.peers.get(at as usize) {
            if peer.key == *key {
                return Some(PeerSlot(at));
            }
            at = peer.links.next_in_bucket;
        }
        None
    }

    /// Keeps a place for a handshake; returns it and the index it goes by.
    pub(super) fn reserve(&mut self, random: u32, half_open: usize) -> Option<(PeerSlot, u32)> {
        let slot = self.free;
        let mask = self.mask();
        let peer = self.peers.get_mut(slot as usize)?;
        let mut index = (random & !mask) | slot;
        if index == peer.index {
            // The last packets of whoever was here before must miss.
            index ^= mask + 1;
        }
        self.free = peer.links.next_free;
        peer.index = index;
        peer.used = Use::HalfOpen(half_open);
        self.reached = self.reached.max(slot as usize + 1);
        Some((PeerSlot(slot), index))
    }

    /// Turns a kept place into a receiver's.
    pub(super) fn occupy(
        &mut self,
        slot: PeerSlot,
        key: StaticKey,
        path: Path,
    ) -> Option<&mut Peer<A, M>> {
        let bucket = self.bucket(&key);
        let first = self.peers.get(bucket)?.links.bucket;
        let peer = self.peers.get_mut(slot.0 as usize)?;
        peer.used = Use::Live;
        peer.key = key;
        peer.path = path;
        peer.links.next_in_bucket = first;
        self.peers[bucket].links.bucket = slot.0;
        self.live += 1;
        self.peers.get_mut(slot.0 as usize)
    }

    /// Frees a place, whatever it was used for.
    pub(super) fn release(&mut self, slot: PeerSlot) {
        let Some(peer) = self.peers.get(slot.0 as usize) else { return };
        match peer.used {
            Use::Free => return,
            Use::HalfOpen(_) => {}
            Use::Live => {
                let key = peer.key;
                self.leave_bucket(slot, &key);
                self.live = self.live.saturating_sub(1);
            }
        }
        let free = self.free;
        let peer = &mut self.peers[slot.0 as usize];
        peer.used = Use::Free;
        peer.links.next_free = free;
        self.free = slot.0;
    }

    /// Lists the place among those that have something to send.
    pub(super) fn set_due(&mut self, slot: PeerSlot) {
        let Some(peer) = self.peers.get_mut(slot.0 as usize) else { return };
        if core::mem::replace(&mut peer.links.is_due, true) {
            return;
        }
        peer.links.next_due = NONE;
        match self.peers.get_mut(self.due_last as usize) {
            Some(last) => last.links.next_due = slot.0,
            None => self.due_first = slot.0,
        }
        self.due_last = slot.0;
    }

    /// Takes the place that has been listed longest off the list.
    pub(super) fn next_due(&mut self) -> Option<PeerSlot> {
        let slot = self.due_first;
        let peer = self.peers.get_mut(slot as usize)?;
        peer.links.is_due = false;
        self.due_first = peer.links.next_due;
        if self.due_first == NONE {
            self.due_last = NONE;
        }
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        Some(PeerSlot(slot))
    }

    fn leave_bucket(&mut self, slot: PeerSlot, key: &StaticKey) {
        let bucket = self.bucket(key);
        let next = self.peers[slot.0 as usize].links.next_in_bucket;
        let mut at = self.peers[bucket].links.bucket;
        if at == slot.0 {
            self.peers[bucket].links.bucket = next;
            return;
        }
        while let Some(peer) = self.peers.get_mut(at as usize) {
            if peer.links.next_in_bucket == slot.0 {
                peer.links.next_in_bucket = next;
                return;
            }
            at = peer.links.next_in_bucket;
        }
    }

    fn bucket(&self, key: &StaticKey) -> usize {
        let digest = Digest::of_parts(&[&self.bucket_secret, &key.0]).0;
        let hash = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        hash as usize % self.peers.len().max(1)
    }

    /// The bits of an index that hold the place.
    fn mask(&self) -> u32 {
        (self.peers.len().next_power_of_two() as u32).wrapping_sub(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::aead::ChaCha;

    fn path() -> Path {
        Path::new(core::net::SocketAddr::from(([127, 0, 0, 1], 1)), true)
    }

    #[test]
    fn an_index_misses_once_its_place_is_used_again() {
        let mut peers = std::vec![Peer::<ChaCha>::vacant()];
        let mut table = Table::new(&mut peers[..], [0; 32]);
        let (slot, first) = table.reserve(7, 0).unwrap();
        assert_eq!(table.find(first), Some((slot, Use::HalfOpen(0))));
        assert!(table.reserve(7, 0).is_none());
        table.release(slot);
        assert_eq!(table.find(first), None);
        let (_, second) = table.reserve(7, 0).unwrap();
        assert_ne!(first, second);
        assert_eq!(table.find(first), None);
    }

    #[test]
    fn a_released_place_still_listed_is_listed_once() {
        let mut peers = std::vec![Peer::<ChaCha>::vacant(), Peer::vacant()];
        let mut table = Table::new(&mut peers[..], [0; 32]);
        let (slot, _) = table.reserve(0, 0).unwrap();
        table.occupy(slot, StaticKey([1; 32]), path());
        table.set_due(slot);
        table.release(slot);
        let (again, _) = table.reserve(0, 0).unwrap();
        table.set_due(again);
        assert_eq!((table.next_due(), table.next_due()), (Some(again), None));
    }

    proptest! {
        #[test]
        fn keys_are_found_as_in_a_map(
            steps in proptest::collection::vec((0u8..12, any::<bool>()), 0..200),
        ) {
            let mut peers: Vec<Peer<ChaCha>> = (0..8).map(|_| Peer::vacant()).collect();
            let mut table = Table::new(&mut peers[..], [3; 32]);
            let (mut model, mut most) = (BTreeMap::new(), 0);
            for (name, add) in steps {
                let key = StaticKey([name; 32]);
                if add && !model.contains_key(&key) {
                    let reserved = table.reserve(u32::from(name) << 8, 0);
                    prop_assert_eq!(reserved.is_some(), model.len() < 8);
                    if let Some((slot, _)) = reserved {
                        table.occupy(slot, key, path());
                        model.insert(key, slot);
                    }
                } else if !add && let Some(slot) = model.remove(&key) {
                    table.release(slot);
                }
                prop_assert_eq!(table.live(), model.len());
                // A place that is free again is taken before one that never was.
                most = most.max(model.len());
                prop_assert_eq!(table.reached(), most);
                for name in 0..12 {
                    let key = StaticKey([name; 32]);
                    prop_assert_eq!(table.find_key(&key), model.get(&key).copied());
                }
            }
        }
    }
}
