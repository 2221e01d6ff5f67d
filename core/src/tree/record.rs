//! Chunk records: what blocks are made of (PROTOCOL §4).

use crate::limits::{MAX_CHUNK, RECORD_HEADER};
use crate::wire::Malformed;

/// Codec number of a chunk that stands as it is.
pub const NONE: u8 = 0;
/// Codec number of an LZ4 block.
pub const LZ4: u8 = 1;
/// Codec number of a zstd frame.
pub const ZSTD: u8 = 2;
/// Codec number of a patch: see [`super::patch`].
pub const PATCH: u8 = 3;

/// A chunk as it stands in a block; not yet checked against any reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// [`NONE`], [`LZ4`], [`ZSTD`] or [`PATCH`].
    pub codec: u8,
    /// Length of the chunk when decoded, 1 to [`MAX_CHUNK`]: a decoder writes
    /// into a buffer of exactly this length and refuses more or less.
    pub len: usize,
    /// The chunk, encoded.
    pub encoded: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes`; returns it and what follows.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown codec, a length out of bounds, or an end
    /// before the record's own.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else {
            return Err(Malformed::Length { expected: RECORD_HEADER, found: bytes.len() });
        };
        let [codec, a, b, c, d, e, f] = *header;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let encoded_len = u32::from_le_bytes([d, e, f, 0]) as usize;
        check(codec, len, encoded_len)?;
        let Some((encoded, rest)) = rest.split_at_checked(encoded_len) else {
            return Err(Malformed::Length { expected: encoded_len, found: rest.len() });
        };
        Ok((Self { codec, len, encoded }, rest))
    }
}

/// The header of a record whose encoding is `encoded_len` bytes long.
///
/// # Errors
/// [`Malformed`] for what [`Record::parse`] would refuse.
pub fn encode_header(
    codec: u8,
    len: usize,
    encoded_len: usize,
) -> Result<[u8; RECORD_HEADER], Malformed> {
    check(codec, len, encoded_len)?;
    let ([a, b, c, ..], [d, e, f, ..]) = (len.to_le_bytes(), encoded_len.to_le_bytes());
    Ok([codec, a, b, c, d, e, f])
}

fn check(codec: u8, len: usize, encoded_len: usize) -> Result<(), Malformed> {
    // PROTOCOL R3: nobody decodes towards more than MAX_CHUNK.
    let bounded = (1..=MAX_CHUNK).contains(&len) && (1..=MAX_CHUNK).contains(&encoded_len);
    match codec {
        NONE..=PATCH if !bounded => Err(Malformed::Bound),
        NONE if encoded_len != len => Err(Malformed::Length { expected: len, found: encoded_len }),
        NONE..=PATCH => Ok(()),
        unknown => Err(Malformed::Kind(unknown)),
    }
}

/// The records of a block, in order; nothing may stand between or after them.
///
/// After an error there are no further items.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// The records of a whole block.
    #[must_use]
    pub const fn new(block: &'a [u8]) -> Self {
        Self(block)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parsed = Record::parse(self.0);
        self.0 = parsed.map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(record, _)| record))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_block_is_records_without_gaps() {
        let block = [
            0, 3, 0, 0, 3, 0, 0, b'a', b'b', b'c', // as it is
            2, 0, 0, 2, 1, 0, 0, 0xaa, // 131,072 bytes, encoded into one
        ];
        let records: Vec<_> = Records::new(&block).map(Result::unwrap).collect();
        assert_eq!(records[0], Record { codec: NONE, len: 3, encoded: b"abc" });
        assert_eq!(records[1], Record { codec: ZSTD, len: 131_072, encoded: &[0xaa] });
        assert_eq!(records.len(), 2);
        assert_eq!(encode_header(ZSTD, 131_072, 1).unwrap(), block[10..17]);
    }

    #[test]
    fn an_end_inside_a_record_is_an_error_and_the_last_item() {
        let block = [0, 1, 0, 0, 1, 0, 0, 7, 1, 9, 0, 0, 2, 0, 0, 8, 8];
        for end in 0..block.len() {
            let whole = [0, 8].contains(&end);
            let items: Vec<_> = Records::new(&block[..end]).collect();
            assert_eq!(items.iter().all(Result::is_ok), whole, "{end}");
            assert!(items.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn codecs_and_lengths_outside_their_bounds_are_refused() {
        // PROTOCOL R3: 0x020001 is one more than MAX_CHUNK.
        let refused = |header: [u8; 7]| Record::parse(&[&header[..], &[0; 8]].concat()).err();
        assert_eq!(refused([1, 1, 0, 2, 1, 0, 0]), Some(Malformed::Bound));
        assert_eq!(refused([1, 0, 0, 0, 1, 0, 0]), Some(Malformed::Bound));
        assert_eq!(refused([1, 1, 0, 0, 0, 0, 0]), Some(Malformed::Bound));
        assert_eq!(refused([3, 1, 0, 2, 1, 0, 0]), Some(Malformed::Bound));
        assert_eq!(refused([4, 1, 0, 0, 1, 0, 0]), Some(Malformed::Kind(4)));
        let other = Malformed::Length { expected: 2, found: 3 };
        assert_eq!(refused([0, 2, 0, 0, 3, 0, 0]), Some(other));
        assert_eq!(encode_header(LZ4, 131_073, 1), Err(Malformed::Bound));
        assert_eq!(encode_header(LZ4, 1, 1 << 24), Err(Malformed::Bound));
    }
}
