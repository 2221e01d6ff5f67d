//! What a machine hands to its driver to be sent.

use core::net::SocketAddr;

/// One or more datagrams of equal size in the caller's buffer, for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub to: SocketAddr,
    /// Bytes used of the buffer.
    pub len: usize,
    /// Size of each datagram but the last, which may be shorter; `None` when
    /// there is one only.
    pub segment_size: Option<usize>,
}
