//! What older releases of this destination already have.
//!
//! Memory while it is used: a table of each older release, and 16 bytes for
//! each chunk that can be taken from it.

use std::collections::HashMap;

use fleetcast_core::digest::Digest;
use fleetcast_core::tree::reference::ChunkRef;

use super::area::{Area, Held, INDEX, held_name};
use super::bits::Bits;
use super::files::Files;
use super::index::read_range;
use super::table::{Entry, Table, TableError, TableReader, name_slots};
use crate::disk::{Access, Disk, DiskError, Kind, Stat};

/// An installed release as a source.
pub(crate) struct Seed<D: Disk> {
    pub(crate) table: Table,
    pub(crate) files: Files<D>,
    by_content: HashMap<([u8; 16], u64), u32>,
    /// Chunks that it has and we lack: ordinal, its file, offset there.
    pieces: Vec<(u32, u32, u64)>,
}

/// One chunk of a [`Seed`].
pub(crate) struct Piece {
    pub(crate) ordinal: u32,
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

impl<D: Disk> Seed<D> {
    /// The next chunk to take, the last one first.
    pub(crate) fn next_piece(&mut self) -> Option<Piece> {
        let (ordinal, file, offset) = self.pieces.pop()?;
        Some(Piece { ordinal, file, offset })
    }

    /// The entry number of a file of the same content and size.
    pub(crate) fn same_content(&self, entry: &Entry) -> Option<u32> {
        self.by_content.get(&(entry.content, entry.size)).copied()
    }

    /// The directory and name of a file, if it still looks as it was installed.
    pub(crate) fn untouched(&mut self, disk: &D, number: u32) -> Option<(Stat, &D::Dir, &[u8])> {
        let entry = self.table.entry(number);
        let dir = self.files.dir(disk, &self.table, entry.parent).ok()?;
        let name = self.table.name(entry).as_bytes();
        let stat = disk.stat(dir, name).ok()?;
        let same = stat.kind == Kind::File && stat.size == entry.size && stat.mtime == entry.mtime;
        same.then_some((stat, dir, name))
    }
}

/// All sources; those that cannot be read are left out, since they only save work.
///
/// `find` gives the ordinal of an id; `wanted` holds the ordinals that no source
/// was found for yet.
pub(crate) fn seeds<D: Disk>(
    area: &Area<D>,
    find: &dyn Fn(&Digest) -> Option<u32>,
    mut wanted: Bits,
) -> Result<Vec<Seed<D>>, DiskError> {
    let held = area.held()?;
    let load = |held: &Held| load(area, held, find, &mut wanted).ok();
    Ok(held.iter().filter_map(load).collect())
}

/// The entry table of an installed release, with its chunks told to `on_chunk`.
pub(crate) fn held_table<D: Disk>(
    disk: &D,
    record: &D::Dir,
    held: &Held,
    on_chunk: &mut dyn FnMut(u32, u64, ChunkRef) -> Result<(), TableError>,
) -> Result<Table, TableError> {
    let index = disk.open_file(record, INDEX, Access::Read)?;
    let mut slots = name_slots();
    let mut reader = TableReader::new(&mut slots, held.tree.totals());
    read_range(disk, &index, (held.table_start(), held.tree.entry_bytes), &mut |piece| {
        reader.feed(piece, on_chunk)
    })?;
    reader.finish()
}

fn load<D: Disk>(
    area: &Area<D>,
    held: &Held,
    find: &dyn Fn(&Digest) -> Option<u32>,
    wanted: &mut Bits,
) -> Result<Seed<D>, TableError> {
    let disk = &area.disk;
    let record = disk.open_dir(&area.ours, held_name(held.release.group).as_bytes())?;
    let top = disk.open_dir(&area.root, held.directory.as_bytes())?;
    let mut pieces = Vec::new();
    let table = held_table(disk, &record, held, &mut |file, offset, chunk| {
        if let Some(ordinal) = find(&chunk.id).filter(|&ordinal| wanted.remove(ordinal)) {
            pieces.push((ordinal, file, offset));
        }
        Ok(())
    })?;
    // Taken from the end: in the order of the old files again.
    pieces.reverse();
    let files = table.entries.iter().enumerate().filter(|(_, entry)| entry.is_file);
    let by_content =
        files.map(|(number, entry)| ((entry.content, entry.size), number as u32)).collect();
    Ok(Seed { table, files: Files::new(top), by_content, pieces })
}
