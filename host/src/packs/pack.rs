//! A pack file: 16 bytes of heading, then entries `id (32) ‖ check (4) ‖ record`.
//!
//! The check is the first 4 bytes of SHA-256(id ‖ record): it tells a torn or
//! rotten entry when a pack is scanned, and is not paid for when it is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};

use super::chunks::StoreError;
use super::record::record_len;

/// First bytes of a pack.
pub(super) const MAGIC: &[u8; 16] = b"fleetcast pack 1";
/// Id and check in front of a record.
pub(super) const ENTRY_HEADER: usize = Digest::LEN + CHECK;
/// Length of an entry's check.
const CHECK: usize = 4;

/// Where a record lies in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the record's first byte.
    pub(super) offset: u64,
    /// Length of the record in bytes.
    pub(super) len: u32,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Whole entries, in the order of the file.
    pub(super) entries: Vec<(Digest, Place)>,
    /// End of the last whole entry; what lies behind it is torn.
    pub(super) end: u64,
    /// Entries before the end whose check does not hold.
    pub(super) damaged: u64,
}

/// Creates an empty pack, durable with its name.
pub(super) fn create(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path).map_err(StoreError::io(path))?;
    file.write_all_at(MAGIC, 0).map_err(StoreError::io(path))?;
    file.sync_all().map_err(StoreError::io(path))?;
    sync_directory(path)?;
    Ok(file)
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(StoreError::io(directory))
}

/// Appends an entry's bytes to `out`.
pub(super) fn entry(id: &Digest, record: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&check(id, record));
    out.extend_from_slice(record);
}

/// Reads the record at `place` into `out`; `false` when it is not whole, or not that of `id`.
pub(super) fn read_checked(
    file: &File,
    id: &Digest,
    place: Place,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(start) = place.offset.checked_sub(ENTRY_HEADER as u64) else { return Ok(false) };
    let mut head = [0; ENTRY_HEADER];
    file.read_exact_at(&mut head, start)?;
    out.resize(place.len as usize, 0);
    file.read_exact_at(out, place.offset)?;
    Ok(head[..Digest::LEN] == id.0 && head[Digest::LEN..] == check(id, out))
}

/// Reads a pack from its beginning and finds its whole entries.
///
/// A rotten entry between whole ones is left out; the file is not changed.
pub(super) fn scan(path: &Path) -> Result<Scan, StoreError> {
    let file = fs::File::open(path).map_err(StoreError::io(path))?;
    scan_from(BufReader::with_capacity(1 << 20, file)).map_err(StoreError::io(path))
}

fn scan_from(mut file: impl Read) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut magic = [0; MAGIC.len()];
    if !fill(&mut file, &mut magic)? {
        return Ok(scan);
    }
    if magic != *MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a pack of this version"));
    }
    scan.end = MAGIC.len() as u64;
    let mut next = scan.end;
    let mut bad = 0;
    let mut head = [0; ENTRY_HEADER + RECORD_HEADER];
    let mut record = vec![0; RECORD_HEADER + MAX_CHUNK];
    while fill(&mut file, &mut head)? {
        let (id, rest) = head.split_at(Digest::LEN);
        let (sum, header) = rest.split_at(CHECK);
        // Without a credible length nothing behind can be found.
        let Ok(len) = record_len(header) else { break };
        let record = &mut record[..len];
        record[..RECORD_HEADER].copy_from_slice(header);
        if !fill(&mut file, &mut record[RECORD_HEADER..])? {
            break;
        }
        let mut name = Digest([0; Digest::LEN]);
        name.0.copy_from_slice(id);
        let offset = next + ENTRY_HEADER as u64;
        next = offset + record.len() as u64;
        if check(&name, record) == sum {
            scan.entries.push((name, Place { offset, len: record.len() as u32 }));
            scan.end = next;
            scan.damaged += std::mem::take(&mut bad);
        } else {
            bad += 1;
        }
    }
    Ok(scan)
}

/// Fills `out`, or says that the file ends before.
fn fill(file: &mut impl Read, out: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn check(id: &Digest, record: &[u8]) -> [u8; CHECK] {
    let [a, b, c, d, ..] = Digest::of_parts(&[&id.0, record]).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(texts: &[&str]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for text in texts {
            let n = text.len() as u8;
            let mut record = vec![0, n, 0, 0, n, 0, 0];
            record.extend_from_slice(text.as_bytes());
            entry(&Digest::of(text.as_bytes()), &record, &mut bytes);
        }
        bytes
    }

    #[test]
    fn every_cut_of_a_pack_gives_its_whole_entries() {
        let bytes = pack(&["one", "three", "seventeen"]);
        // By hand: 16, then each time 32 + 4 + 7 + length of the text.
        let ends = [16, 62, 110, 162];
        assert_eq!(bytes.len(), 162);
        for cut in 16..=bytes.len() {
            let scan = scan_from(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!((scan.entries.len(), scan.end), (whole - 1, ends[whole - 1] as u64));
            assert_eq!(scan.damaged, 0);
        }
    }

    #[test]
    fn rot_in_the_middle_costs_one_entry_and_not_those_behind_it() {
        let mut bytes = pack(&["one", "three", "seventeen"]);
        bytes[108] ^= 1;
        let scan = scan_from(&bytes[..]).unwrap();
        let found: Vec<_> = scan.entries.iter().map(|(id, _)| *id).collect();
        assert_eq!(found, [Digest::of(b"one"), Digest::of(b"seventeen")]);
        assert_eq!((scan.end, scan.damaged), (162, 1));
    }

    #[test]
    fn a_tail_of_zeros_is_no_entry() {
        let mut bytes = pack(&["one"]);
        bytes.resize(4_096, 0);
        assert_eq!(scan_from(&bytes[..]).unwrap().end, 62);
    }
}
