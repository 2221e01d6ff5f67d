//! Activating a staged release: the old directory or the new one, never a mixture.
//!
//! 1. Modes and times; everything synced.
//! 2. The stage's `release` record names the new directory by its inode.
//! 3. The caller persists the order (PROTOCOL T4).
//! 4. The new directory and the group's are exchanged in one call. Until here
//!    a power cut leaves the old release, from here on the new one.
//! 5. Local changes found in the old directory are moved aside, the rest of it
//!    becomes the predecessor, and the stage becomes the record of what is held.
//!
//! [`recover`] finds by the inode which side of step 4 a run stopped at, and
//! undoes or finishes. Where the file system cannot exchange, step 4 is two
//! renames with the old directory in `stage/prior` between, and the group's
//! directory is missing until `recover` when power fails just there.

mod conflicts;
mod finish;
mod recover;

pub use self::conflicts::Conflict;
pub use self::finish::Installed;
use self::finish::finish;
pub use self::recover::{Recovered, finish_begun, recover};

use fleetcast_core::tree::path::Component;
use fleetcast_core::wire::control::ReleaseName;

use crate::disk::{self, Disk, DiskError, Kind, write_small};
use crate::staging::Staging;
use crate::staging::area::{Area, Held, OURS, PRIOR, RELEASE, TREE, absent, held_name};
use crate::staging::gate::{Decode, Evidence, Gate, without_list};

/// The order of a release could not be persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPersisted;

/// Why a release was not installed; what is visible has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// Something is lacking, or has to be looked at again: go on with
    /// [`Staging::step`].
    Incomplete,
    /// The caller could not persist the order.
    NotPersisted,
    /// The group's name cannot be a directory beside ours: the caller's fault.
    BadName,
    /// Our storage failed. After a failure behind the activation, [`recover`]
    /// finishes what was begun.
    Disk(DiskError),
}

impl From<DiskError> for InstallError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Installs a complete staging as the directory `group` of the destination.
///
/// `persist` makes the order of the release durable; it is called once, before
/// anything visible changes. When this returns, an immediate power cut leaves
/// the whole release (safety S4).
///
/// # Errors
/// [`InstallError`]; the old release is still visible then, but for a failure
/// behind the activation, which [`recover`] finishes.
pub fn install<D: Disk, C: Decode, G: Gate>(
    staging: &mut Staging<D, C, G>,
    group: Component<'_>,
    persist: &mut dyn FnMut(ReleaseName) -> Result<(), NotPersisted>,
) -> Result<Installed, InstallError> {
    if group.as_bytes().eq_ignore_ascii_case(OURS) {
        return Err(InstallError::BadName);
    }
    staging.commit()?;
    let area = &staging.area;
    let disk = &area.disk;
    let (Some(evidence), Some(content)) = (&staging.evidence, &mut staging.content) else {
        return Err(InstallError::Incomplete);
    };
    if !content.is_complete() || !content.seal(disk)? {
        return Err(InstallError::Incomplete);
    }
    sync_everything(disk)?;
    let held = Held {
        release: evidence.name(),
        directory: group.as_str().to_owned(),
        inode: disk.stat(&staging.stage, TREE)?.inode,
        tree: without_list(&evidence.tree()),
    };
    write_small(disk, &staging.stage, RELEASE, &held.encode())?;
    // PROTOCOL T4: the order is durable before the release is activated.
    persist(held.release).map_err(|NotPersisted| InstallError::NotPersisted)?;
    let atomic = activate(area, &staging.stage, &held)?;
    let mut installed = finish(area, &staging.stage, &held)?;
    installed.atomic = atomic;
    Ok(installed)
}

fn sync_everything<D: Disk>(disk: &D) -> crate::disk::Result<()> {
    // A bug for the simulator to find; not in a product.
    #[cfg(feature = "planted")]
    if fleetcast_core::planted::is(fleetcast_core::planted::Bug::Sync) {
        return Ok(());
    }
    disk.sync_all()
}

/// Makes the new directory visible; whether that was one step.
fn activate<D: Disk>(area: &Area<D>, stage: &D::Dir, held: &Held) -> disk::Result<bool> {
    let (disk, name) = (&area.disk, held.directory.as_bytes());
    follow_renaming(area, held)?;
    let mut atomic = true;
    if absent(disk.stat(&area.root, name))? {
        disk.rename(stage, TREE, &area.root, name)?;
    } else {
        match disk.exchange(stage, TREE, &area.root, name) {
            Err(DiskError::Unsupported) => {
                atomic = false;
                area.discard(stage, PRIOR)?;
                disk.rename(&area.root, name, stage, PRIOR)?;
                let synced = disk.sync_dir(stage);
                let moved = synced.and_then(|()| disk.rename(stage, TREE, &area.root, name));
                if let Err(error) = moved {
                    // What was visible stays so; if this fails too, `recover` does it.
                    let _ = disk.rename(stage, PRIOR, &area.root, name);
                    return Err(error);
                }
            }
            other => other?,
        }
    }
    disk.sync_dir(&area.root)?;
    disk.sync_dir(stage)?;
    Ok(atomic)
}

/// A group that was renamed takes its directory along first.
fn follow_renaming<D: Disk>(area: &Area<D>, held: &Held) -> disk::Result<()> {
    let disk = &area.disk;
    let before = disk.open_dir(&area.ours, held_name(held.release.group).as_bytes());
    let Ok(before) = before.and_then(|dir| Held::load(disk, &dir)) else { return Ok(()) };
    let (old, new) = (before.directory.as_bytes(), held.directory.as_bytes());
    let stat = match disk.stat(&area.root, old) {
        Ok(stat) if old != new => stat,
        _ => return Ok(()),
    };
    if stat.kind == Kind::Directory && absent(disk.stat(&area.root, new))? {
        disk.rename(&area.root, old, &area.root, new)?;
        disk.sync_dir(&area.root)?;
    }
    Ok(())
}
