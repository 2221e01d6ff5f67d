//! A simulated disk: an operation log with barriers, power cuts and faults.
//!
//! Every change is at first only in the cache and in the log of pending changes.
//! A sync makes durable what it covers, as POSIX promises and no more: a file's
//! bytes by `sync_data`, a directory's names by `sync_dir`, everything by
//! `sync_all`. After a power cut the disk holds what was durable and any subset
//! of what was pending, writes possibly torn ([`SimDisk::reboot`]).
//!
//! A rename or exchange is one change, as in every journalling file system. A
//! pending change whose names no longer stand as they stood when it was made is
//! not applied, so that no subset gives a directory two names.

mod bytes;
mod calls;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleetcast::disk::{self, Disk, DiskError, Kind};

use self::store::Store;

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The call fails with this error and changes nothing. A sync that fails
    /// drops what it would have made durable from the log: it stays visible in
    /// the cache, and no later sync writes it (as on Linux).
    Error(DiskError),
    /// The power fails before the call.
    CutBefore,
    /// The power fails after the call.
    CutAfter,
}

/// When something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which changing or syncing call, counted from 0 since the last
    /// [`SimDisk::set_fault`].
    pub at: u64,
    /// Only syncs count and fail.
    pub syncs_only: bool,
    /// What happens.
    pub kind: FaultKind,
    /// From then on at every call.
    pub forever: bool,
}

impl Fault {
    /// The power fails at a call.
    #[must_use]
    pub const fn cut(at: u64, after: bool) -> Self {
        let kind = if after { FaultKind::CutAfter } else { FaultKind::CutBefore };
        Self { at, syncs_only: false, kind, forever: false }
    }

    /// A call fails.
    #[must_use]
    pub const fn error(at: u64, error: DiskError, forever: bool) -> Self {
        Self { at, syncs_only: false, kind: FaultKind::Error(error), forever }
    }

    /// A sync fails once.
    #[must_use]
    pub const fn sync(at: u64) -> Self {
        Self { at, syncs_only: true, kind: FaultKind::Error(DiskError::Io(5)), forever: false }
    }
}

/// What the simulated file system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Share bytes between files until they are written.
    pub clones: bool,
    /// Give a file several names.
    pub links: bool,
    /// Exchange two names in one step.
    pub exchange: bool,
    /// Bytes of all files together.
    pub capacity: u64,
}

/// The simulated disk; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Store>>);

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(abilities: Abilities) -> Self {
        Self(Arc::new(Mutex::new(Store::new(abilities))))
    }

    /// A disk of its own in the same state: cache, log and all.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.store().clone())))
    }

    /// Arms a fault, or none, and counts calls anew.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.store().arm(fault);
    }

    /// Changing and syncing calls since the last [`Self::set_fault`].
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.store().calls
    }

    /// Whether the power has failed: every call does, until [`Self::reboot`].
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.store().dead
    }

    /// Cuts the power and boots again: the disk holds what was durable and, by
    /// seed, a subset of what was pending. Seed 0: nothing of it; seed 1: all.
    /// Handles from before are of no use any more.
    pub fn reboot(&self, seed: u64) {
        self.store().reboot(seed);
    }

    /// Turns one bit of a file over, on the medium and in the cache.
    pub fn rot(&self, path: &str, offset: usize) {
        self.store().rot(path, offset);
    }

    /// Changes a file as a local user does, without a fault or a count.
    pub fn tamper(&self, path: &str, bytes: &[u8]) {
        self.store().tamper(path, bytes);
    }

    /// A number that changes when a name in the root directory does, or what it names.
    #[must_use]
    pub fn root_stamp(&self) -> u64 {
        self.store().root_stamp()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file or directory as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory and its modification time.
    Directory(i64),
    /// A file: executable, modification time, bytes.
    File(bool, i64, Vec<u8>),
    /// Something else.
    Other,
}

/// Everything below a directory, by path; the picture that oracles compare.
///
/// # Errors
/// When the storage fails.
pub fn read_tree<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    name: &str,
) -> disk::Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![(disk.open_dir(dir, name.as_bytes())?, String::new())];
    while let Some((dir, path)) = waiting.pop() {
        for entry in disk.list(&dir)? {
            let inner = format!("{path}{}", String::from_utf8_lossy(&entry));
            let stat = disk.stat(&dir, &entry)?;
            let node = match stat.kind {
                Kind::Directory => {
                    waiting.push((disk.open_dir(&dir, &entry)?, format!("{inner}/")));
                    Node::Directory(stat.mtime)
                }
                Kind::File => {
                    let bytes = disk::read_small(disk, &dir, &entry, usize::MAX)?;
                    Node::File(stat.executable, stat.mtime, bytes)
                }
                Kind::Other => Node::Other,
            };
            nodes.insert(inner, node);
        }
    }
    Ok(nodes)
}
