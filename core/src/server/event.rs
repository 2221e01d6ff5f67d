//! What a server tells.

use core::ops::Range;

use crate::ids::{PeerSlot, StaticKey, TokenId};
use crate::wire::transport::Sending;

/// What a server tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A receiver's channel is confirmed.
    Connected {
        /// Its place from now on.
        slot: PeerSlot,
        /// Its static key; the layer above decides what an unknown one may do.
        key: StaticKey,
        /// The token that it used; now is the time to consume it.
        token: Option<TokenId>,
        /// Whether it is a constrained device.
        constrained: bool,
        /// The largest datagram that it takes, in bytes (548 … 1,472).
        max_datagram: u16,
    },
    /// A message came.
    Message {
        /// From whom.
        slot: PeerSlot,
        /// How it travelled.
        kind: Sending,
        /// Where it stands in the datagram just handled.
        body: Range<usize>,
    },
    /// There is room again after [`SendError::Full`](crate::channel::SendError::Full),
    /// or everything reliable is acknowledged.
    Drained {
        /// To whom.
        slot: PeerSlot,
    },
    /// The receiver's address is another now, and not confirmed.
    Moved {
        /// Whose.
        slot: PeerSlot,
    },
    /// The channel is gone, with all that waited in it; its place may be used again.
    Gone {
        /// Its place until now.
        slot: PeerSlot,
        /// The receiver's static key.
        key: StaticKey,
        /// Why it is gone.
        why: Lost,
    },
    /// A receiver has connected whose (boot counter, n) did not grow: its
    /// storage was set back, or its key is in use twice.
    OrderRegressed {
        /// The receiver's static key.
        key: StaticKey,
    },
}

/// Why a channel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The receiver was silent for PEER_TIMEOUT.
    Silent,
    /// The same receiver has confirmed a newer channel.
    Displaced,
}
