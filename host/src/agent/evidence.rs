//! What is installed and not known to the server: its root, which admins have signed, is
//! shown to it (PROTOCOL F3). A claim alone would count for nothing there.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::GroupId;
use fleetcast_core::limits::{MAX_MESSAGE, MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document::signed_len;
use fleetcast_core::wire::control::{ReleaseName, Up};

use super::Agent;
use crate::disk::{Disk, read_small};
use crate::staging::area::{Area, ROOT, held_name};

/// Longest signed root.
const MOST: usize = signed_len(MAX_ROOT, MAX_SIGNATURES);
/// Bytes of a document per message: kind, release, offset and length need the rest.
const PIECE: usize = MAX_MESSAGE - 96;

impl<D: Disk, A: Aead> Agent<D, A> {
    /// Shows the server the signed root of what is installed of a group; nothing where it
    /// cannot be read.
    pub(super) fn show(&mut self, now: Instant, group: GroupId) {
        let Some((release, root)) = self.installed_root(group) else { return };
        let total = root.len() as u16;
        // PROTOCOL F3
        for (bytes, offset) in root.chunks(PIECE).zip((0..).step_by(PIECE)) {
            self.say(now, &Up::Evidence { release, offset, total, bytes });
        }
    }

    fn installed_root(&self, group: GroupId) -> Option<(ReleaseName, Vec<u8>)> {
        let area = Area::open(&self.destination).ok()?;
        let held = area.held().ok()?.into_iter().find(|held| held.release.group == group)?;
        let record = self.destination.open_dir(&area.ours, held_name(group).as_bytes()).ok()?;
        let root = read_small(&self.destination, &record, ROOT, MOST).ok()?;
        Some((held.release, root))
    }
}
