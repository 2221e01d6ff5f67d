//! Why an enrolment is refused, and why a release could not be installed.

use serde::{Deserialize, Serialize};

/// Why an enrolment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedWhy {
    /// The invitation has expired.
    Expired,
    /// The invitation has been used as often as it may be.
    Used,
    /// The invitation was taken back.
    Revoked,
    /// Too many receivers wait for approval.
    Full,
    /// The server does not know this receiver any more.
    Unknown,
}

/// Why a receiver could not install a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailCode {
    /// The disk has no room for it.
    NoSpace,
    /// Reading or writing the disk failed.
    Storage,
    /// Signatures, membership or order do not allow it.
    NotTrusted,
    /// The tree breaks a rule of PROTOCOL R1.
    BadTree,
    /// First installation after its expiry.
    Expired,
    /// Larger or deeper than this receiver can hold.
    TooLarge,
}

impl FailCode {
    /// Its name, for people and scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoSpace => "no-space",
            Self::Storage => "storage-failed",
            Self::NotTrusted => "not-trusted",
            Self::BadTree => "bad-tree",
            Self::Expired => "expired",
            Self::TooLarge => "too-large",
        }
    }
}
