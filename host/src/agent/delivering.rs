//! From an invitation to an installed release.

use std::net::SocketAddrV4;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{BlockIndex, Epoch, SessionId};
use fleetcast_core::limits::{MAX_MESSAGE, MAX_SEGMENT_BLOCKS, SEGMENT_WINDOW};
use fleetcast_core::session::announcing::Announcing;
use fleetcast_core::session::intake::Intake as _;
use fleetcast_core::session::receiver::{
    Buffers, DIGESTS_OF_SLOT, ReceiveSlot, ReceiverConfig, ReceiverEvent, SegmentState,
    longest_header,
};
use fleetcast_core::time::Instant;
use fleetcast_core::tree::path::Component;
use fleetcast_core::trust::release::Circumstances;
use fleetcast_core::wire::control::{
    FailCode, Invitation, MAX_WANT_RUNS, ReleaseName, Up, WantRun,
};
use fleetcast_core::wire::session::Header;
use fleetcast_core::wire::transport::Sending;

use super::delivery::{Delivery, Running, Session, Staged, add};
use super::gate::TrustGate;
use super::{Agent, AgentEvent, WANT_AGAIN};
use crate::codec::Decoder;
use crate::disk::{Disk, DiskError};
use crate::install::{InstallError, NotPersisted, install};
use crate::staging::area::Area;
use crate::staging::{Failure, Staging, StepOutcome};
use crate::vectors::Vectors;

/// Discarded files removed at a time.
const TRASH: u32 = 200;
/// Blocks that are received at the same time at most.
const SLOTS: usize = 4 * MAX_SEGMENT_BLOCKS;
/// Sessions of one release at a time: as many as a server runs by multicast.
const MAX_SESSIONS: usize = 8;

impl<D: Disk, A: Aead> Agent<D, A> {
    // --- sessions ---

    pub(super) fn on_invitation(&mut self, now: Instant, invitation: &Invitation) {
        let release = invitation.release;
        // A server that invites without end must not fill our memory.
        if self.queue.is_long() {
            return;
        }
        let other = self.delivery.as_ref().is_none_or(|delivery| delivery.release() != release);
        // Refused before the delivery that runs is touched.
        let staging = match other.then(|| self.open_staging(release)).transpose() {
            Ok(staging) => staging,
            Err(failure) => return self.refuse(now, release, &failure),
        };
        let seed = self.next_seed();
        let Some(config) = self.session_config(invitation, seed) else { return };
        if let Some(mut staging) = staging {
            if invitation.full {
                staging.take_nothing_old();
            }
            self.put_aside();
            self.delivery = Some(Delivery::new(staging));
            let group = self.directory_of(release.group);
            self.tell(AgentEvent::Offered { release, group, bytes: invitation.payload });
        }
        let Some(delivery) = &mut self.delivery else { return };
        delivery.staged = false;
        let known = delivery.sessions.iter().any(|r| r.machine.session() == invitation.session);
        if known || delivery.sessions.len() >= MAX_SESSIONS {
            return;
        }
        let block = config.symbol * config.sources;
        let blocks = usize::try_from(invitation.payload).unwrap_or(usize::MAX) / block.max(1);
        let slots = blocks.saturating_add(MAX_SEGMENT_BLOCKS).min(SLOTS);
        let lent = Buffers {
            slots: vec![ReceiveSlot::default(); slots],
            blocks: vec![0; slots * block],
            segments: vec![SegmentState::default(); SEGMENT_WINDOW],
            headers: vec![0; SEGMENT_WINDOW * longest_header(config.symbol)],
            digests: vec![0; slots * DIGESTS_OF_SLOT],
            report: vec![0; MAX_MESSAGE],
        };
        let machine = Session::new(config, lent, now);
        let group =
            (invitation.port != 0).then(|| SocketAddrV4::new(invitation.address, invitation.port));
        let announcing = Announcing::new(now);
        delivery.sessions.push(Running { machine, group, announcing, told: Vec::new() });
        self.events.extend(group.map(AgentEvent::Listen));
        self.work_at = Some(now);
    }

    fn session_config(&self, invitation: &Invitation, seed: u64) -> Option<ReceiverConfig> {
        let authority = self.authority.as_ref()?;
        let controller = authority.controller(&self.server_key)?;
        let symbol = usize::from(invitation.symbol);
        let fits = (1..=fleetcast_core::limits::MAX_SYMBOL).contains(&symbol)
            && usize::from(invitation.sources) <= fleetcast_core::limits::MAX_SOURCES
            && invitation.sources > 0;
        let fleet = authority.document().fleet;
        fits.then(|| ReceiverConfig::invited(invitation, fleet, controller, seed))
    }

    /// The storage of a release: as it was left, where something of it is there.
    pub(super) fn open_staging(&mut self, release: ReleaseName) -> Result<Staged<D>, Failure> {
        if let Some(parked) = self.holding.unpark(&release) {
            return Ok(parked);
        }
        let distrust =
            |reason: &str| Failure { code: FailCode::NotTrusted, reason: reason.to_owned() };
        let authority = self.authority.clone().ok_or_else(|| distrust("no authority document"))?;
        let membership = self.state.membership(&authority, &self.device, release.group);
        let membership =
            membership.ok_or_else(|| distrust("not a member of the release's group"))?;
        let area = Area::open(&self.destination)?;
        let held = area.held()?;
        let circumstances = Circumstances {
            highest: self.state.highest(release.group),
            now: self.unix,
            installed_before: held.iter().any(|held| held.release == release),
        };
        let promised = release.digest;
        let gate = TrustGate { authority, membership, circumstances, promised };
        let decoder = Decoder::new()
            .map_err(|error| Failure { code: FailCode::Storage, reason: error.to_string() })?;
        Ok(Staging::open(area, release, gate, decoder)?)
    }

    pub(super) fn on_session_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        let Ok(header) = Header::parse(datagram) else { return };
        let Some(delivery) = &mut self.delivery else { return };
        let mut sessions = delivery.sessions.iter_mut();
        if let Some(running) = sessions.find(|r| r.machine.session() == header.session) {
            running.machine.handle_datagram(now, datagram, &mut delivery.staging, &Vectors::new());
        }
        if delivery.staging.is_urgent() {
            self.work_at = Some(now);
        }
    }

    /// A piece of a header that we found nowhere in its session (PROTOCOL S24).
    pub(super) fn on_header(
        &mut self,
        now: Instant,
        session: SessionId,
        (offset, total): (usize, usize),
        bytes: &[u8],
    ) {
        let Some(delivery) = &mut self.delivery else { return };
        let mut sessions = delivery.sessions.iter_mut();
        let Some(running) = sessions.find(|r| r.machine.session() == session) else { return };
        if let Some(header) = running.tell(offset, total, bytes) {
            running.machine.handle_header(now, &header, &mut delivery.staging, &Vectors::new());
        }
    }

    pub(super) fn sessions_timeout(&mut self, now: Instant) {
        let Some(delivery) = &mut self.delivery else { return };
        for running in &mut delivery.sessions {
            if running.machine.poll_timeout().is_some_and(|at| at <= now) {
                running.machine.handle_timeout(now, &mut delivery.staging);
            }
            self.events.extend(running.announces(now).map(AgentEvent::Announce));
        }
    }

    /// Passes on what the sessions have to say.
    pub(super) fn drain_sessions(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(running) = self.delivery.as_mut().and_then(|d| d.sessions.get_mut(at)) {
            match running.machine.poll_event() {
                Some(event) => self.on_session_event(now, at, event),
                None => at += 1,
            }
        }
    }

    fn on_session_event(&mut self, now: Instant, at: usize, event: ReceiverEvent) {
        let Some(delivery) = &mut self.delivery else { return };
        let machine = &delivery.sessions[at].machine;
        let (session, epoch) = (machine.session(), machine.epoch());
        let (held, total) = delivery.staging.progress();
        match event {
            ReceiverEvent::Joined { heard } => {
                self.say(now, &Up::Joined { session, epoch, heard });
                if !heard {
                    // It is out of that session now, and catch-up will invite it.
                    self.end_session(now, session);
                    self.work_at = Some(now + WANT_AGAIN);
                }
            }
            ReceiverEvent::Nack => {
                if let Some(report) = machine.nack() {
                    // Lost or dropped, it is repeated.
                    let _ = self.endpoint.send(now, Sending::Unreliable, report);
                }
            }
            ReceiverEvent::HeaderRequest(block) => {
                self.mention(now, &Up::HeaderRequest { session, block });
            }
            ReceiverEvent::Progress { received, lost, counter } => {
                let report = Up::Progress { session, received, lost, counter, held, total };
                self.mention(now, &report);
                self.tell(AgentEvent::Progress { bytes: held, total });
                self.work_at.get_or_insert(now);
            }
            ReceiverEvent::KeyRequest => self.say(now, &Up::KeyRequest { session }),
            ReceiverEvent::Poisoned(block) => self.say(now, &Up::Poisoned { session, block }),
            ReceiverEvent::Finished { poisoned } => {
                self.say(now, &Up::Finished { session, poisoned });
                self.end_session(now, session);
            }
        }
    }

    pub(super) fn on_epoch(
        &mut self,
        now: Instant,
        session: SessionId,
        epoch: Epoch,
        key: &[u8; 32],
    ) {
        let Some(delivery) = &mut self.delivery else { return };
        let mut sessions = delivery.sessions.iter_mut();
        if let Some(running) = sessions.find(|r| r.machine.session() == session) {
            running.machine.rekey(epoch, key);
            let heard = true;
            self.say(now, &Up::Joined { session, epoch, heard });
        }
    }

    /// What a block lacks comes by catch-up.
    pub(super) fn on_give_up(&mut self, session: SessionId, block: BlockIndex) {
        let Some(delivery) = &mut self.delivery else { return };
        let mut sessions = delivery.sessions.iter_mut();
        if let Some(running) = sessions.find(|r| r.machine.session() == session) {
            running.machine.leave_block(block, &mut delivery.staging);
        }
    }

    pub(super) fn on_ended(&mut self, now: Instant, session: SessionId) {
        self.end_session(now, session);
    }

    /// A session has nothing more to give: the staging goes on alone.
    fn end_session(&mut self, now: Instant, session: SessionId) {
        let Some(delivery) = &mut self.delivery else { return };
        let found = delivery.sessions.iter().position(|r| r.machine.session() == session);
        let Some(at) = found else { return };
        let running = delivery.sessions.remove(at);
        add(&mut self.stats, &running.machine);
        self.events.extend(running.group.map(AgentEvent::Unlisten));
        self.work_at = Some(now);
    }

    pub(super) fn drop_sessions(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        for running in delivery.sessions.drain(..) {
            add(&mut self.stats, &running.machine);
            self.events.extend(running.group.map(AgentEvent::Unlisten));
        }
    }

    pub(super) fn drop_delivery(&mut self) {
        self.drop_sessions();
        self.delivery = None;
        // What else is to be installed is next.
        self.work_at = self.holding.is_due().then_some(Instant::ZERO);
    }

    /// Makes room for another release.
    pub(super) fn put_aside(&mut self) {
        self.drop_sessions();
        if let Some(delivery) = self.delivery.take().filter(|delivery| delivery.staged) {
            self.holding.park(delivery.staging);
        }
    }

    pub(super) fn cancel(&mut self, release: &ReleaseName) {
        self.holding.forget(release);
        if self.delivery.as_ref().is_some_and(|delivery| delivery.release() == *release) {
            self.drop_delivery();
        }
        if let Ok(area) = Area::open(&self.destination) {
            // What stays behind is listed again after the next start.
            let _ = area.abandon(release);
        }
    }

    // --- staging and install ---

    /// A bounded piece of staging work, and what follows when there is no more.
    pub(super) fn work(&mut self, now: Instant, budget: u64) {
        let Some(delivery) = &mut self.delivery else {
            if !self.take_due(now) {
                self.tidy(now);
            }
            return;
        };
        let release = delivery.release();
        match delivery.staging.step(budget) {
            StepOutcome::More => self.work_at = Some(now),
            StepOutcome::Waiting if delivery.sessions.is_empty() => self.want(now, release),
            StepOutcome::Waiting => {}
            // The driver passes that on first: to install takes a while.
            StepOutcome::Complete if !delivery.told => {
                delivery.told = true;
                self.work_at = Some(now);
                self.tell(AgentEvent::Verified { release });
            }
            StepOutcome::Complete if self.holding.is_held_back(&release) => {
                self.stage(now, release);
            }
            StepOutcome::Complete => self.install(now),
            StepOutcome::Failed => {
                if let Some(failure) = delivery.staging.failure().cloned() {
                    self.fail(now, release, &failure);
                }
            }
        }
    }

    /// Removes a little of what was thrown away, while nothing is to be received.
    fn tidy(&mut self, now: Instant) {
        let area = Area::open(&self.destination);
        // What cannot be removed now is tried again after the next installation.
        if let Ok(false) = area.and_then(|area| area.empty_trash(TRASH)) {
            self.work_at = Some(now);
        }
    }

    /// Asks for what is lacking.
    fn want(&mut self, now: Instant, release: ReleaseName) {
        let Some(delivery) = &self.delivery else { return };
        let mut runs: Vec<WantRun> = Vec::new();
        delivery.staging.missing(&mut |run| runs.push(run));
        if runs.is_empty() || !self.member {
            return;
        }
        let pages = runs.chunks(MAX_WANT_RUNS).count();
        for (page, some) in runs.chunks(MAX_WANT_RUNS).take(usize::from(u16::MAX)).enumerate() {
            let more = page + 1 < pages;
            let runs = some.iter().copied().collect();
            self.say(now, &Up::Want { release, page: page as u16, more, runs });
        }
        self.work_at = Some(now + WANT_AGAIN);
    }

    fn install(&mut self, now: Instant) {
        self.drop_finished_sessions(now);
        let Some(mut delivery) = self.delivery.take() else { return };
        self.work_at = Some(now);
        if !self.install_from(now, &mut delivery.staging) {
            self.delivery = Some(delivery);
        }
    }

    /// Installs a whole release, or tells why that fails; `false`: it is not whole.
    pub(super) fn install_from(&mut self, now: Instant, staging: &mut Staged<D>) -> bool {
        let release = staging.release();
        let directory = staging.evidence().map(|checked| checked.directory().to_owned());
        let Some(directory) = directory else { return false };
        let Ok(group) = Component::parse(directory.as_bytes()) else { return false };
        let (state, disk, at) = (&mut self.state, &self.state_disk, self.unix.unwrap_or(0));
        let mut persist = |release: ReleaseName| {
            // PROTOCOL T4
            state.accept(&release, at);
            state.save(disk).map_err(|_| NotPersisted)
        };
        match install(staging, group, &mut persist) {
            Ok(installed) => {
                self.confirm(now, release);
                self.tell(AgentEvent::Installed {
                    group: installed.directory,
                    sequence: release.order.sequence,
                    release: release.digest,
                });
            }
            Err(InstallError::Incomplete) => return false,
            Err(error) => {
                let code = match error {
                    InstallError::Disk(DiskError::NoSpace) => FailCode::NoSpace,
                    InstallError::BadName => FailCode::BadTree,
                    _ => FailCode::Storage,
                };
                let reason = format!("installing: {error:?}");
                self.refuse(now, release, &Failure { code, reason });
            }
        }
        self.work_at.get_or_insert(now);
        true
    }

    /// Everything is here: sessions that still run are told so.
    pub(super) fn drop_finished_sessions(&mut self, now: Instant) {
        let Some(delivery) = &self.delivery else { return };
        let open: Vec<SessionId> = delivery.sessions.iter().map(|r| r.machine.session()).collect();
        for session in open {
            self.say(now, &Up::Finished { session, poisoned: 0 });
        }
        self.drop_sessions();
    }

    fn fail(&mut self, now: Instant, release: ReleaseName, failure: &Failure) {
        self.drop_finished_sessions(now);
        self.drop_delivery();
        self.refuse(now, release, failure);
    }

    /// Tells that a release will not be installed, and why.
    pub(super) fn refuse(&mut self, now: Instant, release: ReleaseName, failure: &Failure) {
        let reason: String = failure.reason.chars().take(150).collect();
        self.say(now, &Up::Failed { release, code: failure.code, reason: &reason });
        let code = failure.code.word();
        self.tell(AgentEvent::Failed { code, reason });
    }
}
