//! A session that is running: its sending machine, its plan, and who takes part.

mod comparing;
mod headers;
mod keys;
mod overview;
mod repairs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::erasure::MulAdd;
use fleetcast_core::ids::{BlockIndex, Epoch, FleetId, ReceiverId, SessionId};
use fleetcast_core::limits::{DATA_HEADER, SYMBOL_HEADER, TAG};
use fleetcast_core::session::rate::RateLimits;
use fleetcast_core::session::sender::{BlockSlot, SenderConfig, SenderEvent, SenderSession};
use fleetcast_core::session::tally::Tally;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::transmit::Transmit;
use fleetcast_core::wire::control::{Invitation, ReleaseName};

use self::overview::Overview;
use super::keyed::Keyed;
use super::lanes::{Limiter, Pace};
use super::member::Member;
use super::plan::{SessionPlan, Shape};
use super::spoiled::Spoiled;
use crate::model::UnixTime;

/// Blocks kept in memory by a session: three segments.
const BLOCKS_IN_MEMORY: usize = 48;
/// Least time between two reports of one receiver.
const REPORT_LEAST_MS: u32 = 50;
/// Reports that all receivers of a session together send per second: the rate is steered
/// once per interval of theirs, so that it rises within seconds for 1,000 receivers too.
const REPORTS_PER_SECOND: u32 = 1_000;
/// When a new key is used although not everybody has confirmed it.
const REKEY_PATIENCE: Duration = Duration::from_secs(1);
/// How often invitations are said again while data waits for members.
const INVITE_AGAIN: Duration = Duration::from_millis(100);
/// Unit of the back-off on a LAN: a few round trips.
const BACKOFF_US: u32 = 4_000;

/// What a running session is made from.
pub(super) struct LiveConfig {
    /// Its number.
    pub(super) session: SessionId,
    /// Key of the first epoch, random.
    pub(super) key: [u8; 32],
    /// Salt of strict digests, random.
    pub(super) salt: [u8; 8],
    /// The fleet.
    pub(super) fleet: FleetId,
    /// The controller's signing key.
    pub(super) signing: SigningKey,
    /// Multicast group and port, or the receiver's address.
    pub(super) to: SocketAddr,
    /// Releases, one per slot.
    pub(super) slots: Vec<ReleaseName>,
    /// Lengths of their root documents.
    pub(super) root_lens: Vec<u16>,
    /// Members and their slots.
    pub(super) members: Vec<(ReceiverId, u8)>,
    /// Members that were late for their last session: nobody waits for them.
    pub(super) tardy: BTreeSet<ReceiverId>,
    /// What its receivers can take.
    pub(super) shape: Shape,
    /// Bounds of the rate.
    pub(super) limits: RateLimits,
    /// Members take nothing from older releases.
    pub(super) full: bool,
    /// Releases that all members hold: patches copy from them.
    pub(super) bases: Vec<Digest>,
    /// The pace of its lane in bytes per second, where it is a slow one.
    pub(super) pace: Option<u64>,
}

/// A running session.
pub(super) struct LiveSession<A> {
    config: LiveConfig,
    epoch: Epoch,
    sender: SenderSession<A, Vec<BlockSlot>, Vec<u8>>,
    plan: SessionPlan,
    members: BTreeMap<ReceiverId, Member>,
    keyed: Keyed,
    next_key: Option<(Epoch, [u8; 32], Instant)>,
    /// When to look whether those who were behind have caught up.
    look_again: Option<Instant>,
    /// When to say invitations again, until data begins.
    again_at: Option<Instant>,
    invited: u32,
    /// Members that data waits for in the beginning.
    awaited: u32,
    report_ms: u32,
    /// The pace that its share of the cap was made for, where it is a slow lane.
    shared_for: u64,
    /// Blocks that members found poisoned.
    spoiled: Spoiled,
    /// Members that have not said that the session can give them nothing more.
    unfinished: u32,
    /// What the members are like together.
    overview: Overview,
    /// When it went over to strict mode.
    pub(super) strict_since: Option<UnixTime>,
}

impl<A: Aead> LiveSession<A> {
    /// Begins a session; invitations are the caller's.
    pub(super) fn new(config: LiveConfig, plan: SessionPlan, now: Instant) -> Self {
        let invited = config.members.len() as u32;
        let multicast = config.to.ip().is_multicast();
        let report_ms = (invited * 1_000 / REPORTS_PER_SECOND).max(REPORT_LEAST_MS);
        let epoch = Epoch(1);
        let sender_config = SenderConfig {
            session: config.session,
            epoch,
            key: config.key,
            fleet: config.fleet,
            signing: config.signing.clone(),
            to: config.to,
            symbol: config.shape.symbol,
            salt: config.salt,
            sources: config.shape.sources,
            slots: config.slots.len() as u8,
            members: invited,
            payload: plan.payload(),
            limits: config.limits,
            flow: config.shape.flow,
            report_interval: Duration::from_millis(report_ms.into()),
        };
        let held = plan.block_count().min(BLOCKS_IN_MEMORY);
        let slots = vec![BlockSlot::default(); held];
        let memory = vec![0; held * config.shape.sources * config.shape.symbol];
        let parity_sent = vec![0; plan.block_count()];
        let sender = SenderSession::new(sender_config, slots, memory, parity_sent, now);
        let member = |&(id, slot): &(ReceiverId, u8)| {
            let awaited = !config.tardy.contains(&id);
            (id, Member::new(slot, epoch, Tally::default(), awaited, &config.shape.flow, now))
        };
        let members: BTreeMap<ReceiverId, Member> = config.members.iter().map(member).collect();
        let awaited = members.values().filter(|member| member.awaited).count() as u32;
        let unfinished = members.len() as u32;
        Self {
            shared_for: config.pace.unwrap_or(u64::MAX),
            keyed: Keyed::new(config.members.iter().copied()),
            config,
            epoch,
            sender,
            plan,
            members,
            next_key: None,
            look_again: None,
            again_at: multicast.then_some(now + INVITE_AGAIN),
            invited,
            awaited,
            report_ms,
            spoiled: Spoiled::default(),
            unfinished,
            overview: Overview::default(),
            strict_since: None,
        }
    }

    /// The session's number.
    pub(super) const fn id(&self) -> SessionId {
        self.config.session
    }

    /// Whether its datagrams go by multicast.
    pub(super) fn is_multicast(&self) -> bool {
        self.config.to.ip().is_multicast()
    }

    /// The pace of its lane in bytes per second, where it is a slow one.
    pub(super) const fn pace(&self) -> Option<u64> {
        self.config.pace
    }

    /// The pace that a slow lane claims a share of the cap for: what it takes by now,
    /// where that is more than it began with.
    pub(super) fn claimed_pace(&self) -> Option<u64> {
        self.config.pace.map(|pace| pace.max(self.sender.current_rate()))
    }

    /// Bytes of a full symbol.
    pub(super) const fn symbol(&self) -> usize {
        self.config.shape.symbol
    }

    /// Releases, one per slot.
    pub(super) fn releases(&self) -> &[ReleaseName] {
        &self.config.slots
    }

    /// Releases that patches of the session copy from.
    pub(super) fn bases(&self) -> &[Digest] {
        &self.config.bases
    }

    /// Who takes part.
    pub(super) const fn members(&self) -> &BTreeMap<ReceiverId, Member> {
        &self.members
    }

    /// The machine, for its counts and its rate.
    pub(super) const fn sender(&self) -> &SenderSession<A, Vec<BlockSlot>, Vec<u8>> {
        &self.sender
    }

    /// The invitation of a member, from a block on.
    pub(super) fn invitation(
        &self,
        member: &ReceiverId,
        first_block: BlockIndex,
    ) -> Option<Invitation> {
        let slot = self.members.get(member)?.slot;
        let (address, port) = match self.config.to {
            SocketAddr::V4(to) if self.is_multicast() => (*to.ip(), to.port()),
            _ => (Ipv4Addr::UNSPECIFIED, 0),
        };
        let (epoch, key) = match self.next_key {
            Some((epoch, key, _)) => (epoch, key),
            None => (self.epoch, self.config.key),
        };
        Some(Invitation {
            session: self.config.session,
            epoch,
            key,
            address,
            port,
            slot,
            release: *self.config.slots.get(usize::from(slot))?,
            root_len: *self.config.root_lens.get(usize::from(slot))?,
            symbol: self.config.shape.symbol as u16,
            sources: self.config.shape.sources as u8,
            first_block,
            receivers: self.invited,
            backoff_us: BACKOFF_US,
            report_ms: self.report_ms,
            salt: self.config.salt,
            payload: self.plan.payload(),
            full: self.config.full,
        })
    }

    /// Whether it is time to say invitations again to those that data waits for.
    pub(super) fn invites_again(&mut self, now: Instant) -> bool {
        let due = self.again_at.is_some_and(|at| at <= now);
        if due {
            self.again_at = self.sender.is_waiting().then_some(now + INVITE_AGAIN);
        }
        due && self.again_at.is_some()
    }

    /// Members that data waits for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &ReceiverId> {
        self.members.iter().filter(|(_, m)| m.awaited && !m.joined).map(|(id, _)| id)
    }

    /// The block from which a receiver that joins now takes part, if it still can.
    pub(super) fn late_entry(&self) -> Option<BlockIndex> {
        self.sender.takes_late_members().then(|| self.sender.next_segment_block(&self.plan))
    }

    /// Takes a late receiver in.
    pub(super) fn add(&mut self, now: Instant, id: ReceiverId, slot: u8) {
        let taken = Tally::new(self.sender.counter());
        let flow = &self.config.shape.flow;
        let member = Member::new(slot, self.epoch, taken, false, flow, now);
        self.keyed.add(id, slot);
        let before = self.members.insert(id, member);
        before.iter().for_each(|member| self.overview.left(member));
        self.invited += u32::from(before.is_none());
        self.unfinished += u32::from(before.is_none_or(|member| member.finished));
        self.sender.members(self.unfinished);
    }

    /// A member hears the session, or has the key of an epoch.
    pub(super) fn joined(&mut self, now: Instant, id: &ReceiverId, epoch: Epoch) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.epoch = epoch;
        let was = *member;
        if !std::mem::replace(&mut member.joined, true) {
            let sent = self.sender.counter();
            member.taken = (Tally::new(sent), now);
            member.pace = Pace::new(now, sent, &self.config.shape.flow);
            self.awaited -= u32::from(member.awaited);
            self.overview.changed(&was, member);
            self.sender.joined(now, self.awaited);
        }
    }

    /// A member can be given nothing more.
    pub(super) fn finished(&mut self, id: &ReceiverId) {
        if let Some(member) = self.members.get_mut(id) {
            let was = *member;
            member.finished = true;
            self.unfinished -= u32::from(!was.finished);
            self.overview.changed(&was, member);
            self.sender.members(self.unfinished);
        }
    }

    /// A member is gone, or does not hear the session; whether it was one.
    pub(super) fn leave(&mut self, id: &ReceiverId) -> bool {
        let Some(gone) = self.members.remove(id) else { return false };
        self.awaited -= u32::from(gone.awaited && !gone.joined);
        self.unfinished -= u32::from(!gone.finished);
        self.overview.left(&gone);
        self.sender.members(self.unfinished);
        true
    }

    /// Prepares a new epoch because somebody was removed; returns it with its key.
    pub(super) fn new_epoch(&mut self, key: [u8; 32], now: Instant) -> (Epoch, [u8; 32]) {
        let newest = self.next_key.map_or(self.epoch, |(epoch, ..)| epoch);
        let epoch = Epoch(newest.0.wrapping_add(1));
        self.next_key = Some((epoch, key, now + REKEY_PATIENCE));
        self.keyed.renew(self.members.iter().map(|(id, member)| (*id, member.slot)));
        (epoch, key)
    }

    /// The newest epoch and its key, for a member that asks.
    pub(super) fn newest_key(&self) -> (Epoch, [u8; 32]) {
        self.next_key.map_or((self.epoch, self.config.key), |(epoch, key, _)| (epoch, key))
    }

    /// Changes the bounds of the rate.
    pub(super) fn change_limits(&mut self, limits: RateLimits) {
        self.shared_for = self.claimed_pace().unwrap_or(u64::MAX);
        self.config.limits = limits;
        self.sender.change_limits(limits);
    }

    /// What keeps the rate from being higher; `None` while it is still rising.
    pub(super) fn limiter(&self) -> Option<Limiter> {
        if self.sender.is_unbearable() {
            return Some(Limiter::Network);
        }
        let cap = self.config.limits.cap;
        if self.sender.current_rate() >= cap - cap / 20 {
            return Some(Limiter::Cap);
        }
        let steering = self.members.iter().filter(|(_, m)| m.receives() && m.pace.follows());
        let heaviest = steering.max_by_key(|(_, member)| member.pace.burden())?;
        heaviest.1.pace.burden().map(|_| Limiter::Member(*heaviest.0))
    }

    /// Whether a slow lane takes more by now than its share was made for.
    pub(super) fn has_outgrown_its_share(&self) -> bool {
        self.sender.current_rate() > self.shared_for.saturating_add(self.shared_for / 2)
    }

    /// A member's progress; bytes per second that it takes when it must leave, since
    /// it cannot follow the others.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        id: &ReceiverId,
        came: (u32, u32),
        counter: u64,
    ) -> Option<u64> {
        let sent = self.sender.counter();
        let member = self.members.get_mut(id)?;
        let was = *member;
        let before = member.taken.0.counter();
        let believed = member.taken.0.take(sent, came, counter);
        member.pace.report(now, believed, sent);
        member.note_lag(now, believed.behind, self.config.shape.flow.behind);
        if member.taken.0.counter() != before {
            member.taken.1 = now;
        }
        // Who gets nothing at all is not slow: its silence tells.
        let leaves = self.compare(now, id, &was).filter(|_| believed.received > 0);
        let steers = self.steers(id);
        self.sender.handle_progress(now, Some(believed).filter(|_| steers));
        self.wait_for_members(now);
        leaves
    }

    /// Whether a member's progress shows that nothing of the session reaches it any more.
    pub(super) fn fell_silent(
        &mut self,
        now: Instant,
        id: &ReceiverId,
        received: u32,
        counter: u64,
    ) -> bool {
        let (sent, multicast) = (self.sender.counter(), self.is_multicast());
        let member = self.members.get_mut(id).filter(|m| m.joined && !m.finished && multicast);
        member.is_some_and(|member| member.hearing.report(now, received, counter, sent))
    }

    /// The member of a catch-up session is elsewhere, and has proved it.
    pub(super) fn redirect(&mut self, to: SocketAddr) {
        self.config.to = to;
        self.sender.redirect(to);
    }

    /// The time told by `poll_timeout` has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.switch_key(now);
        self.wait_for_members(now);
        self.sender.handle_timeout(now);
    }

    /// The next datagrams.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        mul: &impl MulAdd,
    ) -> Option<Transmit> {
        self.sender.poll_transmit(now, out, &mut self.plan, mul)
    }

    /// When there is something to do again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = self.next_key.map(|(.., at)| at).into_iter().chain(self.look_again);
        own.chain(self.again_at).chain(self.sender.poll_timeout()).min()
    }

    /// What happened.
    pub(super) fn poll_event(&mut self) -> Option<SenderEvent> {
        self.sender.poll_event()
    }

    /// Bytes of a datagram of full size.
    const fn datagram(&self) -> u64 {
        (DATA_HEADER + SYMBOL_HEADER + self.config.shape.symbol + TAG) as u64
    }

    /// Goes over to the new key when 95 % have confirmed it, or after a second.
    fn switch_key(&mut self, now: Instant) {
        let Some((epoch, key, latest)) = self.next_key else { return };
        let confirmed = self.members.values().filter(|m| m.epoch >= epoch || m.finished).count();
        if confirmed * 100 >= self.members.len() * 95 || now >= latest {
            self.next_key = None;
            self.epoch = epoch;
            // The old key is gone with this assignment.
            self.config.key = key;
            self.sender.rekey(epoch, &key);
            self.keyed.switch();
            // Counters begin anew with a key.
            self.members.values_mut().for_each(|member| member.taken.0 = Tally::default());
        }
    }
}
