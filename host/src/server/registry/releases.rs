//! Releases by their digests, and by group and order: what is newest is asked for with
//! every channel.

use std::collections::{BTreeMap, BTreeSet};

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReleaseOrder};

use crate::model::ReleaseRecord;

/// Releases and the index over them.
#[derive(Default)]
pub(super) struct Releases {
    all: BTreeMap<Digest, ReleaseRecord>,
    orders: BTreeSet<(GroupId, ReleaseOrder, Digest)>,
}

impl Releases {
    /// All, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &ReleaseRecord> {
        self.all.values()
    }

    /// One by its digest.
    pub(super) fn one(&self, digest: &Digest) -> Option<&ReleaseRecord> {
        self.all.get(digest)
    }

    /// Those of a group, the newest last.
    pub(super) fn of(&self, group: GroupId) -> impl DoubleEndedIterator<Item = &ReleaseRecord> {
        const FIRST: ReleaseOrder = ReleaseOrder { reset_epoch: 0, sequence: 0 };
        const LAST: ReleaseOrder = ReleaseOrder { reset_epoch: u32::MAX, sequence: u64::MAX };
        let all = (group, FIRST, Digest([0; 32]))..=(group, LAST, Digest([u8::MAX; 32]));
        self.orders.range(all).filter_map(|(.., digest)| self.all.get(digest))
    }

    /// Writes one.
    pub(super) fn put(&mut self, record: ReleaseRecord) {
        let name = record.name;
        self.orders.insert((name.group, name.order, name.digest));
        self.all.insert(name.digest, record);
    }

    /// Forgets one; whether it was there.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let Some(ReleaseRecord { name, .. }) = self.all.remove(digest) else { return false };
        self.orders.remove(&(name.group, name.order, name.digest))
    }

    /// Forgets those of a group.
    pub(super) fn remove_group(&mut self, group: GroupId) {
        let own: Vec<Digest> = self.of(group).map(|release| release.name.digest).collect();
        for digest in own {
            self.remove(&digest);
        }
    }
}

impl FromIterator<ReleaseRecord> for Releases {
    fn from_iter<I: IntoIterator<Item = ReleaseRecord>>(records: I) -> Self {
        let mut releases = Self::default();
        records.into_iter().for_each(|record| releases.put(record));
        releases
    }
}

#[cfg(test)]
mod tests {
    use fleetcast_core::wire::control::ReleaseName;

    use super::*;
    use crate::model::{ReleaseState, Terms};

    fn release(group: u8, reset_epoch: u32, sequence: u64) -> ReleaseRecord {
        let order = ReleaseOrder { reset_epoch, sequence };
        let digest = Digest([group ^ sequence as u8 ^ (reset_epoch as u8) << 4; 32]);
        ReleaseRecord {
            name: ReleaseName { group: GroupId([group; 16]), order, digest },
            label: String::new(),
            document: Vec::new(),
            files: 0,
            bytes: 0,
            created: 0,
            expires: 0,
            state: ReleaseState::Current,
            terms: Terms::default(),
        }
    }

    #[test]
    fn those_of_a_group_come_in_their_order_and_go_with_it() {
        let all = [release(1, 0, 9), release(1, 1, 2), release(1, 0, 300), release(2, 0, 5)];
        let mut releases: Releases = all.clone().into_iter().collect();
        let of = |releases: &Releases, group: u8| -> Vec<(u32, u64)> {
            let orders = releases.of(GroupId([group; 16])).map(|release| release.name.order);
            orders.map(|order| (order.reset_epoch, order.sequence)).collect()
        };
        assert_eq!(of(&releases, 1), [(0, 9), (0, 300), (1, 2)], "a reset outranks numbers");
        releases.put(all[0].clone());
        assert_eq!(of(&releases, 1).len(), 3, "the same again is the same");
        assert!(releases.remove(&all[2].name.digest) && !releases.remove(&all[2].name.digest));
        assert_eq!(of(&releases, 1), [(0, 9), (1, 2)]);
        releases.remove_group(GroupId([1; 16]));
        assert_eq!((of(&releases, 1), of(&releases, 2)), (vec![], vec![(0, 5)]));
        assert_eq!((releases.all().count(), releases.orders.len()), (1, 1));
    }
}
