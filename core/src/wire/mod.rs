//! Bytes on the wire: views over datagrams (`handshake`, `transport`,
//! `session`, `chain`) and the small control bodies of the unicast channel (`control`,
//! `nack`, `bounds`, `people`). Views check lengths and reserved bytes; meaning is given
//! elsewhere.

mod body;
pub mod bounds;
pub mod chain;
mod codecs;
pub mod control;
pub mod datagram;
pub mod handshake;
pub mod nack;
pub mod people;
mod refusal;
pub mod segment;
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

/// Length of an Ed25519 signature at the end of a control body.
pub(crate) const SIGNATURE: usize = 64;

/// The little-endian number at an offset that was checked to be there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// The byte at an offset that was checked to be there.
pub(crate) fn byte_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// What a control body's signature covers: all that stands before it.
pub(crate) fn before_signature(bytes: &[u8]) -> &[u8] {
    bytes.split_last_chunk::<SIGNATURE>().map_or(&[], |(text, _)| text)
}

/// The signature at the end of a control body.
pub(crate) fn last_64(bytes: &[u8]) -> [u8; SIGNATURE] {
    bytes.last_chunk().copied().unwrap_or([0; SIGNATURE])
}

/// Fewer bytes than the type needs.
pub(crate) const fn short(bytes: &[u8], expected: usize) -> Malformed {
    Malformed::Length { expected, found: bytes.len() }
}
