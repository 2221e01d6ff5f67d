//! What a chunk store is, whatever it keeps its chunks in.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use fleetcast_core::digest::Digest;

use super::record;
use crate::codec::BadRecord;

/// Why a chunk store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No such chunk is stored.
    #[error("chunk {0} is not in the store")]
    Missing(Digest),
    /// What is stored for a chunk is no record of the length that the index says.
    #[error("the stored record of chunk {0} is damaged")]
    Damaged(Digest),
    /// The caller gave bytes that are no record.
    #[error(transparent)]
    BadRecord(#[from] BadRecord),
    /// The caller's buffer is too short.
    #[error("a record of {needed} bytes does not fit the buffer")]
    Room {
        /// Length of the record.
        needed: usize,
    },
}

impl StoreError {
    /// For `map_err`: an I/O error at `path`.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Chunk records under the SHA-256 of their chunks.
///
/// Ids are believed here: who takes a chunk from elsewhere, or makes a block of
/// it, verifies it with a [`super::Verifier`].
pub trait ChunkStore: Send + Sync {
    /// Stores a whole record, unless its id is stored already; returns whether it was new.
    ///
    /// It is durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] when `record` is not one whole record, `Io`.
    fn put(&self, id: Digest, record: &[u8]) -> Result<bool, StoreError>;

    /// Length of the stored record in bytes, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when an index cannot be read.
    fn record_len(&self, id: &Digest) -> Result<Option<usize>, StoreError>;

    /// Reads the record into the beginning of `out` and returns its length.
    ///
    /// # Errors
    /// `Missing`, `Room`, `Damaged` when its header does not fit what the index says, `Io`.
    fn read(&self, id: &Digest, out: &mut [u8]) -> Result<usize, StoreError>;

    /// Makes all that was put durable.
    ///
    /// # Errors
    /// `Io`: then what was put since the last success is forgotten, whoever put it,
    /// and must be put again.
    fn sync(&self) -> Result<(), StoreError>;

    /// The same, before somebody has to wait for it: what is put meanwhile is not
    /// covered, nothing is done while a sync is under way, and a failure is told by
    /// the next [`Self::sync`].
    fn sync_ahead(&self);

    /// Whether the chunk is stored, and no crash can take it away.
    ///
    /// # Errors
    /// [`StoreError::Io`] when an index cannot be read.
    fn is_durable(&self, id: &Digest) -> Result<bool, StoreError>;

    /// Frees the room of chunks that `keep` does not name, where that is worth it;
    /// returns how many bytes.
    ///
    /// # Errors
    /// `Io`, and `Damaged` for a wanted record that is rotten.
    fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, StoreError>;

    /// Whether the chunk is stored.
    ///
    /// # Errors
    /// [`StoreError::Io`] when an index cannot be read.
    fn contains(&self, id: &Digest) -> Result<bool, StoreError> {
        Ok(self.record_len(id)?.is_some())
    }
}

/// A chunk store in memory, for tests and the simulated fleet.
#[derive(Debug, Default)]
pub struct MemoryChunks {
    records: RwLock<HashMap<Digest, Box<[u8]>>>,
}

impl ChunkStore for MemoryChunks {
    fn put(&self, id: Digest, record: &[u8]) -> Result<bool, StoreError> {
        record::whole(record)?;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let new = !records.contains_key(&id);
        if new {
            records.insert(id, record.into());
        }
        Ok(new)
    }

    fn record_len(&self, id: &Digest) -> Result<Option<usize>, StoreError> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(id).map(|record| record.len()))
    }

    fn read(&self, id: &Digest, out: &mut [u8]) -> Result<usize, StoreError> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let record = records.get(id).ok_or(StoreError::Missing(*id))?;
        let room = out.get_mut(..record.len()).ok_or(StoreError::Room { needed: record.len() })?;
        room.copy_from_slice(record);
        Ok(record.len())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn sync_ahead(&self) {}

    fn is_durable(&self, id: &Digest) -> Result<bool, StoreError> {
        self.contains(id)
    }

    fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let freed = records.iter().filter(|(id, _)| !keep(id)).map(|(_, r)| r.len() as u64).sum();
        records.retain(|id, _| keep(id));
        Ok(freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_gives_back_what_it_was_given() {
        let store = MemoryChunks::default();
        let record = [0, 2, 0, 0, 2, 0, 0, b'h', b'i'];
        let id = Digest::of(b"hi");
        assert!(store.put(id, &record).unwrap());
        assert!(!store.put(id, &record).unwrap());
        let mut out = [0; 12];
        assert_eq!(store.read(&id, &mut out).unwrap(), 9);
        assert_eq!(out[..9], record);
        assert!(matches!(store.read(&id, &mut [0; 8]), Err(StoreError::Room { needed: 9 })));
        assert!(!store.contains(&Digest::of(b"ho")).unwrap());
    }
}
