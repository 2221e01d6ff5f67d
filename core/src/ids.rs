//! Names and numbers of things: each kind has a type of its own, so that an
//! index, a count and an identity cannot be mistaken for one another.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
            Serialize, Deserialize,
        )]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

identity! {
    /// A fleet: random, chosen with its first authority document.
    FleetId, 16
}
identity! {
    /// A group: random, chosen when the group is created; its name may change.
    GroupId, 16
}
identity! {
    /// A receiver: the first 16 bytes of the SHA-256 of its device key.
    ReceiverId, 16
}
identity! {
    /// The public X25519 key of a device or of the controller, as Noise sends it.
    StaticKey, 32
}
identity! {
    /// A public Ed25519 key.
    VerifyingKey, 32
}
identity! {
    /// The public name of an enrolment token: the first 16 bytes of its SHA-256.
    TokenId, 16
}

impl ReceiverId {
    /// The identity that belongs to a device key.
    #[must_use]
    pub fn of(key: &StaticKey) -> Self {
        Self(first_16(Digest::of(&key.0)))
    }
}

impl TokenId {
    /// The public name of a secret token.
    #[must_use]
    pub fn of(token: &[u8; 16]) -> Self {
        Self(first_16(Digest::of(token)))
    }
}

fn first_16(digest: Digest) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    id
}

number! {
    /// One run of the data plane, as named on the wire.
    SessionId, u32
}
number! {
    /// A session's key generation: it grows by one whenever somebody is removed.
    Epoch, u16
}
number! {
    /// A segment's number within its session.
    SegmentIndex, u32
}
number! {
    /// A block's number within its session.
    BlockIndex, u32
}
number! {
    /// A symbol's number within its block: sources from 0, parity from 192.
    SymbolIndex, u8
}
number! {
    /// A chunk's place in its release's list of unique chunks (or of index chunks).
    Ordinal, u32
}
number! {
    /// A place in the server's table of connected peers.
    PeerSlot, u32
}

/// The order of a group's releases: a receiver accepts a greater one, or an
/// equal one with an equal digest (a retry after a crash).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ReleaseOrder {
    /// Raised by the authority document when a fleet starts its sequences anew.
    pub reset_epoch: u32,
    /// The release's number in its group.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_epoch_outranks_every_sequence() {
        let old = ReleaseOrder { reset_epoch: 1, sequence: u64::MAX };
        let new = ReleaseOrder { reset_epoch: 2, sequence: 1 };
        assert!(new > old);
    }
}
