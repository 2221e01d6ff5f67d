//! Bytes on the wire: views over datagrams (`handshake`, `transport`,
//! `session`) and the small control bodies of the unicast channel (`control`,
//! `nack`). Views check lengths and reserved bytes; meaning is given elsewhere.

pub mod control;
pub mod datagram;
pub mod handshake;
pub mod nack;
pub mod session;
pub mod transport;

/// Why bytes were refused: the fault lies with whoever made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter or longer than the type allows.
    Length {
        /// What the type would have needed, in bytes.
        expected: usize,
        /// What came, in bytes.
        found: usize,
    },
    /// A version other than [`crate::limits::VERSION`].
    Version(u8),
    /// A reserved byte that is not zero.
    Reserved,
    /// A type, kind or flag that this version does not know.
    Kind(u8),
    /// Bytes after the end.
    Trailing,
    /// A value outside its bound.
    Bound,
    /// An encoding that is not the canonical one.
    NotCanonical,
}
