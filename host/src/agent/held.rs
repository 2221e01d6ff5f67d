//! What a receiver holds back, has to install, and keeps open until then.

use fleetcast_core::ids::GroupId;
use fleetcast_core::wire::control::ReleaseName;

use super::delivery::Staged;
use crate::disk::Disk;

/// Staged releases that are kept open at most, each with some eight handles: a further one
/// is opened again from storage when its time comes.
const MOST: usize = 32;

/// What is held back, and what is to be installed as soon as there is time.
pub(super) struct Holding<D: Disk> {
    /// At most one of each group that we are a member of: as many as admins have signed.
    pub(super) back: Vec<ReleaseName>,
    /// The server has said to install these; at most one of each such group too.
    pub(super) due: Vec<ReleaseName>,
    /// Whole, while something else is being received.
    pub(super) parked: Vec<Staged<D>>,
}

impl<D: Disk> Default for Holding<D> {
    fn default() -> Self {
        Self { back: Vec::new(), due: Vec::new(), parked: Vec::new() }
    }
}

impl<D: Disk> Holding<D> {
    /// Whether a release must not be installed yet.
    pub(super) fn is_held_back(&self, release: &ReleaseName) -> bool {
        self.back.contains(release)
    }

    /// Notes a release that is to be installed, in place of others of its group.
    pub(super) fn make_due(&mut self, release: ReleaseName) {
        self.due.retain(|due| due.group != release.group);
        self.due.push(release);
    }

    /// Forgets a release.
    pub(super) fn forget(&mut self, release: &ReleaseName) {
        self.back.retain(|held| held != release);
        self.due.retain(|due| due != release);
        self.parked.retain(|staged| staged.release() != *release);
    }

    /// Forgets what a release that is installed now has overtaken: it would be refused.
    pub(super) fn forget_overtaken(&mut self, installed: &ReleaseName) {
        let overtaken =
            |other: &ReleaseName| other.group == installed.group && other.order < installed.order;
        self.back.retain(|held| !overtaken(held));
        self.due.retain(|due| !overtaken(due));
        self.parked.retain(|staged| !overtaken(&staged.release()));
    }

    /// Forgets a group.
    pub(super) fn forget_group(&mut self, group: GroupId) {
        self.back.retain(|held| held.group != group);
        self.due.retain(|due| due.group != group);
        self.parked.retain(|staged| staged.release().group != group);
    }

    /// Keeps a staged release open while something else is received.
    pub(super) fn park(&mut self, mut staged: Staged<D>) {
        staged.rest();
        let release = staged.release();
        self.parked.retain(|other| other.release() != release);
        if self.parked.len() < MOST {
            self.parked.push(staged);
        }
    }

    /// A staged release that is kept open.
    pub(super) fn unpark(&mut self, release: &ReleaseName) -> Option<Staged<D>> {
        let at = self.parked.iter().position(|staged| staged.release() == *release)?;
        Some(self.parked.remove(at))
    }
}
