//! Patches: records of chunks that resemble chunks which their receivers have
//! installed (PROTOCOL §4). A zstd frame copies from the predecessors' bytes and
//! inserts what is new; entropy coding comes with it.
//!
//! Neither side keeps memory from one patch to the next: zstd ties a context to
//! the prefix it was given. Decoding takes a context of some 160 KB, the
//! predecessors (at most 4 x 128 KiB) and the chunk.

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, MAX_PREDECESSORS};
use fleetcast_core::tree::patch::{Patch, ShortId, encode_head};
use fleetcast_core::tree::record::{PATCH, Record, encode_header};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use super::BadRecord;

/// Finds what was inserted or moved; higher levels find no more of it.
const LEVEL: i32 = 3;
/// Longest head of a patch in bytes: a count, then names.
const HEAD: usize = 1 + MAX_PREDECESSORS * ShortId::LEN;

/// The record of `chunk` as a patch of `predecessors`; `None` when it can be none, or
/// when it would be longer than `most` bytes.
///
/// What it returns has been decoded again, and gave the same bytes.
#[must_use]
pub fn encode(predecessors: &[(Digest, &[u8])], chunk: &[u8], most: usize) -> Option<Vec<u8>> {
    let names: Vec<ShortId> = predecessors.iter().map(|(id, _)| ShortId::of(id)).collect();
    let prefix: Vec<u8> = predecessors.iter().flat_map(|(_, bytes)| *bytes).copied().collect();
    let mut head = [0; HEAD];
    let head = encode_head(&names, &mut head).ok().and_then(|len| head.get(..len))?;
    let mut frame = vec![0; zstd_safe::compress_bound(chunk.len())];
    let len = compress(&prefix, chunk, &mut frame)?;
    frame.truncate(len);
    let encoded = head.len() + frame.len();
    let header = encode_header(PATCH, chunk.len(), encoded).ok()?;
    if header.len() + encoded > most {
        return None;
    }
    let mut again = Vec::new();
    decode(&prefix, chunk.len(), &frame, &mut again).ok().filter(|()| again == chunk)?;
    Some([&header[..], head, &frame].concat())
}

/// Replaces what is in `chunk` by the `len` bytes that `frame` makes of `prefix`: the bytes
/// of the predecessors, one after the other. They are not verified yet.
///
/// # Errors
/// [`BadRecord`]; `chunk` is then unspecified, but never longer than `MAX_CHUNK`.
// PROTOCOL R3
pub fn decode(
    prefix: &[u8],
    len: usize,
    frame: &[u8],
    chunk: &mut Vec<u8>,
) -> Result<(), BadRecord> {
    super::bounded(len)?;
    chunk.resize(len, 0);
    // PROTOCOL D2
    super::one_frame(frame)?;
    let mut context = DCtx::try_create().ok_or(BadRecord::Memory)?;
    context.ref_prefix(prefix).map_err(|_| BadRecord::Memory)?;
    match context.decompress(&mut chunk[..], frame) {
        Ok(found) if found == len => Ok(()),
        _ => Err(BadRecord::Encoding),
    }
}

/// Replaces what is in `chunk` by the chunk of a whole patch record, over predecessors that
/// `find` gives by their names.
///
/// # Errors
/// [`BadRecord`] when `record` is no patch, or when a predecessor is not found.
pub fn decode_record<'p>(
    record: &[u8],
    find: impl Fn(ShortId) -> Option<&'p [u8]>,
    chunk: &mut Vec<u8>,
) -> Result<(), BadRecord> {
    let (record, rest) = Record::parse(record).map_err(BadRecord::Malformed)?;
    if record.codec != PATCH || !rest.is_empty() {
        return Err(BadRecord::Encoding);
    }
    let patch = Patch::parse(record.encoded).map_err(BadRecord::Malformed)?;
    let mut prefix = Vec::new();
    for name in patch.predecessors() {
        prefix.extend_from_slice(find(name).ok_or(BadRecord::Encoding)?);
    }
    decode(&prefix, record.len, patch.frame(), chunk)
}

/// Compresses `chunk` over `prefix` into `frame`; its length.
fn compress(prefix: &[u8], chunk: &[u8], frame: &mut [u8]) -> Option<usize> {
    if chunk.is_empty() || chunk.len() > MAX_CHUNK {
        return None;
    }
    let mut context = CCtx::try_create()?;
    // The window reaches back to the beginning of the prefix.
    let window = (prefix.len() + chunk.len()).next_power_of_two().ilog2().clamp(10, 20);
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::WindowLog(window),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).ok()?;
    }
    context.ref_prefix(prefix).ok()?;
    context.compress2(frame, chunk).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        (0..length).map(|_| next()).collect()
    }

    fn patch(old: &[&[u8]], new: &[u8]) -> Vec<u8> {
        let old: Vec<_> = old.iter().map(|bytes| (Digest::of(bytes), *bytes)).collect();
        encode(&old, new, usize::MAX).unwrap()
    }

    fn back(record: &[u8], old: &[&[u8]]) -> Result<Vec<u8>, BadRecord> {
        let mut chunk = vec![1, 2, 3];
        let find = |name| old.iter().find(|bytes| ShortId::of(&Digest::of(bytes)) == name).copied();
        decode_record(record, find, &mut chunk).map(|()| chunk)
    }

    #[test]
    fn an_edit_costs_little_more_than_what_it_inserts() {
        let old = noise(1, 20_000);
        let (a, b) = old.split_at(7_000);
        let inserted = [a, b"forty bytes that nobody has seen before.", b].concat();
        let removed = [a, &b[64..]].concat();
        let replaced = [a, &noise(2, 64), &b[64..]].concat();
        for (new, literals) in [(inserted, 40), (removed, 0), (replaced, 64)] {
            let record = patch(&[&old], &new);
            // Header 7, head 9, frame header and end of block about 20, two or three copies.
            assert!(record.len() <= literals + 60, "{}", record.len());
            assert_eq!(back(&record, &[&old]), Ok(new));
        }
    }

    #[test]
    fn a_chunk_may_have_several_predecessors() {
        let (a, b) = (noise(3, 9_000), noise(4, 11_000));
        let new = [&a[5_000..], &b[..6_000]].concat();
        let record = patch(&[&a, &b], &new);
        assert!(record.len() < 80, "{}", record.len());
        assert_eq!(back(&record, &[&b, &a]), Ok(new.clone()));
        // Both of them are needed.
        assert!(back(&record, &[&a]).is_err());
        let old: Vec<_> = [&a, &b].map(|bytes| (Digest::of(bytes), &bytes[..])).to_vec();
        assert_eq!(encode(&old, &new, record.len() - 1), None);
    }

    #[test]
    fn a_predecessor_that_looks_like_a_dictionary_is_bytes_like_any_other() {
        // Magic number of zstd's trained dictionaries (RFC 8878, section 5).
        let old = [&[0x37, 0xA4, 0x30, 0xEC][..], &noise(5, 5_000)].concat();
        let new = [&b"x"[..], &old].concat();
        let record = patch(&[&old], &new);
        assert!(record.len() < 80, "{}", record.len());
        assert_eq!(back(&record, &[&old]), Ok(new));
    }

    #[test]
    fn the_largest_chunks_reach_back_to_the_first_predecessor() {
        let old: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, MAX_CHUNK)).collect();
        let old: Vec<&[u8]> = old.iter().map(|bytes| &bytes[..]).collect();
        let new = old[0].to_vec();
        let record = patch(&old, &new);
        assert!(record.len() < 100, "{}", record.len());
        assert_eq!(back(&record, &old), Ok(new));
    }

    // PROTOCOL R3
    #[test]
    fn a_patch_makes_no_more_than_the_length_in_its_record() {
        let old = noise(6, 1_000);
        let mut record = patch(&[&old], &vec![0; MAX_CHUNK]);
        assert_eq!(back(&record, &[&old]), Ok(vec![0; MAX_CHUNK]));
        for len in [1_u32, 1_000, 131_071] {
            record[1..4].copy_from_slice(&len.to_le_bytes()[..3]);
            assert_eq!(back(&record, &[&old]), Err(BadRecord::Encoding), "{len}");
        }
        record[1..4].copy_from_slice(&131_073_u32.to_le_bytes()[..3]);
        assert!(matches!(back(&record, &[&old]), Err(BadRecord::Malformed(_))));
        let mut chunk = Vec::new();
        let too_long = decode(&old, MAX_CHUNK + 1, &record[16..], &mut chunk);
        assert!(matches!(too_long, Err(BadRecord::Malformed(_))));
        assert!(chunk.is_empty());
    }

    // PROTOCOL D2
    #[test]
    fn one_frame_is_all_that_a_patch_holds() {
        let old = noise(7, 1_000);
        let record = patch(&[&old], &old[..500]);
        let more = |tail: &[u8]| {
            let mut longer = [&record[..], tail].concat();
            let encoded = (longer.len() - 7) as u32;
            longer[4..7].copy_from_slice(&encoded.to_le_bytes()[..3]);
            back(&longer, &[&old])
        };
        assert_eq!(more(&[]), Ok(old[..500].to_vec()));
        assert_eq!(more(b"x"), Err(BadRecord::Encoding));
        assert_eq!(more(&[0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9]), Err(BadRecord::Encoding));
        assert_eq!(more(&record[16..]), Err(BadRecord::Encoding));
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Copy(prop::sample::Index, usize),
        Insert(Vec<u8>),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let copy =
            (any::<prop::sample::Index>(), 1..9_000_usize).prop_map(|(a, b)| Edit::Copy(a, b));
        let insert = prop::collection::vec(any::<u8>(), 1..200).prop_map(Edit::Insert);
        prop::collection::vec(prop_oneof![3 => copy, 2 => insert], 1..12)
    }

    fn made_of(old: &[u8], edits: &[Edit]) -> Vec<u8> {
        let mut new = Vec::new();
        for edit in edits {
            match edit {
                Edit::Copy(from, len) => {
                    let from = from.index(old.len());
                    new.extend_from_slice(&old[from..(from + len).min(old.len())]);
                }
                Edit::Insert(bytes) => new.extend_from_slice(bytes),
            }
        }
        new.truncate(MAX_CHUNK);
        new
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_was_copied_and_inserted_comes_back(
            seeds in prop::collection::vec((any::<u64>(), 1..20_000_usize), 1..=4),
            edits in edits(),
        ) {
            let old: Vec<Vec<u8>> = seeds.iter().map(|(seed, len)| noise(*seed, *len)).collect();
            let old: Vec<&[u8]> = old.iter().map(|bytes| &bytes[..]).collect();
            let new = made_of(&old.concat(), &edits);
            let record = patch(&old, &new);
            prop_assert_eq!(back(&record, &old), Ok(new));
        }

        // PROTOCOL R3
        #[test]
        fn what_was_cut_or_changed_fails_or_gives_bytes_that_their_digest_tells_apart(
            seed in any::<u64>(),
            edits in edits(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        ) {
            let old = noise(seed, 12_000);
            let new = made_of(&old, &edits);
            let record = patch(&[&old], &new);
            for end in (0..record.len()).rev().take(40).chain(0..record.len().min(40)) {
                prop_assert!(back(&record[..end], &[&old]).is_err(), "{}", end);
            }
            let mut changed = record.clone();
            for (at, flip) in &flips {
                changed[at.index(record.len())] ^= flip;
            }
            if let Ok(other) = back(&changed, &[&old]) {
                prop_assert!(other.len() <= MAX_CHUNK);
                let same = other == new;
                prop_assert_eq!(Digest::of(&other) == Digest::of(&new), same);
            }
            // Other predecessors under the same names.
            let wrong = noise(seed ^ 1, 12_000);
            let mut chunk = Vec::new();
            if decode_record(&record, |_| Some(&wrong[..]), &mut chunk).is_ok() {
                prop_assert!(chunk.len() <= MAX_CHUNK);
            }
        }

        #[test]
        fn noise_in_place_of_a_frame_never_breaks_the_decoder(
            len in 0..200_000_usize,
            frame in prop::collection::vec(any::<u8>(), 0..400),
            seed in any::<u64>(),
        ) {
            // Behind zstd's magic number more of it is looked at.
            let framed = [&[0x28, 0xB5, 0x2F, 0xFD][..], &frame].concat();
            let prefix = noise(seed, 3_000);
            let mut chunk = Vec::new();
            for frame in [&frame, &framed] {
                let decoded = decode(&prefix, len, frame, &mut chunk);
                prop_assert!(chunk.len() <= MAX_CHUNK);
                prop_assert!(decoded.is_err() || chunk.len() == len);
            }
        }
    }
}
