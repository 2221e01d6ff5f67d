//! The way between the machines of the tests: what it does, and what is on it.

use std::boxed::Box;
use std::vec::Vec;

use crate::crypto::aead::ChaCha;
use crate::crypto::packet::Opener;
use crate::erasure::FIRST_PARITY;
use crate::ids::{BlockIndex, Epoch};
use crate::time::{Duration, Instant};
use crate::wire::session::{Body, Header};

/// What the link does to each datagram on its way to each receiver, as probabilities.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) corrupt: f64,
}

impl Link {
    pub(super) const PERFECT: Self = Self { loss: 0.0, duplicate: 0.0, reorder: 0.0, corrupt: 0.0 };
}

/// The one wire that all datagrams to the receivers go through, whoever sends them:
/// it carries so much in a second, and what its queue has no room for is lost to all.
pub(super) struct Wire {
    /// Bytes per second, IP and UDP headers included.
    rate: u64,
    /// Nanoseconds of sending that its queue holds.
    queue: u64,
    /// When the last datagram in its queue has been sent, in nanoseconds.
    busy_until: u64,
    /// Datagrams that found the queue full.
    pub(super) overflowed: usize,
}

impl Wire {
    pub(super) const fn new(rate: u64, queue_bytes: u64) -> Self {
        let queue = queue_bytes * 1_000_000_000 / rate;
        Self { rate, queue, busy_until: 0, overflowed: 0 }
    }

    /// How long a datagram takes to the end of the wire, if the queue has room for it.
    pub(super) fn carry(&mut self, now: Instant, bytes: usize) -> Option<Duration> {
        let now = now.as_micros() * 1_000;
        let begins = self.busy_until.max(now);
        if begins - now > self.queue {
            self.overflowed += 1;
            return None;
        }
        self.busy_until = begins + (bytes as u64 + 28) * 1_000_000_000 / self.rate;
        Some(Duration::from_micros((self.busy_until - now) / 1_000))
    }
}

/// A datagram or message under way, ordered by arrival.
pub(super) struct Flight {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) to: Option<usize>,
    pub(super) from: usize,
    pub(super) bytes: Box<[u8]>,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Flight {}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flight {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A datagram that the sender sent, as it was before the link.
pub(super) struct Sent {
    pub(super) at: Instant,
    /// Bytes of the datagram.
    pub(super) len: usize,
    /// What it said, decrypted.
    pub(super) body: Vec<u8>,
}

impl Sent {
    /// Opens a datagram of the sender with the key of its epoch.
    pub(super) fn open(at: Instant, datagram: &[u8], key: impl Fn(Epoch) -> [u8; 32]) -> Self {
        let mut bytes = datagram.to_vec();
        let header = Header::parse(&bytes).unwrap();
        let opener = Opener::<ChaCha>::new(&key(header.epoch));
        let body = opener.open(header, &mut bytes).unwrap().to_vec();
        Self { at, len: datagram.len(), body }
    }

    /// The block and number of the symbol that it was, if it was one: sources are numbered
    /// from 0, parity from [`FIRST_PARITY`].
    pub(super) fn symbol(&self) -> Option<(BlockIndex, usize)> {
        match Body::parse(&self.body).ok()? {
            Body::Symbol { index, block, .. } => Some((block, index.0.into())),
            Body::Further { number, block, .. } => {
                Some((block, usize::from(FIRST_PARITY) + usize::from(number)))
            }
            _ => None,
        }
    }
}
