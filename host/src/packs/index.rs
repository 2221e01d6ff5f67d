//! The index of a full pack: its ids sorted, each with its place.
//!
//! `magic (16) ‖ n × (id (32) ‖ offset (8) ‖ length (4)) ‖ SHA-256 of all before (32)`.
//! In memory stand only the first 4 bytes of every id; the rest is read when
//! they match, so that a lookup of a chunk that is not here costs no I/O.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fleetcast_core::digest::Digest;

use super::chunks::StoreError;
use super::pack::Place;
use crate::private;

const MAGIC: &[u8; 16] = b"fleetcast idx  1";
const ENTRY: usize = Digest::LEN + 8 + 4;

/// An index file, opened.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    /// First 4 bytes of every id, big-endian, ascending as in the file.
    prefixes: Vec<u32>,
}

impl Index {
    /// Writes the index of a pack beside it, whole or not at all.
    pub(super) fn write(
        path: &Path,
        entries: impl IntoIterator<Item = (Digest, Place)>,
    ) -> Result<(), StoreError> {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|(id, place)| (*id, place.offset));
        entries.dedup_by_key(|(id, _)| *id);
        let mut bytes = Vec::with_capacity(MAGIC.len() + entries.len() * ENTRY + Digest::LEN);
        bytes.extend_from_slice(MAGIC);
        for (id, place) in entries {
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&place.offset.to_le_bytes());
            bytes.extend_from_slice(&place.len.to_le_bytes());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0);

        private::write(path, &bytes).map_err(StoreError::io(path))
    }

    /// Opens an index, or returns `None` when it is not there or not whole.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(path)(error)),
        };
        let Some(prefixes) = prefixes(&bytes) else { return Ok(None) };
        let file = File::open(path).map_err(StoreError::io(path))?;
        Ok(Some(Self { file, prefixes }))
    }

    /// Where the record of `id` lies, if it is in this pack.
    pub(super) fn find(&self, id: &Digest) -> std::io::Result<Option<Place>> {
        let prefix = prefix(&id.0);
        let first = self.prefixes.partition_point(|other| *other < prefix);
        let equal = self.prefixes.iter().skip(first).take_while(|other| **other == prefix).count();
        for number in first..first + equal {
            let mut entry = [0; ENTRY];
            self.file.read_exact_at(&mut entry, (MAGIC.len() + number * ENTRY) as u64)?;
            let (name, place) = parse(&entry);
            if name == *id {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// All entries, in the order of their ids.
    pub(super) fn entries(&self) -> std::io::Result<Vec<(Digest, Place)>> {
        let mut bytes = vec![0; self.prefixes.len() * ENTRY];
        self.file.read_exact_at(&mut bytes, MAGIC.len() as u64)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        Ok(entries.iter().map(parse).collect())
    }

    /// How many chunks the pack holds.
    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }
}

fn prefixes(bytes: &[u8]) -> Option<Vec<u32>> {
    let (body, digest) = bytes.split_last_chunk::<{ Digest::LEN }>()?;
    let entries = body.strip_prefix(MAGIC)?;
    if Digest::of(body).0 != *digest || entries.len() % ENTRY != 0 {
        return None;
    }
    Some(entries.chunks_exact(ENTRY).map(prefix).collect())
}

fn prefix(id: &[u8]) -> u32 {
    id.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

fn parse(entry: &[u8; ENTRY]) -> (Digest, Place) {
    let mut id = Digest([0; Digest::LEN]);
    id.0.copy_from_slice(&entry[..Digest::LEN]);
    let mut offset = [0; 8];
    offset.copy_from_slice(&entry[Digest::LEN..Digest::LEN + 8]);
    let mut len = [0; 4];
    len.copy_from_slice(&entry[Digest::LEN + 8..]);
    (id, Place { offset: u64::from_le_bytes(offset), len: u32::from_le_bytes(len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: [u8; 5]) -> Digest {
        let mut id = Digest([0; 32]);
        id.0[..5].copy_from_slice(&first);
        id
    }

    #[test]
    fn ids_that_begin_alike_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000001.idx");
        let place = |offset| Place { offset, len: 9 };
        let entries = [
            (id([9, 9, 9, 9, 2]), place(300)),
            (id([1, 0, 0, 0, 0]), place(100)),
            (id([9, 9, 9, 9, 1]), place(200)),
        ];
        Index::write(&path, entries).unwrap();
        let index = Index::open(&path).unwrap().unwrap();
        for (id, place) in entries {
            assert_eq!(index.find(&id).unwrap(), Some(place));
        }
        assert_eq!(index.find(&id([9, 9, 9, 9, 3])).unwrap(), None);
        assert_eq!(index.find(&id([255; 5])).unwrap(), None);
    }

    #[test]
    fn an_index_with_one_wrong_bit_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000001.idx");
        Index::write(&path, [(id([1; 5]), Place { offset: 1, len: 2 })]).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 4;
        fs::write(&path, bytes).unwrap();
        assert!(Index::open(&path).unwrap().is_none());
    }
}
