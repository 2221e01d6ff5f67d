//! One transfer by one tool: what it is given, and what comes out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleetcast_lab::Lan;

use super::meter::Crossed;

/// What a tool is to do: bring a file from host 0 to all other hosts.
pub(crate) struct Job<'a> {
    /// The LAN.
    pub(crate) lan: &'a Lan,
    /// The file.
    pub(crate) file: &'a Path,
    /// Its bytes.
    pub(crate) size: u64,
    /// An empty directory for all that the tool writes.
    pub(crate) room: &'a Path,
    /// The rate at which uftp sends, in kbit/s.
    pub(crate) uftp_rate: u32,
    /// When it is given up.
    pub(crate) deadline: Instant,
}

impl Job<'_> {
    /// The hosts that receive.
    pub(crate) fn receivers(&self) -> std::ops::Range<usize> {
        1..self.lan.hosts()
    }

    /// A directory of a receiver's own.
    pub(crate) fn folder(&self, receiver: usize) -> PathBuf {
        self.room.join(receiver.to_string())
    }
}

/// What a transfer came to. Times are from the start of the sending command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfer {
    /// Until each receiver had the whole file; ours: verified in staging.
    pub(crate) complete: Vec<Duration>,
    /// Until the last receiver had it durable: ours installed, others' synced.
    pub(crate) durable: Duration,
    /// What crossed the admin's interface until the sending command ended.
    pub(crate) crossed: Crossed,
    /// The files that were received.
    pub(crate) received: Vec<PathBuf>,
    /// More that the tool tells of itself, for whoever reads the row.
    pub(crate) notes: serde_json::Map<String, serde_json::Value>,
}
