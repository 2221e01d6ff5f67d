//! What a receiver tells its driver.

use std::net::{SocketAddr, SocketAddrV4};

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::wire::control::ReleaseName;

use super::person::{Outcome, Reply};
use crate::health::Condition;

/// What a receiver tells its driver, and through it a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// The server has taken it in for the first time.
    Enrolled {
        /// Its identity.
        id: ReceiverId,
        /// Its name.
        name: String,
    },
    /// An admin must approve it.
    Waiting {
        /// What the admin compares.
        fingerprint: Digest,
    },
    /// The channel is up and the server knows it.
    Connected {
        /// Where the server is.
        server: SocketAddr,
    },
    /// The channel is gone.
    Disconnected {
        /// Why.
        reason: &'static str,
    },
    /// It was in the fleet, and is no more: an admin has removed it.
    Removed,
    /// The server refuses it for good.
    Refused {
        /// A code such as `invite-used`.
        code: &'static str,
    },
    /// A release is on its way.
    Offered {
        /// Which.
        release: ReleaseName,
        /// The group's name, if one of its releases is installed.
        group: Option<String>,
        /// Bytes that the session will send.
        bytes: u64,
    },
    /// How far the release is.
    Progress {
        /// Bytes held and verified.
        bytes: u64,
        /// Bytes in all, 0 when not known yet.
        total: u64,
    },
    /// All of a release is verified and durable in staging; installing it follows.
    Verified {
        /// Which.
        release: ReleaseName,
    },
    /// All of a release is here, and is installed when the server says so.
    Staged {
        /// Which.
        release: ReleaseName,
    },
    /// A release is installed, durable.
    Installed {
        /// The group's name.
        group: String,
        /// Its number in the group.
        sequence: u64,
        /// Its digest.
        release: Digest,
    },
    /// What was noticed when a release was installed, where there was something.
    Findings {
        /// The group's name.
        group: String,
        /// Its number in the group.
        sequence: u64,
        /// Files and directories that somebody had changed or added, by their paths; they
        /// are kept.
        changes: Vec<String>,
        /// Where, below the destination.
        kept: Option<String>,
        /// Whether the new directory took the place of the old one in one step.
        atomic: bool,
    },
    /// The server has named a release that is newer than what is installed.
    Behind {
        /// The group's name where it is known, else its identity.
        group: String,
        /// The number of what is installed; 0: nothing.
        installed: u64,
        /// The number of the newest.
        newest: u64,
    },
    /// It is in a group no more: an admin, or the group's end, has taken it out.
    TakenOut {
        /// The group's name where it is known, else its identity.
        group: String,
    },
    /// Something is not as it should be.
    Unwell {
        /// What.
        condition: Condition,
        /// Of whom or what, or empty.
        subject: String,
    },
    /// A release could not be installed.
    Failed {
        /// A code such as `no-space`.
        code: &'static str,
        /// The reason in words.
        reason: String,
    },
    /// An account stands behind this receiver.
    LoggedIn {
        /// Its name.
        user: String,
    },
    /// The server has answered a request to join or leave, or an admin has decided.
    Answered {
        /// The group's name.
        group: String,
        /// What became of it.
        outcome: Outcome,
    },
    /// The answer to a person's question.
    Reply {
        /// The number of the question.
        number: u64,
        /// The answer.
        reply: Reply,
    },
    /// Join this multicast group.
    Listen(SocketAddrV4),
    /// Tell the switches again that this multicast group is listened to.
    Announce(SocketAddrV4),
    /// Leave this multicast group.
    Unlisten(SocketAddrV4),
}

/// Counts for a driver's last words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStats {
    /// Session datagrams received.
    pub received: u64,
    /// Session datagrams lost.
    pub lost: u64,
    /// Lost sources that parity has replaced.
    pub repaired: u64,
    /// NACK messages sent.
    pub nacks: u64,
}
