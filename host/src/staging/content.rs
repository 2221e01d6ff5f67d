//! The content of a release: which chunks are held, and writing them everywhere
//! they occur.
//!
//! ```text
//! lacking ──record, old chunk──► held ──synced──► journalled
//!    ▲                            │ sync failed: lacking
//!    └── its bytes are others ── suspect ── its bytes are right ──► held
//! ```
//!
//! Suspect is what claims to be there: named by the journal after a restart, or
//! in a file that was linked or cloned from an older release.

use fleetcast_core::session::intake::Taken;
use fleetcast_core::tree::entry::BadTree;
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::reference::{ChunkRef, VerifiedChunk};

use super::area::TREE;
use super::bits::Bits;
use super::commit::{Commits, Ended};
use super::failure::Failure;
use super::files::{Files, fresh_file, open_or_create};
use super::index::Index;
use super::journal::Journal;
use super::places::{Place, Places};
use super::table::{Entry, TOP, Table, TableError, TableReader, name_slots};
use crate::disk::{self, Access, Audience, Disk, DiskError, Kind, read_exact, remove_tree};

/// What one round over the places of a chunk did.
enum Round {
    /// A file got an inode of its own, and is empty.
    LinkBroken,
    /// The chunk stands everywhere; whether something was written, and is not durable.
    Done {
        /// Anything at all.
        wrote: bool,
    },
}

/// Chunks, files and what is held of them.
pub(crate) struct Content<D: Disk> {
    pub(crate) table: Table,
    pub(crate) places: Places<D>,
    pub(crate) files: Files<D>,
    commits: Commits<D>,
    held: Bits,
    suspect: Bits,
    journalled: Bits,
    held_bytes: u64,
    total_bytes: u64,
    at: Vec<Place>,
    chunk: Vec<u8>,
}

impl<D: Disk> Content<D> {
    /// Reads the entry table and the journal.
    pub(crate) fn open(
        disk: &D,
        stage: &D::Dir,
        index: &Index<D>,
        tree: &TreeTop<'_>,
    ) -> Result<Self, Failure> {
        let total = tree.content_chunks;
        let chunks = fresh_file(disk, stage, b"chunks")?;
        let occurrences = fresh_file(disk, stage, b"occurrences")?;
        let mut places = Places::new(chunks, occurrences, total);
        let (table, total_bytes) = read_table(disk, index, tree, &mut places)?;
        let (mut suspect, mut journalled) = (Bits::new(total), Bits::new(total));
        let journal = open_or_create(disk, stage, b"journal")?;
        let journal = Journal::resume(disk, journal, &mut |ordinal| {
            suspect.insert(ordinal);
            journalled.insert(ordinal);
        })?;
        Ok(Self {
            table,
            places,
            files: Files::new(open_tree(disk, stage)?),
            commits: Commits::new(journal),
            held: Bits::new(total),
            suspect,
            journalled,
            held_bytes: 0,
            total_bytes,
            at: Vec::new(),
            chunk: Vec::new(),
        })
    }

    /// Chunks in all.
    pub(crate) const fn total(&self) -> u32 {
        self.held.len()
    }

    /// Bytes of the chunks held.
    pub(crate) const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Bytes of all chunks, each once.
    pub(crate) const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Whether nothing is lacking, and nothing suspect.
    pub(crate) const fn is_complete(&self) -> bool {
        self.held.ones() == self.held.len()
    }

    /// Whether a chunk must come from elsewhere.
    pub(crate) fn lacks(&self, ordinal: u32) -> bool {
        ordinal < self.total() && !self.held.has(ordinal) && !self.suspect.has(ordinal)
    }

    /// The ordinals that are lacking.
    pub(crate) fn lacking(&self) -> Bits {
        let mut lacking = Bits::new(self.total());
        (0..self.total()).filter(|&ordinal| self.lacks(ordinal)).for_each(|ordinal| {
            lacking.insert(ordinal);
        });
        lacking
    }

    /// The reference of a chunk.
    pub(crate) fn reference(&mut self, disk: &D, ordinal: u32) -> disk::Result<ChunkRef> {
        self.places.look_up(disk, ordinal, &mut self.at)
    }

    /// Gives memory back that only building needs.
    pub(crate) fn finish_build(&mut self) {
        self.places.forget_ids();
    }

    /// Checks a chunk without storing it: `Stored` says that it could be.
    pub(crate) fn judge(&mut self, disk: &D, ordinal: u32, chunk: &[u8]) -> Result<Taken, Failure> {
        if ordinal >= self.total() || self.held.has(ordinal) {
            return Ok(Taken::Unneeded);
        }
        let reference = self.places.look_up(disk, ordinal, &mut self.at)?;
        // PROTOCOL R2
        Ok(if reference.verify(chunk).is_ok() { Taken::Stored } else { Taken::Poisoned })
    }

    /// Checks a chunk and writes it to all its places.
    pub(crate) fn take(&mut self, disk: &D, ordinal: u32, chunk: &[u8]) -> Result<Taken, Failure> {
        if ordinal >= self.total() || self.held.has(ordinal) {
            return Ok(Taken::Unneeded);
        }
        let reference = self.places.look_up(disk, ordinal, &mut self.at)?;
        // PROTOCOL R2: the decoded bytes against the reference of that ordinal.
        let Ok(verified) = reference.verify(chunk) else { return Ok(Taken::Poisoned) };
        self.put(disk, ordinal, &verified, None)?;
        Ok(Taken::Stored)
    }

    /// Notes that the chunks of a file claim to be there.
    pub(crate) fn suspect_file(&mut self, disk: &D, number: u32) -> disk::Result<()> {
        let entry = self.table.entry(number);
        let (held, suspect) = (&self.held, &mut self.suspect);
        self.places.of_file(disk, entry.first, entry.chunks, &mut |ordinal| {
            if !held.has(ordinal) {
                suspect.insert(ordinal);
            }
        })
    }

    /// Hashes one suspect chunk again; its cost in bytes, or `None` when none is.
    pub(crate) fn recheck(&mut self, disk: &D) -> Result<Option<u64>, Failure> {
        let Some(ordinal) = self.suspect.next(0) else { return Ok(None) };
        let reference = self.places.look_up(disk, ordinal, &mut self.at)?;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(reference.len as usize, 0);
        let (places, mut good) = (self.at.clone(), None);
        for &place in &places {
            if self.read(disk, place, &mut chunk) && reference.verify(&chunk).is_ok() {
                good = Some(place);
                break;
            }
        }
        match good.and_then(|place| Some((place, reference.verify(&chunk).ok()?))) {
            Some((place, verified)) => self.put(disk, ordinal, &verified, Some(place))?,
            None => {
                self.suspect.remove(ordinal);
                self.journalled.remove(ordinal);
            }
        }
        self.chunk = chunk;
        Ok(Some(u64::from(reference.len) * (1 + places.len() as u64)))
    }

    /// Syncs what was written and names it in the journal, and waits for that.
    /// What could not be synced is lacking again.
    pub(crate) fn commit(&mut self, disk: &D) -> disk::Result<()> {
        while !self.commits.is_done() {
            let ended = self.commits.begin(disk, &mut self.files, true)?;
            self.note(disk, ended)?;
            let ended = self.commits.end(disk, &self.held, true)?;
            self.note(disk, ended)?;
        }
        Ok(())
    }

    /// The same, as far as it can be done without waiting.
    pub(crate) fn commit_some(&mut self, disk: &D) -> disk::Result<()> {
        let ended = self.commits.end(disk, &self.held, false)?;
        self.note(disk, ended)?;
        let ended = self.commits.begin(disk, &mut self.files, false)?;
        self.note(disk, ended)
    }

    fn note(&mut self, disk: &D, ended: Option<Ended>) -> disk::Result<()> {
        match ended {
            None => {}
            Some(Ended::Named(named)) => named.iter().for_each(|&ordinal| {
                self.journalled.insert(ordinal);
            }),
            Some(Ended::Lost(lost)) => {
                for ordinal in lost {
                    self.forget(disk, ordinal)?;
                }
                // So is what was cloned but not yet hashed: the cache may still show it.
                let mut next = 0;
                while let Some(ordinal) = self.suspect.next(next) {
                    if !self.journalled.has(ordinal) {
                        self.suspect.remove(ordinal);
                    }
                    next = ordinal + 1;
                }
            }
        }
        Ok(())
    }

    /// Gives a file an inode of its own in place of the one shared with an
    /// installed file; its chunks are suspect until they are written.
    pub(crate) fn break_link(&mut self, disk: &D, number: u32) -> disk::Result<()> {
        self.files.close(number);
        let entry = self.table.entry(number).clone();
        let dir = self.files.dir(disk, &self.table, entry.parent)?;
        let file = fresh_file(disk, dir, self.table.name(&entry).as_bytes())?;
        disk.allocate(&file, entry.size)?;
        self.files.insert(number, file);
        self.files.soil_all();
        self.table.entries[number as usize].linked = false;
        let mut chunks = Vec::new();
        self.places.of_file(disk, entry.first, entry.chunks, &mut |ordinal| {
            chunks.push(ordinal);
        })?;
        for ordinal in chunks {
            if self.forget(disk, ordinal)? {
                self.suspect.insert(ordinal);
            }
        }
        Ok(())
    }

    /// Makes a chunk lacking; whether it was held.
    fn forget(&mut self, disk: &D, ordinal: u32) -> disk::Result<bool> {
        self.journalled.remove(ordinal);
        if !self.held.remove(ordinal) {
            return Ok(false);
        }
        let reference = self.places.look_up(disk, ordinal, &mut self.at)?;
        self.held_bytes -= u64::from(reference.len);
        Ok(true)
    }

    /// Writes a chunk wherever it does not stand yet. `good` is a place that was
    /// just read; without one all places but those in linked files are written.
    fn put(
        &mut self,
        disk: &D,
        ordinal: u32,
        chunk: &VerifiedChunk<'_>,
        good: Option<Place>,
    ) -> disk::Result<()> {
        let places = std::mem::take(&mut self.at);
        let mut good = good;
        let wrote = loop {
            match self.put_once(disk, &places, chunk, good)? {
                // That empties the file, so all its places are looked at again.
                Round::LinkBroken => good = None,
                Round::Done { wrote } => break wrote,
            }
        };
        self.at = places;
        self.suspect.remove(ordinal);
        if self.held.insert(ordinal) {
            self.held_bytes += u64::from(chunk.reference().len);
        }
        if self.journalled.has(ordinal) && !wrote {
            return Ok(());
        }
        self.commits.written(ordinal, chunk.bytes().len() as u64);
        self.commit_some(disk)
    }

    /// One round over the places of a chunk.
    fn put_once(
        &mut self,
        disk: &D,
        places: &[Place],
        chunk: &VerifiedChunk<'_>,
        good: Option<Place>,
    ) -> disk::Result<Round> {
        let mut wrote = false;
        for &place in places {
            if good == Some(place) {
                self.files.soil(place.file);
                continue;
            }
            let linked = self.table.entry(place.file).linked;
            if (linked || good.is_some()) && self.stands(disk, place, chunk.bytes()) {
                continue;
            }
            if linked {
                // Never written: it is an installed file as well.
                self.break_link(disk, place.file)?;
                return Ok(Round::LinkBroken);
            }
            let to = (place.file, place.offset);
            self.files.write(disk, &self.table, to, chunk.bytes())?;
            wrote = true;
        }
        Ok(Round::Done { wrote })
    }

    fn stands(&mut self, disk: &D, place: Place, chunk: &[u8]) -> bool {
        let mut found = vec![0; chunk.len()];
        self.read(disk, place, &mut found) && found == chunk
    }

    /// Reads at a place; what cannot be read is not there.
    fn read(&mut self, disk: &D, place: Place, into: &mut [u8]) -> bool {
        let linked = self.table.entry(place.file).linked;
        let access = if linked { Access::Read } else { Access::Write };
        let file = self.files.file(disk, &self.table, place.file, access);
        file.and_then(|file| read_exact(disk, file, place.offset, into)).is_ok()
    }

    /// Makes the tree what is installed: modes and times, deepest last entry first.
    /// `false` when a linked file was changed meanwhile: its chunks are looked at again.
    pub(crate) fn seal(&mut self, disk: &D) -> disk::Result<bool> {
        let mut intact = true;
        for number in (0..self.table.entries.len() as u32).rev() {
            let entry = self.table.entry(number).clone();
            if !entry.is_file {
                let dir = self.files.dir(disk, &self.table, number)?;
                disk.seal_dir(dir, entry.mtime)?;
            } else if !entry.linked {
                let file = self.files.file(disk, &self.table, number, Access::Write)?;
                disk.seal_file(file, entry.executable, entry.mtime)?;
            } else if !self.is_sealed(disk, &entry)? {
                self.break_link(disk, number)?;
                intact = false;
            }
        }
        let newest = self.table.entries.iter().map(|entry| entry.mtime).max().unwrap_or(0);
        disk.seal_dir(self.files.dir(disk, &self.table, TOP)?, newest)?;
        self.files.close_all();
        Ok(intact)
    }

    /// Whether a linked file still is what was linked.
    fn is_sealed(&mut self, disk: &D, entry: &Entry) -> disk::Result<bool> {
        let dir = self.files.dir(disk, &self.table, entry.parent)?;
        let stat = disk.stat(dir, self.table.name(entry).as_bytes())?;
        let times = (stat.mtime, stat.mtime_nanos) == (entry.mtime, 0);
        let what = stat.kind == Kind::File && stat.size == entry.size;
        Ok(what && times && !stat.writable && stat.executable == entry.executable)
    }
}

fn read_table<D: Disk>(
    disk: &D,
    index: &Index<D>,
    tree: &TreeTop<'_>,
    places: &mut Places<D>,
) -> Result<(Table, u64), TableError> {
    let mut slots = name_slots();
    let mut reader = TableReader::new(&mut slots, tree.totals());
    let mut bytes = 0_u64;
    index.read_table(disk, &mut |piece| {
        reader.feed(piece, &mut |file, offset, chunk| {
            if places.add(disk, Place { file, offset }, chunk)? {
                bytes += u64::from(chunk.len);
            }
            Ok(())
        })
    })?;
    let table = reader.finish()?;
    if !places.finish(disk)? {
        // PROTOCOL R1: fewer unique chunks than the root states.
        return Err(TableError::Tree(BadTree::Size));
    }
    Ok((table, bytes))
}

fn open_tree<D: Disk>(disk: &D, stage: &D::Dir) -> disk::Result<D::Dir> {
    match disk.open_dir(stage, TREE) {
        Err(DiskError::Special) => remove_tree(disk, stage, TREE)?,
        Err(DiskError::NotFound) => {}
        opened => return opened,
    }
    disk.make_dir(stage, TREE, Audience::All)?;
    disk.open_dir(stage, TREE)
}
