//! The chunk store in a directory of packs.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};

use super::chunks::{ChunkStore, StoreError};
use super::index::Index;
use super::pack::{self, ENTRY_HEADER, MAGIC, Place, Scan};
use super::record;

/// What had to be put right when a store was opened after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes of torn entries that were cut off.
    pub torn_bytes: u64,
    /// Entries that are left out because their bytes have changed.
    pub damaged: u64,
    /// Indexes that were built anew.
    pub indexes: u64,
}

impl Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { torn_bytes, damaged, indexes } = self;
        let torn = (*torn_bytes > 0).then(|| format!("{torn_bytes} torn bytes cut off"));
        let damaged = (*damaged > 0).then(|| format!("{damaged} damaged records left out"));
        let indexes = (*indexes > 0).then(|| format!("{indexes} indexes built anew"));
        let parts: Vec<String> = [torn, damaged, indexes].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// Chunks in append-only files `NNNNNN.pack` of bounded size.
///
/// One writer at a time, any number of readers; a reader holds the lock of the
/// tables only while it looks up a place, and reads without it. Who waits for the
/// storage holds the turn alone, so that others write meanwhile. The locks are
/// taken in the order turn, writer, tables.
#[derive(Debug)]
pub struct Packs {
    directory: PathBuf,
    limit: u64,
    recovered: Recovered,
    /// One sync at a time: the kernel tells a failure only once. And a pack is
    /// sealed in turn only, so that the active one stays the same during a sync.
    turn: Mutex<()>,
    writer: Mutex<Writer>,
    tables: RwLock<Tables>,
}

#[derive(Debug)]
struct Writer {
    number: u32,
    end: u64,
    /// What lies before is durable.
    synced: u64,
    /// Why a sync that nobody waited for failed, until the next one tells it.
    untold: Option<StoreError>,
    scratch: Vec<u8>,
}

impl Writer {
    /// At the end of an active pack that is durable up to there.
    const fn new(number: u32, end: u64) -> Self {
        Self { number, end, synced: end, untold: None, scratch: Vec::new() }
    }
}

#[derive(Debug)]
struct Tables {
    /// Full packs, oldest first.
    sealed: Vec<Arc<Sealed>>,
    active: Arc<File>,
    places: HashMap<Digest, Place>,
}

#[derive(Debug)]
struct Sealed {
    file: Arc<File>,
    path: PathBuf,
    index: Index,
}

impl Packs {
    /// Size at which a pack is full.
    pub const PACK_SIZE: u64 = 1 << 30;

    /// Opens the store in `directory`, or makes it, with packs of
    /// [`Self::PACK_SIZE`]. Torn tails are cut off, lost indexes built anew.
    ///
    /// The caller holds the state directory's lock: there is one store per directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, Self::PACK_SIZE)
    }

    /// As [`Self::open`], with packs of about `limit` bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open_with(directory: &Path, limit: u64) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(StoreError::io(directory))?;
        let mut recovered = Recovered::default();
        let mut numbers = pack_numbers(directory)?;
        let last = match numbers.pop() {
            Some(last) if !index_path(directory, last).exists() => last,
            Some(full) => {
                numbers.push(full);
                full + 1
            }
            None => 1,
        };
        let mut sealed = Vec::with_capacity(numbers.len());
        for number in numbers {
            sealed.push(Arc::new(open_sealed(directory, number, &mut recovered)?));
        }
        let (active, scan) = open_active(&pack_path(directory, last), &mut recovered)?;
        let places = scan.entries.into_iter().collect();
        Ok(Self {
            directory: directory.to_owned(),
            limit,
            recovered,
            turn: Mutex::new(()),
            writer: Mutex::new(Writer::new(last, scan.end)),
            tables: RwLock::new(Tables { sealed, active: Arc::new(active), places }),
        })
    }

    /// What had to be put right when this store was opened.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Number of chunks stored; one that lies in two packs counts twice.
    #[must_use]
    pub fn chunks(&self) -> usize {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.places.len() + tables.sealed.iter().map(|pack| pack.index.len()).sum::<usize>()
    }

    /// Frees the room of chunks that `keep` does not name, in packs of which they
    /// take more than half; returns how many bytes the directory shrank by.
    ///
    /// `keep` names what releases, deliveries, sessions and unfinished ingests
    /// need. Readers go on; writers wait for one pack at a time.
    ///
    /// # Errors
    /// `Io`, and [`StoreError::Damaged`] for a wanted record that is rotten: its
    /// pack stays as it is.
    pub fn collect(&self, keep: impl Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        let sealed = {
            let _turn = self.turn();
            let mut writer = self.writer();
            let wanted: u64 = {
                let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
                wanted(tables.places.iter().map(|(id, place)| (*id, *place)), &keep).1
            };
            if wanted * 2 < writer.end - MAGIC.len() as u64 {
                self.seal(&mut writer)?;
            }
            self.tables.read().unwrap_or_else(PoisonError::into_inner).sealed.clone()
        };
        let mut freed = 0;
        for pack in sealed {
            let entries = pack.index.entries().map_err(StoreError::io(&pack.path))?;
            let (entries, bytes) = wanted(entries, &keep);
            let size = pack.file.metadata().map_err(StoreError::io(&pack.path))?.len();
            if bytes * 2 < size {
                self.move_out(&pack, &entries)?;
                freed += size - bytes;
            }
        }
        Ok(freed)
    }

    /// Writes a pack's wanted entries anew, durable, and then removes the pack.
    fn move_out(&self, pack: &Arc<Sealed>, entries: &[(Digest, Place)]) -> Result<(), StoreError> {
        let _turn = self.turn();
        let mut writer = self.writer();
        let mut record = Vec::new();
        for (id, place) in entries {
            let whole = pack::read_checked(&pack.file, id, *place, &mut record);
            if !whole.map_err(StoreError::io(&pack.path))? {
                return Err(StoreError::Damaged(*id));
            }
            // Moved before, by a collection that met rot later in this pack.
            let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            let moved = tables.places.contains_key(id);
            drop(tables);
            if moved {
                continue;
            }
            record::whole(&record)?;
            if self.is_full(&writer, &record) {
                self.seal(&mut writer)?;
            }
            self.append(&mut writer, *id, &record)?;
        }
        self.sync_all_written(&mut writer)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.sealed.retain(|other| !Arc::ptr_eq(other, pack));
        drop(tables);
        // The index first: a pack without one is merely indexed again after a crash.
        for path in [pack.path.with_extension("idx"), pack.path.clone()] {
            fs::remove_file(&path).map_err(StoreError::io(&path))?;
        }
        pack::sync_directory(&pack.path)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Every step leaves a true state behind: a panic elsewhere spoils nothing.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> Arc<File> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner).active)
    }

    fn find(&self, id: &Digest) -> Result<Option<(Arc<File>, Place)>, StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = tables.places.get(id) {
            return Ok(Some((Arc::clone(&tables.active), *place)));
        }
        // The newest first: what is sent is mostly what was put last.
        for pack in tables.sealed.iter().rev() {
            if let Some(place) = pack.index.find(id).map_err(StoreError::io(&pack.path))? {
                return Ok(Some((Arc::clone(&pack.file), place)));
            }
        }
        Ok(None)
    }

    /// Makes durable what was written until now, while others write on; the turn is held.
    fn sync_in_turn(&self) -> Result<(), StoreError> {
        let (active, end) = {
            let mut writer = self.writer();
            if let Some(failure) = writer.untold.take() {
                return Err(failure);
            }
            if writer.synced == writer.end {
                return Ok(());
            }
            (self.active(), writer.end)
        };
        let synced = active.sync_data();
        let mut writer = self.writer();
        self.synced(&mut writer, end, synced)
    }

    /// Makes everything durable, while nobody writes; turn and writer are held.
    fn sync_all_written(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if writer.synced == writer.end {
            return Ok(());
        }
        let end = writer.end;
        self.synced(writer, end, self.active().sync_data())
    }

    /// Notes how a sync of what was written before `end` went.
    fn synced(
        &self,
        writer: &mut Writer,
        end: u64,
        result: std::io::Result<()>,
    ) -> Result<(), StoreError> {
        if let Err(error) = result {
            // The kernel may have dropped any page that waited, also one that was
            // written meanwhile: only what is written again counts.
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            tables.places.retain(|_, place| place.offset < writer.synced);
            writer.end = writer.synced;
            return Err(StoreError::io(&pack_path(&self.directory, writer.number))(error));
        }
        writer.synced = end;
        Ok(())
    }

    /// Whether the active pack has no room for a record.
    fn is_full(&self, writer: &Writer, record: &[u8]) -> bool {
        let size = (ENTRY_HEADER + record.len()) as u64;
        writer.end + size > self.limit && writer.end > MAGIC.len() as u64
    }

    /// Writes an entry behind the last one.
    fn append(&self, writer: &mut Writer, id: Digest, record: &[u8]) -> Result<(), StoreError> {
        let mut scratch = std::mem::take(&mut writer.scratch);
        scratch.clear();
        pack::entry(&id, record, &mut scratch);
        // Written at the known end: a failed write leaves only bytes to write over.
        let written = self.active().write_all_at(&scratch, writer.end);
        let size = scratch.len() as u64;
        writer.scratch = scratch;
        written.map_err(StoreError::io(&pack_path(&self.directory, writer.number)))?;
        let offset = writer.end + ENTRY_HEADER as u64;
        writer.end += size;
        let place = Place { offset, len: record.len() as u32 };
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.places.insert(id, place);
        Ok(())
    }

    /// Gives the active pack its index and begins the next one; turn and writer are held.
    fn seal(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.sync_all_written(writer)?;
        let path = pack_path(&self.directory, writer.number);
        let index = index_path(&self.directory, writer.number);
        // Only the writer changes places, and its lock is held: they stay as they are.
        let entries: Vec<_> = {
            let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            tables.places.iter().map(|(id, place)| (*id, *place)).collect()
        };
        // The next pack first: a crash in between leaves an empty pack and no index, both cheap.
        let next = pack::create(&pack_path(&self.directory, writer.number + 1))?;
        Index::write(&index, entries)?;
        let file = Arc::new(File::open(&path).map_err(StoreError::io(&path))?);
        let index = Index::open(&index)?.ok_or_else(|| {
            StoreError::io(&index)(std::io::Error::other("what was just written is not there"))
        })?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.sealed.push(Arc::new(Sealed { file, path, index }));
        tables.active = Arc::new(next);
        tables.places.clear();
        writer.number += 1;
        writer.end = MAGIC.len() as u64;
        writer.synced = writer.end;
        Ok(())
    }
}

impl ChunkStore for Packs {
    fn put(&self, id: Digest, record: &[u8]) -> Result<bool, StoreError> {
        record::whole(record)?;
        loop {
            let mut writer = self.writer();
            if self.contains(&id)? {
                return Ok(false);
            }
            if !self.is_full(&writer, record) {
                self.append(&mut writer, id, record)?;
                return Ok(true);
            }
            drop(writer);
            let _turn = self.turn();
            let mut writer = self.writer();
            // Another one may have sealed it while we waited for the turn.
            if self.is_full(&writer, record) {
                self.seal(&mut writer)?;
            }
        }
    }

    fn record_len(&self, id: &Digest) -> Result<Option<usize>, StoreError> {
        Ok(self.find(id)?.map(|(_, place)| place.len as usize))
    }

    fn read(&self, id: &Digest, out: &mut [u8]) -> Result<usize, StoreError> {
        let (file, place) = self.find(id)?.ok_or(StoreError::Missing(*id))?;
        let len = place.len as usize;
        if !(RECORD_HEADER..=RECORD_HEADER + MAX_CHUNK).contains(&len) {
            return Err(StoreError::Damaged(*id));
        }
        let record = out.get_mut(..len).ok_or(StoreError::Room { needed: len })?;
        file.read_exact_at(record, place.offset).map_err(StoreError::io(&self.directory))?;
        if record::whole(record).is_ok() { Ok(len) } else { Err(StoreError::Damaged(*id)) }
    }

    fn is_durable(&self, id: &Digest) -> Result<bool, StoreError> {
        let writer = self.writer();
        let place = {
            let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            tables.places.get(id).copied()
        };
        match place {
            Some(place) => Ok(place.offset < writer.synced),
            // A pack is durable before it is sealed.
            None => self.contains(id),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        let _turn = self.turn();
        self.sync_in_turn()
    }

    fn sync_ahead(&self) {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Err(failure) = self.sync_in_turn() {
            self.writer().untold = Some(failure);
        }
    }

    fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        // The inherent one.
        Self::collect(self, keep)
    }
}

/// The entries that `keep` names, and their bytes in a pack.
fn wanted(
    entries: impl IntoIterator<Item = (Digest, Place)>,
    keep: impl Fn(&Digest) -> bool,
) -> (Vec<(Digest, Place)>, u64) {
    let kept: Vec<_> = entries.into_iter().filter(|(id, _)| keep(id)).collect();
    let bytes = kept.iter().map(|(_, place)| ENTRY_HEADER as u64 + u64::from(place.len)).sum();
    (kept, bytes)
}

fn pack_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.pack"))
}

fn index_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.idx"))
}

/// The numbers of the packs in `directory`, ascending.
fn pack_numbers(directory: &Path) -> Result<Vec<u32>, StoreError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(StoreError::io(directory))? {
        let name = entry.map_err(StoreError::io(directory))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".pack"));
        let number = number.and_then(|number| number.parse::<u32>().ok());
        // Only names that we write: `1.pack` would be another file than `000001.pack`.
        numbers.extend(number.filter(|number| pack_path(directory, *number).ends_with(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn open_sealed(
    directory: &Path,
    number: u32,
    recovered: &mut Recovered,
) -> Result<Sealed, StoreError> {
    let (path, index) = (pack_path(directory, number), index_path(directory, number));
    let file = Arc::new(File::open(&path).map_err(StoreError::io(&path))?);
    if let Some(index) = Index::open(&index)? {
        return Ok(Sealed { file, path, index });
    }
    let scan = pack::scan(&path)?;
    recovered.damaged += scan.damaged;
    recovered.indexes += 1;
    Index::write(&index, scan.entries)?;
    let index = Index::open(&index)?.ok_or_else(|| {
        StoreError::io(&index)(std::io::Error::other("what was just written is not there"))
    })?;
    Ok(Sealed { file, path, index })
}

fn open_active(path: &Path, recovered: &mut Recovered) -> Result<(File, Scan), StoreError> {
    let scan = if path.exists() { pack::scan(path)? } else { Scan::default() };
    if scan.end == 0 {
        // New, or cut before its heading was durable.
        let scan = Scan { end: MAGIC.len() as u64, ..Scan::default() };
        return Ok((pack::create(path)?, scan));
    }
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(StoreError::io(path))?;
    let len = file.metadata().map_err(StoreError::io(path))?.len();
    recovered.torn_bytes += len - scan.end;
    recovered.damaged += scan.damaged;
    file.set_len(scan.end).map_err(StoreError::io(path))?;
    // What the scan read may be in the page cache only.
    file.sync_all().map_err(StoreError::io(path))?;
    Ok((file, scan))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
