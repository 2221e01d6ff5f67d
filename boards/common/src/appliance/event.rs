//! What a board tells its driver.

use core::fmt;
use core::net::SocketAddrV4;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::wire::control::{FailCode, RefusedWhy, ReleaseName};

/// What happens, for a log and for the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server has taken it in for the first time.
    Enrolled,
    /// An admin must approve it.
    Waiting {
        /// What the admin compares.
        fingerprint: Digest,
    },
    /// The channel is up and the server knows it.
    Connected,
    /// The channel is gone; it tries again by itself.
    Disconnected,
    /// The server refuses it for good.
    Refused(RefusedWhy),
    /// The authority document is not the one of the enrolment code.
    AuthorityMismatch,
    /// A release is on its way.
    Offered {
        /// Which.
        release: ReleaseName,
        /// Bytes that the session will send.
        bytes: u64,
    },
    /// How far the release is: bytes held and verified, and bytes in all.
    Progress(u64, u64),
    /// A release is installed, durable.
    Installed(ReleaseName),
    /// A chunk of an installed release is not what it was; it is asked for again.
    Damaged(ReleaseName),
    /// A release could not be installed.
    Failed(FailCode),
    /// The server has named a release that is newer than what is installed.
    Behind {
        /// Of this group.
        group: GroupId,
        /// Its order.
        newest: ReleaseOrder,
    },
    /// A statement of what is newest is not signed as it must be.
    FreshnessUnproved,
    /// A statement names less than one before.
    FreshnessBackwards,
    /// A statement does not name a group any more.
    FreshnessWithheld,
    /// The store does not take what must be remembered.
    NotKept,
    /// Join this multicast group.
    Listen(SocketAddrV4),
    /// Tell the switches again that it is listened to.
    Announce,
    /// Leave it.
    Unlisten,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enrolled => f.write_str("enrolled"),
            Self::Waiting { fingerprint } => write!(f, "waiting fingerprint={fingerprint}"),
            Self::Connected => f.write_str("connected"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Refused(why) => write!(f, "refused why={}", refusal(*why)),
            Self::AuthorityMismatch => f.write_str("refused why=authority-mismatch"),
            Self::Offered { release, bytes } => {
                write!(f, "offered sequence={} bytes={bytes}", release.order.sequence)
            }
            Self::Progress(held, total) => write!(f, "progress bytes={held} total={total}"),
            Self::Installed(release) => {
                let (sequence, digest) = (release.order.sequence, release.digest);
                write!(f, "installed sequence={sequence} release={digest}")
            }
            Self::Damaged(release) => {
                let (sequence, digest) = (release.order.sequence, release.digest);
                write!(f, "damaged sequence={sequence} release={digest}")
            }
            Self::Failed(code) => write!(f, "failed code={}", code.word()),
            Self::Behind { group, newest } => {
                write!(f, "behind group={group} newest={}", newest.sequence)
            }
            Self::FreshnessUnproved => f.write_str("unwell freshness-unproved"),
            Self::FreshnessBackwards => f.write_str("unwell freshness-backwards"),
            Self::FreshnessWithheld => f.write_str("unwell freshness-withheld"),
            Self::NotKept => f.write_str("unwell storage"),
            Self::Listen(group) => write!(f, "listen {group}"),
            Self::Announce => f.write_str("announce"),
            Self::Unlisten => f.write_str("unlisten"),
        }
    }
}

const fn refusal(why: RefusedWhy) -> &'static str {
    match why {
        RefusedWhy::Expired => "invite-expired",
        RefusedWhy::Used => "invite-used",
        RefusedWhy::Revoked => "invite-revoked",
        RefusedWhy::Full => "waiting-list-full",
        RefusedWhy::Unknown => "receiver-unknown",
    }
}
