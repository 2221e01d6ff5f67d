//! What can go wrong with a store, and whose fault it is.

use embedded_io::ErrorKind;

use crate::ids::Ordinal;
use crate::tree::entry::BadTree;
use crate::trust::order::OutOfOrder;
use crate::trust::release::ReleaseRefused;
use crate::wire::control::{FailCode, Object};

/// Whose fault a [`StoreError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The card's, or its driver's: what it does, or what it holds.
    Storage,
    /// Of the bytes that came: a release that breaks a rule.
    Bytes,
    /// Our caller's: a call at the wrong time, or for what is not here.
    Caller,
    /// Nobody's: there is no room.
    Full,
}

/// Why the store did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The device failed.
    Device(ErrorKind),
    /// A write or flush failed before; open the store again to go on.
    Failed,
    /// There is nothing on the card where the store would begin: format it.
    Blank,
    /// There is something else on the card; it is not touched.
    Foreign,
    /// The store was made by newer software; it is not touched.
    Newer {
        /// The version of its format.
        found: u32,
    },
    /// It is a store, and both copies of its superblock are damaged.
    Damaged,
    /// The card is smaller than the store on it, or too small for any.
    Truncated {
        /// Sectors that are needed.
        needed: u32,
        /// Sectors that there are.
        found: u32,
    },
    /// What was written is not on the card any more; it is to be asked for again.
    Lost {
        /// Which list of ordinals.
        object: Object,
        /// Which of them.
        ordinal: Ordinal,
    },
    /// Larger than the card can ever hold.
    TooLarge {
        /// Bytes that the release needs.
        needed: u64,
        /// Bytes that would fit.
        fits: u64,
    },
    /// There is no room for it beside what is kept.
    Full {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// More releases, or more groups, than a card has places for.
    NoPlace {
        /// How many there are.
        most: usize,
    },
    /// A chunk that is longer than the memory for one.
    ChunkTooLong {
        /// Its length in bytes.
        found: u32,
        /// The longest in bytes.
        most: u32,
    },
    /// The tree breaks a rule, or is deeper than [`crate::limits::STORE_DEPTH`].
    Tree(BadTree),
    /// It may not follow what was accepted before.
    Order(OutOfOrder),
    /// It must not be installed here.
    Refused(ReleaseRefused),
    /// No such release, group, file or record.
    Unknown,
    /// The release is not complete.
    Incomplete,
    /// The card's free space is not known yet: call `step` first.
    Busy,
    /// The caller's bytes, or buffer, have not the right length.
    Length {
        /// Bytes that there may be at most, or must be at least.
        bound: usize,
        /// Bytes that there are.
        found: usize,
    },
}

impl StoreError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Device(_) | Self::Failed | Self::Blank | Self::Foreign => Fault::Storage,
            Self::Newer { .. } | Self::Damaged | Self::Truncated { .. } => Fault::Storage,
            Self::Lost { .. } => Fault::Storage,
            Self::TooLarge { .. } | Self::Full { .. } | Self::NoPlace { .. } => Fault::Full,
            Self::ChunkTooLong { .. } | Self::Tree(_) => Fault::Bytes,
            Self::Order(_) | Self::Refused(_) => Fault::Bytes,
            Self::Unknown | Self::Incomplete | Self::Busy | Self::Length { .. } => Fault::Caller,
        }
    }

    /// What to tell the server about the release.
    #[must_use]
    pub const fn fail_code(&self) -> FailCode {
        match self {
            Self::Full { .. } | Self::NoPlace { .. } => FailCode::NoSpace,
            Self::TooLarge { .. } | Self::ChunkTooLong { .. } => FailCode::TooLarge,
            Self::Tree(BadTree::TooDeepForReader { .. }) => FailCode::TooLarge,
            Self::Tree(_) => FailCode::BadTree,
            Self::Refused(ReleaseRefused::Expired { .. }) => FailCode::Expired,
            Self::Order(_) | Self::Refused(_) => FailCode::NotTrusted,
            _ => FailCode::Storage,
        }
    }
}

/// What the store's calls return.
pub type Result<T> = core::result::Result<T, StoreError>;
