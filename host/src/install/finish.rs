//! Behind the activation: local changes aside, the predecessor kept, the stage
//! becomes the record of what is held. Can be begun again at any point.

use fleetcast_core::ids::GroupId;
use fleetcast_core::wire::control::ReleaseName;

use super::conflicts::{self, Conflict};
use crate::disk::{self, Disk};
use crate::staging::area::{
    Area, Held, INDEX, PRIOR, RELEASE, ROOT, TOP, TREE, absent, held_name, old_name, stage_name,
};

/// What an installation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The release that is visible now, durable.
    pub release: ReleaseName,
    /// Its directory.
    pub directory: String,
    /// Local changes that were found.
    pub conflicts: Vec<Conflict>,
    /// Where in our directory the conflicting files were moved, if any were.
    pub kept_aside: Option<String>,
    /// Whether the change was one exchange, or two renames.
    pub atomic: bool,
}

/// Everything behind the activation; can be begun again at any point.
pub(super) fn finish<D: Disk>(
    area: &Area<D>,
    stage: &D::Dir,
    held: &Held,
) -> disk::Result<Installed> {
    let disk = &area.disk;
    let group = held.release.group;
    let mut installed = Installed {
        release: held.release,
        directory: held.directory.clone(),
        conflicts: Vec::new(),
        kept_aside: None,
        atomic: true,
    };
    for old in [PRIOR, TREE] {
        if absent(disk.stat(stage, old))? {
            continue;
        }
        let owner = owner(area, stage, old)?.unwrap_or(group);
        let record = disk.open_dir(&area.ours, held_name(owner).as_bytes());
        let aside = conflicts::keep_aside(area, stage, old, record.ok().as_ref(), held)?;
        installed.conflicts.extend(aside.conflicts);
        installed.kept_aside = aside.directory.or(installed.kept_aside);
        if aside.is_predecessor && owner == group {
            let name = old_name(group);
            area.discard(&area.ours, name.as_bytes())?;
            disk.rename(stage, old, &area.ours, name.as_bytes())?;
        } else if aside.is_predecessor {
            area.discard(stage, old)?;
        }
    }
    forget_others(area, held)?;
    disk.sync_dir(stage)?;
    disk.sync_dir(&area.ours)?;
    area.discard(&area.ours, held_name(group).as_bytes())?;
    let stage_name = stage_name(&held.release);
    disk.rename(&area.ours, stage_name.as_bytes(), &area.ours, held_name(group).as_bytes())?;
    disk.sync_dir(&area.ours)?;
    tidy_record(area, stage)?;
    Ok(installed)
}

/// The group whose release a directory was installed for, as the records say: it may have
/// had the name before another group took it.
fn owner<D: Disk>(area: &Area<D>, stage: &D::Dir, old: &[u8]) -> disk::Result<Option<GroupId>> {
    let inode = area.disk.stat(stage, old)?.inode;
    let records = area.records()?;
    let owner = records.iter().find(|record| record.inode == inode);
    Ok(owner.map(|record| record.release.group))
}

/// Removes the records of other groups that name this release's directory: theirs is gone.
fn forget_others<D: Disk>(area: &Area<D>, held: &Held) -> disk::Result<()> {
    for other in area.records()? {
        let group = other.release.group;
        if group != held.release.group && other.directory == held.directory {
            area.discard(&area.ours, held_name(group).as_bytes())?;
        }
    }
    Ok(())
}

/// Leaves in a record of what is held only what it is made of.
pub(super) fn tidy_record<D: Disk>(area: &Area<D>, record: &D::Dir) -> disk::Result<()> {
    for name in area.disk.list(record)? {
        if ![ROOT, TOP, INDEX, RELEASE].contains(&name.as_slice()) {
            area.discard(record, &name)?;
        }
    }
    Ok(())
}
