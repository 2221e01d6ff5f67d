//! Deliveries by their numbers, and beside them what is asked again and again: which are
//! open, whose they are, how many of a release's receivers have it. A fleet keeps many that
//! are over: nothing that happens with a datagram may go through all of them.

use std::collections::{BTreeMap, BTreeSet};

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;

use crate::model::{DeliveryRecord, DeliveryState, Hold};

/// Deliveries and the indexes over them.
#[derive(Default)]
pub(super) struct Deliveries {
    all: BTreeMap<u64, DeliveryRecord>,
    /// The newest of each release to each receiver.
    newest: BTreeMap<(ReceiverId, Digest), u64>,
    /// Those that are not final, by receiver.
    open: BTreeSet<(ReceiverId, u64)>,
    releases: BTreeMap<Digest, OfRelease>,
}

/// What is counted of one release.
#[derive(Default)]
struct OfRelease {
    /// All of its deliveries: when there is none, nothing of it is kept.
    all: u64,
    open: BTreeSet<u64>,
    /// Deliveries that are to arrive, or have.
    wanted: u64,
    /// Those of them that are staged or installed.
    ready: u64,
    /// Open ones that wait for `pending send`.
    queued: u64,
}

impl Deliveries {
    /// All, oldest first.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &DeliveryRecord> {
        self.all.values()
    }

    /// One by its number.
    pub(super) fn one(&self, id: u64) -> Option<&DeliveryRecord> {
        self.all.get(&id)
    }

    /// The newest of a release to a receiver.
    pub(super) fn newest(&self, receiver: ReceiverId, release: &Digest) -> Option<&DeliveryRecord> {
        self.all.get(self.newest.get(&(receiver, *release))?)
    }

    /// Those of a receiver that are not final, oldest first.
    pub(super) fn open_of(&self, receiver: ReceiverId) -> impl Iterator<Item = &DeliveryRecord> {
        let numbers = self.open.range((receiver, 0)..=(receiver, u64::MAX));
        numbers.filter_map(|(_, id)| self.all.get(id))
    }

    /// Those of a release that are not final, oldest first.
    pub(super) fn open_of_release(
        &self,
        release: &Digest,
    ) -> impl Iterator<Item = &DeliveryRecord> {
        let numbers = self.releases.get(release).into_iter().flat_map(|of| &of.open);
        numbers.filter_map(|id| self.all.get(id))
    }

    /// How many of a release are staged or installed, of how many that are to be.
    pub(super) fn readiness(&self, release: &Digest) -> (u64, u64) {
        self.releases.get(release).map_or((0, 0), |of| (of.ready, of.wanted))
    }

    /// Whether some of a release wait for `pending send`.
    pub(super) fn is_queued(&self, release: &Digest) -> bool {
        self.releases.get(release).is_some_and(|of| of.queued > 0)
    }

    /// Writes one.
    pub(super) fn put(&mut self, record: DeliveryRecord) {
        self.remove(record.id);
        let (id, key) = (record.id, (record.receiver, record.release.digest));
        let of = self.releases.entry(record.release.digest).or_default();
        of.all += 1;
        of.wanted += u64::from(is_wanted(&record));
        of.ready += u64::from(is_ready(&record));
        of.queued += u64::from(is_queued(&record));
        if !record.state.is_final() {
            of.open.insert(id);
            self.open.insert((record.receiver, id));
        }
        let newest = self.newest.entry(key).or_insert(id);
        *newest = id.max(*newest);
        self.all.insert(id, record);
    }

    /// Keeps those that `keep` wants; all of a receiver or of a release go together.
    pub(super) fn retain(&mut self, keep: impl Fn(&DeliveryRecord) -> bool) {
        let gone = self.all.values().filter(|record| !keep(record));
        for id in gone.map(|record| record.id).collect::<Vec<_>>() {
            if let Some(record) = self.remove(id) {
                self.newest.remove(&(record.receiver, record.release.digest));
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<DeliveryRecord> {
        let record = self.all.remove(&id)?;
        self.open.remove(&(record.receiver, id));
        if let Some(of) = self.releases.get_mut(&record.release.digest) {
            of.all -= 1;
            of.wanted -= u64::from(is_wanted(&record));
            of.ready -= u64::from(is_ready(&record));
            of.queued -= u64::from(is_queued(&record));
            of.open.remove(&id);
            if of.all == 0 {
                self.releases.remove(&record.release.digest);
            }
        }
        Some(record)
    }
}

impl FromIterator<DeliveryRecord> for Deliveries {
    fn from_iter<I: IntoIterator<Item = DeliveryRecord>>(records: I) -> Self {
        let mut deliveries = Self::default();
        records.into_iter().for_each(|record| deliveries.put(record));
        deliveries
    }
}

/// Whether it counts among those that are to have their release.
fn is_wanted(record: &DeliveryRecord) -> bool {
    !record.state.is_final() || record.state == DeliveryState::Installed
}

/// Whether it waits for `pending send`, paused or not.
fn is_queued(record: &DeliveryRecord) -> bool {
    !record.state.is_final() && matches!(record.hold, Hold::Send | Hold::ResumeToSend)
}

/// Whether its receiver has the release whole.
fn is_ready(record: &DeliveryRecord) -> bool {
    let staged = record.hold == Hold::Staged && !record.state.is_final();
    staged || record.state == DeliveryState::Installed
}

#[cfg(test)]
mod tests {
    use fleetcast_core::ids::{GroupId, ReleaseOrder};
    use fleetcast_core::wire::control::ReleaseName;

    use super::*;
    use crate::model::DeliveryPath;

    const STATES: [DeliveryState; 5] = [
        DeliveryState::Queued,
        DeliveryState::Transferring,
        DeliveryState::Installed,
        DeliveryState::Failed,
        DeliveryState::Superseded,
    ];

    fn record(id: u64, receiver: u8, release: u8, state: DeliveryState) -> DeliveryRecord {
        let order = ReleaseOrder { reset_epoch: 0, sequence: release.into() };
        let release = ReleaseName { group: GroupId([1; 16]), order, digest: Digest([release; 32]) };
        DeliveryRecord {
            id,
            receiver: ReceiverId([receiver; 16]),
            release,
            state,
            hold: Hold::Free,
            code: String::new(),
            reason: String::new(),
            bytes: 0,
            path: DeliveryPath::Local,
            created: 0,
            updated: 0,
        }
    }

    /// What the indexes say must be what going through all records says.
    fn check(deliveries: &Deliveries) {
        for receiver in (0..4).map(|n| ReceiverId([n; 16])) {
            let open = deliveries.all().filter(|d| d.receiver == receiver && !d.state.is_final());
            assert!(deliveries.open_of(receiver).eq(open));
            for release in (0..3).map(|n| Digest([n; 32])) {
                let of =
                    |d: &&DeliveryRecord| d.receiver == receiver && d.release.digest == release;
                assert_eq!(deliveries.newest(receiver, &release), deliveries.all().rfind(of));
            }
        }
        for release in (0..3).map(|n| Digest([n; 32])) {
            let of = || deliveries.all().filter(|d| d.release.digest == release);
            let open = of().filter(|d| !d.state.is_final());
            assert!(deliveries.open_of_release(&release).eq(open));
            let (ready, wanted) = deliveries.readiness(&release);
            assert_eq!(wanted, of().filter(|d| is_wanted(d)).count() as u64);
            assert_eq!(ready, of().filter(|d| is_ready(d)).count() as u64);
            let waits = |d: &DeliveryRecord| matches!(d.hold.word(), "send") && !d.state.is_final();
            assert_eq!(deliveries.is_queued(&release), of().any(waits));
        }
    }

    #[test]
    fn the_indexes_say_what_a_look_through_everything_says() {
        let mut deliveries = Deliveries::default();
        let mut seed = 7_u64;
        let mut number = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (seed >> 33) % below
        };
        for step in 0..2_000 {
            let id = 1 + number(60);
            let state = STATES[number(5) as usize];
            // A number never changes its receiver or release.
            let mut delivery = record(id, (id % 4) as u8, (id / 4 % 3) as u8, state);
            delivery.hold = [Hold::Staged, Hold::Send, Hold::Free, Hold::Free][number(4) as usize];
            deliveries.put(delivery);
            if step % 400 == 399 {
                let gone = Digest([number(3) as u8; 32]);
                deliveries.retain(|d| d.release.digest != gone);
                assert!(!deliveries.releases.contains_key(&gone), "nothing of it is kept");
            }
            check(&deliveries);
        }
    }

    #[test]
    fn what_is_staged_or_installed_is_ready_and_what_failed_counts_nowhere() {
        let staged =
            DeliveryRecord { hold: Hold::Staged, ..record(1, 0, 1, DeliveryState::Verifying) };
        let mut deliveries: Deliveries = [
            staged,
            record(2, 1, 1, DeliveryState::Installed),
            record(3, 2, 1, DeliveryState::Queued),
            record(4, 3, 1, DeliveryState::Failed),
        ]
        .into_iter()
        .collect();
        assert_eq!(deliveries.readiness(&Digest([1; 32])), (2, 3));
        deliveries.put(record(3, 2, 1, DeliveryState::Cancelled));
        assert_eq!(deliveries.readiness(&Digest([1; 32])), (2, 2));
        assert_eq!(deliveries.readiness(&Digest([9; 32])), (0, 0));
    }
}
