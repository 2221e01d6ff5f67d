//! Index chunks: where each one goes, and which are held.
//!
//! Levels lie one after the other in the file `index`, each as the list (or the
//! entry table) that its chunks are. The references of a level are known when
//! the level above is whole. 48 bytes of memory for each index chunk.
//!
//! Content that repeats makes index chunks that repeat (a file of zeros has few
//! others). One that comes fills all its places of that level, since each
//! crosses the network once.

use std::collections::HashMap;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::Ordinal;
use fleetcast_core::tree::index::{BadTop, IndexLayout, TreeTop};
use fleetcast_core::tree::reference::{ChunkRef, ReferenceReader};

use super::bits::Bits;
use crate::disk::{self, Disk, DiskError, read_exact};

/// The index of the release that is being received.
#[derive(Debug)]
pub(crate) struct Index<D: Disk> {
    pub(crate) file: D::File,
    layout: IndexLayout,
    /// References and offsets of the chunks known so far, by ordinal.
    known: Vec<(ChunkRef, u64)>,
    /// Of chunks that repeat within a level: the next ordinal with the same bytes,
    /// round to the first.
    twins: HashMap<u32, u32>,
    pub(crate) held: Bits,
    pub(crate) held_bytes: u64,
    /// Offset behind the last chunk known.
    end: u64,
    level: usize,
}

/// What became of an index chunk.
pub(crate) enum IndexTaken {
    Stored,
    Unneeded,
    Unknown,
    Wrong,
}

impl<D: Disk> Index<D> {
    /// The index of a tree; what of it the file holds already is found by hash.
    pub(crate) fn resume(disk: &D, file: D::File, tree: &TreeTop<'_>) -> Result<Self, BadIndex> {
        let layout = tree.layout().map_err(BadIndex::Top)?;
        let mut index = Self {
            file,
            layout,
            known: Vec::new(),
            twins: HashMap::new(),
            held: Bits::new(layout.total()),
            held_bytes: 0,
            end: 0,
            level: 0,
        };
        let top = tree.references().map_err(|_| BadIndex::List)?;
        for reference in top {
            index.learn(reference.map_err(|_| BadIndex::List)?);
        }
        index.find_twins(0);
        let mut chunk = Vec::new();
        let mut next = 0;
        while let Some(&(reference, offset)) = index.known.get(next as usize) {
            chunk.resize(reference.len as usize, 0);
            match read_exact(disk, &index.file, offset, &mut chunk) {
                Ok(()) if reference.verify(&chunk).is_ok() => {
                    index.hold(next, reference.len);
                    index.learn_next(disk)?;
                }
                Ok(()) | Err(DiskError::Short) => {}
                Err(error) => return Err(BadIndex::Disk(error)),
            }
            next += 1;
        }
        Ok(index)
    }

    /// Index chunks in all.
    pub(crate) const fn total(&self) -> u32 {
        self.layout.total()
    }

    /// Whether all of it is held.
    pub(crate) const fn is_complete(&self) -> bool {
        self.held.ones() == self.layout.total()
    }

    /// Chunks whose references are known so far.
    pub(crate) const fn known(&self) -> u32 {
        self.known.len() as u32
    }

    /// The id of a chunk, if it is known yet.
    pub(crate) fn id(&self, ordinal: u32) -> Option<Digest> {
        self.known.get(ordinal as usize).map(|(reference, _)| reference.id)
    }

    /// Tells the chunks that are held, and where they stand in the file.
    pub(crate) fn each_held(&self, each: &mut dyn FnMut(ChunkRef, u64)) {
        let known = (0..).zip(&self.known).filter(|(ordinal, _)| self.held.has(*ordinal));
        known.for_each(|(_, &(reference, offset))| each(reference, offset));
    }

    /// Whether the chunk could be judged now.
    pub(crate) fn knows(&self, ordinal: u32) -> bool {
        (ordinal as usize) < self.known.len()
    }

    /// Checks a chunk and stores it at its place.
    pub(crate) fn put(
        &mut self,
        disk: &D,
        ordinal: Ordinal,
        chunk: &[u8],
    ) -> Result<IndexTaken, BadIndex> {
        if ordinal.0 >= self.total() || self.held.has(ordinal.0) {
            return Ok(IndexTaken::Unneeded);
        }
        let Some(&(reference, offset)) = self.known.get(ordinal.0 as usize) else {
            return Ok(IndexTaken::Unknown);
        };
        // PROTOCOL R2: only what is named by the tree.
        let Ok(verified) = reference.verify(chunk) else { return Ok(IndexTaken::Wrong) };
        disk.write_at(&self.file, offset, verified.bytes()).map_err(BadIndex::Disk)?;
        self.hold(ordinal.0, reference.len);
        let mut twin = ordinal.0;
        while let Some(next) = self.twins.get(&twin).copied().filter(|&next| next != ordinal.0) {
            twin = next;
            let (_, offset) = self.known[twin as usize];
            disk.write_at(&self.file, offset, verified.bytes()).map_err(BadIndex::Disk)?;
            self.hold(twin, reference.len);
        }
        self.learn_next(disk)?;
        Ok(IndexTaken::Stored)
    }

    /// Hands the entry table, chunk by chunk and checked again, to `sink`.
    pub(crate) fn read_table<E: From<DiskError>>(
        &self,
        disk: &D,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(level) = self.layout.levels().checked_sub(1) else { return Ok(()) };
        let mut chunk = Vec::new();
        for ordinal in self.layout.ordinals(level) {
            let Some(&(reference, offset)) = self.known.get(ordinal as usize) else { break };
            chunk.resize(reference.len as usize, 0);
            read_exact(disk, &self.file, offset, &mut chunk)?;
            // What was right when it was written must be right when it counts.
            reference.verify(&chunk).map_err(|_| DiskError::Io(0))?;
            sink(&chunk)?;
        }
        Ok(())
    }

    fn hold(&mut self, ordinal: u32, len: u32) {
        if self.held.insert(ordinal) {
            self.held_bytes += u64::from(len);
        }
    }

    fn learn(&mut self, reference: ChunkRef) {
        self.known.push((reference, self.end));
        self.end += u64::from(reference.len);
    }

    /// Links the chunks from `first` on that have the same bytes.
    fn find_twins(&mut self, first: usize) {
        let mut ends: HashMap<Digest, (u32, u32)> = HashMap::new();
        for (ordinal, (reference, _)) in (0_u32..).zip(&self.known).skip(first) {
            let (head, tail) = ends.entry(reference.id).or_insert((ordinal, ordinal));
            if *tail != ordinal {
                self.twins.insert(*tail, ordinal);
                self.twins.insert(ordinal, *head);
                *tail = ordinal;
            }
        }
    }

    /// Reads the lists that have become whole.
    fn learn_next(&mut self, disk: &D) -> Result<(), BadIndex> {
        while self.level + 1 < self.layout.levels() {
            let ordinals = self.layout.ordinals(self.level);
            if !ordinals.clone().all(|ordinal| self.held.has(ordinal)) {
                return Ok(());
            }
            let first = self.known.len();
            let (mut reader, mut chunk) = (ReferenceReader::new(), Vec::new());
            for ordinal in ordinals {
                let (reference, offset) = self.known[ordinal as usize];
                chunk.resize(reference.len as usize, 0);
                read_exact(disk, &self.file, offset, &mut chunk).map_err(BadIndex::Disk)?;
                let mut rest = chunk.as_slice();
                while let Some(next) = reader.next(&mut rest).map_err(|_| BadIndex::List)? {
                    if self.known.len() as u64 >= u64::from(self.total()) {
                        return Err(BadIndex::List);
                    }
                    self.learn(next);
                }
            }
            self.level += 1;
            let expected = self.layout.ordinals(self.level).end as usize;
            if !reader.is_between() || self.known.len() != expected {
                return Err(BadIndex::List);
            }
            self.find_twins(first);
        }
        Ok(())
    }
}

/// Why there is no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadIndex {
    /// The root contradicts itself: the signer's fault.
    Top(BadTop),
    /// A list is not what the root states: the signer's fault.
    List,
    /// Our storage failed.
    Disk(DiskError),
}

impl From<DiskError> for BadIndex {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Reads `len` bytes of a file from `start` on, in pieces.
pub(crate) fn read_range<D: Disk, E: From<DiskError>>(
    disk: &D,
    file: &D::File,
    (start, len): (u64, u64),
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; 64 * 1024];
    let mut done = 0;
    while done < len {
        let most = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
        disk::read_exact(disk, file, start.saturating_add(done), &mut buffer[..most])?;
        sink(&buffer[..most])?;
        done += most as u64;
    }
    Ok(())
}
