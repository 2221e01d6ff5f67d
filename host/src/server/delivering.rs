//! Deliveries: owed, planned, under way, settled.

use std::sync::Arc;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, PeerSlot, ReceiverId, SessionId};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{Down, ReleaseName, WantRun};

use super::hearing::Hears;
use super::{ServerNode, Wanted};
use crate::model::{DeliveryPath, DeliveryRecord, DeliveryState, Hold};

/// What is planned together: deliveries that come up within this time.
pub(super) const MERGE: Duration = Duration::from_millis(30);
/// The same for rests, and for receivers that come back.
pub(super) const MERGE_LATE: Duration = Duration::from_millis(250);
/// Rests that a receiver may ask for of one release before it counts as failed.
const MAX_ROUNDS: u32 = 50;

/// Runs of ordinals that are kept of what a receiver asks for.
const MOST_RUNS: usize = 32 * 1_024;

/// Characters that are kept of why a delivery failed.
pub(super) const MOST_REASON: usize = 200;

/// Code of a delivery that ended because its receiver left the group.
pub(super) const LEFT: &str = "left-group";

impl<A: Aead> ServerNode<A> {
    // --- owing ---

    /// Queues a release for a receiver; in place of older ones of its group, if it is let go.
    pub(super) fn owe(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        release: ReleaseName,
        hold: Hold,
    ) {
        let open = self.registry.open_deliveries(receiver);
        // The same once more is one delivery.
        for delivery in open.filter(|d| d.release == release).cloned().collect::<Vec<_>>() {
            self.withdraw(now, delivery, DeliveryState::Superseded);
        }
        let time = self.registry.time();
        let record = DeliveryRecord {
            id: self.registry.next_delivery(),
            receiver,
            release,
            state: DeliveryState::Queued,
            hold,
            code: String::new(),
            reason: String::new(),
            bytes: 0,
            path: DeliveryPath::Local,
            created: time,
            updated: time,
        };
        self.displace(now, &record);
        self.registry.put_delivery(record);
        self.plan_soon(now, MERGE);
    }

    /// Queues what a receiver lacks of what the members of its groups are to have.
    pub(super) fn owe_current(&mut self, now: Instant, receiver: ReceiverId) {
        let groups: Vec<GroupId> =
            self.registry.memberships_of(receiver).map(|membership| membership.group).collect();
        for group in groups {
            for (release, hold) in self.lacking(receiver, group) {
                self.owe(now, receiver, release, hold);
            }
        }
        self.plan_soon(now, MERGE_LATE);
    }

    /// Takes a delivery back, at its receiver too.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        delivery: DeliveryRecord,
        state: DeliveryState,
    ) {
        let (receiver, release) = (delivery.receiver, delivery.release);
        let staged = delivery.hold.is_staged();
        self.registry.put_delivery(DeliveryRecord { state, ..delivery });
        self.leave_sessions(&receiver, &release);
        self.wanted.remove(&(receiver, release.digest));
        if let Some(&slot) = self.connected.get(&receiver) {
            let busy = self.links.get(&slot).and_then(|link| link.busy);
            if busy
                .is_some_and(|id| self.registry.delivery(id).is_some_and(|d| d.release == release))
            {
                self.tell(now, slot, &Down::Cancelled { release });
                self.idle(now, slot, receiver);
            } else if staged {
                self.tell(now, slot, &Down::Cancelled { release });
            }
        }
    }

    pub(super) fn plan_soon(&mut self, now: Instant, within: Duration) {
        let at = now + within;
        self.plan_at = Some(self.plan_at.map_or(at, |was| was.min(at)));
    }

    // --- progress of one delivery ---

    pub(super) fn advance_delivery(&mut self, receiver: ReceiverId, state: DeliveryState) {
        let Some(delivery) = self.busy_delivery(&receiver) else { return };
        // What was said before it heard of a pause changes nothing.
        if !delivery.state.is_final() && self.may_go(&delivery) {
            self.registry.put_delivery(DeliveryRecord { state, ..delivery });
        }
    }

    pub(super) fn note_progress(&mut self, receiver: ReceiverId, bytes: u64) {
        if let Some(delivery) = self.busy_delivery(&receiver) {
            self.registry.put_delivery(DeliveryRecord { bytes, ..delivery });
        }
    }

    pub(super) fn busy_delivery(&self, receiver: &ReceiverId) -> Option<DeliveryRecord> {
        let (_, link) = self.link_of(receiver)?;
        self.registry.delivery(link.busy?).cloned()
    }

    /// Gives a delivery its final state; whether there was an open one.
    pub(super) fn settle_delivery(
        &mut self,
        receiver: ReceiverId,
        release: &ReleaseName,
        state: DeliveryState,
        code: &str,
        reason: &str,
    ) -> bool {
        let Some(delivery) = self.registry.delivery_of(receiver, &release.digest).cloned() else {
            return false;
        };
        if delivery.state.is_final() && delivery.state != DeliveryState::Failed {
            return false;
        }
        let total = self.registry.release(&release.digest).map_or(0, |release| release.bytes);
        let bytes = if state == DeliveryState::Installed { total } else { delivery.bytes };
        let (code, reason) = (code.to_owned(), reason.chars().take(MOST_REASON).collect());
        self.registry.put_delivery(DeliveryRecord { state, code, reason, bytes, ..delivery });
        self.wanted.remove(&(receiver, release.digest));
        true
    }

    /// A receiver can take its next delivery.
    pub(super) fn idle(&mut self, now: Instant, slot: PeerSlot, _receiver: ReceiverId) {
        if let Some(link) = self.links.get_mut(&slot) {
            link.busy = None;
        }
        self.plan_soon(now, MERGE);
    }

    /// A receiver is gone: what it was busy with waits again.
    pub(super) fn abandon(&mut self, now: Instant, receiver: ReceiverId) {
        for session in &mut self.sessions {
            session.leave(&receiver);
        }
        self.wanted.retain(|(of, _), _| *of != receiver);
        // What is staged stays so, and what waits already is no news.
        let under_way = self.registry.open_deliveries(receiver).filter(|delivery| {
            delivery.state != DeliveryState::Queued && delivery.hold != Hold::Staged
        });
        for delivery in under_way.cloned().collect::<Vec<_>>() {
            self.registry.put_delivery(DeliveryRecord { state: DeliveryState::Queued, ..delivery });
        }
        self.settle_sessions(now);
    }

    pub(super) fn leave_sessions(&mut self, receiver: &ReceiverId, release: &ReleaseName) {
        for session in &mut self.sessions {
            if session.releases().contains(release) {
                session.leave(receiver);
            }
        }
    }

    /// A member did not hear a multicast session: catch-up serves it.
    pub(super) fn on_deaf(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        receiver: ReceiverId,
        session: SessionId,
    ) {
        let Some(live) = self.session_of(session, &receiver) else { return };
        let symbol = live.symbol();
        if !live.is_multicast() || !live.leave(&receiver) {
            return;
        }
        if let Some(link) = self.links.get_mut(&slot) {
            link.hears = link.hears.after_silence(symbol);
        }
        self.requeue(now, receiver, MERGE);
    }

    /// A member hears a multicast session no longer that goes on: it is told so, says
    /// what it lacks, and catch-up serves it.
    pub(super) fn on_silent(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        receiver: ReceiverId,
        session: SessionId,
    ) {
        // PROTOCOL S21
        let Some(live) = self.session_of(session, &receiver) else { return };
        live.leave(&receiver);
        if let Some(link) = self.links.get_mut(&slot) {
            link.hears = Hears::Nothing;
        }
        if let Some(delivery) = self.busy_delivery(&receiver) {
            let path = DeliveryPath::Unicast;
            self.registry.put_delivery(DeliveryRecord { path, ..delivery });
        }
        let name = self.name_of(&receiver);
        let what = format!("session {session}");
        self.registry.log(&name, "multicast-lost", &what, "goes on by catch-up");
        self.tell(now, slot, &Down::Ended { session });
    }

    pub(super) fn requeue(&mut self, now: Instant, receiver: ReceiverId, within: Duration) {
        self.advance_delivery(receiver, DeliveryState::Queued);
        if let Some(&slot) = self.connected.get(&receiver)
            && let Some(link) = self.links.get_mut(&slot)
        {
            link.busy = None;
        }
        self.plan_soon(now, within);
    }

    /// A receiver says what it still lacks.
    pub(super) fn on_want(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        release: &ReleaseName,
        page: u16,
        more: bool,
        runs: &[WantRun],
    ) {
        let Some(mut delivery) = self.registry.delivery_of(receiver, &release.digest).cloned()
        else {
            return;
        };
        if delivery.state == DeliveryState::Installed
            && self.is_held(receiver, release)
            && self.registry.is_member(receiver, release.group)
            && self.patience.changes.take(now, &receiver)
        {
            // PROTOCOL M7: what comes of it is written, so nobody asks without end.
            delivery.state = DeliveryState::Queued;
            self.registry.put_delivery(delivery.clone());
        }
        if delivery.state.is_final() {
            return;
        }
        if delivery.hold.is_staged() {
            if !self.patience.changes.take(now, &receiver) {
                return;
            }
            // It has lost what it had staged.
            let paused = delivery.hold == Hold::ResumeStaged;
            let hold = if paused { Hold::Resume } else { self.hold_of_new(&release.digest) };
            self.registry.put_delivery(DeliveryRecord { hold, ..delivery.clone() });
        }
        let goes = self.may_go(&delivery);
        let wanted = self.wanted.entry((receiver, release.digest)).or_insert_with(|| Wanted {
            runs: Vec::new(),
            complete: false,
            rounds: 0,
        });
        if page == 0 {
            wanted.runs.clear();
            wanted.complete = false;
            // Nobody has given it anything while it waited.
            wanted.rounds += u32::from(goes);
        }
        // What is beyond it asks for in its next round.
        let room = MOST_RUNS.saturating_sub(wanted.runs.len());
        wanted.runs.extend_from_slice(&runs[..runs.len().min(room)]);
        wanted.complete = !more;
        if wanted.rounds > MAX_ROUNDS {
            let reason = "asked for the rest of the release again and again without getting on";
            self.settle_delivery(receiver, release, DeliveryState::Failed, "stalled", reason);
        } else if !more {
            // What it takes part in still has not what it lacks, or it would not ask: it has
            // one place among the sessions, however often it asks.
            self.leave_sessions(&receiver, release);
            self.requeue(now, receiver, MERGE_LATE);
        }
    }

    /// Whether a release is what a receiver has of its group, as far as we know.
    pub(super) fn is_held(&self, receiver: ReceiverId, release: &ReleaseName) -> bool {
        let held = self.registry.held(receiver, release.group);
        held.is_some_and(|held| held.release == *release)
    }

    /// Removes a receiver from a group's sessions; the others go on under a new key.
    pub(super) fn expel(&mut self, now: Instant, receiver: ReceiverId, group: GroupId) {
        self.shut_out(now, receiver, group);
        let open = self.registry.open_deliveries(receiver);
        let open = open.filter(|delivery| delivery.release.group == group);
        for delivery in open.cloned().collect::<Vec<_>>() {
            let (code, reason) = (LEFT.to_owned(), "the receiver left the group".to_owned());
            let delivery = DeliveryRecord { code, reason, ..delivery };
            self.withdraw(now, delivery, DeliveryState::Cancelled);
        }
        if let Some(&slot) = self.connected.get(&receiver) {
            self.tell(now, slot, &Down::Removed { group });
        }
    }

    /// Contents that no open delivery needs are forgotten.
    pub(super) fn forget_contents(&mut self) {
        let registry = &self.registry;
        self.contents.retain(|digest, contents| {
            Arc::strong_count(contents) > 1 || registry.open_deliveries_of(digest).next().is_some()
        });
    }
}
