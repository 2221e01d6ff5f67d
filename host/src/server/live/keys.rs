//! Who can read a session.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, ReceiverId};

use super::LiveSession;

impl<A: Aead> LiveSession<A> {
    /// Who can read what is sent, and of which group that is.
    pub(in crate::server) fn keyed(&self) -> impl Iterator<Item = (ReceiverId, GroupId)> {
        let told = self.keyed.all().flatten();
        told.filter_map(|(id, slot)| Some((*id, self.group_of(*slot)?)))
    }

    /// Whether a receiver can read what is sent for a group.
    pub(in crate::server) fn is_keyed(&self, id: &ReceiverId, group: GroupId) -> bool {
        let slots = self.keyed.all().filter_map(|told| told.get(id));
        slots.filter_map(|slot| self.group_of(*slot)).any(|of| of == group)
    }

    fn group_of(&self, slot: u8) -> Option<GroupId> {
        self.releases().get(usize::from(slot)).map(|release| release.group)
    }
}
