//! Facts of the whole fleet: numbers that are noted, and settings that commands make.

use super::Registry;
use crate::model::Change;

impl Registry {
    /// A number of the whole fleet.
    #[must_use]
    pub fn mark(&self, name: &str) -> Option<u64> {
        self.marks.get(name).copied()
    }

    /// Sets a number of the whole fleet, or takes it away.
    pub fn put_mark(&mut self, name: &str, value: Option<u64>) {
        self.changes.push(Change::Mark(name.to_owned(), value));
        match value {
            Some(value) => self.marks.insert(name.to_owned(), value),
            None => self.marks.remove(name),
        };
    }

    /// A setting that commands have made.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Makes a setting, or takes it back.
    pub fn put_setting(&mut self, name: &str, value: Option<String>) {
        self.changes.push(Change::Setting(name.to_owned(), value.clone()));
        match value {
            Some(value) => self.settings.insert(name.to_owned(), value),
            None => self.settings.remove(name),
        };
    }
}
