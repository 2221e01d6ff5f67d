//! What a sending session is told, and what it tells.

use core::net::SocketAddr;

use crate::crypto::sign::SigningKey;
use crate::ids::{BlockIndex, Epoch, FleetId, SessionId};
use crate::limits::MAX_SEGMENT_BLOCKS;
use crate::session::rate::RateLimits;
use crate::time::Duration;

/// How a session's datagrams follow each other: what its members have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Blocks of a segment whose symbols are interleaved (PROTOCOL S7), at least one.
    pub interleave: u8,
    /// Datagrams that a member may be behind before it counts as too slow: they wait
    /// in its buffers, and what it lacks must still be in its window when it asks.
    pub behind: u64,
    /// Datagrams that may be sent after the last that a member has reported, while its
    /// next report is not overdue. Reports are rare in large groups: hosts have no bound,
    /// their buffers are wide, and losses tell where they are not.
    pub unreported: u64,
    /// Bytes that may leave at once.
    pub burst: u32,
}

impl Flow {
    /// For hosts: whole segments against bursts of loss, and batches of datagrams that one
    /// system call carries.
    pub const HOSTS: Self = Self {
        interleave: MAX_SEGMENT_BLOCKS as u8,
        behind: 2_500,
        unreported: u64::MAX,
        burst: 48 * 1_024,
    };
}

/// What a sending session is made from.
pub struct SenderConfig {
    /// Its number, never used before by this controller.
    pub session: SessionId,
    /// Its first epoch.
    pub epoch: Epoch,
    /// The key of that epoch.
    pub key: [u8; 32],
    /// The fleet, for signatures.
    pub fleet: FleetId,
    /// The controller's key, for signatures.
    pub signing: SigningKey,
    /// Where its datagrams go.
    pub to: SocketAddr,
    /// Bytes of a full symbol.
    pub symbol: usize,
    /// Salt of the digests of strict mode.
    pub salt: [u8; 8],
    /// Most source symbols of a block.
    pub sources: usize,
    /// Number of release slots.
    pub slots: u8,
    /// Receivers invited.
    pub members: u32,
    /// Bytes of all blocks: a short session waits longer for its members.
    pub payload: u64,
    /// Bounds of the rate.
    pub limits: RateLimits,
    /// How its datagrams follow each other.
    pub flow: Flow,
    /// How often receivers report.
    pub report_interval: Duration,
}

/// What a sending session tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// Data begins.
    Started,
    /// No member heard a probe; the session is closed.
    NobodyHeard,
    /// Every member has finished, or the rest was given up.
    Closed {
        /// Members that never finished.
        unfinished: u32,
    },
    /// A block could not be read; the session is closed.
    SourceFailed(BlockIndex),
}

/// Counts of what a session has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Bytes with IP and UDP headers.
    pub wire_bytes: u64,
    /// Bytes of source symbols sent for the first time.
    pub payload_bytes: u64,
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Source symbols sent for the first time.
    pub sources: u64,
    /// Parity symbols.
    pub parity: u64,
    /// Source symbols sent again.
    pub resent: u64,
    /// NACK messages taken.
    pub nacks: u64,
    /// Digests of symbols: none but in strict mode.
    pub digests: u64,
}
