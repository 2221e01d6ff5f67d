//! Stages that lead nowhere any more: of releases that were overtaken while they were
//! received, and those of which not even the root is here.

use fleetcast_core::crypto::sign::Context;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::ReleaseName;

use super::MAX_DOCUMENT;
use super::area::{Area, RELEASE, ROOT, absent};
use crate::disk::{self, Disk, read_small};

/// What becomes of stages without a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rootless {
    /// They may be in use.
    Keep,
    /// Nothing is being received.
    Remove,
}

/// Moves all stages out of the way that `is_over` names; whether there was one. Their roots
/// passed the gate when they were stored.
///
/// # Errors
/// When the storage fails.
pub fn sweep<D: Disk>(
    area: &Area<D>,
    rootless: Rootless,
    is_over: &dyn Fn(&ReleaseName) -> bool,
) -> disk::Result<bool> {
    let mut any = false;
    for name in area.disk.list(&area.ours)? {
        if !name.starts_with(b"stage-") {
            continue;
        }
        let stage = area.disk.open_dir(&area.ours, &name)?;
        // With this record it may hold the directory that was visible before.
        if !absent(area.disk.stat(&stage, RELEASE))? {
            continue;
        }
        let root = read_small(&area.disk, &stage, ROOT, MAX_DOCUMENT);
        let goes = match root.ok().as_deref().and_then(name_of) {
            Some(release) => is_over(&release),
            None => rootless == Rootless::Remove,
        };
        if goes {
            area.discard(&area.ours, &name)?;
            any = true;
        }
    }
    Ok(any)
}

/// The release whose signed root this is.
fn name_of(document: &[u8]) -> Option<ReleaseName> {
    let signed = SignedDocument::parse(document, MAX_DOCUMENT).ok()?;
    let root = ReleaseRoot::decode(signed.body()).ok()?;
    Some(root.name(signed.digest(Context::Release)))
}
