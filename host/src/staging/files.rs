//! Open files of a tree, by entry number: a bounded cache of handles, and what is on its
//! way to one of them.

use std::collections::BTreeSet;

use super::run::Run;
use super::table::{TOP, Table};
use crate::disk::{self, Access, Disk, DiskError, Durable, Kind};

/// Files kept open at most.
const OPEN_FILES: usize = 64;
/// Directories kept open at most; the deepest path needs two.
const OPEN_DIRS: usize = 16;
/// Files that are synced one by one; if more are dirty, the whole file system is.
const SYNC_SINGLY: usize = 8;

/// The files below one directory.
#[derive(Debug)]
pub(crate) struct Files<D: Disk> {
    /// The top directory first, then others by use.
    dirs: Vec<(u32, D::Dir)>,
    /// Least recently used first.
    open: Vec<(u32, D::File)>,
    dirty: BTreeSet<u32>,
    /// Chunks that are not written yet.
    run: Run,
    /// Something cannot be synced through an open handle.
    sync_all: bool,
}

impl<D: Disk> Files<D> {
    /// The files below `top`.
    pub(crate) fn new(top: D::Dir) -> Self {
        Self {
            dirs: vec![(TOP, top)],
            open: Vec::new(),
            dirty: BTreeSet::new(),
            run: Run::default(),
            sync_all: false,
        }
    }

    /// The directory of an entry number, or of [`TOP`].
    pub(crate) fn dir(&mut self, disk: &D, table: &Table, number: u32) -> disk::Result<&D::Dir> {
        let (mut above, mut chain) = (number, Vec::new());
        let mut at = loop {
            match self.dirs.iter().position(|(cached, _)| *cached == above) {
                Some(at) => break at,
                None => chain.push(above),
            }
            above = table.entry(above).parent;
        };
        for &below in chain.iter().rev() {
            let name = table.name(table.entry(below)).as_bytes();
            let dir = disk.open_dir(&self.dirs[at].1, name)?;
            if self.dirs.len() >= OPEN_DIRS {
                self.dirs.remove(1);
            }
            self.dirs.push((below, dir));
            at = self.dirs.len() - 1;
        }
        Ok(&self.dirs[at].1)
    }

    /// The file of an entry number, with all that was written to it; opened to be written
    /// only when it is not linked to an installed one.
    pub(crate) fn file(
        &mut self,
        disk: &D,
        table: &Table,
        number: u32,
        access: Access,
    ) -> disk::Result<&D::File> {
        if self.run.is_of(number) {
            self.flush(disk)?;
        }
        self.opened(disk, table, number, access)
    }

    /// Writes to a file that is not linked to an installed one, at once or before the next
    /// sync or reading.
    pub(crate) fn write(
        &mut self,
        disk: &D,
        table: &Table,
        (number, offset): (u32, u64),
        bytes: &[u8],
    ) -> disk::Result<()> {
        if !self.run.goes_on(number, offset) {
            self.flush(disk)?;
        }
        // Now, so that nothing but its bytes can fail later.
        self.opened(disk, table, number, Access::Write)?;
        self.soil(number);
        self.run.add(number, offset, bytes);
        if self.run.is_long() { self.write_run(disk, Run::even) } else { Ok(()) }
    }

    /// Writes what waits.
    fn flush(&mut self, disk: &D) -> disk::Result<()> {
        self.write_run(disk, Run::all)
    }

    /// Writes as much of the run as `most` says. When that fails all that was not synced
    /// is lost, and the next sync says so.
    fn write_run(&mut self, disk: &D, most: fn(&Run) -> usize) -> disk::Result<()> {
        let len = most(&self.run);
        let open = self.open.iter().find(|(number, _)| self.run.is_of(*number));
        let written = match open {
            Some((_, file)) => disk.write_at(file, self.run.offset(), self.run.front(len)),
            None if len == 0 => Ok(()),
            None => Err(DiskError::NotFound),
        };
        self.run.written(len, written)
    }

    fn opened(
        &mut self,
        disk: &D,
        table: &Table,
        number: u32,
        access: Access,
    ) -> disk::Result<&D::File> {
        if let Some(at) = self.open.iter().position(|(cached, _)| *cached == number) {
            let used = self.open.remove(at);
            self.open.push(used);
        } else {
            let entry = table.entry(number);
            let dir = self.dir(disk, table, entry.parent)?;
            let name = table.name(entry).as_bytes();
            let file = match access {
                Access::Read => disk.open_file(dir, name, access)?,
                Access::Write => open_writable(disk, dir, name)?,
            };
            self.insert(number, file);
        }
        self.open.last().map(|(_, file)| file).ok_or(DiskError::NotFound)
    }

    /// Puts a handle into the cache.
    pub(crate) fn insert(&mut self, number: u32, file: D::File) {
        self.close(number);
        if self.open.len() >= OPEN_FILES {
            // The one that bytes wait for stays open.
            let (closed, _) = self.open.remove(usize::from(self.run.is_of(self.open[0].0)));
            self.sync_all |= self.dirty.contains(&closed);
        }
        self.open.push((number, file));
    }

    /// Closes a file before its name is given to another.
    pub(crate) fn close(&mut self, number: u32) {
        if self.run.is_of(number) {
            self.run.lose(DiskError::NotFound);
        }
        self.open.retain(|(cached, _)| *cached != number);
    }

    /// Closes everything but the top directory.
    pub(crate) fn close_all(&mut self) {
        self.run.lose(DiskError::NotFound);
        self.open.clear();
        self.dirs.truncate(1);
    }

    /// Notes that a file has bytes that may not be durable.
    pub(crate) fn soil(&mut self, number: u32) {
        self.dirty.insert(number);
    }

    /// Notes that names were made, or files written that may not be open.
    pub(crate) fn soil_all(&mut self) {
        self.sync_all = true;
    }

    /// Begins to make durable what was written, and `also`. After an error nothing
    /// is dirty any more: what was unsynced is lost.
    pub(crate) fn begin_sync(&mut self, disk: &D, also: &D::File) -> disk::Result<D::Sync> {
        let dirty = std::mem::take(&mut self.dirty);
        // An error is kept as the loss.
        let _ = self.flush(disk);
        if let Some(lost) = self.run.take_lost() {
            return Err(lost);
        }
        // A bug for the simulator to find; not in a product.
        #[cfg(feature = "planted")]
        if fleetcast_core::planted::is(fleetcast_core::planted::Bug::Sync) {
            return disk.begin_sync(Durable::Files(&[also]));
        }
        if std::mem::take(&mut self.sync_all) || dirty.len() > SYNC_SINGLY {
            return disk.begin_sync(Durable::All);
        }
        let open = self.open.iter().filter(|(number, _)| dirty.contains(number));
        let files: Vec<&D::File> = open.map(|(_, file)| file).chain([also]).collect();
        disk.begin_sync(Durable::Files(&files))
    }
}

/// Opens a file of ours to be written, also one that was made read-only for an
/// installation that did not happen.
pub(crate) fn open_writable<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8]) -> disk::Result<D::File> {
    match disk.open_file(dir, name, Access::Write) {
        Err(DiskError::Denied) => {
            disk.unseal_file(&disk.open_file(dir, name, Access::Read)?)?;
            disk.open_file(dir, name, Access::Write)
        }
        other => other,
    }
}

/// A new, empty file in place of whatever has the name.
pub(crate) fn fresh_file<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8]) -> disk::Result<D::File> {
    disk::remove_tree(disk, dir, name)?;
    disk.create_file(dir, name)
}

/// A file of ours to be read and written, made where it is not there. One that
/// has another name elsewhere, or is no file, is not ours and is replaced.
pub(crate) fn open_or_create<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    name: &[u8],
) -> disk::Result<D::File> {
    match disk.stat(dir, name) {
        Ok(stat) if stat.kind == Kind::File && stat.links == 1 => open_writable(disk, dir, name),
        Ok(_) | Err(DiskError::NotFound) => fresh_file(disk, dir, name),
        Err(error) => Err(error),
    }
}
