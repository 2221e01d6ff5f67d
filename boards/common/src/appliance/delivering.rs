//! From an invitation to an installed release.

use core::net::SocketAddrV4;

use fleetcast_core::constrained::{
    BLOCKS, ConstrainedSession, HEADERS, INTERLEAVE, SEGMENTS, SLOTS,
};
use fleetcast_core::erasure::Portable;
use fleetcast_core::ids::{Epoch, SessionId};
use fleetcast_core::session::announcing::Announcing;
use fleetcast_core::session::intake::Intake as _;
use fleetcast_core::session::receiver::{
    ReceiveSlot, ReceiverConfig, ReceiverEvent, SegmentState, longest_header,
};
use fleetcast_core::store::{Step, StoreError, TrustGate};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::release::Circumstances;
use fleetcast_core::wire::control::{FailCode, Invitation, ReleaseName, Up};
use fleetcast_core::wire::session::Header;
use fleetcast_core::wire::transport::Sending;

use super::words::Word;
use super::{Appliance, Event, STEPS, WANT_AGAIN};
use crate::partition::Disk;

/// One release on its way.
pub(super) struct Delivery<'m> {
    pub(super) release: ReleaseName,
    membership: VerifiedMembership,
    circumstances: Circumstances,
    running: Option<Running<'m>>,
}

/// The session that feeds it.
struct Running<'m> {
    machine: ConstrainedSession<'m>,
    /// The multicast group that it listens to; none for catch-up.
    group: Option<SocketAddrV4>,
    announcing: Announcing,
}

impl Delivery<'_> {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let announcing = running.group.map(|_| running.announcing.poll_timeout());
        announcing.into_iter().chain(running.machine.poll_timeout()).min()
    }
}

impl<D: Disk> Appliance<'_, D> {
    // --- sessions ---

    #[inline(never)]
    pub(super) fn on_invitation(&mut self, now: Instant, invitation: &Invitation) {
        let release = invitation.release;
        let Some(config) = self.session_config(invitation) else { return };
        if self.delivery.as_ref().is_none_or(|delivery| delivery.release != release) {
            if !self.expect(release) {
                return;
            }
            self.tell(Event::Offered { release, bytes: invitation.payload });
        }
        self.begin_session(now, invitation, config);
        self.work_at = Some(now);
    }

    /// Expects a release to come; whether it may, else the server is told why not.
    fn expect(&mut self, release: ReleaseName) -> bool {
        let Some(membership) = self.membership(release) else {
            self.refuse(release, FailCode::NotTrusted, "no valid membership");
            return false;
        };
        self.drop_delivery();
        // Refused before the first byte of it.
        let highest = match self.store.expect(release) {
            Ok(()) => self.store.highest(release.group),
            Err(error) => Err(error),
        };
        let highest = match highest {
            Ok(highest) => highest,
            Err(error) => {
                self.refuse(release, error.fail_code(), reason(&error));
                return false;
            }
        };
        // Without a clock that is trusted nothing expires (PROTOCOL T6).
        let installed_before = self.active().any(|held| held == release);
        let circumstances = Circumstances { highest, now: None, installed_before };
        self.delivery = Some(Delivery { release, membership, circumstances, running: None });
        true
    }

    /// Has what was lost of an installed release again: the store's next steps find out
    /// what that is, and it is asked for.
    #[inline(never)]
    pub(super) fn mend(&mut self, now: Instant, release: ReleaseName) {
        if self.expect(release) {
            self.work_at = Some(now);
        }
    }

    #[inline(never)]
    fn begin_session(&mut self, now: Instant, invitation: &Invitation, config: ReceiverConfig) {
        let Some(delivery) = &mut self.delivery else { return };
        let (Some(lent), None) = (self.buffers.take(), &delivery.running) else { return };
        lent.slots.fill(ReceiveSlot::EMPTY);
        lent.segments.fill(SegmentState::EMPTY);
        let multicast = invitation.port != 0;
        let group = multicast.then(|| SocketAddrV4::new(invitation.address, invitation.port));
        let machine = ConstrainedSession::new(config, lent, now);
        delivery.running = Some(Running { machine, group, announcing: Announcing::new(now) });
        if let Some(group) = group {
            self.tell(Event::Listen(group));
        }
    }

    /// What the session is made from; `None` where this board cannot take part in it.
    #[inline(never)]
    fn session_config(&mut self, invitation: &Invitation) -> Option<ReceiverConfig> {
        let seed = self.next_random();
        let authority = self.authority.as_ref()?;
        let server = self.identity.enrolment.controller;
        let controller = authority.controller(&server)?;
        let (symbol, sources) = (usize::from(invitation.symbol), usize::from(invitation.sources));
        // All blocks at a time, and headers of the lengths that the symbols allow.
        let fits = symbol > 0
            && sources > 0
            && symbol * sources * SLOTS <= BLOCKS
            && longest_header(symbol) * SEGMENTS <= HEADERS;
        let fleet = authority.document().fleet;
        let invited = || ReceiverConfig::invited(invitation, fleet, controller, seed);
        fits.then(|| ReceiverConfig { interleave: INTERLEAVE, ..invited() })
    }

    fn membership(&mut self, release: ReleaseName) -> Option<VerifiedMembership> {
        let authority = self.authority.as_ref()?;
        self.pieces = None;
        let kept = self.store.membership(release.group, &mut self.document[..]).ok()??;
        VerifiedMembership::verify(authority, &self.device, kept.0, kept.1).ok()
    }

    #[inline(never)]
    pub(super) fn on_session_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        let Ok(header) = Header::parse(datagram) else { return };
        let (Some(delivery), Some(authority)) = (&mut self.delivery, &self.authority) else {
            return;
        };
        let Some(running) = &mut delivery.running else { return };
        if running.machine.session() != header.session {
            return;
        }
        let (membership, circumstances) = (&delivery.membership, delivery.circumstances);
        let mut gate = TrustGate { authority, membership, circumstances };
        let mut intake = self.store.intake(&mut gate);
        running.machine.handle_datagram(now, datagram, &mut intake, &Portable);
        self.work(now);
    }

    #[inline(never)]
    pub(super) fn session_timeout(&mut self, now: Instant) {
        let (Some(delivery), Some(authority)) = (&mut self.delivery, &self.authority) else {
            return;
        };
        let Some(running) = &mut delivery.running else { return };
        if running.machine.poll_timeout().is_some_and(|at| at <= now) {
            let (membership, circumstances) = (&delivery.membership, delivery.circumstances);
            let mut gate = TrustGate { authority, membership, circumstances };
            running.machine.handle_timeout(now, &mut self.store.intake(&mut gate));
        }
        let received = running.machine.stats().received;
        if running.group.is_some() && running.announcing.is_due(now, received) {
            self.tell(Event::Announce);
        }
    }

    /// Passes on what the session has to say.
    #[inline(never)]
    pub(super) fn drain_session(&mut self, now: Instant) {
        loop {
            let running = self.delivery.as_mut().and_then(|delivery| delivery.running.as_mut());
            let Some(running) = running else { return };
            let Some(event) = running.machine.poll_event() else { return };
            self.on_session_event(now, event);
        }
    }

    fn on_session_event(&mut self, now: Instant, event: ReceiverEvent) {
        let running = self.delivery.as_ref().and_then(|delivery| delivery.running.as_ref());
        let Some(running) = running else { return };
        let (session, epoch) = (running.machine.session(), running.machine.epoch());
        match event {
            ReceiverEvent::Joined { heard } => {
                self.words.push(Word::Joined(session, epoch, heard));
                if !heard {
                    // It is out of that session now, and catch-up will invite it.
                    self.end_session();
                    self.work_at = Some(now + WANT_AGAIN);
                }
            }
            ReceiverEvent::Nack => {
                if let Some(report) = running.machine.nack() {
                    // Lost or dropped, it is repeated.
                    let _ = self.endpoint.send(now, Sending::Unreliable, report);
                }
            }
            ReceiverEvent::HeaderRequest(block) => {
                self.mention(now, &Up::HeaderRequest { session, block });
            }
            ReceiverEvent::Progress { received, lost, counter } => {
                let (held, total) = self.progress();
                let report = Up::Progress { session, received, lost, counter, held, total };
                self.mention(now, &report);
                self.tell(Event::Progress(held, total));
            }
            ReceiverEvent::KeyRequest => self.words.push(Word::KeyRequest(session)),
            ReceiverEvent::Poisoned(block) => self.words.push(Word::Poisoned(session, block)),
            ReceiverEvent::Finished { poisoned } => {
                self.words.push(Word::Finished(session, poisoned));
                self.end_session();
                self.work_at = Some(now);
            }
        }
    }

    pub(super) fn on_epoch(&mut self, session: SessionId, epoch: Epoch, key: &[u8; 32]) {
        let running = self.delivery.as_mut().and_then(|delivery| delivery.running.as_mut());
        if let Some(running) = running.filter(|running| running.machine.session() == session) {
            running.machine.rekey(epoch, key);
            self.words.push(Word::Joined(session, epoch, true));
        }
    }

    pub(super) fn on_ended(&mut self, now: Instant, session: SessionId) {
        let running = self.delivery.as_ref().and_then(|delivery| delivery.running.as_ref());
        if running.is_some_and(|running| running.machine.session() == session) {
            self.end_session();
            self.work_at = Some(now);
        }
    }

    /// The session has nothing more to give: its memory is free again.
    pub(super) fn end_session(&mut self) {
        let running = self.delivery.as_mut().and_then(|delivery| delivery.running.take());
        let Some(running) = running else { return };
        if running.group.is_some() {
            self.tell(Event::Unlisten);
        }
        self.buffers = Some(running.machine.into_memory());
    }

    pub(super) fn drop_delivery(&mut self) {
        self.end_session();
        self.delivery = None;
        self.work_at = None;
    }

    pub(super) fn cancel(&mut self, release: &ReleaseName) {
        if self.delivery.as_ref().is_some_and(|delivery| delivery.release == *release) {
            self.drop_delivery();
        }
    }

    // --- store ---

    /// Bytes of the release held and verified, and bytes of it in all.
    fn progress(&mut self) -> (u64, u64) {
        let (Some(delivery), Some(authority)) = (&self.delivery, &self.authority) else {
            return (0, 0);
        };
        let (membership, circumstances) = (&delivery.membership, delivery.circumstances);
        let mut gate = TrustGate { authority, membership, circumstances };
        self.store.intake(&mut gate).progress()
    }

    /// A bounded piece of the store's work, and what follows when there is no more.
    #[inline(never)]
    pub(super) fn work(&mut self, now: Instant) {
        for _ in 0..STEPS {
            let Some(delivery) = &self.delivery else { return };
            let release = delivery.release;
            match self.store.step() {
                Ok(Step::More) => continue,
                Ok(Step::Waiting) if delivery.running.is_none() => return self.lack(now),
                Ok(Step::Waiting) => return self.check(release),
                Ok(Step::Complete) => return self.install(now, release),
                Err(error) => return self.fail(release, &error),
            }
        }
        self.work_at = Some(now);
    }

    /// The store may have failed without a step of its own.
    fn check(&mut self, release: ReleaseName) {
        if let Some(error) = self.store.failure() {
            self.fail(release, &error);
        }
    }

    /// No session runs, and something is lacking.
    fn lack(&mut self, now: Instant) {
        let Some(delivery) = &self.delivery else { return };
        if let Some(error) = self.store.failure() {
            return self.fail(delivery.release, &error);
        }
        if self.member {
            self.ask();
        }
        self.work_at = Some(now + WANT_AGAIN);
    }

    #[inline(never)]
    fn install(&mut self, now: Instant, release: ReleaseName) {
        self.finish_session();
        // PROTOCOL T4: the store persists the order before it activates.
        match self.store.activate() {
            Ok(installed) => {
                self.drop_delivery();
                self.put_scrub_off(now);
                let number = self.active().position(|active| active == installed);
                self.words.push(Word::Installed(number.unwrap_or(0) as u8));
                self.tell(Event::Installed(installed));
            }
            Err(error) => self.fail(release, &error),
        }
    }

    /// Nothing more is needed of the session: it is told so.
    fn finish_session(&mut self) {
        let running = self.delivery.as_ref().and_then(|delivery| delivery.running.as_ref());
        if let Some(running) = running {
            self.words.push(Word::Finished(running.machine.session(), 0));
        }
        self.end_session();
    }

    fn fail(&mut self, release: ReleaseName, error: &StoreError) {
        self.finish_session();
        self.drop_delivery();
        self.refuse(release, error.fail_code(), reason(error));
    }
}

/// A reason in words.
const fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Device(_) => "the card failed",
        StoreError::Failed => "the card failed before",
        StoreError::TooLarge { .. } => "larger than the card",
        StoreError::Full { .. } => "no room on the card",
        StoreError::NoPlace { .. } => "more groups than the board has places for",
        StoreError::ChunkTooLong { .. } => "its chunks are too long for a board",
        _ => "the store did not take it",
    }
}
