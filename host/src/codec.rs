//! Chunk records: a chunk, compressed when that pays, behind seven bytes that
//! say how (PROTOCOL, "Chunk record"). Records that need other chunks to be decoded
//! stand in [`patch`].

pub mod patch;

use std::io;

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_CHUNK;
use fleetcast_core::tree::record::{self, Record};
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::control::{CODEC_LZ4, CODEC_ZSTD};
use lz4_flex::block::CompressTable;
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

/// zstd's own default. On programs level 1 is half as fast again, but its records are 4 to 6 %
/// longer, and a chunk is encoded once and sent many times.
const LEVEL: i32 = 3;
/// Compression is worth a receiver's time when it leaves at most this share, in percent.
const WORTHWHILE: usize = 97;

/// How a chunk is encoded in its record; the number is byte 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    None = record::NONE,
    /// One LZ4 block.
    Lz4 = record::LZ4,
    /// One zstd frame (RFC 8878).
    Zstd = record::ZSTD,
}

/// Why there is no record, or no chunk in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// Cut short, followed by something, an unknown codec, or a chunk whose length is not
    /// 1 to `MAX_CHUNK`.
    #[error("a chunk record is malformed: {0:?}")]
    Malformed(Malformed),
    /// What is encoded is broken, or not as long as the record says.
    #[error("a chunk record does not decode to what it says")]
    Encoding,
    /// Its chunk has another SHA-256 than the id that it is stored under.
    #[error("a chunk is {found}, not {expected}")]
    Digest {
        /// The id.
        expected: Digest,
        /// The SHA-256 of its bytes.
        found: Digest,
    },
    /// Our own fault: there is no memory for a decompressor.
    #[error("there is no memory for a decompressor")]
    Memory,
}

/// Makes records; keeps the compressors' memory from one to the next.
pub struct Encoder {
    /// Bits of the codecs that all readers decode; none when nothing is to be compressed.
    codecs: u8,
    zstd: Compressor<'static>,
    lz4: CompressTable,
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder that uses the best of `codecs` (bits `CODEC_LZ4`, `CODEC_ZSTD`),
    /// or none unless `compress`.
    ///
    /// # Errors
    /// When there is no memory for a compressor.
    pub fn new(codecs: u8, compress: bool) -> io::Result<Self> {
        Ok(Self {
            codecs: if compress { codecs } else { 0 },
            zstd: Compressor::new(LEVEL)?,
            lz4: CompressTable::large(),
            scratch: vec![0; zstd_safe::compress_bound(MAX_CHUNK).max(lz4_bound(MAX_CHUNK))],
        })
    }

    /// Appends the record of `chunk` to `records`.
    ///
    /// # Errors
    /// [`BadRecord::Malformed`] when the chunk is empty or longer than `MAX_CHUNK`.
    pub fn encode(&mut self, chunk: &[u8], records: &mut Vec<u8>) -> Result<Codec, BadRecord> {
        bounded(chunk.len())?;
        let worthwhile = chunk.len() * WORTHWHILE / 100;
        let (codec, encoded) = match self.compress(chunk) {
            Some((codec, length)) if length <= worthwhile => (codec, &self.scratch[..length]),
            _ => (Codec::None, chunk),
        };
        let header = record::encode_header(codec as u8, chunk.len(), encoded.len());
        records.extend_from_slice(&header.map_err(BadRecord::Malformed)?);
        records.extend_from_slice(encoded);
        Ok(codec)
    }

    /// Compresses into the scratch memory; `None` when nothing was tried or gained.
    fn compress(&mut self, chunk: &[u8]) -> Option<(Codec, usize)> {
        if self.codecs & CODEC_ZSTD == 0 {
            return if self.codecs & CODEC_LZ4 == 0 { None } else { self.lz4(chunk) };
        }
        // LZ4 skips quickly over what does not repeat, zstd searches it. But only
        // where bytes are all about as frequent has zstd no gain left by coding them.
        if is_flat(chunk) && self.lz4(chunk).is_none_or(|(_, length)| length >= chunk.len()) {
            return None;
        }
        let length = self.zstd.compress_to_buffer(chunk, &mut self.scratch[..]).ok()?;
        Some((Codec::Zstd, length))
    }

    fn lz4(&mut self, chunk: &[u8]) -> Option<(Codec, usize)> {
        let scratch = &mut self.scratch;
        lz4_flex::block::compress_into_with_table(chunk, scratch, &mut self.lz4)
            .ok()
            .map(|length| (Codec::Lz4, length))
    }
}

/// Takes records back to chunks; keeps the decompressor's memory from one to the next.
///
/// The default one gets that memory with its first zstd frame.
#[derive(Default)]
pub struct Decoder {
    zstd: Option<Decompressor<'static>>,
}

impl Decoder {
    /// A decoder that has all the memory it will need.
    ///
    /// # Errors
    /// When there is no memory for a decompressor.
    pub fn new() -> io::Result<Self> {
        Ok(Self { zstd: Some(Decompressor::new()?) })
    }

    /// Replaces what is in `chunk` by the record's chunk. The chunk is not verified yet.
    ///
    /// # Errors
    /// [`BadRecord`]; `chunk` is then unspecified, but never longer than `MAX_CHUNK`.
    // PROTOCOL R3
    pub fn decode(&mut self, record: &Record<'_>, chunk: &mut Vec<u8>) -> Result<(), BadRecord> {
        bounded(record.len)?;
        chunk.resize(record.len, 0);
        let length = match record.codec {
            record::NONE if record.encoded.len() == record.len => {
                chunk.copy_from_slice(record.encoded);
                record.len
            }
            record::NONE => return Err(BadRecord::Encoding),
            record::LZ4 => lz4_flex::block::decompress_into(record.encoded, chunk)
                .map_err(|_| BadRecord::Encoding)?,
            record::ZSTD => self.zstd(record.encoded, chunk)?,
            unknown => return Err(BadRecord::Malformed(Malformed::Kind(unknown))),
        };
        if length == record.len { Ok(()) } else { Err(BadRecord::Encoding) }
    }

    /// Replaces what is in `chunk` by the chunk of the one record that `bytes` are.
    ///
    /// # Errors
    /// Those of [`Self::decode`], and [`BadRecord::Malformed`] when `bytes` are not exactly
    /// one record.
    pub fn decode_record(&mut self, bytes: &[u8], chunk: &mut Vec<u8>) -> Result<(), BadRecord> {
        let (record, rest) = Record::parse(bytes).map_err(BadRecord::Malformed)?;
        // PROTOCOL D2
        if !rest.is_empty() {
            return Err(BadRecord::Malformed(Malformed::Trailing));
        }
        self.decode(&record, chunk)
    }

    /// Exactly one frame: zstd itself would take several, and skippable ones.
    // PROTOCOL D2
    fn zstd(&mut self, encoded: &[u8], chunk: &mut [u8]) -> Result<usize, BadRecord> {
        one_frame(encoded)?;
        let zstd = match self.zstd.take() {
            Some(ready) => ready,
            None => Decompressor::new().map_err(|_| BadRecord::Memory)?,
        };
        let zstd = self.zstd.insert(zstd);
        zstd.decompress_to_buffer(encoded, chunk).map_err(|_| BadRecord::Encoding)
    }
}

// PROTOCOL D2
fn one_frame(encoded: &[u8]) -> Result<(), BadRecord> {
    let whole = zstd_safe::find_frame_compressed_size(encoded) == Ok(encoded.len());
    if whole { Ok(()) } else { Err(BadRecord::Encoding) }
}

// PROTOCOL R3
fn bounded(length: usize) -> Result<(), BadRecord> {
    let fits = (1..=MAX_CHUNK).contains(&length);
    if fits { Ok(()) } else { Err(BadRecord::Malformed(Malformed::Bound)) }
}

/// Whether the bytes of `chunk` are all about as frequent, as in what is compressed or
/// encrypted: then two of them are equal about as often as by pure chance.
fn is_flat(chunk: &[u8]) -> bool {
    // Every fifth is enough, and five divides no common record length.
    let mut counts = [0_u64; 256];
    for byte in chunk.iter().step_by(5) {
        counts[usize::from(*byte)] += 1;
    }
    let total: u64 = counts.iter().sum();
    let equal_pairs: u64 = counts.iter().map(|count| count * count.saturating_sub(1)).sum();
    // A gain of 3 % takes 1.18 times as many equal pairs, by Rényi's entropy.
    equal_pairs * 256 * 100 < total * total * 115
}

fn lz4_bound(length: usize) -> usize {
    lz4_flex::block::get_maximum_output_size(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = CODEC_LZ4 | CODEC_ZSTD;
    const BOUND: BadRecord = BadRecord::Malformed(Malformed::Bound);

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 5_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        (0..length).map(|_| next()).collect()
    }

    fn text(length: usize) -> Vec<u8> {
        let words = ["segment ", "block ", "symbol ", "repair ", "catch-up ", "lane, "];
        noise(length).iter().flat_map(|n| words[usize::from(n % 6)].bytes()).take(length).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
        let mut chunk = vec![1, 2, 3];
        Decoder::default().decode_record(bytes, &mut chunk).map(|()| chunk)
    }

    fn record(codec: u8, length: u32, encoded: &[u8]) -> Vec<u8> {
        let mut record = vec![codec];
        record.extend_from_slice(&length.to_le_bytes()[..3]);
        record.extend_from_slice(&u32::try_from(encoded.len()).unwrap().to_le_bytes()[..3]);
        record.extend_from_slice(encoded);
        record
    }

    #[test]
    fn a_record_begins_with_codec_and_two_lengths() {
        let mut records = Vec::new();
        let mut encoder = Encoder::new(ALL, true).unwrap();
        assert_eq!(encoder.encode(b"abc", &mut records), Ok(Codec::None));
        assert_eq!(records, b"\x00\x03\x00\x00\x03\x00\x00abc");
        assert_eq!(encoder.encode(&[7; 0x1_0203], &mut records), Ok(Codec::Zstd));
        assert_eq!(records[10..14], [2, 0x03, 0x02, 0x01]);
    }

    #[test]
    fn chunks_come_back_from_the_best_codec_allowed() {
        let cases = [
            (ALL, true, text(20_000), Codec::Zstd),
            (CODEC_LZ4, true, text(20_000), Codec::Lz4),
            (0, true, text(20_000), Codec::None),
            (ALL, false, text(20_000), Codec::None),
            (ALL, true, noise(MAX_CHUNK), Codec::None),
            (CODEC_LZ4, true, noise(20_000), Codec::None),
            (ALL, true, vec![0; MAX_CHUNK], Codec::Zstd),
            // Nothing repeats, but half of the byte values never occur.
            (ALL, true, noise(20_000).iter().map(|byte| byte & 0x7F).collect(), Codec::Zstd),
            // All values are equally frequent, but it repeats.
            (ALL, true, noise(5_000).repeat(4), Codec::Zstd),
        ];
        for (case, (codecs, compress, chunk, codec)) in cases.into_iter().enumerate() {
            let mut records = Vec::new();
            let mut encoder = Encoder::new(codecs, compress).unwrap();
            assert_eq!(encoder.encode(&chunk, &mut records), Ok(codec), "case {case}");
            assert_eq!(decode(&records), Ok(chunk), "case {case}");
        }
    }

    #[test]
    fn records_stand_one_after_the_other() {
        let mut records = Vec::new();
        let mut encoder = Encoder::new(ALL, true).unwrap();
        let chunks = [text(9_000), noise(10), text(4_000)];
        chunks.iter().for_each(|chunk| assert!(encoder.encode(chunk, &mut records).is_ok()));
        let mut rest = &records[..];
        let (mut decoder, mut decoded) = (Decoder::new().unwrap(), Vec::new());
        for chunk in &chunks {
            let (record, after) = Record::parse(rest).unwrap();
            assert_eq!(decoder.decode(&record, &mut decoded), Ok(()));
            assert_eq!(&decoded, chunk);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_chunk_that_is_empty_or_too_long_makes_no_record() {
        for length in [0, MAX_CHUNK + 1] {
            let mut records = Vec::new();
            let chunk = vec![0; length];
            let encoded = Encoder::new(ALL, true).unwrap().encode(&chunk, &mut records);
            assert_eq!((encoded, records.len()), (Err(BOUND), 0));
        }
    }

    // PROTOCOL R3
    #[test]
    fn decompression_stops_at_the_length_in_the_record() {
        let bomb = vec![0; MAX_CHUNK];
        let zstd = zstd::bulk::compress(&bomb, 19).unwrap();
        let lz4 = lz4_flex::block::compress(&bomb);
        for (codec, encoded) in [(2, &zstd), (1, &lz4)] {
            assert_eq!(decode(&record(codec, 131_072, encoded)), Ok(bomb.clone()));
            for lie in [1, 1_000, 131_071] {
                assert_eq!(decode(&record(codec, lie, encoded)), Err(BadRecord::Encoding));
            }
            assert_eq!(decode(&record(codec, 131_073, encoded)), Err(BOUND));
            let short = record(codec, 131_072, &encoded[..encoded.len() - 1]);
            assert_eq!(decode(&short), Err(BadRecord::Encoding));
        }
        // Without the content size in its header, a bomb shows only while it unpacks.
        let mut streamed = zstd::stream::encode_all(&vec![0; 1 << 24][..], 3).unwrap();
        assert_eq!(decode(&record(2, 131_072, &streamed)), Err(BadRecord::Encoding));
        streamed.truncate(12);
        assert_eq!(decode(&record(2, 131_072, &streamed)), Err(BadRecord::Encoding));
    }

    // PROTOCOL D2
    #[test]
    fn one_frame_is_all_that_a_record_holds() {
        let frame = zstd::bulk::compress(b"half", 3).unwrap();
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9];
        assert_eq!(decode(&record(2, 4, &frame)), Ok(b"half".to_vec()));
        for (length, parts) in
            [(8, [&frame[..], &frame]), (4, [&frame, &skippable]), (4, [&frame, b"x"])]
        {
            assert_eq!(decode(&record(2, length, &parts.concat())), Err(BadRecord::Encoding));
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let malformed = |fault| Err(BadRecord::Malformed(fault));
        let cut = |expected, found| malformed(Malformed::Length { expected, found });
        assert_eq!(decode(b""), cut(7, 0));
        assert_eq!(decode(&[0; 6]), cut(7, 6));
        assert_eq!(decode(&[0, 1, 0, 0, 1, 0, 0]), cut(1, 0));
        assert_eq!(decode(&record(3, 1, b"a")), malformed(Malformed::Kind(3)));
        assert_eq!(decode(&record(0, 2, b"a")), cut(2, 1));
        assert_eq!(decode(&record(0, 1, b"ab")), cut(1, 2));
        assert_eq!(decode(&record(0, 0xFF_FFFF, b"a")), Err(BOUND));
        // PROTOCOL D2
        assert_eq!(decode(&[0, 1, 0, 0, 1, 0, 0, b'a', 0]), malformed(Malformed::Trailing));
        // Records that no parser made.
        let made = |codec, len| {
            let record = Record { codec, len, encoded: b"ab" };
            Decoder::new().unwrap().decode(&record, &mut Vec::new())
        };
        assert_eq!(made(record::NONE, 3), Err(BadRecord::Encoding));
        assert_eq!(made(record::NONE, MAX_CHUNK + 1), Err(BOUND));
        assert_eq!(made(9, 2), Err(BadRecord::Malformed(Malformed::Kind(9))));
        for codec in [1, 2] {
            assert_eq!(decode(&record(codec, 100, &noise(50))), Err(BadRecord::Encoding));
            assert_eq!(decode(&record(codec, 0, &noise(50))), Err(BOUND));
            assert_eq!(decode(&record(codec, 100, b"")), Err(BOUND));
        }
    }
}
