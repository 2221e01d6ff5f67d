//! After a start: every stage is either behind its activation or before it.

use crate::disk::{self, Disk, DiskError, Kind};
use crate::staging::area::{Area, Held, PRIOR, RELEASE, TREE, absent, stage_name};

use fleetcast_core::wire::control::ReleaseName;

use super::finish::{Installed, finish, tidy_record};

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Installations that had been activated and are finished now. Their
    /// receipts may not have been sent.
    pub finished: Vec<Installed>,
    /// Stages that can go on: their names in our directory.
    pub stages: Vec<String>,
    /// Stages that cannot be brought in order now, and why; nothing may be staged there
    /// before [`finish_begun`] has succeeded.
    pub unfinished: Vec<(String, DiskError)>,
}

/// Brings a destination in order; must run before anything is staged there.
///
/// Can be interrupted at any point and run again.
///
/// # Errors
/// When the storage fails. What fails for one stage alone is told with the rest: the
/// others go on.
pub fn recover<D: Disk>(area: &Area<D>) -> disk::Result<Recovered> {
    let disk = &area.disk;
    let mut recovered = Recovered::default();
    for name in disk.list(&area.ours)? {
        if name.starts_with(b"stage-") {
            if let Err(error) = recover_stage(area, &name, &mut recovered) {
                recovered.unfinished.push((String::from_utf8_lossy(&name).into_owned(), error));
            }
        } else if name.starts_with(b"held-") {
            match disk.open_dir(&area.ours, &name) {
                Ok(record) => tidy_record(area, &record)?,
                // A link or a file in place of a record is nothing of ours.
                Err(DiskError::Special) => area.discard(&area.ours, &name)?,
                Err(error) => return Err(error),
            }
        }
    }
    disk.sync_dir(&area.ours)?;
    Ok(recovered)
}

/// Finishes the installation of a release where it stopped behind its activation; `None`
/// where there is nothing to finish. Must run before the release is staged again: what lies
/// in its stage then is the directory that was visible before.
///
/// # Errors
/// When the storage fails.
pub fn finish_begun<D: Disk>(
    area: &Area<D>,
    release: &ReleaseName,
) -> disk::Result<Option<Installed>> {
    let name = stage_name(release);
    if absent(area.disk.stat(&area.ours, name.as_bytes()))? {
        return Ok(None);
    }
    let mut recovered = Recovered::default();
    recover_stage(area, name.as_bytes(), &mut recovered)?;
    Ok(recovered.finished.pop())
}

fn recover_stage<D: Disk>(
    area: &Area<D>,
    name: &[u8],
    recovered: &mut Recovered,
) -> disk::Result<()> {
    let disk = &area.disk;
    let stage = match disk.open_dir(&area.ours, name) {
        Ok(stage) => stage,
        Err(DiskError::Special) => return area.discard(&area.ours, name),
        Err(error) => return Err(error),
    };
    let begun = match Held::load(disk, &stage) {
        Ok(held) => Some(held).filter(|held| stage_name(&held.release).as_bytes() == name),
        Err(DiskError::NotFound | DiskError::Short) => None,
        // Without the record nobody knows whose directory lies in the stage.
        Err(error) => return Err(error),
    };
    if let Some(held) = begun {
        if is_active(area, &stage, &held)? {
            recovered.finished.push(finish(area, &stage, &held)?);
            return Ok(());
        }
        // Before the activation: the old release stands, and staging goes on.
        disk.unlink(&stage, RELEASE)?;
        disk.sync_dir(&stage)?;
    }
    recovered.stages.extend(String::from_utf8(name.to_vec()));
    Ok(())
}

/// Whether the stage's directory is the visible one; between two renames it is
/// made so.
fn is_active<D: Disk>(area: &Area<D>, stage: &D::Dir, held: &Held) -> disk::Result<bool> {
    let (disk, name) = (&area.disk, held.directory.as_bytes());
    let is_new = |dir: &D::Dir, name: &[u8]| match disk.stat(dir, name) {
        Ok(stat) => Ok(stat.kind == Kind::Directory && stat.inode == held.inode),
        Err(DiskError::NotFound) => Ok(false),
        Err(error) => Err(error),
    };
    if is_new(&area.root, name)? {
        return Ok(true);
    }
    let between = !absent(disk.stat(stage, PRIOR))? && absent(disk.stat(&area.root, name))?;
    if !between {
        return Ok(false);
    }
    let forward = is_new(stage, TREE)?;
    disk.rename(stage, if forward { TREE } else { PRIOR }, &area.root, name)?;
    disk.sync_dir(&area.root)?;
    disk.sync_dir(stage)?;
    Ok(forward)
}
