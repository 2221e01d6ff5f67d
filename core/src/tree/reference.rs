//! References to chunks: 36 bytes each, in entries and in index lists.

use crate::digest::Digest;
use crate::limits::{CHUNK_REF, MAX_CHUNK};
use crate::wire::Malformed;

/// A chunk's name and its length before compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef {
    /// SHA-256 of its bytes.
    pub id: Digest,
    /// Its length in bytes, 1 to [`MAX_CHUNK`].
    pub len: u32,
}

impl ChunkRef {
    /// The reference to a chunk of these bytes.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when they are none, or more than [`MAX_CHUNK`].
    pub fn of(chunk: &[u8]) -> Result<Self, Malformed> {
        let len = u32::try_from(chunk.len()).map_err(|_| Malformed::Bound)?;
        Self { id: Digest::of(chunk), len }.bounded()
    }

    /// The 36 bytes: SHA-256, then the length.
    #[must_use]
    pub fn encode(&self) -> [u8; CHUNK_REF] {
        let mut bytes = [0; CHUNK_REF];
        let (id, len) = bytes.split_at_mut(Digest::LEN);
        id.copy_from_slice(&self.id.0);
        len.copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Reads a reference.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when the length is zero or more than [`MAX_CHUNK`].
    pub fn parse(bytes: &[u8; CHUNK_REF]) -> Result<Self, Malformed> {
        let (mut id, mut len) = ([0; Digest::LEN], [0; 4]);
        id.copy_from_slice(&bytes[..Digest::LEN]);
        len.copy_from_slice(&bytes[Digest::LEN..]);
        Self { id: Digest(id), len: u32::from_le_bytes(len) }.bounded()
    }

    /// Checks bytes against this reference; nothing else makes a [`VerifiedChunk`].
    ///
    /// # Errors
    /// [`WrongChunk`] when they are other bytes.
    pub fn verify<'c>(&self, chunk: &'c [u8]) -> Result<VerifiedChunk<'c>, WrongChunk> {
        // PROTOCOL R2: both the length and the SHA-256 of the decompressed bytes.
        if chunk.len() as u64 != u64::from(self.len) {
            return Err(WrongChunk::Length { expected: self.len, found: chunk.len() });
        }
        match Digest::of(chunk) {
            found if found == self.id => Ok(VerifiedChunk { reference: *self, bytes: chunk }),
            found => Err(WrongChunk::Digest { expected: self.id, found }),
        }
    }

    const fn bounded(self) -> Result<Self, Malformed> {
        if self.len == 0 || self.len as usize > MAX_CHUNK {
            return Err(Malformed::Bound);
        }
        Ok(self)
    }
}

/// Bytes that are the chunk their reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedChunk<'c> {
    reference: ChunkRef,
    bytes: &'c [u8],
}

impl<'c> VerifiedChunk<'c> {
    /// What it was checked against.
    #[must_use]
    pub const fn reference(&self) -> ChunkRef {
        self.reference
    }

    /// The chunk.
    #[must_use]
    pub const fn bytes(&self) -> &'c [u8] {
        self.bytes
    }
}

/// Why bytes are not the chunk that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongChunk {
    /// Another length.
    Length {
        /// That of the reference.
        expected: u32,
        /// That of the bytes.
        found: usize,
    },
    /// Another digest.
    Digest {
        /// That of the reference.
        expected: Digest,
        /// That of the bytes.
        found: Digest,
    },
}

/// The references in `list`, whose length must be a multiple of 36.
///
/// # Errors
/// [`Malformed::Length`] when it is not; an item is [`Malformed::Bound`] when
/// its reference is.
pub fn references(
    list: &[u8],
) -> Result<impl ExactSizeIterator<Item = Result<ChunkRef, Malformed>> + '_, Malformed> {
    let (pieces, rest) = list.as_chunks::<CHUNK_REF>();
    if !rest.is_empty() {
        let expected = pieces.len() * CHUNK_REF;
        return Err(Malformed::Length { expected, found: list.len() });
    }
    Ok(pieces.iter().map(ChunkRef::parse))
}

/// Reads a list of references that arrives in pieces: index chunks are cut by
/// content, so a reference may begin in one and end in the next.
#[derive(Clone, Debug)]
pub struct ReferenceReader {
    bytes: [u8; CHUNK_REF],
    used: usize,
}

impl ReferenceReader {
    /// A reader at the beginning of a list.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; CHUNK_REF], used: 0 }
    }

    /// Takes the front of `input` up to the end of one reference.
    ///
    /// Returns the reference, or `None` when `input` was used up before.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when the reference's length is out of its bound.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<ChunkRef>, Malformed> {
        let (front, rest) = input.split_at(input.len().min(CHUNK_REF - self.used));
        self.bytes[self.used..self.used + front.len()].copy_from_slice(front);
        self.used += front.len();
        *input = rest;
        if self.used < CHUNK_REF {
            return Ok(None);
        }
        self.used = 0;
        ChunkRef::parse(&self.bytes).map(Some)
    }

    /// Whether the bytes so far end with a whole reference.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        self.used == 0
    }
}

impl Default for ReferenceReader {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// SHA-256 of `abc` (FIPS 180-4), then its length, by hand.
    const ABC: [u8; 36] = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad, 3, 0, 0, 0,
    ];

    fn with_len(len: u32) -> [u8; 36] {
        let mut bytes = ABC;
        bytes[32..].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    #[test]
    fn a_reference_is_a_digest_and_a_little_endian_length() {
        let reference = ChunkRef::of(b"abc").unwrap();
        assert_eq!(reference.encode(), ABC);
        assert_eq!(ChunkRef::parse(&ABC), Ok(reference));
    }

    #[test]
    fn lengths_of_zero_and_beyond_the_largest_chunk_are_refused() {
        assert_eq!(ChunkRef::parse(&with_len(131_072)).map(|r| r.len), Ok(131_072));
        for len in [0, 131_073, u32::MAX] {
            assert_eq!(ChunkRef::parse(&with_len(len)), Err(Malformed::Bound));
        }
        assert_eq!(ChunkRef::of(b""), Err(Malformed::Bound));
    }

    #[test]
    fn a_chunk_counts_only_with_its_own_digest_and_length() {
        // PROTOCOL R2
        let reference = ChunkRef::parse(&ABC).unwrap();
        assert_eq!(reference.verify(b"abc").map(|chunk| chunk.bytes()), Ok(&b"abc"[..]));
        assert!(matches!(reference.verify(b"abd"), Err(WrongChunk::Digest { .. })));
        let longer = ChunkRef::parse(&with_len(4)).unwrap();
        assert_eq!(longer.verify(b"abc"), Err(WrongChunk::Length { expected: 4, found: 3 }));
    }

    #[test]
    fn a_list_reads_the_same_however_it_is_cut() {
        let list = [ABC, with_len(9)].concat();
        let whole: Vec<_> = references(&list).unwrap().map(Result::unwrap).collect();
        assert_eq!(whole.iter().map(|r| r.len).collect::<Vec<_>>(), [3, 9]);
        for cut in 0..=list.len() {
            let (mut reader, mut read) = (ReferenceReader::new(), Vec::new());
            for mut piece in [&list[..cut], &list[cut..]] {
                while let Some(reference) = reader.next(&mut piece).unwrap() {
                    read.push(reference);
                }
            }
            assert!(reader.is_between());
            assert_eq!(read, whole);
        }
        assert!(references(&list[1..]).is_err());
    }
}
