//! What a receiver is told.

use core::net::SocketAddr;

use crate::ids::StaticKey;

/// What a receiver is told at its construction.
#[derive(Clone)]
pub struct ReceiverConfig {
    /// The secret half of the device's X25519 key.
    pub static_secret: [u8; 32],
    /// The controller's public key.
    pub server_key: StaticKey,
    /// Where the server is.
    pub server: SocketAddr,
    /// The enrolment token, if one is to be used.
    pub token: Option<[u8; 16]>,
    /// The boot counter: greater than in every boot before, and persisted
    /// before this construction (PROTOCOL H6).
    pub boot: u64,
    /// Whether this is a constrained device.
    pub constrained: bool,
    /// The largest datagram that this device takes, in bytes (548 … 1,472).
    pub max_datagram: u16,
    /// 32 fresh random bytes; never the same twice.
    pub seed: [u8; 32],
}
