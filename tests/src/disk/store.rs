//! Cache, medium and the log between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetcast::disk::{DiskError, Kind, Result};

use super::bytes::Bytes;
use super::{Abilities, Fault, FaultKind};
use crate::random::hash;

/// An inode's number; 1 is the root.
pub(super) type Ino = u64;
/// A directory and a name in it.
pub(super) type Slot = (Ino, Vec<u8>);

/// A file or directory.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) data: Bytes,
    pub(super) names: BTreeMap<Vec<u8>, Ino>,
    pub(super) writable: bool,
    pub(super) executable: bool,
    pub(super) mtime: i64,
}

/// A change that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        ino: Ino,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Length {
        ino: Ino,
        len: usize,
    },
    Attributes {
        ino: Ino,
        writable: bool,
        executable: bool,
        mtime: i64,
    },
    /// All or none: what stood in each slot, and what does now.
    Names(Vec<(Slot, Option<Ino>, Option<Ino>)>),
}

/// What a sync makes durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    File(Ino),
    Dir(Ino),
    All,
}

/// The whole disk.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) cache: BTreeMap<Ino, Inode>,
    medium: BTreeMap<Ino, Inode>,
    /// Each with its number.
    pending: Vec<(u64, Change)>,
    changes: u64,
    next: Ino,
    pub(super) abilities: Abilities,
    fault: Option<Fault>,
    pub(super) calls: u64,
    syncs: u64,
    pub(super) dead: bool,
}

impl Store {
    pub(super) fn new(abilities: Abilities) -> Self {
        let root = BTreeMap::from([(1, Inode::new(Kind::Directory))]);
        Self {
            cache: root.clone(),
            medium: root,
            pending: Vec::new(),
            changes: 0,
            next: 2,
            abilities,
            fault: None,
            calls: 0,
            syncs: 0,
            dead: false,
        }
    }

    pub(super) fn arm(&mut self, fault: Option<Fault>) {
        (self.fault, self.calls, self.syncs) = (fault, 0, 0);
    }

    /// A new inode without a name.
    pub(super) fn create(&mut self, kind: Kind) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.cache.insert(ino, Inode::new(kind));
        self.medium.insert(ino, Inode::new(kind));
        ino
    }

    pub(super) fn inode(&self, ino: Ino) -> Result<&Inode> {
        if self.dead {
            return Err(DiskError::Io(5));
        }
        self.cache.get(&ino).ok_or(DiskError::Io(9))
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<&Ino> = self.cache.values().flat_map(|i| i.names.values()).collect();
        named.iter().filter_map(|ino| self.cache.get(ino)).map(|i| i.data.len() as u64).sum()
    }

    /// Makes a change in the cache and the log, unless a fault is due.
    pub(super) fn change(&mut self, change: Change) -> Result<()> {
        let cut = self.due(false)?;
        apply(&mut self.cache, &change);
        self.pending.push((self.changes, change));
        self.changes += 1;
        self.die(cut)
    }

    /// Changes made so far.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Makes durable what the scope covers of the changes below number `before`,
    /// unless a fault is due.
    pub(super) fn sync(&mut self, scope: Scope, before: u64) -> Result<()> {
        let cut = match self.due(true) {
            Err(error) if !self.dead => {
                // Dropped: later syncs know nothing of it.
                let lost = |change: &Change| {
                    matches!(
                        (scope, change),
                        (Scope::All, Change::Write { .. } | Change::Length { .. })
                    ) || {
                        let Scope::File(file) = scope else { return false };
                        matches!(change, Change::Write { ino, .. } | Change::Length { ino, .. }
                        if *ino == file)
                    }
                };
                self.pending.retain(|(_, change)| !lost(change));
                return Err(error);
            }
            other => other?,
        };
        let covered = self.covered(scope);
        let pending = std::mem::take(&mut self.pending);
        for ((number, change), covered) in pending.into_iter().zip(covered) {
            if covered && number < before {
                apply(&mut self.medium, &change);
            } else {
                self.pending.push((number, change));
            }
        }
        self.die(cut)
    }

    pub(super) fn reboot(&mut self, seed: u64) {
        let mut random = Random(seed);
        for (_, change) in std::mem::take(&mut self.pending) {
            let keep = match seed {
                0 => false,
                1 => true,
                _ => random.below(4) > 0,
            };
            if keep {
                let torn = seed > 1 && random.below(4) == 0;
                let change = if torn { tear(change, &mut random) } else { change };
                if stands(&self.medium, &change) {
                    apply(&mut self.medium, &change);
                }
            }
        }
        self.cache = self.medium.clone();
        self.dead = false;
        self.arm(None);
    }

    pub(super) fn rot(&mut self, path: &str, offset: usize) {
        if let Some(ino) = self.find(path) {
            for side in [&mut self.cache, &mut self.medium] {
                let mut byte = [0];
                if let Some(inode) = side.get_mut(&ino)
                    && inode.data.read(offset, &mut byte) == 1
                {
                    inode.data.write(offset, &[byte[0] ^ 1]);
                }
            }
        }
    }

    pub(super) fn tamper(&mut self, path: &str, bytes: &[u8]) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(dir) = self.find(dir) else { return };
        let ino = self.find(path).unwrap_or_else(|| self.create(Kind::File));
        for side in [&mut self.cache, &mut self.medium] {
            if let Some(inode) = side.get_mut(&ino) {
                inode.data = Bytes::new();
                inode.data.write(0, bytes);
                inode.mtime = 7_777_777;
            }
            if let Some(dir) = side.get_mut(&dir) {
                dir.names.insert(name.as_bytes().to_vec(), ino);
            }
        }
    }

    pub(super) fn root_stamp(&self) -> u64 {
        let names = self.cache.get(&1).map(|root| &root.names);
        names.into_iter().flatten().fold(0, |stamp, (name, ino)| hash(stamp ^ ino, name))
    }

    fn find(&self, path: &str) -> Option<Ino> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let mut at = 1;
        for part in parts {
            at = *self.cache.get(&at)?.names.get(part.as_bytes())?;
        }
        Some(at)
    }

    /// Counts a call; fails it, or says whether the power fails after it.
    fn due(&mut self, is_sync: bool) -> Result<bool> {
        if self.dead {
            return Err(DiskError::Io(5));
        }
        let (call, sync) = (self.calls, self.syncs);
        self.calls += 1;
        self.syncs += u64::from(is_sync);
        let Some(fault) = self.fault else { return Ok(false) };
        if fault.syncs_only && !is_sync {
            return Ok(false);
        }
        let count = if fault.syncs_only { sync } else { call };
        if count != fault.at && !(fault.forever && count > fault.at) {
            return Ok(false);
        }
        match fault.kind {
            FaultKind::Error(error) => Err(error),
            FaultKind::CutBefore => {
                self.dead = true;
                Err(DiskError::Io(5))
            }
            FaultKind::CutAfter => Ok(true),
        }
    }

    const fn die(&mut self, cut: bool) -> Result<()> {
        self.dead |= cut;
        if cut { Err(DiskError::Io(5)) } else { Ok(()) }
    }

    /// Which pending changes a sync makes durable: for a directory those that
    /// touch it, and those that these build upon, slot by slot.
    fn covered(&self, scope: Scope) -> Vec<bool> {
        let mut slots: BTreeSet<&Slot> = BTreeSet::new();
        let mut covered = vec![false; self.pending.len()];
        for ((_, change), covered) in self.pending.iter().zip(&mut covered).rev() {
            *covered = match (scope, change) {
                (Scope::All, _) => true,
                (Scope::File(file), Change::Write { ino, .. } | Change::Length { ino, .. }) => {
                    *ino == file
                }
                (Scope::Dir(dir), Change::Names(names)) => {
                    let touched =
                        names.iter().any(|(slot, ..)| slot.0 == dir || slots.contains(slot));
                    if touched {
                        slots.extend(names.iter().map(|(slot, ..)| slot));
                    }
                    touched
                }
                _ => false,
            };
        }
        covered
    }
}

impl Inode {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: Bytes::new(),
            names: BTreeMap::new(),
            writable: true,
            executable: false,
            mtime: 0,
        }
    }
}

fn apply(side: &mut BTreeMap<Ino, Inode>, change: &Change) {
    match change {
        Change::Write { ino, offset, bytes } => {
            if let Some(inode) = side.get_mut(ino) {
                inode.data.write(*offset, bytes);
            }
        }
        Change::Length { ino, len } => {
            if let Some(inode) = side.get_mut(ino) {
                inode.data.resize(*len);
            }
        }
        Change::Attributes { ino, writable, executable, mtime } => {
            if let Some(inode) = side.get_mut(ino) {
                (inode.writable, inode.executable) = (*writable, *executable);
                inode.mtime = *mtime;
            }
        }
        Change::Names(names) => {
            for ((dir, name), _, after) in names {
                let Some(dir) = side.get_mut(dir) else { continue };
                match after {
                    Some(ino) => dir.names.insert(name.clone(), *ino),
                    None => dir.names.remove(name),
                };
            }
        }
    }
}

/// Whether a change still meets what it was made upon.
fn stands(side: &BTreeMap<Ino, Inode>, change: &Change) -> bool {
    let Change::Names(names) = change else { return true };
    names.iter().all(|((dir, name), before, _)| {
        side.get(dir).and_then(|dir| dir.names.get(name).copied()) == *before
    })
}

/// A write of which only the head or only the tail arrived.
fn tear(change: Change, random: &mut Random) -> Change {
    let Change::Write { ino, offset, bytes } = change else { return change };
    let cut = random.below(bytes.len() as u64 + 1) as usize;
    let (head, tail) = bytes.split_at(cut);
    match random.below(2) {
        0 => Change::Write { ino, offset, bytes: head.into() },
        _ => Change::Write { ino, offset: offset + cut, bytes: tail.into() },
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
