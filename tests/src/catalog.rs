//! The catalog as a simulation of its durability: batches of changes become
//! durable one after the other, each some time after it was handed over; a
//! crash loses those under way.

use std::collections::{BTreeMap, VecDeque};

use fleetcast::model::{
    AccountRecord, AdminNameRecord, Change, DeliveryRecord, GroupRecord, HeldRecord, LogRecord,
    MembershipRecord, ProposalRecord, ReceiverRecord, ReleaseRecord, RequestRecord, Snapshot,
    TokenRecord, VoucherRecord,
};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, TokenId};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::document::Fingerprint;

/// Facts that are durable, and batches that are not yet.
#[derive(Default)]
pub struct Catalog {
    receivers: BTreeMap<ReceiverId, ReceiverRecord>,
    groups: BTreeMap<GroupId, GroupRecord>,
    memberships: BTreeMap<(ReceiverId, GroupId), MembershipRecord>,
    requests: BTreeMap<(ReceiverId, GroupId), RequestRecord>,
    accounts: BTreeMap<String, AccountRecord>,
    tokens: BTreeMap<Digest, TokenRecord>,
    vouchers: BTreeMap<TokenId, VoucherRecord>,
    releases: BTreeMap<Digest, ReleaseRecord>,
    deliveries: BTreeMap<u64, DeliveryRecord>,
    held: BTreeMap<(ReceiverId, GroupId), HeldRecord>,
    authorities: BTreeMap<u32, Vec<u8>>,
    proposals: BTreeMap<Digest, ProposalRecord>,
    admin_names: BTreeMap<Fingerprint, AdminNameRecord>,
    marks: BTreeMap<String, u64>,
    settings: BTreeMap<String, String>,
    last_log: Option<LogRecord>,
    waiting: VecDeque<(Instant, u64, Vec<Change>)>,
}

impl Catalog {
    /// Takes a batch that will be durable `takes` after all before it.
    pub fn write(&mut self, now: Instant, takes: Duration, batch: u64, changes: Vec<Change>) {
        let free = self.waiting.back().map_or(now, |(due, ..)| (*due).max(now));
        self.waiting.push_back((free + takes, batch, changes));
    }

    /// When the next batch is durable.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, ..)| *due)
    }

    /// The next batch that is durable by `now`.
    pub fn persisted(&mut self, now: Instant) -> Option<u64> {
        if self.poll_timeout()? > now {
            return None;
        }
        let (_, batch, changes) = self.waiting.pop_front()?;
        changes.into_iter().for_each(|change| self.apply(change));
        Some(batch)
    }

    /// A release that is durable.
    #[must_use]
    pub fn release(&self, digest: &Digest) -> Option<&ReleaseRecord> {
        self.releases.get(digest)
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Loses what is not durable.
    pub fn crash(&mut self) {
        self.waiting.clear();
    }

    /// What a restart reads.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut releases: Vec<ReleaseRecord> = self.releases.values().cloned().collect();
        releases.sort_by_key(|release| (release.created, release.name.order));
        let mut groups: Vec<GroupRecord> = self.groups.values().cloned().collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Snapshot {
            receivers: self.receivers.values().cloned().collect(),
            groups,
            memberships: self.memberships.values().cloned().collect(),
            requests: self.requests.values().cloned().collect(),
            accounts: self.accounts.values().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            vouchers: self.vouchers.values().cloned().collect(),
            releases,
            deliveries: self.deliveries.values().cloned().collect(),
            held: self.held.values().cloned().collect(),
            authorities: self.authorities.iter().map(|(v, d)| (*v, d.clone())).collect(),
            proposals: self.proposals.values().cloned().collect(),
            admin_names: self.admin_names.values().cloned().collect(),
            marks: self.marks.iter().map(|(name, value)| (name.clone(), *value)).collect(),
            settings: self.settings.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
            last_log: self.last_log.clone(),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Receiver(record) => put(&mut self.receivers, record.id, record),
            Change::ReceiverGone(id) => self.forget_receiver(id),
            Change::Group(record) => put(&mut self.groups, record.id, record),
            Change::GroupGone(id) => self.forget_group(id),
            Change::Membership(record) => {
                put(&mut self.memberships, (record.receiver, record.group), record)
            }
            Change::MembershipGone(receiver, group) => {
                take(&mut self.memberships, &(receiver, group))
            }
            Change::Request(record) => {
                put(&mut self.requests, (record.receiver, record.group), record)
            }
            Change::RequestGone(receiver, group) => take(&mut self.requests, &(receiver, group)),
            Change::Account(record) => put(&mut self.accounts, record.name.clone(), record),
            Change::AccountGone(name) => take(&mut self.accounts, &name),
            Change::Token(record) => put(&mut self.tokens, record.hash, record),
            Change::TokenGone(hash) => take(&mut self.tokens, &hash),
            Change::Voucher(record) => put(&mut self.vouchers, record.token_id, record),
            Change::VoucherGone(digest) => {
                self.vouchers.retain(|_, voucher| voucher.digest != digest);
            }
            Change::Release(record) => put(&mut self.releases, record.name.digest, record),
            Change::Delivery(record) => put(&mut self.deliveries, record.id, record),
            Change::Held(record) => {
                put(&mut self.held, (record.receiver, record.release.group), record)
            }
            Change::HeldGone(receiver, group) => take(&mut self.held, &(receiver, group)),
            Change::Authority(version, document) => put(&mut self.authorities, version, document),
            Change::Proposal(record) => put(&mut self.proposals, record.digest, record),
            Change::ProposalGone(digest) => take(&mut self.proposals, &digest),
            Change::AdminName(record) => put(&mut self.admin_names, record.admin, record),
            Change::ReleaseGone(name) => {
                self.releases.remove(&name.digest);
                self.deliveries.retain(|_, delivery| delivery.release != name);
            }
            // Nothing reads them again but an export.
            Change::Receipt(_) => {}
            Change::Mark(name, value) => set(&mut self.marks, name, value),
            Change::Setting(name, value) => set(&mut self.settings, name, value),
            Change::Log(line) => self.last_log = Some(line),
        }
    }

    fn forget_receiver(&mut self, id: ReceiverId) {
        self.receivers.remove(&id);
        self.memberships.retain(|(receiver, _), _| *receiver != id);
        self.requests.retain(|(receiver, _), _| *receiver != id);
        self.deliveries.retain(|_, delivery| delivery.receiver != id);
        self.held.retain(|(receiver, _), _| *receiver != id);
    }

    fn forget_group(&mut self, id: GroupId) {
        self.groups.remove(&id);
        self.memberships.retain(|(_, group), _| *group != id);
        self.requests.retain(|(_, group), _| *group != id);
        self.releases.retain(|_, release| release.name.group != id);
        self.deliveries.retain(|_, delivery| delivery.release.group != id);
        self.held.retain(|(_, group), _| *group != id);
    }
}

fn put<K: Ord, V>(values: &mut BTreeMap<K, V>, key: K, value: V) {
    values.insert(key, value);
}

fn take<K: Ord, V>(values: &mut BTreeMap<K, V>, key: &K) {
    values.remove(key);
}

fn set<T>(values: &mut BTreeMap<String, T>, name: String, value: Option<T>) {
    match value {
        Some(value) => values.insert(name, value),
        None => values.remove(&name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(n: u8) -> Change {
        let (id, name) = (GroupId([n; 16]), format!("g{n}"));
        Change::Group(GroupRecord { id, name, open: false, voucher: None, created: 0 })
    }

    #[test]
    fn a_crash_loses_exactly_what_is_under_way() {
        let mut catalog = Catalog::default();
        let (takes, at) = (Duration::from_millis(10), Instant::from_millis);
        catalog.write(at(0), takes, 1, vec![group(1)]);
        catalog.write(at(5), takes, 2, vec![group(2)]);
        assert_eq!(catalog.persisted(at(9)), None);
        assert_eq!(catalog.persisted(at(10)), Some(1));
        // One writer: the second batch begins when the first is durable.
        assert_eq!(catalog.poll_timeout(), Some(at(20)));
        catalog.crash();
        assert_eq!(catalog.persisted(at(30)), None);
        let names: Vec<String> = catalog.snapshot().groups.into_iter().map(|g| g.name).collect();
        assert_eq!(names, ["g1"]);
    }
}
