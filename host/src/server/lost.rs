//! What receivers had and have no more: a disk was replaced, a directory deleted.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;

impl<A: Aead> ServerNode<A> {
    /// Takes the inventory of a channel, which is whole now, for all that its receiver has:
    /// what was known from earlier ones and is not in it counts as installed no more.
    /// Its deliveries stay told; the current release is owed anew.
    // PROTOCOL M1
    pub(super) fn forget_lost(&mut self, now: Instant, slot: PeerSlot, receiver: ReceiverId) {
        let Some(link) = self.links.get(&slot) else { return };
        let held = self.registry.held_by(receiver).map(|held| held.release);
        let gone = held.filter(|release| !link.holds.contains_key(&release.group));
        let gone: Vec<ReleaseName> = gone.collect();
        // A receiver that has and has not in turn makes a delivery each time: what is too
        // often for that is seen with the next channel.
        if gone.is_empty() || !self.patience.changes.take(now, &receiver) {
            return;
        }
        let name = self.name_of(&receiver);
        for release in gone {
            self.registry.remove_held(receiver, release.group);
            let title = self.registry.release_title(&release);
            self.registry.log(&name, "release-lost", &title, "it has it no more");
        }
    }
}
