//! Local changes in an installed directory: noticed, kept aside, told.
//!
//! The old directory is compared, after it was exchanged, with the record of
//! what was installed there: sizes and modification times, and names that the
//! release does not have. What differs is moved, not copied.

use std::collections::HashMap;

use crate::disk::{self, Audience, Disk, DiskError, Kind, Stat, ensure_dir};
use crate::staging::area::{Area, Held};
use crate::staging::seed::held_table;
use crate::staging::table::{Entry, TOP, Table};

/// What a mount point says when it is to be moved (EBUSY).
const MOUNTED: DiskError = DiskError::Io(16);

/// A local change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The path below the group's directory, for people to read: bytes that are
    /// no UTF-8 are replaced.
    pub path: String,
    /// A file of the release that was changed, or something it does not have.
    pub changed: bool,
}

/// What became of an old directory.
pub(super) struct Aside {
    pub(super) conflicts: Vec<Conflict>,
    /// Name in our directory of where conflicting files were moved.
    pub(super) directory: Option<String>,
    /// Whether the old directory is still there, to be kept as predecessor.
    pub(super) is_predecessor: bool,
}

/// Moves what is not of the installed release out of the old directory.
///
/// `record` is the held record of the release that was installed there; without
/// one, everything found is somebody else's.
pub(super) fn keep_aside<D: Disk>(
    area: &Area<D>,
    stage: &D::Dir,
    old: &[u8],
    record: Option<&D::Dir>,
    new: &Held,
) -> disk::Result<Aside> {
    let disk = &area.disk;
    let table = record.and_then(|record| {
        let held = Held::load(disk, record).ok()?;
        held_table(disk, record, &held, &mut |_, _, _| Ok(())).ok()
    });
    let is_directory = disk.stat(stage, old)?.kind == Kind::Directory;
    let (Some(table), true) = (table, is_directory) else {
        return set_aside_whole(area, stage, old, new);
    };
    let mut search = Search::new(area, &table, new);
    match disk.open_dir(stage, old).and_then(|top| search.run(top)) {
        Ok(()) => {}
        // Such as a directory of somebody else's that we may not look into, or move to
        // another parent. The one around it is ours, and goes as a whole.
        Err(DiskError::Denied | DiskError::Unsupported | MOUNTED) => {
            let (found, begun) = (search.conflicts, search.aside);
            if let Some((name, _)) = begun.filter(|_| found.is_empty()) {
                // Empty, but for directories that were made for what could not be moved.
                area.discard(&area.ours, name.as_bytes())?;
            }
            let mut aside = set_aside_whole(area, stage, old, new)?;
            aside.conflicts.splice(0..0, found);
            return Ok(aside);
        }
        Err(error) => return Err(error),
    }
    let (conflicts, directory) = (search.conflicts, search.aside.map(|(name, _)| name));
    Ok(Aside { conflicts, directory, is_predecessor: true })
}

/// All of it is somebody else's: nothing in it may be lost.
fn set_aside_whole<D: Disk>(
    area: &Area<D>,
    stage: &D::Dir,
    old: &[u8],
    new: &Held,
) -> disk::Result<Aside> {
    let disk = &area.disk;
    if disk.stat(stage, old)?.kind == Kind::Directory {
        let dir = disk.open_dir(stage, old)?;
        if disk.list(&dir)?.is_empty() {
            disk.remove_dir(stage, old)?;
            return Ok(Aside { conflicts: Vec::new(), directory: None, is_predecessor: false });
        }
    }
    let name = area.free_name(&format!("conflicts-{}-", new.directory))?;
    disk.rename(stage, old, &area.ours, name.as_bytes())?;
    disk.sync_dir(&area.ours)?;
    let conflicts = vec![Conflict { path: ".".to_owned(), changed: false }];
    Ok(Aside { conflicts, directory: Some(name), is_predecessor: false })
}

struct Search<'a, D: Disk> {
    area: &'a Area<D>,
    table: &'a Table,
    /// Entry numbers by directory and name.
    entries: HashMap<(u32, &'a [u8]), u32>,
    new: &'a Held,
    conflicts: Vec<Conflict>,
    /// The directory for what is moved, once there is something.
    aside: Option<(String, D::Dir)>,
}

impl<'a, D: Disk> Search<'a, D> {
    fn new(area: &'a Area<D>, table: &'a Table, new: &'a Held) -> Self {
        let entries = table
            .entries
            .iter()
            .zip(0..)
            .map(|(entry, number)| ((entry.parent, table.name(entry).as_bytes()), number));
        let entries = entries.collect();
        Self { area, table, entries, new, conflicts: Vec::new(), aside: None }
    }

    /// Goes through the old directory, without recursion on the stack.
    fn run(&mut self, top: D::Dir) -> disk::Result<()> {
        let disk = &self.area.disk;
        let mut waiting = vec![(TOP, Vec::<Vec<u8>>::new())];
        while let Some((number, path)) = waiting.pop() {
            let below = open_path(disk, &top, &path)?;
            let dir = below.as_ref().unwrap_or(&top);
            for name in disk.list(dir)? {
                let stat = match disk.stat(dir, &name) {
                    Err(DiskError::NotFound) => continue,
                    other => other?,
                };
                let known = self.entries.get(&(number, name.as_slice())).copied();
                let entry = known.map(|known| (known, self.table.entry(known)));
                match entry {
                    Some((known, entry)) if !entry.is_file && stat.kind == Kind::Directory => {
                        let mut inner = path.clone();
                        inner.push(name);
                        waiting.push((known, inner));
                    }
                    Some((_, entry)) if is_as_installed(entry, &stat) => {}
                    _ => self.move_aside(dir, &path, &name, entry.is_some())?,
                }
            }
        }
        Ok(())
    }

    fn move_aside(
        &mut self,
        from: &D::Dir,
        path: &[Vec<u8>],
        name: &[u8],
        changed: bool,
    ) -> disk::Result<()> {
        let disk = &self.area.disk;
        let aside = match self.aside.take() {
            Some(aside) => aside,
            None => {
                let taken = self.area.free_name(&format!("conflicts-{}-", self.new.directory))?;
                let dir = ensure_dir(disk, &self.area.ours, taken.as_bytes(), Audience::Own)?;
                disk.sync_dir(&self.area.ours)?;
                (taken, dir)
            }
        };
        let mut to: Option<D::Dir> = None;
        for component in path {
            let parent = to.as_ref().unwrap_or(&aside.1);
            let inner = ensure_dir(disk, parent, component, Audience::Own)?;
            disk.sync_dir(parent)?;
            to = Some(inner);
        }
        let into = to.as_ref().unwrap_or(&aside.1);
        disk.rename(from, name, into, name)?;
        disk.sync_dir(into)?;
        let shown = path.iter().map(Vec::as_slice).chain([name]).collect::<Vec<_>>().join(&b'/');
        let path = String::from_utf8_lossy(&shown).into_owned();
        self.conflicts.push(Conflict { path, changed });
        self.aside = Some(aside);
        Ok(())
    }
}

fn open_path<D: Disk>(disk: &D, top: &D::Dir, path: &[Vec<u8>]) -> disk::Result<Option<D::Dir>> {
    let mut dir: Option<D::Dir> = None;
    for component in path {
        dir = Some(disk.open_dir(dir.as_ref().unwrap_or(top), component)?);
    }
    Ok(dir)
}

fn is_as_installed(entry: &Entry, stat: &Stat) -> bool {
    entry.is_file
        && stat.kind == Kind::File
        && stat.size == entry.size
        && (stat.mtime, stat.mtime_nanos) == (entry.mtime, 0)
}
