//! What a receiver tells its driver.

use std::net::SocketAddrV4;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::wire::control::ReleaseName;

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
    Connected,
    /// The channel is gone.
    Disconnected {
        /// Why.
        reason: &'static str,
    },
    /// The server refuses it for good.
    Refused {
        /// A code such as `invite-used`.
        code: &'static str,
    },
    /// A release is on its way.
    Offered {
        /// Which.
        release: ReleaseName,
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
    /// A release is installed, durable.
    Installed {
        /// The group's name.
        group: String,
        /// Its number in the group.
        sequence: u64,
        /// Its digest.
        release: Digest,
    },
    /// A release could not be installed.
    Failed {
        /// A code such as `no-space`.
        code: &'static str,
        /// The reason in words.
        reason: String,
    },
    /// Join this multicast group.
    Listen(SocketAddrV4),
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
