//! Content chunks and where they belong: references on disk, little in memory.
//!
//! The file `chunks` holds 48 bytes per ordinal: SHA-256, length, file and offset
//! of the first occurrence. `occurrences` holds the ordinal of each occurrence in
//! the order of the entry table. Both are derived from the index, made anew at
//! each start and never synced. Memory: 16 bytes per further occurrence, and,
//! until old files have been looked through, 24 bytes per chunk to find ordinals
//! by id.

use std::collections::HashMap;

use fleetcast_core::digest::Digest;
use fleetcast_core::tree::entry::BadTree;
use fleetcast_core::tree::reference::ChunkRef;

use super::table::TableError;
use crate::disk::{self, Disk, read_exact};

const SLOT: usize = 48;
const BUFFER: usize = 1 << 16;

/// Where a chunk occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Entry number of the file.
    pub(crate) file: u32,
    /// Offset in it.
    pub(crate) offset: u64,
}

/// References and places of all content chunks of a release.
#[derive(Debug)]
pub(crate) struct Places<D: Disk> {
    chunks: D::File,
    occurrences: D::File,
    count: u32,
    total: u32,
    /// Further places, by ordinal; sorted when complete.
    further: Vec<(u32, u32, u64)>,
    by_id: HashMap<[u8; 16], u32>,
    chunk_buffer: Vec<u8>,
    occurrence_buffer: Vec<u8>,
    occurrences_end: u64,
}

impl<D: Disk> Places<D> {
    /// Nothing yet, in two new files.
    pub(crate) fn new(chunks: D::File, occurrences: D::File, total: u32) -> Self {
        Self {
            chunks,
            occurrences,
            count: 0,
            total,
            further: Vec::new(),
            by_id: HashMap::new(),
            chunk_buffer: Vec::new(),
            occurrence_buffer: Vec::new(),
            occurrences_end: 0,
        }
    }

    /// Takes the next occurrence of the entry table; whether it is the chunk's first.
    pub(crate) fn add(&mut self, disk: &D, place: Place, id: ChunkRef) -> Result<bool, TableError> {
        let next = self.count;
        let ordinal = *self.by_id.entry(key(&id.id)).or_insert(next);
        if ordinal == next {
            // PROTOCOL R1: no more unique chunks than the root states.
            if next >= self.total {
                return Err(TableError::Tree(BadTree::Size));
            }
            self.count += 1;
            self.chunk_buffer.extend_from_slice(&id.encode());
            self.chunk_buffer.extend_from_slice(&place.file.to_le_bytes());
            self.chunk_buffer.extend_from_slice(&place.offset.to_le_bytes());
        } else {
            self.further.push((ordinal, place.file, place.offset));
        }
        self.occurrence_buffer.extend_from_slice(&ordinal.to_le_bytes());
        if self.chunk_buffer.len() + self.occurrence_buffer.len() > BUFFER {
            self.flush(disk)?;
        }
        Ok(ordinal == next)
    }

    /// Ends the table; `false` when there are fewer chunks than the root states.
    pub(crate) fn finish(&mut self, disk: &D) -> disk::Result<bool> {
        self.flush(disk)?;
        self.further.sort_unstable();
        Ok(self.count == self.total)
    }

    /// The ordinal of a chunk by its id; nothing after [`Self::forget_ids`].
    pub(crate) fn ordinal(&self, id: &Digest) -> Option<u32> {
        self.by_id.get(&key(id)).copied()
    }

    /// Gives the memory for finding ordinals by id back.
    pub(crate) fn forget_ids(&mut self) {
        self.by_id = HashMap::new();
    }

    /// Reference and all places of a chunk, into `places`.
    pub(crate) fn look_up(
        &self,
        disk: &D,
        ordinal: u32,
        places: &mut Vec<Place>,
    ) -> disk::Result<ChunkRef> {
        let mut slot = [0; SLOT];
        read_exact(disk, &self.chunks, u64::from(ordinal) * SLOT as u64, &mut slot)?;
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| slot[at + i]));
        let offset = u64::from(number(40)) | u64::from(number(44)) << 32;
        let mut id = [0; 32];
        id.copy_from_slice(&slot[..32]);
        places.clear();
        places.push(Place { file: number(36), offset });
        let from = self.further.partition_point(|further| further.0 < ordinal);
        let same = self.further[from..].iter().take_while(|further| further.0 == ordinal);
        places.extend(same.map(|&(_, file, offset)| Place { file, offset }));
        Ok(ChunkRef { id: Digest(id), len: number(32) })
    }

    /// The ordinals of a file's chunks, in pieces.
    pub(crate) fn of_file(
        &self,
        disk: &D,
        first: u32,
        chunks: u32,
        each: &mut dyn FnMut(u32),
    ) -> disk::Result<()> {
        let range = (u64::from(first) * 4, u64::from(chunks) * 4);
        super::index::read_range(disk, &self.occurrences, range, &mut |piece| {
            piece.chunks_exact(4).for_each(|number| {
                each(u32::from_le_bytes([number[0], number[1], number[2], number[3]]));
            });
            Ok::<(), disk::DiskError>(())
        })
    }

    fn flush(&mut self, disk: &D) -> disk::Result<()> {
        let slots = (self.chunk_buffer.len() / SLOT) as u64;
        let at = (u64::from(self.count) - slots) * SLOT as u64;
        disk.write_at(&self.chunks, at, &self.chunk_buffer)?;
        disk.write_at(&self.occurrences, self.occurrences_end, &self.occurrence_buffer)?;
        self.occurrences_end += self.occurrence_buffer.len() as u64;
        self.chunk_buffer.clear();
        self.occurrence_buffer.clear();
        Ok(())
    }
}

/// 16 bytes of an id are enough to find it: what is found is hashed in whole.
fn key(id: &Digest) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&id.0[..16]);
    key
}
