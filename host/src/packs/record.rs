//! One chunk record as the store takes it: whole, and the chunk that its id says.
//! How a record is read stands in [`crate::codec`].

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};
use fleetcast_core::tree::record::{PATCH, Record};
use fleetcast_core::wire::Malformed;

use crate::codec::{BadRecord, Decoder};

/// Length of the record that begins with these bytes, by its header alone; what
/// else stands there is not looked at, so that rot in one record hides none
/// behind it.
///
/// # Errors
/// [`BadRecord::Malformed`] when `bytes` is shorter than a header, or the
/// length is out of bounds.
pub fn record_len(bytes: &[u8]) -> Result<usize, BadRecord> {
    let Some([_, _, _, _, a, b, c]) = bytes.first_chunk::<RECORD_HEADER>() else {
        let (expected, found) = (RECORD_HEADER, bytes.len());
        return Err(BadRecord::Malformed(Malformed::Length { expected, found }));
    };
    let encoded = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    // PROTOCOL R3: bounded before anything is read by it.
    let fits = (1..=MAX_CHUNK).contains(&encoded);
    if fits { Ok(RECORD_HEADER + encoded) } else { Err(BadRecord::Malformed(Malformed::Bound)) }
}

/// Checks that `record` is one whole record that needs no other chunk; its own is not
/// looked at.
pub(super) fn whole(record: &[u8]) -> Result<(), BadRecord> {
    let (parsed, rest) = Record::parse(record).map_err(BadRecord::Malformed)?;
    if parsed.codec == PATCH {
        return Err(BadRecord::Malformed(Malformed::Kind(PATCH)));
    }
    // PROTOCOL D2
    if rest.is_empty() { Ok(()) } else { Err(BadRecord::Malformed(Malformed::Trailing)) }
}

/// Checks records against their ids; keeps its memory from one to the next.
#[derive(Default)]
pub struct Verifier {
    decoder: Decoder,
    chunk: Vec<u8>,
}

impl Verifier {
    /// Checks that `record` is a whole record of the chunk named `id`.
    ///
    /// # Errors
    /// [`BadRecord`] says what is wrong with it.
    pub fn verify(&mut self, id: &Digest, record: &[u8]) -> Result<(), BadRecord> {
        self.decoder.decode_record(record, &mut self.chunk)?;
        // PROTOCOL R2: the digest is that of the chunk after decompression.
        let found = Digest::of(&self.chunk);
        if found == *id { Ok(()) } else { Err(BadRecord::Digest { expected: *id, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand from PROTOCOL §4: codec, two 3-byte lengths, bytes.
    const ABC: [u8; 10] = [0, 3, 0, 0, 3, 0, 0, b'a', b'b', b'c'];

    fn verify(id: &Digest, record: &[u8]) -> Result<(), BadRecord> {
        Verifier::default().verify(id, record)
    }

    #[test]
    fn a_chunk_counts_only_under_its_own_digest() {
        // PROTOCOL R2
        let (abc, other) = (Digest::of(b"abc"), Digest::of(b"abd"));
        assert_eq!(verify(&abc, &ABC), Ok(()));
        let refused = Err(BadRecord::Digest { expected: other, found: abc });
        assert_eq!(verify(&other, &ABC), refused);
    }

    #[test]
    fn compressed_records_are_verified_after_decompression() {
        let chunk = vec![7_u8; 5_000];
        let id = Digest::of(&chunk);
        let encodings =
            [(1, lz4_flex::block::compress(&chunk)), (2, zstd::bulk::compress(&chunk, 3).unwrap())];
        let mut verifier = Verifier::default();
        for (codec, encoded) in encodings {
            let n = u8::try_from(encoded.len()).unwrap();
            // 5,000 = 0x1388
            let mut record = vec![codec, 0x88, 0x13, 0, n, 0, 0];
            record.extend_from_slice(&encoded);
            assert_eq!(verifier.verify(&id, &record), Ok(()));
            // One byte more in the header than the encoding holds.
            record[1] += 1;
            assert_eq!(verifier.verify(&id, &record), Err(BadRecord::Encoding));
        }
    }

    #[test]
    fn a_record_is_whole_or_refused() {
        assert_eq!(whole(&ABC), Ok(()));
        assert!(whole(&ABC[..9]).is_err());
        let trailing = BadRecord::Malformed(Malformed::Trailing);
        assert_eq!(whole(&[&ABC[..], &[0]].concat()), Err(trailing));
        // What is stored must not hang on what may be collected.
        let patch = Err(BadRecord::Malformed(Malformed::Kind(3)));
        assert_eq!(whole(&[&[3], &ABC[1..]].concat()), patch);
    }

    #[test]
    fn a_length_is_read_from_a_header_whose_rest_is_rotten() {
        assert_eq!(record_len(&[9, 0xFF, 0xFF, 0xFF, 9, 0, 0]), Ok(16));
        let bound = Err(BadRecord::Malformed(Malformed::Bound));
        assert_eq!(record_len(&[0; 7]), bound);
        // 128 KiB and one byte = 0x020001
        assert_eq!(record_len(&[0, 3, 0, 0, 1, 0, 2]), bound);
        assert!(record_len(&[0; 6]).is_err());
    }
}
