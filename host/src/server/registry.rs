//! The facts that the server knows, in memory, and the changes that are not
//! durable yet.
//!
//! Every write goes through here and leaves a [`Change`], so that what the
//! catalog holds is what this held, a batch ago.

mod deliveries;
mod held;
mod people;
mod releases;
mod settings;
mod tokens;
mod trust;
mod vouchers;

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeInclusive};

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, StaticKey, TokenId};
use fleetcast_core::server::Directory;
use fleetcast_core::trust::document::Fingerprint;
use fleetcast_core::wire::control::{ReleaseName, Standing};

use self::deliveries::Deliveries;
use self::releases::Releases;
use crate::accounts::folded;
use crate::audit;
use crate::model::{
    AccountRecord, Change, DeliveryRecord, DeliveryState, GroupRecord, HeldRecord, Hold, LogRecord,
    MembershipRecord, ProposalRecord, ReceiptRecord, ReceiverRecord, ReleaseRecord, ReleaseState,
    RequestRecord, Snapshot, Terms, TokenRecord, UnixTime, VoucherRecord,
};

/// Facts by their keys.
#[derive(Default)]
pub struct Registry {
    receivers: BTreeMap<ReceiverId, ReceiverRecord>,
    /// Their names, each once.
    names: BTreeMap<String, ReceiverId>,
    groups: BTreeMap<GroupId, GroupRecord>,
    memberships: BTreeMap<(ReceiverId, GroupId), MembershipRecord>,
    requests: BTreeMap<(ReceiverId, GroupId), RequestRecord>,
    /// By folded name.
    accounts: BTreeMap<String, AccountRecord>,
    tokens: BTreeMap<Digest, TokenRecord>,
    vouchers: BTreeMap<TokenId, VoucherRecord>,
    releases: Releases,
    deliveries: Deliveries,
    /// Number of the newest delivery, of which nothing else may be left.
    last_delivery: u64,
    held: BTreeMap<(ReceiverId, GroupId), HeldRecord>,
    proposals: BTreeMap<Digest, ProposalRecord>,
    admin_names: BTreeMap<Fingerprint, String>,
    marks: BTreeMap<String, u64>,
    settings: BTreeMap<String, String>,
    last_log: Option<LogRecord>,
    recent_log: VecDeque<LogRecord>,
    changes: Vec<Change>,
    now: UnixTime,
    /// What the clock showed when it went back, and what it showed then.
    went_back: Option<(UnixTime, UnixTime)>,
}

/// Seconds by which a clock may be put back without a word.
const HICCUP: UnixTime = 60;
/// Seconds of a day.
const DAY: UnixTime = 86_400;
/// Characters of an identity by which a receiver may be named, at least.
pub(super) const ID_PREFIX: usize = 6;
/// Log lines kept in memory for live views.
const RECENT_LOG: usize = 1_000;

impl Registry {
    /// The facts of a snapshot.
    #[must_use]
    pub fn load(snapshot: Snapshot) -> Self {
        let names = snapshot.receivers.iter().map(|r| (r.name.clone(), r.id)).collect();
        let receivers = snapshot.receivers.into_iter().map(|r| (r.id, r)).collect();
        let groups = snapshot.groups.into_iter().map(|g| (g.id, g)).collect();
        let memberships =
            snapshot.memberships.into_iter().map(|m| ((m.receiver, m.group), m)).collect();
        let requests = snapshot.requests.into_iter().map(|r| ((r.receiver, r.group), r)).collect();
        let accounts = snapshot.accounts.into_iter().map(|a| (folded(&a.name), a)).collect();
        let tokens = snapshot.tokens.into_iter().map(|t| (t.hash, t)).collect();
        let vouchers = snapshot.vouchers.into_iter().map(|v| (v.token_id, v)).collect();
        let releases = snapshot.releases.into_iter().collect();
        let deliveries: Deliveries = snapshot.deliveries.into_iter().map(afresh).collect();
        let last_delivery = deliveries.all().next_back().map_or(0, |newest| newest.id);
        let held = snapshot.held.into_iter().map(|h| ((h.receiver, h.release.group), h)).collect();
        Self {
            receivers,
            names,
            groups,
            memberships,
            requests,
            accounts,
            tokens,
            vouchers,
            releases,
            deliveries,
            last_delivery,
            held,
            proposals: snapshot.proposals.into_iter().map(|p| (p.digest, p)).collect(),
            admin_names: snapshot.admin_names.into_iter().map(|n| (n.admin, n.name)).collect(),
            marks: snapshot.marks.into_iter().collect(),
            settings: snapshot.settings.into_iter().collect(),
            last_log: snapshot.last_log,
            ..Self::default()
        }
    }

    /// Sets the wall clock, in seconds since 1970.
    pub const fn set_time(&mut self, now: UnixTime) {
        let before = match (self.now, &self.last_log) {
            (0, Some(line)) => line.time,
            (before, _) => before,
        };
        if now.saturating_add(HICCUP) < before {
            self.went_back = Some((before, now));
        }
        self.now = now;
    }

    /// What the wall clock has shown before it went back, and when that was by its new time;
    /// for a day, or until it has caught up.
    #[must_use]
    pub fn clock_went_back(&self) -> Option<(UnixTime, UnixTime)> {
        let shown = |(before, since)| self.now < before && self.now < DAY.saturating_add(since);
        self.went_back.filter(|&went| shown(went))
    }

    /// The wall clock, in seconds since 1970.
    #[must_use]
    pub const fn time(&self) -> UnixTime {
        self.now
    }

    /// Takes the changes that are not durable yet.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Whether there are changes that nobody has taken.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    // --- receivers ---

    /// All receivers, in no order.
    pub fn receivers(&self) -> impl Iterator<Item = &ReceiverRecord> {
        self.receivers.values()
    }

    /// A receiver by its identity.
    #[must_use]
    pub fn receiver(&self, id: &ReceiverId) -> Option<&ReceiverRecord> {
        self.receivers.get(id)
    }

    /// A receiver by its name, or by the beginning of its identity if that is unique.
    #[must_use]
    pub fn receiver_named(&self, name: &str) -> Option<&ReceiverRecord> {
        if let Some(id) = self.names.get(name) {
            return self.receivers.get(id);
        }
        let mut by_id = self.receivers.values().filter(|r| {
            name.len() >= ID_PREFIX && r.id.to_string().starts_with(&name.to_ascii_lowercase())
        });
        by_id.next().filter(|_| by_id.next().is_none())
    }

    /// Whether a receiver has this name.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// How many names begin like this.
    #[must_use]
    pub fn names_like(&self, prefix: &str) -> usize {
        let from = self.names.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(prefix)).count()
    }

    /// Writes a receiver.
    pub fn put_receiver(&mut self, record: ReceiverRecord) {
        if let Some(before) = self.receivers.get(&record.id).filter(|r| r.name != record.name) {
            self.names.remove(&before.name);
        }
        self.names.insert(record.name.clone(), record.id);
        self.changes.push(Change::Receiver(record.clone()));
        self.receivers.insert(record.id, record);
    }

    /// Changes a receiver without making that durable: presence is no fact to keep.
    pub fn touch_receiver(&mut self, id: &ReceiverId, change: impl FnOnce(&mut ReceiverRecord)) {
        if let Some(record) = self.receivers.get_mut(id) {
            change(record);
        }
    }

    /// Forgets a receiver and all that hangs on it.
    pub fn remove_receiver(&mut self, id: &ReceiverId) {
        if let Some(gone) = self.receivers.remove(id) {
            self.names.remove(&gone.name);
            self.memberships.retain(|(receiver, _), _| receiver != id);
            self.requests.retain(|(receiver, _), _| receiver != id);
            self.deliveries.retain(|delivery| delivery.receiver != *id);
            self.held.retain(|(receiver, _), _| receiver != id);
            self.changes.push(Change::ReceiverGone(*id));
        }
    }

    // --- groups and memberships ---

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.groups.values()
    }

    /// Groups in the order of their identities.
    pub fn groups_from(&self, from: Bound<GroupId>) -> impl Iterator<Item = &GroupRecord> {
        self.groups.range((from, Bound::Unbounded)).map(|(_, group)| group)
    }

    /// A group by its identity.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<&GroupRecord> {
        self.groups.get(id)
    }

    /// A group by its name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<&GroupRecord> {
        self.groups.values().find(|group| group.name == name)
    }

    /// Writes a group.
    pub fn put_group(&mut self, record: GroupRecord) {
        self.changes.push(Change::Group(record.clone()));
        self.groups.insert(record.id, record);
    }

    /// Forgets a group and all that hangs on it.
    pub fn remove_group(&mut self, id: &GroupId) {
        if self.groups.remove(id).is_some() {
            self.memberships.retain(|(_, group), _| group != id);
            self.requests.retain(|(_, group), _| group != id);
            self.releases.remove_group(*id);
            self.deliveries.retain(|delivery| delivery.release.group != *id);
            self.held.retain(|(_, group), _| group != id);
            self.changes.push(Change::GroupGone(*id));
        }
    }

    /// Memberships of a group.
    pub fn members(&self, group: GroupId) -> impl Iterator<Item = &MembershipRecord> {
        self.memberships.values().filter(move |m| m.group == group)
    }

    /// Memberships of a receiver.
    pub fn memberships_of(&self, receiver: ReceiverId) -> impl Iterator<Item = &MembershipRecord> {
        self.memberships.range(of(receiver)).map(|(_, membership)| membership)
    }

    /// The membership of a receiver in a group.
    #[must_use]
    pub fn membership(&self, receiver: ReceiverId, group: GroupId) -> Option<&MembershipRecord> {
        self.memberships.get(&(receiver, group))
    }

    /// Whether a receiver is in a group.
    #[must_use]
    pub fn is_member(&self, receiver: ReceiverId, group: GroupId) -> bool {
        self.memberships.contains_key(&(receiver, group))
    }

    /// Writes a membership; whoever asked for it asks no more.
    pub fn put_membership(&mut self, record: MembershipRecord) {
        self.remove_request(record.receiver, record.group);
        self.changes.push(Change::Membership(record.clone()));
        self.memberships.insert((record.receiver, record.group), record);
    }

    /// Takes a membership away; whether there was one.
    pub fn remove_membership(&mut self, receiver: ReceiverId, group: GroupId) -> bool {
        let removed = self.memberships.remove(&(receiver, group)).is_some();
        if removed {
            self.changes.push(Change::MembershipGone(receiver, group));
        }
        removed
    }

    // --- releases ---

    /// All releases, in no order.
    pub fn releases(&self) -> impl Iterator<Item = &ReleaseRecord> {
        self.releases.all()
    }

    /// Releases of a group, the newest last.
    pub fn releases_of(&self, group: GroupId) -> impl DoubleEndedIterator<Item = &ReleaseRecord> {
        self.releases.of(group)
    }

    /// A release by its digest.
    #[must_use]
    pub fn release(&self, digest: &Digest) -> Option<&ReleaseRecord> {
        self.releases.one(digest)
    }

    /// How a release is sent; as usual where it is not known.
    #[must_use]
    pub fn terms(&self, digest: &Digest) -> Terms {
        self.releases.one(digest).map_or_else(Terms::default, |release| release.terms)
    }

    /// The newest release of a group that enough admins have signed and nobody took back.
    #[must_use]
    pub fn current_release(&self, group: GroupId) -> Option<&ReleaseRecord> {
        let counts = |release: &&ReleaseRecord| {
            !matches!(release.state, ReleaseState::Cancelled | ReleaseState::Unsigned)
        };
        self.releases.of(group).rfind(counts)
    }

    /// The release of a group with the greatest order, taken back or not.
    #[must_use]
    pub fn highest_release(&self, group: GroupId) -> Option<&ReleaseRecord> {
        self.releases.of(group).next_back()
    }

    /// Writes a release.
    pub fn put_release(&mut self, record: ReleaseRecord) {
        self.changes.push(Change::Release(record.clone()));
        self.releases.put(record);
    }

    /// Forgets a release and its deliveries.
    pub fn remove_release(&mut self, name: &ReleaseName) {
        if self.releases.remove(&name.digest) {
            self.deliveries.retain(|delivery| delivery.release != *name);
            self.changes.push(Change::ReleaseGone(*name));
        }
    }

    // --- deliveries ---

    /// All deliveries, oldest first.
    pub fn deliveries(&self) -> impl Iterator<Item = &DeliveryRecord> {
        self.deliveries.all()
    }

    /// Deliveries to a receiver that are not final, oldest first.
    pub fn open_deliveries(&self, receiver: ReceiverId) -> impl Iterator<Item = &DeliveryRecord> {
        self.deliveries.open_of(receiver)
    }

    /// Deliveries of a release that are not final, oldest first.
    pub fn open_deliveries_of(&self, release: &Digest) -> impl Iterator<Item = &DeliveryRecord> {
        self.deliveries.open_of_release(release)
    }

    /// How many deliveries of a release are staged or installed, of how many that are to be.
    #[must_use]
    pub fn readiness(&self, release: &Digest) -> (u64, u64) {
        self.deliveries.readiness(release)
    }

    /// Whether deliveries of a release wait for `pending send`.
    #[must_use]
    pub fn is_queued(&self, release: &Digest) -> bool {
        self.deliveries.is_queued(release)
    }

    /// A delivery by its number.
    #[must_use]
    pub fn delivery(&self, id: u64) -> Option<&DeliveryRecord> {
        self.deliveries.one(id)
    }

    /// The delivery of a release to a receiver.
    #[must_use]
    pub fn delivery_of(&self, receiver: ReceiverId, release: &Digest) -> Option<&DeliveryRecord> {
        self.deliveries.newest(receiver, release)
    }

    /// The number of the next delivery.
    #[must_use]
    pub const fn next_delivery(&self) -> u64 {
        self.last_delivery + 1
    }

    /// Writes a delivery; only new and final states are made durable, and what it waits for.
    pub fn put_delivery(&mut self, mut record: DeliveryRecord) {
        record.updated = self.now;
        let known = self.deliveries.one(record.id).map(|was| was.hold);
        if known != Some(record.hold) || record.state.is_final() {
            self.changes.push(Change::Delivery(record.clone()));
        }
        self.last_delivery = self.last_delivery.max(record.id);
        self.deliveries.put(record);
    }

    // --- what receivers hold ---

    /// Keeps a receipt, for ever.
    pub fn put_receipt(&mut self, record: ReceiptRecord) {
        self.changes.push(Change::Receipt(record));
    }

    // --- log ---

    /// Adds a line to the audit log.
    pub fn log(&mut self, actor: &str, action: &str, subject: &str, result: &str) {
        let line =
            audit::next_line(self.last_log.as_ref(), self.now, [actor, action, subject, result]);
        self.changes.push(Change::Log(line.clone()));
        self.recent_log.push_back(line.clone());
        if self.recent_log.len() > RECENT_LOG {
            self.recent_log.pop_front();
        }
        self.last_log = Some(line);
    }

    /// The latest lines of the log, oldest first.
    pub fn recent_log(&self) -> impl Iterator<Item = &LogRecord> {
        self.recent_log.iter()
    }

    /// Names a release for logs: group and sequence.
    #[must_use]
    pub fn release_title(&self, name: &ReleaseName) -> String {
        let group = self.groups.get(&name.group).map_or("?", |group| group.name.as_str());
        format!("{group}#{}", name.order.sequence)
    }
}

/// All keys of a receiver.
const fn of(receiver: ReceiverId) -> RangeInclusive<(ReceiverId, GroupId)> {
    (receiver, GroupId([0; 16]))..=(receiver, GroupId([u8::MAX; 16]))
}

/// A delivery after a restart: nobody works on it any more.
fn afresh(record: DeliveryRecord) -> DeliveryRecord {
    if record.state.is_final() || record.hold == Hold::Staged {
        return record;
    }
    DeliveryRecord { state: DeliveryState::Queued, ..record }
}

impl Directory for Registry {
    fn order(&self, key: &StaticKey) -> Option<(u64, u64)> {
        let known = self.receivers.get(&ReceiverId::of(key))?;
        (known.standing != Standing::Revoked).then_some(known.order)
    }

    fn raise_order(&mut self, key: &StaticKey, order: (u64, u64)) {
        let Some(mut record) = self.receivers.get(&ReceiverId::of(key)).cloned() else { return };
        if order > record.order {
            record.order = order;
            self.put_receiver(record);
        }
    }

    fn token(&self, id: &TokenId) -> Option<[u8; 16]> {
        // An expired or used token still opens the channel: the reason is told inside it.
        self.vouchers.get(id).map(|voucher| voucher.token)
    }
}
