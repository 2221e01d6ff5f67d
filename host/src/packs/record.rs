//! One chunk record: its header, its bounds, and whether it is what its id says.

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};

/// How a record's chunk is encoded (PROTOCOL §4, "Chunk record").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    None,
    /// One LZ4 block.
    Lz4,
    /// One zstd frame.
    Zstd,
}

/// Why a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Its length is not what its header says.
    #[error("a chunk record of {found} bytes should have {expected}")]
    Length {
        /// By its header (or the header's own length).
        expected: usize,
        /// As given.
        found: usize,
    },
    /// A codec that this version does not know.
    #[error("unknown codec {0} in a chunk record")]
    Codec(u8),
    /// The chunk is empty, or larger than any chunk may be.
    #[error("a chunk of {0} bytes is out of bounds")]
    Bound(usize),
    /// It does not decode to a chunk of the length in its header.
    #[error("a chunk record does not decode")]
    Encoding,
    /// Its chunk has another SHA-256 than its id.
    #[error("a chunk is {found}, not {expected}")]
    Digest {
        /// The id it is stored under.
        expected: Digest,
        /// The SHA-256 of its bytes.
        found: Digest,
    },
}

/// The 7 bytes in front of every encoded chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the chunk is encoded.
    pub codec: Codec,
    /// Length of the chunk, 1 to `MAX_CHUNK` bytes.
    pub chunk: usize,
    /// Length of its encoding, 1 to `MAX_CHUNK` bytes.
    pub encoded: usize,
}

impl RecordHeader {
    /// Reads the header at the beginning of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// [`BadRecord`] when `bytes` is shorter than a header or a value is out of bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRecord> {
        let Some([codec, c0, c1, c2, e0, e1, e2]) = bytes.first_chunk::<RECORD_HEADER>() else {
            return Err(BadRecord::Length { expected: RECORD_HEADER, found: bytes.len() });
        };
        let codec = match codec {
            0 => Codec::None,
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            other => return Err(BadRecord::Codec(*other)),
        };
        let chunk = u32::from_le_bytes([*c0, *c1, *c2, 0]) as usize;
        let encoded = u32::from_le_bytes([*e0, *e1, *e2, 0]) as usize;
        // PROTOCOL R3: bounded before anything is read or decoded by it.
        for length in [chunk, encoded] {
            if !(1..=MAX_CHUNK).contains(&length) {
                return Err(BadRecord::Bound(length));
            }
        }
        Ok(Self { codec, chunk, encoded })
    }

    /// Length of the whole record in bytes.
    #[must_use]
    pub const fn record_len(&self) -> usize {
        RECORD_HEADER + self.encoded
    }
}

/// The header of a record that must fill `record` exactly.
pub(super) fn whole(record: &[u8]) -> Result<RecordHeader, BadRecord> {
    let header = RecordHeader::parse(record)?;
    if header.record_len() != record.len() {
        let expected = header.record_len();
        return Err(BadRecord::Length { expected, found: record.len() });
    }
    Ok(header)
}

/// Checks that `record` is a whole record of the chunk named `id`; `scratch`
/// takes the decoded chunk, so that a caller's loop allocates once.
///
/// # Errors
/// [`BadRecord`] says what is wrong with it.
pub fn verify(id: &Digest, record: &[u8], scratch: &mut Vec<u8>) -> Result<(), BadRecord> {
    let header = whole(record)?;
    let encoded = record.get(RECORD_HEADER..).unwrap_or_default();
    // PROTOCOL R3: never more room than the header's (bounded) length.
    scratch.resize(header.chunk, 0);
    let written = match header.codec {
        Codec::None if encoded.len() == header.chunk => {
            scratch.copy_from_slice(encoded);
            header.chunk
        }
        Codec::None => return Err(BadRecord::Encoding),
        Codec::Lz4 => {
            lz4_flex::block::decompress_into(encoded, scratch).map_err(|_| BadRecord::Encoding)?
        }
        Codec::Zstd => zstd::bulk::decompress_to_buffer(encoded, scratch.as_mut_slice())
            .map_err(|_| BadRecord::Encoding)?,
    };
    if written != header.chunk {
        return Err(BadRecord::Encoding);
    }
    // PROTOCOL R2: the digest is that of the chunk after decompression.
    let found = Digest::of(scratch);
    if found != *id {
        return Err(BadRecord::Digest { expected: *id, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand from PROTOCOL §4: codec, two 3-byte lengths, bytes.
    const ABC: [u8; 10] = [0, 3, 0, 0, 3, 0, 0, b'a', b'b', b'c'];

    fn abc() -> Digest {
        Digest::of(b"abc")
    }

    #[test]
    fn a_record_written_by_hand_is_read() {
        let header = RecordHeader::parse(&[2, 0, 1, 0, 9, 0, 0]).unwrap();
        assert_eq!(header, RecordHeader { codec: Codec::Zstd, chunk: 256, encoded: 9 });
        assert_eq!(verify(&abc(), &ABC, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn a_chunk_counts_only_under_its_own_digest() {
        // PROTOCOL R2
        let other = Digest::of(b"abd");
        let refused = Err(BadRecord::Digest { expected: other, found: abc() });
        assert_eq!(verify(&other, &ABC, &mut Vec::new()), refused);
    }

    #[test]
    fn compressed_records_are_verified_after_decompression() {
        let chunk = vec![7_u8; 5_000];
        let id = Digest::of(&chunk);
        let encodings =
            [(1, lz4_flex::block::compress(&chunk)), (2, zstd::bulk::compress(&chunk, 3).unwrap())];
        for (codec, encoded) in encodings {
            let n = u8::try_from(encoded.len()).unwrap();
            // 5,000 = 0x1388
            let mut record = vec![codec, 0x88, 0x13, 0, n, 0, 0];
            record.extend_from_slice(&encoded);
            assert_eq!(verify(&id, &record, &mut Vec::new()), Ok(()));
            // One byte more in the header than the encoding holds.
            record[1] += 1;
            assert_eq!(verify(&id, &record, &mut Vec::new()), Err(BadRecord::Encoding));
        }
    }

    #[test]
    fn a_decompression_beyond_the_header_is_refused() {
        // PROTOCOL R3: the frame holds 100,000 zeros, the header admits 10.
        let encoded = zstd::bulk::compress(&vec![0; 100_000], 3).unwrap();
        let n = u8::try_from(encoded.len()).unwrap();
        let mut record = vec![2, 10, 0, 0, n, 0, 0];
        record.extend_from_slice(&encoded);
        let refused = Err(BadRecord::Encoding);
        assert_eq!(verify(&Digest::of(&[0; 10]), &record, &mut Vec::new()), refused);
    }

    #[test]
    fn lengths_and_codecs_out_of_bounds_are_refused() {
        assert_eq!(RecordHeader::parse(&[0; 7]), Err(BadRecord::Bound(0)));
        // 128 KiB and one byte = 0x020001
        let large = [0, 1, 0, 2, 3, 0, 0];
        assert_eq!(RecordHeader::parse(&large), Err(BadRecord::Bound(131_073)));
        assert_eq!(RecordHeader::parse(&[3, 1, 0, 0, 1, 0, 0]), Err(BadRecord::Codec(3)));
        let short = Err(BadRecord::Length { expected: 10, found: 9 });
        assert_eq!(verify(&abc(), &ABC[..9], &mut Vec::new()), short);
    }
}
