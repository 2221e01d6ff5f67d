//! What deliveries wait for besides their receivers: the word of an admin, or the
//! activation of their release.
//!
//! A release that is activated later is received before by all that obey Hold
//! (PROTOCOL M4); those that have it whole are *staged*, and switch together when
//! the time has come or enough of them are staged. Others get it then.

use std::cmp::Reverse;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{Down, HOLDS_BACK, ReleaseName};

use super::ServerNode;
use super::delivering::MERGE;
use super::overtaking::newest_first;
use crate::error::Failure;
use crate::model::{DeliveryRecord, DeliveryState, Hold, ReleaseRecord, ReleaseState, Terms};

impl<A: Aead> ServerNode<A> {
    // --- the word of an admin ---

    /// Lets deliveries go, whatever they wait for; where none is named, all that were
    /// only queued. Returns which.
    ///
    /// # Errors
    /// `delivery-unknown`; then none has gone.
    pub fn send_pending(
        &mut self,
        now: Instant,
        actor: &str,
        ids: &[u64],
    ) -> Result<Vec<u64>, Failure> {
        let mut chosen: Vec<DeliveryRecord> = Vec::new();
        for &id in ids {
            chosen.push(self.open_delivery(id)?);
        }
        if ids.is_empty() {
            let queued = self.registry.deliveries().filter(|d| !d.state.is_final());
            chosen.extend(queued.filter(|d| d.hold == Hold::Send).cloned());
        }
        let ids = chosen.iter().map(|delivery| delivery.id).collect();
        for DeliveryRecord { id, .. } in newest_first(chosen) {
            // A newer one may have taken its place a moment ago.
            let Ok(delivery) = self.open_delivery(id) else { continue };
            let (was, receiver, release) = (delivery.hold, delivery.receiver, delivery.release);
            self.registry.put_delivery(DeliveryRecord { hold: Hold::Free, ..delivery });
            self.take_place(now, receiver, &release);
            self.outdate(&release);
            if was == Hold::Activation || was.is_staged() {
                self.tell_activate(now, receiver, release);
            }
            let what = self.delivery_title(id);
            self.registry.log(actor, "delivery-sent", &id.to_string(), &what);
        }
        self.plan_soon(now, MERGE);
        Ok(ids)
    }

    /// Stops a delivery until it is resumed; again is fine.
    ///
    /// # Errors
    /// `delivery-unknown`.
    pub fn pause_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.open_delivery(id)?;
        let hold = delivery.hold.paused();
        if delivery.hold == hold {
            return Ok(());
        }
        let (receiver, release) = (delivery.receiver, delivery.release);
        let state = DeliveryState::Queued;
        self.registry.put_delivery(DeliveryRecord { hold, state, ..delivery });
        self.interrupt(now, receiver, &release);
        let what = self.delivery_title(id);
        self.registry.log(actor, "delivery-paused", &id.to_string(), &what);
        Ok(())
    }

    /// Lets a paused delivery go on as it was; one that is not paused does so anyway.
    ///
    /// # Errors
    /// `delivery-unknown`.
    pub fn resume_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.open_delivery(id)?;
        let (hold, state) = match delivery.hold {
            Hold::Resume => (self.hold_of_new(&delivery.release.digest), delivery.state),
            Hold::ResumeToSend => (Hold::Send, delivery.state),
            Hold::ResumeStaged => (Hold::Staged, DeliveryState::Verifying),
            Hold::Free | Hold::Send | Hold::Activation | Hold::Staged => return Ok(()),
        };
        let (receiver, release) = (delivery.receiver, delivery.release);
        let resumed = DeliveryRecord { hold, state, ..delivery };
        self.registry.put_delivery(resumed.clone());
        if self.is_let_go(&resumed) {
            self.take_place(now, receiver, &release);
            if hold == Hold::Staged {
                // It was activated in the meantime.
                self.tell_activate(now, receiver, release);
            }
        }
        let what = self.delivery_title(id);
        self.registry.log(actor, "delivery-resumed", &id.to_string(), &what);
        self.plan_soon(now, MERGE);
        Ok(())
    }

    /// Takes a receiver out of the sessions of a release: it says then what it lacks.
    /// Whether it was in any.
    pub(super) fn interrupt(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        release: &ReleaseName,
    ) -> bool {
        let mut left = Vec::new();
        for session in &mut self.sessions {
            if session.releases().contains(release) && session.leave(&receiver) {
                left.push(session.id());
            }
        }
        let Some(&slot) = self.connected.get(&receiver) else { return false };
        for &session in &left {
            self.tell(now, slot, &Down::Ended { session });
        }
        self.settle_sessions(now);
        !left.is_empty()
    }

    // --- whether a delivery may go ---

    /// What a delivery waits for that nobody holds up.
    pub(super) fn hold_of_new(&self, release: &Digest) -> Hold {
        if self.registry.terms(release).is_scheduled() { Hold::Activation } else { Hold::Free }
    }

    /// Whether a delivery may go to its receiver now, if only to be staged there.
    pub(super) fn may_go(&self, delivery: &DeliveryRecord) -> bool {
        match delivery.hold {
            Hold::Free => true,
            // PROTOCOL M4: the others would install it at once.
            Hold::Activation => {
                self.holds_back(&delivery.receiver) && !self.has_staged_before(delivery)
            }
            Hold::Send | Hold::Resume | Hold::Staged => false,
            Hold::ResumeToSend | Hold::ResumeStaged => false,
        }
    }

    /// Says, before the invitation, that a release is to be staged only.
    pub(super) fn hold_back(&mut self, now: Instant, slot: PeerSlot, delivery: &DeliveryRecord) {
        if delivery.hold == Hold::Activation {
            // PROTOCOL M4
            self.tell(now, slot, &Down::Hold { release: delivery.release });
        }
    }

    /// A receiver has appeared: what was queued for it goes out, and what it has staged
    /// is activated if the time came while it was away.
    pub(super) fn release_to(&mut self, now: Instant, receiver: ReceiverId) {
        if self.in_doubt().is_some() {
            return;
        }
        let open = self.registry.open_deliveries(receiver).cloned().collect();
        for DeliveryRecord { id, .. } in newest_first(open) {
            let Ok(delivery) = self.open_delivery(id) else { continue };
            let release = delivery.release;
            match delivery.hold {
                Hold::Send => {
                    let hold = self.hold_of_new(&release.digest);
                    let going = DeliveryRecord { hold, ..delivery };
                    self.displace(now, &going);
                    self.registry.put_delivery(going);
                    self.outdate(&release);
                }
                Hold::Staged if !self.registry.terms(&release.digest).is_scheduled() => {
                    self.tell_activate(now, receiver, release);
                }
                _ => {}
            }
        }
    }

    // --- activation ---

    /// A receiver has all of a release that it holds back.
    pub(super) fn on_staged(
        &mut self,
        now: Instant,
        (slot, id): (PeerSlot, ReceiverId),
        release: &ReleaseName,
    ) {
        let known = self.registry.delivery_of(id, &release.digest).cloned();
        let Some(delivery) = known.filter(|delivery| !delivery.state.is_final()) else {
            // It was taken back, or overtaken, while the receiver was away.
            return self.tell(now, slot, &Down::Cancelled { release: *release });
        };
        match delivery.hold {
            // Who knows whether it was taken back since the copy was made.
            Hold::Free if self.in_doubt().is_some() => {}
            // It was told to hold it back on a channel before this one.
            Hold::Free => self.tell_activate(now, id, *release),
            Hold::Activation => {
                let (name, title) = (self.name_of(&id), self.registry.release_title(release));
                let bytes = self.registry.release(&release.digest).map_or(0, |r| r.bytes);
                let (hold, state) = (Hold::Staged, DeliveryState::Verifying);
                self.registry.put_delivery(DeliveryRecord { hold, state, bytes, ..delivery });
                self.registry.log(&name, "staged", &title, "ok");
                self.wanted.remove(&(id, release.digest));
                self.leave_sessions(&id, release);
                if self.busy_delivery(&id).is_some_and(|busy| busy.release == *release) {
                    self.idle(now, slot, id);
                }
            }
            Hold::Resume => {
                let hold = Hold::ResumeStaged;
                self.registry.put_delivery(DeliveryRecord { hold, ..delivery });
            }
            Hold::Send | Hold::Staged | Hold::ResumeToSend | Hold::ResumeStaged => {}
        }
    }

    /// Activates the releases whose time has come, or that enough receivers have staged.
    pub(super) fn activate_due(&mut self, now: Instant) {
        if self.in_doubt().is_some() {
            return;
        }
        let time = self.registry.time();
        let due = |node: &Self, digest: &Digest| {
            let terms = node.registry.terms(digest);
            terms.at.is_some_and(|at| at <= time)
                || terms.ready.is_some_and(|share| node.is_ready(digest, share))
        };
        let mut chosen: Vec<Digest> =
            self.scheduled.iter().filter(|digest| due(self, digest)).copied().collect();
        // The newest of a group first: it takes the place of the others.
        chosen.sort_by_key(|digest| self.registry.release(digest).map(|r| Reverse(r.name.order)));
        for digest in chosen {
            self.activate(now, &digest);
        }
    }

    /// Whether at least `share` per cent of a release's receivers have staged it.
    fn is_ready(&self, release: &Digest, share: u8) -> bool {
        let (ready, all) = self.registry.readiness(release);
        all > 0 && ready * 100 >= all * u64::from(share)
    }

    fn activate(&mut self, now: Instant, digest: &Digest) {
        self.scheduled.remove(digest);
        let Some(release) = self.registry.release(digest).cloned() else { return };
        let terms = Terms { at: None, ready: None, ..release.terms };
        let name = release.name;
        let current = release.state == ReleaseState::Current;
        self.registry.put_release(ReleaseRecord { terms, ..release });
        let open: Vec<DeliveryRecord> = self.registry.open_deliveries_of(digest).cloned().collect();
        // One that was superseded is still owed to whom nothing newer was let go.
        if !current && open.is_empty() {
            return;
        }
        let title = self.registry.release_title(&name);
        self.registry.log("server", "release-activated", &title, "ok");
        for delivery in open {
            let receiver = delivery.receiver;
            match delivery.hold {
                Hold::Activation => {
                    self.take_place(now, receiver, &name);
                    let hold = Hold::Free;
                    self.registry.put_delivery(DeliveryRecord { hold, ..delivery });
                    // One that is being received is installed as soon as it is whole.
                    if self.link_of(&receiver).is_some_and(|(_, link)| link.busy.is_some()) {
                        self.tell_activate(now, receiver, name);
                    }
                }
                // Who is away is told when it is back.
                Hold::Staged => {
                    self.take_place(now, receiver, &name);
                    self.tell_activate(now, receiver, name);
                }
                _ => {}
            }
        }
        self.outdate(&name);
        self.plan_soon(now, MERGE);
    }

    fn tell_activate(&mut self, now: Instant, receiver: ReceiverId, release: ReleaseName) {
        if let Some(&slot) = self.connected.get(&receiver)
            && self.holds_back(&receiver)
        {
            self.tell(now, slot, &Down::Activate { release });
        }
    }

    /// Whether a receiver obeys Hold.
    fn holds_back(&self, receiver: &ReceiverId) -> bool {
        self.registry.receiver(receiver).is_some_and(|record| record.codecs & HOLDS_BACK != 0)
    }
}
