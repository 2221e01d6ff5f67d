//! Building the new directory: its directories, then what older releases have
//! as whole files, then room for the rest, then single chunks of older files.

use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::control::FailCode;

use super::area::Area;
use super::content::Content;
use super::failure::Failure;
use super::files::{fresh_file, open_or_create};
use super::seed::{Seed, seeds};
use super::table::Table;
use crate::disk::{self, Access, Audience, Disk, DiskError, Kind, read_exact, remove_tree};

/// What an operation on a name counts as, in bytes of a step's budget.
const NAME: u64 = 4 * 1024;

/// The work that is left, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Directories { next: u32 },
    Links { next: u32 },
    Room,
    Files { next: u32 },
    Pieces,
}

/// Builds the tree of a stage.
pub(crate) struct Build<D: Disk> {
    stage: Stage,
    seeds: Vec<Seed<D>>,
    /// The file system cannot clone: it is not asked for each file.
    clones: bool,
}

impl<D: Disk> Build<D> {
    /// Looks through the older releases, unless nothing is to be taken from them.
    pub(crate) fn new(area: &Area<D>, content: &Content<D>, afresh: bool) -> disk::Result<Self> {
        let seeds = if afresh {
            Vec::new()
        } else {
            seeds(area, &|id| content.places.ordinal(id), content.lacking())?
        };
        Ok(Self { stage: Stage::Directories { next: 0 }, seeds, clones: true })
    }

    /// Whether chunks can be written already.
    pub(crate) const fn has_files(&self) -> bool {
        matches!(self.stage, Stage::Pieces)
    }

    /// Works for about `budget` bytes; whether nothing is left.
    pub(crate) fn step(
        &mut self,
        area: &Area<D>,
        content: &mut Content<D>,
        budget: u64,
    ) -> Result<bool, Failure> {
        let disk = &area.disk;
        let total = content.table.entries.len() as u32;
        let mut left = budget.max(1);
        while left > 0 {
            let cost = match self.stage {
                Stage::Directories { next } if next < total => {
                    make_directory(disk, content, next)?;
                    self.stage = Stage::Directories { next: next + 1 };
                    NAME
                }
                Stage::Directories { .. } => self.enter(Stage::Links { next: 0 }),
                Stage::Links { next } if next < total => {
                    self.link(disk, content, next)?;
                    self.stage = Stage::Links { next: next + 1 };
                    NAME
                }
                Stage::Links { .. } => self.enter(Stage::Room),
                Stage::Room => {
                    check_room(area, &content.table)?;
                    self.enter(Stage::Files { next: 0 })
                }
                Stage::Files { next } if next < total => {
                    make_file(disk, content, next)?;
                    self.stage = Stage::Files { next: next + 1 };
                    NAME
                }
                Stage::Files { .. } => {
                    // The names must be there before the journal speaks of data.
                    content.files.soil_all();
                    self.enter(Stage::Pieces)
                }
                Stage::Pieces => match self.piece(disk, content)? {
                    Some(cost) => cost,
                    None => return Ok(true),
                },
            };
            left = left.saturating_sub(cost);
        }
        Ok(false)
    }

    const fn enter(&mut self, stage: Stage) -> u64 {
        self.stage = stage;
        NAME
    }

    /// Looks at a file of an earlier run, or takes a whole file of an older release.
    fn link(&mut self, disk: &D, content: &mut Content<D>, number: u32) -> disk::Result<()> {
        let entry = content.table.entry(number).clone();
        if !entry.is_file {
            return Ok(());
        }
        let name = content.table.name(&entry).to_owned();
        let dir = content.files.dir(disk, &content.table, entry.parent)?;
        match disk.stat(dir, name.as_bytes()) {
            Ok(stat) if stat.kind == Kind::File => {
                let linked = stat.links > 1;
                if !linked && stat.size != entry.size {
                    let file = open_or_create(disk, dir, name.as_bytes())?;
                    disk.allocate(&file, entry.size)?;
                    disk.set_len(&file, entry.size)?;
                }
                let entry = &mut content.table.entries[number as usize];
                (entry.made, entry.linked) = (true, linked);
                return if linked { content.suspect_file(disk, number) } else { Ok(()) };
            }
            Ok(_) => remove_tree(disk, dir, name.as_bytes())?,
            Err(DiskError::NotFound) => {}
            Err(error) => return Err(error),
        }
        if entry.size > 0 { self.take_whole(disk, content, number) } else { Ok(()) }
    }

    /// Clones or links the file from an older release that has the same content.
    fn take_whole(&mut self, disk: &D, content: &mut Content<D>, number: u32) -> disk::Result<()> {
        let entry = content.table.entry(number).clone();
        let name = content.table.name(&entry).to_owned();
        for seed in &mut self.seeds {
            let Some(old) = seed.same_content(&entry) else { continue };
            let Some((stat, old_dir, old_name)) = seed.untouched(disk, old) else { continue };
            let dir = content.files.dir(disk, &content.table, entry.parent)?;
            let file = match self.clones {
                true => clone(disk, old_dir, old_name, dir, name.as_bytes())?,
                false => None,
            };
            self.clones &= file.is_some();
            let mut linked = false;
            if let Some(file) = file {
                content.files.insert(number, file);
                content.files.soil(number);
            } else {
                // A shared inode must already be what this release asks for.
                linked = !stat.writable
                    && stat.executable == entry.executable
                    && (stat.mtime, stat.mtime_nanos) == (entry.mtime, 0)
                    && disk.hard_link(old_dir, old_name, dir, name.as_bytes()).is_ok();
                if !linked {
                    continue;
                }
            }
            let made = &mut content.table.entries[number as usize];
            (made.made, made.linked) = (true, linked);
            return content.suspect_file(disk, number);
        }
        Ok(())
    }

    /// Takes one chunk of an older file: read once, checked and written from
    /// memory, so what is checked is what is staged.
    fn piece(&mut self, disk: &D, content: &mut Content<D>) -> Result<Option<u64>, Failure> {
        let Some(seed) = self.seeds.last_mut() else { return Ok(None) };
        let Some(piece) = seed.next_piece() else {
            self.seeds.pop();
            return Ok(Some(NAME));
        };
        if !content.lacks(piece.ordinal) {
            return Ok(Some(1));
        }
        let reference: ChunkRef = content.reference(disk, piece.ordinal)?;
        let mut chunk = vec![0; reference.len as usize];
        let file = seed.files.file(disk, &seed.table, piece.file, Access::Read);
        // An old file that is gone or changed only means more to receive.
        if file.and_then(|file| read_exact(disk, file, piece.offset, &mut chunk)).is_ok() {
            content.take(disk, piece.ordinal, &chunk)?;
        }
        Ok(Some(u64::from(reference.len) * 2))
    }
}

fn make_directory<D: Disk>(disk: &D, content: &mut Content<D>, number: u32) -> disk::Result<()> {
    let entry = content.table.entry(number).clone();
    if entry.is_file {
        return Ok(());
    }
    let dir = content.files.dir(disk, &content.table, entry.parent)?;
    let name = content.table.name(&entry).as_bytes();
    match disk.make_dir(dir, name, Audience::All) {
        Err(DiskError::Exists) if disk.stat(dir, name)?.kind != Kind::Directory => {
            disk.unlink(dir, name)?;
            disk.make_dir(dir, name, Audience::All)
        }
        Err(DiskError::Exists) => Ok(()),
        made => made,
    }
}

fn make_file<D: Disk>(disk: &D, content: &mut Content<D>, number: u32) -> disk::Result<()> {
    let entry = content.table.entry(number).clone();
    if !entry.is_file || entry.made {
        return Ok(());
    }
    let dir = content.files.dir(disk, &content.table, entry.parent)?;
    let file = fresh_file(disk, dir, content.table.name(&entry).as_bytes())?;
    disk.allocate(&file, entry.size)?;
    content.files.insert(number, file);
    content.table.entries[number as usize].made = true;
    Ok(())
}

/// Free space before the first content byte: what the files still to be made
/// will allocate, and one unit for each entry. What is on its way out goes first
/// where there is not enough.
fn check_room<D: Disk>(area: &Area<D>, table: &Table) -> Result<(), Failure> {
    has_room(&area.disk, table).or_else(|_| {
        // What cannot be removed takes room like anything else.
        let _ = area.empty_trash(u32::MAX);
        has_room(&area.disk, table)
    })
}

fn has_room<D: Disk>(disk: &D, table: &Table) -> Result<(), Failure> {
    let space = disk.space()?;
    let to_make = table.entries.iter().filter(|entry| entry.is_file && !entry.made);
    let needed = to_make.fold(0_u64, |sum, entry| {
        let units = entry.size.div_ceil(space.block).saturating_add(1);
        sum.saturating_add(units.saturating_mul(space.block))
    });
    if needed <= space.free {
        return Ok(());
    }
    let reason = format!("{needed} bytes needed, {} free", space.free);
    Err(Failure { code: FailCode::NoSpace, reason })
}

/// A clone under a new name, or `None` where the file system cannot do that.
fn clone<D: Disk>(
    disk: &D,
    old_dir: &D::Dir,
    old_name: &[u8],
    dir: &D::Dir,
    name: &[u8],
) -> disk::Result<Option<D::File>> {
    let Ok(old) = disk.open_file(old_dir, old_name, Access::Read) else { return Ok(None) };
    let file = disk.create_file(dir, name)?;
    match disk.clone_file(&old, &file) {
        Ok(()) => Ok(Some(file)),
        Err(_) => disk.unlink(dir, name).map(|()| None),
    }
}
