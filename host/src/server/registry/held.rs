//! What receivers hold no more.

use fleetcast_core::ids::{GroupId, ReceiverId};

use super::Registry;
use crate::model::Change;

impl Registry {
    /// Forgets what a receiver held of a group: it has lost it.
    pub fn remove_held(&mut self, receiver: ReceiverId, group: GroupId) {
        if self.held.remove(&(receiver, group)).is_some() {
            self.changes.push(Change::HeldGone(receiver, group));
        }
    }
}
