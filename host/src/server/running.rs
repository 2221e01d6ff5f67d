//! Sessions: planned from what is owed, started, shared the rate, closed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use chacha20::rand_core::Rng as _;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{BlockIndex, PeerSlot, ReceiverId, SessionId};
use fleetcast_core::limits::{MAX_MESSAGE, SEND_WINDOW};
use fleetcast_core::session::sender::SenderEvent;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{CODEC_PATCH, Down, ReleaseName, encode};
use fleetcast_core::wire::transport::Sending;

use super::ServerNode;
use super::delivering::{MERGE, MERGE_LATE};
use super::demand::Need;
use super::hearing::Hears;
use super::live::{LiveConfig, LiveSession};
use super::planner::{Planned, plan_sessions, slot_names};
use crate::model::{DeliveryPath, DeliveryRecord, DeliveryState};

/// How long what could not be read waits for the next try.
const UNREADABLE: Duration = Duration::from_secs(10);
/// Catch-up sessions at a time.
const MAX_CATCH_UPS: usize = 8;
/// Multicast sessions at a time.
const MAX_MULTICASTS: usize = 8;
/// Invitations of one session that are said again at a time.
const AGAIN_AT_ONCE: usize = 64;

impl<A: Aead> ServerNode<A> {
    // --- sessions ---

    pub(super) fn settle_sessions(&mut self, now: Instant) {
        let mut at = 0;
        let mut closed = false;
        while at < self.sessions.len() {
            while let Some(event) = self.sessions[at].poll_event() {
                self.on_sender_event(now, at, event);
            }
            if self.sessions[at].sender().is_closed() {
                let session = self.sessions.remove(at);
                self.close_session(now, &session);
                closed = true;
            } else {
                at += 1;
            }
        }
        if closed || self.sessions.iter().any(LiveSession::has_outgrown_its_share) {
            self.share_rate();
        }
        if closed {
            self.plan_soon(now, MERGE);
            if self.sessions.is_empty() {
                // What receivers hold was read for their sake, and may be much.
                self.forget_contents();
            }
        }
    }

    fn on_sender_event(&mut self, now: Instant, at: usize, event: SenderEvent) {
        let members: Vec<ReceiverId> = self.sessions[at].members().keys().copied().collect();
        let symbol = self.sessions[at].symbol();
        match event {
            SenderEvent::Started => self.note_tardy(at),
            SenderEvent::Closed { .. } => {}
            SenderEvent::NobodyHeard => {
                let multicast = self.sessions[at].is_multicast();
                for member in members {
                    if let Some(&slot) = self.connected.get(&member)
                        && let Some(link) = self.links.get_mut(&slot)
                    {
                        link.hears = link.hears.after_unjoined(multicast, symbol);
                    }
                }
            }
            SenderEvent::SourceFailed(block) => {
                let what = format!("session {} block {block}", self.sessions[at].id());
                self.registry.log("server", "chunk-unreadable", &what, "session given up");
                let releases = self.sessions[at].releases().to_vec();
                for member in members {
                    for release in &releases {
                        let reason = "the server cannot read a chunk of this release";
                        let state = DeliveryState::Failed;
                        self.settle_delivery(member, release, state, "server-storage", reason);
                    }
                    if let Some(&slot) = self.connected.get(&member) {
                        self.idle(now, slot, member);
                    }
                }
            }
        }
    }

    /// Remembers who had not joined when a session began to send.
    fn note_tardy(&mut self, at: usize) {
        let session = &self.sessions[at];
        for (member, state) in session.members() {
            if let Some(&slot) = self.connected.get(member)
                && let Some(link) = self.links.get_mut(&slot)
                && session.is_multicast()
            {
                link.tardy = !state.joined;
            }
        }
    }

    /// Says invitations again that their receivers may have lost, before the channel
    /// does: who joins late has missed a part of the session. Only where nothing
    /// else is under way, so that no message is overtaken; a copy changes nothing.
    pub(super) fn invite_again(&mut self, now: Instant) {
        for session in &mut self.sessions {
            if !session.invites_again(now) {
                continue;
            }
            let mut said = 0;
            for member in session.awaited() {
                let Some(&slot) = self.connected.get(member) else { continue };
                let idle = self.links.get(&slot).is_some_and(|link| link.outbox.is_empty());
                // More room: it has the invitation, and waits for a probe.
                if said == AGAIN_AT_ONCE || !idle || self.endpoint.room(slot) + 1 != SEND_WINDOW {
                    continue;
                }
                let mut buffer = [0; MAX_MESSAGE];
                if let Some(invitation) = session.invitation(member, BlockIndex(0))
                    && let Ok(bytes) = encode(&Down::Invitation(invitation), &mut buffer)
                {
                    // Unreliable: the channel itself goes on repeating it.
                    let _ = self.endpoint.send(now, slot, Sending::Unreliable, bytes);
                    said += 1;
                }
            }
        }
    }

    /// A session that a receiver takes part in.
    pub(super) fn session_of(
        &mut self,
        session: SessionId,
        member: &ReceiverId,
    ) -> Option<&mut LiveSession<A>> {
        let mut live = self.sessions.iter_mut();
        live.find(|live| live.id() == session && live.members().contains_key(member))
    }

    /// A member found what is not ours in a block: from now on its session is strict.
    pub(super) fn on_poisoned(
        &mut self,
        now: Instant,
        id: ReceiverId,
        session: SessionId,
        block: BlockIndex,
    ) {
        let time = self.registry.time();
        let Some(live) = self.session_of(session, &id) else { return };
        let switched = live.handle_poisoned(now, &id, block);
        if switched {
            live.strict_since = Some(time);
        }
        if !self.patience.lines.take(now, &id) {
            return;
        }
        let name = self.name_of(&id);
        let what = format!("session {session} block {block}");
        let then = if switched { "the session is strict from now on" } else { "" };
        self.registry.log(&name, "block-poisoned", &what, then);
    }

    fn close_session(&mut self, now: Instant, session: &LiveSession<A>) {
        self.account(session);
        for release in session.releases() {
            self.reckon_savings(&release.digest);
        }
        for (&member, state) in session.members() {
            if let Some(&slot) = self.connected.get(&member) {
                self.tell(now, slot, &Down::Ended { session: session.id() });
            }
            if !state.finished {
                self.requeue(now, member, MERGE);
            }
        }
    }

    /// Adds what a session has sent to the totals, and to its first release's.
    fn account(&mut self, session: &LiveSession<A>) {
        let stats = session.sender().stats();
        let add = |traffic: &mut super::Traffic| {
            traffic.payload += stats.payload_bytes;
            traffic.repairs += stats.parity + stats.resent;
            traffic.nacks += stats.nacks;
            let path =
                if session.is_multicast() { &mut traffic.multicast } else { &mut traffic.unicast };
            *path += stats.wire_bytes;
        };
        add(&mut self.total);
        if let Some(release) = session.releases().first() {
            add(self.traffic.entry(release.digest).or_default());
            self.savings.sent(release.digest, stats.wire_bytes);
        }
    }

    /// What was saved of a release is known when nothing is sent for it any more.
    pub(super) fn reckon_savings(&mut self, release: &Digest) {
        let sends = |session: &LiveSession<A>| {
            session.releases().iter().any(|sent| sent.digest == *release)
        };
        if !self.sessions.iter().any(sends) {
            self.savings.reckon(release);
        }
    }

    /// Plans sessions for all receivers that are here, idle, and owed something.
    pub(super) fn plan(&mut self, now: Instant) {
        if self.in_doubt().is_some() {
            return;
        }
        let (mut needs, mut tried) = (Vec::new(), Vec::new());
        let ready: Vec<(PeerSlot, ReceiverId, Hears)> = self
            .links
            .iter()
            .filter(|(_, link)| link.ready && link.busy.is_none())
            .filter_map(|(&slot, link)| Some((slot, link.receiver?, link.hears)))
            .collect();
        self.forgive_slow(now);
        self.preempt(now);
        for (slot, receiver, hears) in ready {
            let Some(delivery) = self.next_delivery_of(receiver) else { continue };
            if let Some(link) = self.links.get_mut(&slot) {
                link.busy = Some(delivery.id);
            }
            if !self.join_running(now, slot, &delivery, hears) {
                match self.need(&delivery, hears) {
                    None if self.is_board(&receiver) => self.fail_for_board(now, slot, &delivery),
                    None => self.fail_for_storage(now, slot, &delivery),
                    need => {
                        needs.extend(need);
                        tried.push((slot, delivery, hears));
                    }
                }
            }
        }
        needs.sort_by_key(|need| need.receiver);
        match plan_sessions(needs, &self.chunks, &mut self.patches) {
            Ok(planned) => self.run_or_wait(now, planned),
            Err(fault) => {
                self.registry.log("server", "plan-failed", "", &fault.to_string());
                self.sort_out(now, tried);
            }
        }
        self.patch_at = self.patches.is_behind().then_some(now);
        self.share_rate();
    }

    /// Starts what is planned. Who is to be sent patches that are not made yet is planned
    /// again with them, in all that it takes part in.
    fn run_or_wait(&mut self, now: Instant, mut planned: Vec<Planned>) {
        let mut waiting: BTreeSet<ReceiverId> = BTreeSet::new();
        let mut later = true;
        while later {
            later = false;
            planned.retain(|session| {
                let mut members = session.members.iter().map(|(id, _)| id);
                let waits = session.waits || members.any(|id| waiting.contains(id));
                waiting.extend(session.members.iter().map(|(id, _)| id).filter(|_| waits));
                later |= waits;
                !waits
            });
        }
        planned.into_iter().for_each(|session| self.run(now, session));
        for receiver in &waiting {
            let link = self.connected.get(receiver).and_then(|slot| self.links.get_mut(slot));
            link.into_iter().for_each(|link| link.busy = None);
        }
        if waiting.is_empty() {
            self.patches.served();
        }
    }

    /// Makes some of the patches that plans wait for; all else goes on in between.
    pub(super) fn make_patches(&mut self, now: Instant) {
        if !self.patches.is_behind() {
            return;
        }
        self.patches.step(&*self.chunks);
        self.patch_at = self.patches.is_behind().then_some(now);
        if self.patch_at.is_none() {
            self.plan_soon(now, Duration::ZERO);
        }
    }

    /// Something of what is owed cannot be read, and nobody knows what: each is planned
    /// alone, who is owed what cannot be read is told so, and the others are planned again.
    fn sort_out(&mut self, now: Instant, tried: Vec<(PeerSlot, DeliveryRecord, Hears)>) {
        let (mut readable, mut pause) = (Vec::new(), UNREADABLE);
        for (slot, delivery, hears) in tried {
            let need = self.need(&delivery, hears).into_iter().collect();
            if plan_sessions(need, &self.chunks, &mut self.patches).is_ok() {
                readable.push(delivery.receiver);
            } else {
                self.fail_for_storage(now, slot, &delivery);
                pause = MERGE;
            }
        }
        for receiver in readable {
            self.requeue(now, receiver, pause);
        }
    }

    /// Takes a late receiver into a running session of its release.
    fn join_running(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        delivery: &DeliveryRecord,
        hears: Hears,
    ) -> bool {
        let pace = self.pace_of(&delivery.receiver);
        let board = self.is_board(&delivery.receiver);
        let asked = (delivery.receiver, delivery.release.digest);
        let patches = self.takes_patches(&delivery.receiver);
        let full = self.registry.terms(&delivery.release.digest).full;
        let held = self.held_by(&delivery.receiver);
        // PROTOCOL R4: who has not what patches copy from gets a session of its own.
        let holds = |base: &Digest| patches && !full && held.iter().any(|h| h.digest == *base);
        if pace.is_some() || board || self.wanted.contains_key(&asked) {
            return false;
        }
        let running = self.sessions.iter_mut().find_map(|session| {
            let at = session.releases().iter().position(|r| *r == delivery.release)?;
            let fits =
                session.is_multicast() && session.pace().is_none() && hears.hears(session.symbol());
            let fits = fits && session.bases().iter().all(holds);
            let first = session.late_entry().filter(|_| fits)?;
            session.add(now, delivery.receiver, at as u8);
            session.invitation(&delivery.receiver, first)
        });
        let Some(invitation) = running else { return false };
        self.offer(delivery, DeliveryPath::Multicast);
        self.hold_back(now, slot, delivery);
        self.tell(now, slot, &Down::Invitation(invitation));
        true
    }

    /// What a receiver has installed: what it told before is no more than a memory.
    fn held_by(&self, receiver: &ReceiverId) -> Vec<ReleaseName> {
        let holds = self.link_of(receiver).map(|(_, link)| link.holds.values().copied());
        holds.into_iter().flatten().collect()
    }

    fn takes_patches(&self, receiver: &ReceiverId) -> bool {
        let record = self.registry.receiver(receiver);
        record.is_some_and(|record| record.codecs & CODEC_PATCH != 0)
    }

    fn is_board(&self, receiver: &ReceiverId) -> bool {
        self.registry.receiver(receiver).is_some_and(|receiver| receiver.constrained)
    }

    /// A release that was made before its group had a board has no tree for it.
    fn fail_for_board(&mut self, now: Instant, slot: PeerSlot, delivery: &DeliveryRecord) {
        let reason = "the release was made before a board was in its group: send once more";
        let (receiver, release) = (delivery.receiver, &delivery.release);
        let failed = DeliveryState::Failed;
        self.settle_delivery(receiver, release, failed, "not-for-boards", reason);
        self.idle(now, slot, receiver);
    }

    /// What cannot be read here goes to nobody, and keeps nothing else waiting.
    fn fail_for_storage(&mut self, now: Instant, slot: PeerSlot, delivery: &DeliveryRecord) {
        let reason = "the server cannot read this release: `fleetcast releases verify` tells more";
        let (receiver, release) = (delivery.receiver, &delivery.release);
        let failed = DeliveryState::Failed;
        self.settle_delivery(receiver, release, failed, "server-storage", reason);
        self.idle(now, slot, receiver);
    }

    fn need(&mut self, delivery: &DeliveryRecord, hears: Hears) -> Option<Need> {
        let release = self.contents_of(&delivery.release)?;
        let asked = self.wanted.get(&(delivery.receiver, release.name.digest));
        let asked = asked.filter(|wanted| wanted.complete);
        let wants = asked.map(|wanted| wanted.runs.clone());
        let held = self.held_by(&delivery.receiver);
        let full = self.registry.terms(&release.name.digest).full;
        let held = held.iter().filter(|_| !full);
        let holds = held.filter_map(|name| self.contents_of(name)).collect();
        let pace = self.pace_of(&delivery.receiver);
        let receiver = delivery.receiver;
        let constrained = self.is_board(&receiver);
        let bounds = self.link_of(&receiver).and_then(|(_, link)| link.bounds);
        let patches = self.takes_patches(&receiver);
        let need =
            Need { receiver, release, wants, holds, hears, pace, constrained, bounds, patches };
        if constrained { need.of_boards() } else { Some(need) }
    }

    /// Starts a planned session and invites its members; or lets it wait.
    fn run(&mut self, now: Instant, planned: Planned) {
        let slots = slot_names(&planned);
        // What is less urgent is no reason to wait.
        let urgency = self.urgency(&slots);
        let rivals = self.sessions.iter().filter(|s| s.is_multicast() == planned.multicast);
        let kind = rivals.filter(|s| self.urgency(s.releases()) >= urgency).count();
        let most = if planned.multicast { MAX_MULTICASTS } else { MAX_CATCH_UPS };
        let to = self.destination(&planned);
        let Some(to) = to.filter(|_| kind < most) else {
            for &(receiver, _) in &planned.members {
                self.requeue(now, receiver, MERGE_LATE);
            }
            return;
        };
        let mut key = [0; 32];
        let mut salt = [0; 8];
        self.rng.fill_bytes(&mut key);
        self.rng.fill_bytes(&mut salt);
        // PROTOCOL S1: no number twice while this server lives, and a new key each time.
        self.next_session = self.next_session.wrapping_add(1);
        let tardy = |id: &ReceiverId| self.link_of(id).is_some_and(|(_, link)| link.tardy);
        let tardy = planned.members.iter().map(|&(id, _)| id).filter(|id| tardy(id)).collect();
        let config = LiveConfig {
            session: SessionId(self.next_session),
            key,
            salt,
            fleet: self.authority.document().fleet,
            signing: self.config.signing.clone(),
            to,
            root_lens: planned.slots.iter().map(|c| c.document.len() as u16).collect(),
            slots: slots.clone(),
            members: planned.members.clone(),
            tardy,
            shape: planned.shape,
            full: slots.iter().any(|release| self.registry.terms(&release.digest).full),
            bases: planned.bases.clone(),
            limits: self.limits_of_new(planned.multicast, planned.pace, &slots),
            pace: planned.pace,
        };
        let session = LiveSession::new(config, planned.plan, now);
        let path = if planned.multicast { DeliveryPath::Multicast } else { DeliveryPath::Unicast };
        for &(receiver, _) in &planned.members {
            let Some(&slot) = self.connected.get(&receiver) else { continue };
            let Some(delivery) = self.busy_delivery(&receiver) else { continue };
            if !self.wanted.contains_key(&(receiver, delivery.release.digest)) {
                self.offer(&delivery, path);
            }
            self.hold_back(now, slot, &delivery);
            if let Some(invitation) = session.invitation(&receiver, BlockIndex(0)) {
                self.tell(now, slot, &Down::Invitation(invitation));
            }
        }
        self.sessions.push(session);
    }

    fn offer(&mut self, delivery: &DeliveryRecord, path: DeliveryPath) {
        let state = DeliveryState::Offered;
        self.registry.put_delivery(DeliveryRecord { state, path, ..delivery.clone() });
    }

    /// Where a planned session's datagrams go.
    fn destination(&self, planned: &Planned) -> Option<SocketAddr> {
        if planned.multicast {
            return Some(self.pool_address(self.next_session.wrapping_add(1)));
        }
        let (receiver, _) = planned.members.first()?;
        let slot = *self.connected.get(receiver)?;
        // PROTOCOL C6: data goes only where a message was acknowledged from.
        self.endpoint.address(slot).filter(|_| self.endpoint.address_confirmed(slot))
    }
}
