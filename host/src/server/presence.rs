//! When receivers were heard last, kept as they go on: a server that dies knows it after
//! its next start to within a minute, not only of those that had left before.
//!
//! All that are here are written in one batch of the catalog, so that many cost one
//! transaction a minute.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::ReceiverId;

use super::ServerNode;
use super::since::Presence;
use crate::model::UnixTime;

/// Seconds between two times that are kept of a receiver that is here.
const KEPT_EVERY: UnixTime = 60;

impl<A: Aead> ServerNode<A> {
    /// Keeps, once in a while, that the receivers with a channel are here.
    pub(super) fn note_presence(&mut self) {
        let time = self.registry.time();
        // A clock that was put back must not stop it.
        if time.abs_diff(self.presence.0) < KEPT_EVERY {
            return;
        }
        self.presence = Presence(time);
        let here: Vec<ReceiverId> = self.connected.keys().copied().collect();
        for id in here {
            let record = self.registry.receiver(&id).filter(|record| record.last_seen != time);
            if let Some(mut record) = record.cloned() {
                record.last_seen = time;
                self.registry.put_receiver(record);
            }
        }
    }
}
