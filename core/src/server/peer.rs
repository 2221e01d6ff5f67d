//! One place in the table of peers.

use core::net::SocketAddr;

use crate::channel::Channel;
use crate::crypto::aead::{Aead, ChaCha};
use crate::ids::StaticKey;
use crate::lent::Bytes;
use crate::limits::{MAX_MESSAGE, SEND_WINDOW};

/// Unreliable messages that may wait for one receiver.
const LOOSE: usize = 1;
/// Bytes of memory for the messages of one receiver: only their number is ever a bound.
pub const MESSAGES: usize = (SEND_WINDOW + LOOSE) * MAX_MESSAGE;
/// No place: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// What a place is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing.
    Free,
    /// Kept for the handshake in that place of the other table.
    HalfOpen(usize),
    /// A receiver.
    Live,
}

/// A place for one receiver: about 6 KiB, most of it memory for messages that wait; with
/// memory of the caller's kind, which may come with the first message, a tenth of that.
#[derive(Clone)]
pub struct Peer<A: Aead = ChaCha, M = [u8; MESSAGES]> {
    pub(super) used: Use,
    /// What the receiver addresses this place by; meaningless while free.
    pub(super) index: u32,
    pub(super) key: StaticKey,
    pub(super) path: Path,
    pub(super) channel: Channel<A, M, LOOSE>,
    pub(super) links: Links,
}

/// The lists that run through the table.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// The next free place.
    pub(super) next_free: u32,
    /// The next place that has something to send, and whether this one is listed.
    pub(super) next_due: u32,
    pub(super) is_due: bool,
    /// The first place whose key falls into this place's bucket.
    pub(super) bucket: u32,
    /// The next place in the bucket that this place's key falls into.
    pub(super) next_in_bucket: u32,
}

impl<A: Aead> Peer<A> {
    /// An unused place with memory of its own.
    #[must_use]
    pub fn vacant() -> Self {
        Self::over([0; MESSAGES])
    }
}

impl<A: Aead, M: Bytes> Peer<A, M> {
    /// An unused place that keeps messages in `memory`, of [`MESSAGES`] bytes; it is written
    /// for the first time when a message waits.
    #[must_use]
    pub fn over(memory: M) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            used: Use::Free,
            index: 0,
            key: StaticKey([0; 32]),
            path: Path::new(nowhere, false),
            channel: Channel::idle(memory),
            links: Links {
                next_free: NONE,
                next_due: NONE,
                is_due: false,
                bucket: NONE,
                next_in_bucket: NONE,
            },
        }
    }
}

/// Where a receiver is reached, and how sure that is.
#[derive(Clone, Debug)]
pub(super) struct Path {
    to: SocketAddr,
    is_confirmed: bool,
    /// Bytes received from there less bytes sent there, while unconfirmed.
    credit: usize,
    /// The first message that was sent to this address only.
    mark: u32,
}

impl Path {
    /// A path that has shown, or not, that its end is where it says.
    pub(super) const fn new(to: SocketAddr, is_confirmed: bool) -> Self {
        Self { to, is_confirmed, credit: 0, mark: 0 }
    }

    pub(super) const fn to(&self) -> SocketAddr {
        self.to
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// How many bytes may be sent there now.
    pub(super) const fn allowance(&self) -> usize {
        // PROTOCOL H2: no more than was received, until the address is proved.
        if self.is_confirmed { usize::MAX } else { self.credit }
    }

    /// The receiver is elsewhere now; `fresh` is the first message never sent so far.
    pub(super) const fn move_to(&mut self, to: SocketAddr, fresh: u32) {
        *self = Self { to, is_confirmed: false, credit: 0, mark: fresh };
    }

    pub(super) fn received(&mut self, from: SocketAddr, len: usize) {
        if from == self.to {
            self.credit = self.credit.saturating_add(len);
        }
    }

    pub(super) const fn sent(&mut self, len: usize) {
        self.credit = self.credit.saturating_sub(len);
    }

    /// Looks whether a message that was sent only there has been acknowledged from there.
    pub(super) fn check<A: Aead, M: Bytes, const N: usize>(
        &mut self,
        from: SocketAddr,
        channel: &Channel<A, M, N>,
    ) {
        // PROTOCOL C6: an acknowledgement of something that went there, from there.
        self.is_confirmed |= from == self.to && channel.is_acknowledged(self.mark);
    }
}
