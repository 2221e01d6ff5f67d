//! What must hold, whatever happens: the safety oracles, independent of the
//! code that they watch (their names are those of the project's promises).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use fleetcast::disk::Disk as _;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::wire::control::ReleaseName;

use crate::admin::{Signed, Tree};
use crate::disk::{SimDisk, read_tree};

/// The directory at a destination that is the receiver's own.
const OURS: &[u8] = b".fleetcast";
/// Byte 0 of a datagram of an open channel.
const TRANSPORT: u8 = 4;
/// Byte 0 of a session datagram.
const SESSION: u8 = 5;

/// What was seen so far.
#[derive(Default)]
pub struct Oracle {
    /// What does not hold.
    pub violations: Vec<String>,
    /// Per address: received from it, sent to it, and whether it has answered.
    ledger: HashMap<SocketAddr, Account>,
    /// Highest epoch per session.
    epochs: HashMap<u32, u16>,
    /// Per receiver: what it shows of each group.
    shown: Vec<BTreeMap<GroupId, ReleaseName>>,
    /// Per receiver: highest accepted order of each group, as persisted.
    accepted: Vec<BTreeMap<GroupId, ReleaseOrder>>,
    stamps: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Account {
    received: u64,
    sent: u64,
    proved: bool,
}

impl Oracle {
    /// An oracle for so many receivers.
    #[must_use]
    pub fn new(receivers: usize) -> Self {
        Self {
            shown: vec![BTreeMap::new(); receivers],
            accepted: vec![BTreeMap::new(); receivers],
            stamps: vec![0; receivers],
            ..Self::default()
        }
    }

    /// Notes what does not hold.
    pub fn violate(&mut self, what: String) {
        if self.violations.len() < 10 {
            self.violations.push(what);
        }
    }

    /// A datagram that arrives at the server; `genuine` when the owner of the
    /// address has sent it.
    pub fn server_received(&mut self, from: SocketAddr, datagram: &[u8], genuine: bool) {
        let account = self.ledger.entry(from).or_default();
        account.received += datagram.len() as u64;
        account.proved |= genuine && datagram.first() == Some(&TRANSPORT);
    }

    /// A datagram that the server sends.
    pub fn server_sent(&mut self, to: SocketAddr, datagram: &[u8]) {
        if to.ip().is_multicast() {
            return self.session_sent(datagram);
        }
        let account = self.ledger.entry(to).or_default();
        account.sent += datagram.len() as u64;
        let Account { received, sent, proved } = *account;
        if !proved && sent > received {
            self.violate(format!("S8: {sent} bytes sent to {to}, which sent {received}"));
        }
        self.session_sent(datagram);
    }

    /// What a receiver shows of a group.
    #[must_use]
    pub fn shown(&self, receiver: usize, group: &GroupId) -> Option<ReleaseName> {
        self.shown[receiver].get(group).copied()
    }

    /// A receiver has lost its destination: it shows nothing, and that is no fault of it.
    pub fn emptied(&mut self, receiver: usize) {
        self.shown[receiver].clear();
    }

    /// What the server writes into its log: nobody in these runs forges symbols.
    pub fn logged(&mut self, action: &str, subject: &str) {
        if matches!(action, "block-poisoned" | "chunk-unreadable" | "plan-failed") {
            self.violate(format!("S15: {action}: {subject}"));
        }
    }

    fn session_sent(&mut self, datagram: &[u8]) {
        let Some((&[kind, _, e0, e1, s0, s1, s2, s3], _)) = datagram.split_first_chunk::<8>()
        else {
            return;
        };
        if kind == SESSION {
            let (epoch, session) =
                (u16::from_le_bytes([e0, e1]), u32::from_le_bytes([s0, s1, s2, s3]));
            let highest = self.epochs.entry(session).or_insert(epoch);
            let before = std::mem::replace(highest, epoch);
            if epoch < before {
                self.violate(format!("S3: session {session} fell from epoch {before} to {epoch}"));
            }
        }
    }

    /// An order that a receiver reads as accepted when it starts: none before was
    /// higher, nor is that of what it shows (PROTOCOL T4).
    pub fn accepted(&mut self, receiver: usize, group: GroupId, order: ReleaseOrder) {
        let shown = self.shown(receiver, &group).map(|name| name.order);
        let before = self.accepted[receiver].insert(group, order).max(shown);
        if before > Some(order) {
            self.violate(format!("S3: receiver {receiver} fell from {before:?} to {order:?}"));
        }
    }

    /// Looks at a destination if a name in it has changed, or at any rate when `always`.
    pub fn look(
        &mut self,
        receiver: usize,
        disk: &SimDisk,
        groups: &[(GroupId, String)],
        signed: &[Signed],
        (always, gap): (bool, bool),
    ) {
        let stamp = disk.root_stamp();
        let changed = std::mem::replace(&mut self.stamps[receiver], stamp) != stamp;
        if (changed || always) && !disk.is_dead() {
            match visible(disk, groups) {
                Ok(trees) => self.judge(receiver, &trees, groups, signed, gap),
                Err(fault) => self.violate(format!("S10: receiver {receiver}: {fault}")),
            }
        }
    }

    /// Safety S1, S2, S3 of what a receiver shows.
    fn judge(
        &mut self,
        receiver: usize,
        trees: &BTreeMap<String, Tree>,
        groups: &[(GroupId, String)],
        signed: &[Signed],
        gap: bool,
    ) {
        for (group, name) in groups {
            let before = self.shown[receiver].get(group).copied();
            let Some(tree) = trees.get(name) else {
                if before.is_some() && !gap {
                    self.violate(format!("S2: receiver {receiver} shows nothing of {name}"));
                }
                continue;
            };
            let mut releases = signed.iter().filter(|s| s.name.group == *group);
            let mut same = releases.clone().filter(|s| s.tree == *tree);
            // Two releases may have the same content: the benefit of the doubt.
            let newest = same.clone().map(|s| s.name).max_by_key(|name| name.order);
            let Some(newest) = newest else {
                let nearest = releases.next_back().map(|s| differences(tree, &s.tree));
                self.violate(format!("S1: receiver {receiver}, {name}: {nearest:?}"));
                continue;
            };
            if before.is_some_and(|before| newest.order < before.order)
                && !same.any(|s| Some(s.name) == before)
            {
                let fell = (before.map(|before| before.order), newest.order);
                self.violate(format!("S3: receiver {receiver} shows an older release: {fell:?}"));
            }
            self.shown[receiver].insert(*group, newest);
        }
    }

    /// Safety S4: what a receiver reports as installed survives a power cut now.
    pub fn installed(
        &mut self,
        receiver: usize,
        disk: &SimDisk,
        groups: &[(GroupId, String)],
        release: Option<&Signed>,
    ) {
        let Some(release) = release else {
            return self.violate(format!("S1: receiver {receiver} installed what nobody signed"));
        };
        let after = disk.fork();
        after.reboot(0);
        let name = groups.iter().find(|(id, _)| *id == release.name.group).map(|(_, name)| name);
        let trees = visible(&after, groups).unwrap_or_default();
        if name.and_then(|name| trees.get(name)) != Some(&release.tree) {
            let order = release.name.order.sequence;
            self.violate(format!("S4: receiver {receiver} reported {order}, a power cut loses it"));
        }
    }
}

/// What a destination shows, by group name; a fault when there is anything else.
///
/// # Errors
/// What should not be there, in words.
pub fn visible(
    disk: &SimDisk,
    groups: &[(GroupId, String)],
) -> Result<BTreeMap<String, Tree>, String> {
    let failed = |error| format!("cannot be read: {error}");
    let root = disk.root().map_err(failed)?;
    let mut trees = BTreeMap::new();
    for name in disk.list(&root).map_err(failed)? {
        if name == OURS {
            continue;
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        if !groups.iter().any(|(_, group)| *group == name) {
            return Err(format!("{name:?} belongs to no group"));
        }
        let tree = read_tree(disk, &root, &name).map_err(failed)?;
        trees.insert(name, tree);
    }
    Ok(trees)
}

/// Where two trees differ, for a person.
fn differences(seen: &Tree, signed: &Tree) -> Vec<String> {
    let paths = seen.keys().chain(signed.keys());
    let differ = paths.filter(|path| seen.get(*path) != signed.get(*path));
    let mut told: Vec<String> = differ.take(6).cloned().collect();
    told.dedup();
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7))
    }

    #[test]
    fn more_to_a_stranger_than_came_from_it_is_a_violation() {
        let mut oracle = Oracle::new(1);
        oracle.server_received(address(1), &[1; 200], true);
        oracle.server_sent(address(1), &[2; 200]);
        assert_eq!(oracle.violations.len(), 0);
        oracle.server_sent(address(1), &[3; 1]);
        assert_eq!(oracle.violations, ["S8: 201 bytes sent to 10.0.0.1:7, which sent 200"]);
        // Who has answered in a channel is no stranger; a spoofer proves nothing.
        oracle.server_received(address(2), &[4; 50], true);
        oracle.server_sent(address(2), &[4; 500]);
        assert_eq!(oracle.violations.len(), 1);
        oracle.server_received(address(3), &[4; 50], false);
        oracle.server_sent(address(3), &[4; 51]);
        assert_eq!(oracle.violations.len(), 2);
    }

    #[test]
    fn an_epoch_that_falls_is_a_violation() {
        let mut oracle = Oracle::new(1);
        for epoch in [1, 1, 2, 1] {
            oracle.session_sent(&[5, 1, epoch, 0, 9, 0, 0, 0, 77]);
        }
        assert_eq!(oracle.violations, ["S3: session 9 fell from epoch 2 to 1"]);
    }
}
