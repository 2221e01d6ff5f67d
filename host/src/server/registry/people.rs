//! The part of the facts that people make: requests to join, accounts.

use fleetcast_core::ids::{GroupId, ReceiverId};

use super::Registry;
use crate::accounts::folded;
use crate::model::{AccountRecord, Change, RequestRecord};

impl Registry {
    /// All requests, those that wait and those that were denied.
    pub fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.values()
    }

    /// Requests of a receiver.
    pub fn requests_of(&self, receiver: ReceiverId) -> impl Iterator<Item = &RequestRecord> {
        let all = (receiver, GroupId([0; 16]))..=(receiver, GroupId([u8::MAX; 16]));
        self.requests.range(all).map(|(_, record)| record)
    }

    /// The request of a receiver for a group.
    #[must_use]
    pub fn request(&self, receiver: ReceiverId, group: GroupId) -> Option<&RequestRecord> {
        self.requests.get(&(receiver, group))
    }

    /// Writes a request.
    pub fn put_request(&mut self, record: RequestRecord) {
        self.changes.push(Change::Request(record.clone()));
        self.requests.insert((record.receiver, record.group), record);
    }

    /// Takes a request away; whether there was one.
    pub fn remove_request(&mut self, receiver: ReceiverId, group: GroupId) -> bool {
        let removed = self.requests.remove(&(receiver, group)).is_some();
        if removed {
            self.changes.push(Change::RequestGone(receiver, group));
        }
        removed
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountRecord> {
        self.accounts.values()
    }

    /// An account by its folded name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&AccountRecord> {
        self.accounts.get(name)
    }

    /// Writes an account.
    pub fn put_account(&mut self, record: AccountRecord) {
        self.changes.push(Change::Account(record.clone()));
        self.accounts.insert(folded(&record.name), record);
    }

    /// Forgets the account of this folded name.
    pub fn remove_account(&mut self, name: &str) {
        if let Some(record) = self.accounts.remove(name) {
            self.changes.push(Change::AccountGone(record.name));
        }
    }
}
