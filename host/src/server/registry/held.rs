//! What receivers hold, and hold no more.

use fleetcast_core::ids::{GroupId, ReceiverId};

use super::{Registry, of};
use crate::model::{Change, HeldRecord};

impl Registry {
    /// What a receiver holds of a group.
    #[must_use]
    pub fn held(&self, receiver: ReceiverId, group: GroupId) -> Option<&HeldRecord> {
        self.held.get(&(receiver, group))
    }

    /// All that a receiver holds.
    pub fn held_by(&self, receiver: ReceiverId) -> impl Iterator<Item = &HeldRecord> {
        self.held.range(of(receiver)).map(|(_, held)| held)
    }

    /// All receipts.
    pub fn all_held(&self) -> impl Iterator<Item = &HeldRecord> {
        self.held.values()
    }

    /// Notes what a receiver holds; `false` when that says no more than what is known.
    pub fn put_held(&mut self, record: HeldRecord) -> bool {
        let key = (record.receiver, record.release.group);
        let known = self.held.get(&key).filter(|known| known.release == record.release);
        if known.is_some_and(|known| !known.receipt.is_empty() || record.receipt.is_empty()) {
            return false;
        }
        self.changes.push(Change::Held(record.clone()));
        self.held.insert(key, record);
        true
    }

    /// Forgets what a receiver held of a group: it has lost it.
    pub fn remove_held(&mut self, receiver: ReceiverId, group: GroupId) {
        if self.held.remove(&(receiver, group)).is_some() {
            self.changes.push(Change::HeldGone(receiver, group));
        }
    }
}
