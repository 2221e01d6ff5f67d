//! From an initiation to a confirmed channel: what is judged worth an answer is
//! kept half open, and becomes a receiver by its first transport packet.

use core::net::SocketAddr;

use super::config::{Directory, ServerConfig};
use super::greeter::{Greeter, Guest, Verdict};
use super::half_open::{HalfOpen, Pending, Waiting};
use super::peer::{Path, Peer};
use super::table::Table;
use crate::channel::verify;
use crate::crypto::aead::Aead;
use crate::digest::Digest;
use crate::ids::{PeerSlot, StaticKey};
use crate::lent::{Bytes, Lent};
use crate::limits::MAX_DATAGRAM;
use crate::time::Instant;
use crate::wire::datagram::RESPONSE;
use crate::wire::handshake::Payload;

/// An answer to an initiation.
pub(super) struct Reply {
    pub(super) to: SocketAddr,
    pub(super) bytes: [u8; RESPONSE],
    pub(super) len: usize,
}

/// A channel that has just come into use.
pub(super) struct Confirmed {
    pub(super) slot: PeerSlot,
    pub(super) key: StaticKey,
    pub(super) payload: Payload,
    /// The place of the older channel of that receiver.
    pub(super) displaced: Option<PeerSlot>,
    /// Whether its order did not grow.
    pub(super) has_regressed: bool,
}

/// Handshakes under way.
pub(super) struct Admission<H> {
    greeter: Greeter,
    waiting: Waiting<H>,
    /// The answer to the initiation just handled.
    reply: Option<Reply>,
}

impl<H: Lent<HalfOpen>> Admission<H> {
    /// No handshakes yet; also returns a secret for the table of peers.
    pub(super) fn new(config: &ServerConfig, half_open: H, now: Instant) -> (Self, [u8; 32]) {
        let mut greeter = Greeter::new(config, now);
        let secret = greeter.random_secret();
        let waiting = Waiting::new(half_open, Digest::of_parts(&[b"half open", &secret]).0);
        (Self { greeter, waiting, reply: None }, secret)
    }

    /// Answers as another key from now on.
    pub(super) fn take_key(&mut self, static_secret: &[u8; 32]) {
        self.greeter.take_key(static_secret);
    }

    /// Takes an initiation.
    pub(super) fn handle_initiation<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        directory: &dyn Directory,
        table: &mut Table<A, P, M>,
    ) {
        match self.greeter.judge(now, from, datagram, directory) {
            Verdict::Ignore => {}
            Verdict::Demand(cookie) => self.answer(from, &cookie),
            // Without a place there is no answer either.
            Verdict::Welcome(guest) => drop(self.welcome(now, from, guest, table)),
        }
    }

    /// Whether a datagram is the first packet that a handshake waits for; it is
    /// decrypted in place.
    pub(super) fn verify<A: Aead>(
        &self,
        at: usize,
        counter: u64,
        datagram: &mut [u8],
    ) -> Option<()> {
        // The last number is never used (it could not be counted on from).
        let pending = self.waiting.get(at).filter(|_| counter != u64::MAX)?;
        // PROTOCOL H5: the first packet verifies, or nothing happens.
        verify(&A::new(&pending.keys.receive), counter, datagram)
    }

    /// Turns a handshake whose first packet has verified into a receiver.
    pub(super) fn confirm<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: usize,
        directory: &mut dyn Directory,
        table: &mut Table<A, P, M>,
    ) -> Option<Confirmed> {
        let pending = self.waiting.take(at)?;
        let Pending { slot, key, mut payload, .. } = pending;
        // Looked at again: another handshake of this key may have been confirmed since.
        let last = directory.order(&key);
        let has_grown = last.is_none_or(|last| payload.order > last);
        if !has_grown && !pending.is_proved {
            table.release(slot);
            return None;
        }
        let displaced = table.find_key(&key);
        if let Some(older) = displaced {
            table.release(older);
        }
        if has_grown {
            directory.raise_order(&key, payload.order);
        }
        payload.max_datagram = payload.max_datagram.min(MAX_DATAGRAM as u16);
        // Who answers the response from where it was sent is reached there: a proof
        // no weaker than a cookie (PROTOCOL H2).
        let peer = table.occupy(slot, key, Path::new(from, from == pending.from))?;
        peer.channel.reset(&pending.keys, pending.peer_index, payload.max_datagram, now);
        Some(Confirmed { slot, key, payload, displaced, has_regressed: !has_grown })
    }

    /// Forgets handshakes that nobody confirmed in time.
    pub(super) fn forget_expired<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        now: Instant,
        table: &mut Table<A, P, M>,
    ) {
        while let Some(at) = self.waiting.expired(now) {
            self.forget(at, table);
        }
    }

    /// When [`Self::forget_expired`] is to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.waiting.poll_timeout()
    }

    /// The answer to the initiation just handled.
    pub(super) const fn poll_reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }

    /// Keeps a handshake and answers it; nothing else happens before its first
    /// packet verifies (PROTOCOL H5). `None` when there is no place for it.
    fn welcome<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        guest: Guest,
        table: &mut Table<A, P, M>,
    ) -> Option<()> {
        if let Some(at) = self.waiting.find(from, &guest.key) {
            // A copy, or one that was overtaken, must not displace the newer.
            if guest.payload.order <= self.waiting.get(at)?.payload.order {
                return None;
            }
            self.forget(at, table);
        }
        let Guest { key, payload, peer_index, is_proved, .. } = guest;
        let (noise, keys) = guest.answer()?;
        let mut at = self.waiting.free().or_else(|| self.forget_oldest(table))?;
        let random = self.greeter.random_u32();
        let mut reserved = table.reserve(random, at);
        if reserved.is_none() {
            // Every place is used; the oldest handshake gives its own. The place
            // that was freed last is the next to be used.
            at = self.forget_oldest(table)?;
            reserved = table.reserve(random, at);
        }
        let (slot, index) = reserved?;
        let since = now;
        let pending = Pending { slot, peer_index, from, key, payload, keys, is_proved, since };
        self.waiting.put(pending);
        self.answer(from, &Greeter::response(&key, index, peer_index, &noise));
        Some(())
    }

    fn answer(&mut self, to: SocketAddr, datagram: &[u8]) {
        let mut bytes = [0; RESPONSE];
        bytes[..datagram.len()].copy_from_slice(datagram);
        self.reply = Some(Reply { to, bytes, len: datagram.len() });
    }

    fn forget<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        at: usize,
        table: &mut Table<A, P, M>,
    ) {
        if let Some(pending) = self.waiting.take(at) {
            table.release(pending.slot);
        }
    }

    fn forget_oldest<A: Aead, M: Bytes, P: Lent<Peer<A, M>>>(
        &mut self,
        table: &mut Table<A, P, M>,
    ) -> Option<usize> {
        let at = self.waiting.oldest()?;
        self.forget(at, table);
        Some(at)
    }
}
