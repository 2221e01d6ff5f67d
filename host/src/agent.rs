//! The receiver as a sans-IO machine: endpoint, sessions, staging, install.
//!
//! ```text
//! datagrams ─▶ endpoint ─▶ messages ─▶ one delivery at a time:
//!     └──────▶ sessions ─▶ staging ─▶ install ─▶ receipt
//! ```
//!
//! Inputs: [`Agent::handle_datagram`], [`Agent::handle_timeout`],
//! [`Agent::set_time`], [`Agent::ask`]. Outputs: [`Agent::poll_transmit`],
//! [`Agent::poll_event`], [`Agent::poll_timeout`]. Its storage is two disks:
//! the destination, and the state directory.

mod asked;
mod asking;
mod delivering;
mod delivery;
mod event;
mod evidence;
mod following;
mod freshness;
pub mod gate;
mod held;
mod holding;
mod judging;
mod messages;
mod person;
mod pieces;
mod queue;
pub mod state;
mod succession;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::device::DeviceSigner;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::ids::{GroupId, ReceiverId, StaticKey};
use fleetcast_core::limits::{MAX_DATAGRAM, MAX_MESSAGE, SEND_WINDOW};
use fleetcast_core::receiver::{ReceiverConfig, ReceiverEndpoint, ReceiverEvent};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::transmit::Transmit;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::wire::control::{FailCode, Up, encode};
use fleetcast_core::wire::transport::Sending;
use fleetcast_core::wire::{chain, session};

use self::asked::Asking;
use self::delivery::Delivery;
pub use self::event::{AgentEvent, AgentStats};
pub use self::freshness::Behind;
use self::held::Holding;
pub use self::person::{Ask, GroupSeen, Login, Outcome, Reply, StatusSeen};
use self::pieces::Pieces;
use self::queue::Queue;
pub use self::state::Enrolment;
use self::state::State;
use self::succession::{Succession, first_controller};
use crate::disk::{Disk, DiskError};
use crate::health::Health;
use crate::install::recover;
use crate::staging::area::Area;
use crate::staging::sweep::Rootless;

/// Bytes of staging work between two looks at the network.
const WORK: u64 = 1024 * 1024;
/// When to ask again for what is lacking and nobody sends.
const WANT_AGAIN: Duration = Duration::from_secs(20);

/// What a receiver is made from.
pub struct AgentConfig {
    /// Secret X25519 key of the device.
    pub secret: [u8; 32],
    /// 32 secret random bytes for its signatures, which the static key tells the key of.
    pub signing_seed: [u8; 32],
    /// The name that it asks for.
    pub name: String,
    /// 32 fresh random bytes.
    pub seed: [u8; 32],
    /// What the enrolment code told; `None`: what the state remembers.
    pub enrolment: Option<Enrolment>,
    /// The account that is to stand behind it.
    pub login: Option<Login>,
}

/// Why a receiver cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It has no enrolment, neither new nor remembered.
    #[error("this receiver is not enrolled")]
    NotEnrolled,
    /// The destination or the state cannot be read or written.
    #[error("storage: {0}")]
    Storage(#[from] DiskError),
}

/// The receiver machine.
pub struct Agent<D: Disk, A: Aead> {
    endpoint: ReceiverEndpoint<A>,
    server_key: StaticKey,
    device: StaticKey,
    signing: DeviceSigner,
    name: String,
    destination: D,
    state_disk: D,
    state: State,
    authority: Option<TrustedAuthority>,
    pieces: Option<Pieces>,
    succession: Succession,
    queue: Queue,
    delivery: Option<Delivery<D, A>>,
    holding: Holding<D>,
    events: VecDeque<AgentEvent>,
    unix: Option<u64>,
    free: u64,
    work_at: Option<Instant>,
    seeds: u64,
    stats: AgentStats,
    /// Of our last Hello.
    nonce: Option<[u8; 16]>,
    health: Health,
    member: bool,
    /// It waits for an admin's approval, as it was told on this channel.
    waits: bool,
    asking: Asking,
    /// Groups whose membership the server has shown on this channel (PROTOCOL G6).
    certified: BTreeSet<GroupId>,
    /// Until the server has answered it.
    login: Option<Login>,
}

impl<D: Disk, A: Aead> Agent<D, A> {
    /// Opens both disks, finishes or undoes what a crash left, and begins to connect.
    ///
    /// # Errors
    /// [`AgentError`] when there is no enrolment or the storage fails.
    pub fn open(
        mut config: AgentConfig,
        destination: D,
        state_disk: D,
        now: Instant,
    ) -> Result<Self, AgentError> {
        let mut state = State::load(&state_disk)?;
        if let Some(enrolment) = config.enrolment.take() {
            let moved = state.enrolment.as_ref().is_none_or(|e| e.authority != enrolment.authority);
            if moved && state.authority.as_ref().is_none_or(|(d, _)| *d != enrolment.authority) {
                // PROTOCOL T4: the orders too, since it may be the same fleet under another code.
                let (boot, accepted) = (state.boot, std::mem::take(&mut state.accepted));
                state = State { boot, accepted, ..State::default() };
            }
            state.enrolment = Some(enrolment);
        }
        let enrolment = state.enrolment.clone().ok_or(AgentError::NotEnrolled)?;
        // PROTOCOL H6: durable before the first initiation.
        state.boot += 1;
        state.save(&state_disk)?;
        let area = Area::open(&destination)?;
        // What it finishes is held now, and told with a receipt like all that is held.
        let recovered = recover(&area)?;
        let server_key = first_controller(&state, &enrolment);
        let endpoint_config = endpoint_config(&config, &enrolment, server_key, state.boot);
        let seeds = config.seed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut agent = Self {
            endpoint: ReceiverEndpoint::new(&endpoint_config, now),
            server_key,
            device: *StaticPair::from_secret(&config.secret).public(),
            signing: DeviceSigner::new(&config.secret, &config.signing_seed),
            name: config.name,
            free: destination.space().map_or(0, |space| space.free),
            destination,
            state_disk,
            authority: state.trusted(),
            state,
            pieces: None,
            succession: Succession::new(enrolment.server, &config.seed),
            queue: Queue::default(),
            delivery: None,
            holding: Holding::default(),
            events: recovered.unfinished.into_iter().map(unfinished).collect(),
            unix: None,
            // There may be something to throw away.
            work_at: Some(now),
            seeds,
            stats: AgentStats::default(),
            nonce: None,
            health: Health::default(),
            member: false,
            waits: false,
            asking: Asking::default(),
            certified: BTreeSet::new(),
            login: config.login,
        };
        agent.sweep(Rootless::Remove);
        Ok(agent)
    }

    // --- inputs ---

    /// Tells the wall clock in seconds since 1970, or that there is none.
    pub const fn set_time(&mut self, unix: Option<u64>) {
        self.unix = unix;
    }

    /// Takes a datagram of either socket; decrypts it in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        match datagram.first() {
            Some(&session::TYPE) => self.on_session_datagram(now, datagram),
            Some(&chain::ANSWER) => self.on_chain_datagram(now, datagram),
            _ => {
                self.endpoint.handle_datagram(now, from, datagram);
                while let Some(event) = self.endpoint.poll_event() {
                    self.on_endpoint_event(now, event, datagram);
                }
            }
        }
        self.settle(now);
    }

    /// The time told by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(now, event, &[]);
        }
        self.look_for_successor(now);
        self.sessions_timeout(now);
        if self.work_at.is_some_and(|at| at <= now) {
            self.work_at = None;
            self.work(now, WORK);
        }
        self.settle(now);
    }

    /// Tells the server that nothing follows; for a driver that stops.
    pub fn leave(&mut self, now: Instant) {
        self.mention(now, &Up::Bye);
    }

    // --- outputs ---

    /// The next datagram.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let of_channel = self.endpoint.poll_transmit(now, out);
        of_channel.or_else(|| self.succession.asker.poll_transmit(now, out))
    }

    /// When `handle_timeout` has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.delivery.as_ref().and_then(Delivery::poll_timeout);
        let chain = self.succession.asker.poll_timeout();
        let timeouts = sessions.into_iter().chain(self.endpoint.poll_timeout()).chain(chain);
        timeouts.chain(self.work_at).min()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    // --- getters ---

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ReceiverId {
        ReceiverId::of(&self.device)
    }

    /// Whether the server has acknowledged everything that was said.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty()
            && (!self.endpoint.is_connected() || self.endpoint.room() == SEND_WINDOW)
    }

    /// Where its server is.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        self.state.enrolment.as_ref().map_or(any, |enrolment| enrolment.server)
    }

    /// What it has received.
    #[must_use]
    pub fn stats(&self) -> AgentStats {
        let mut stats = self.stats;
        if let Some(delivery) = &self.delivery {
            delivery.add_stats(&mut stats);
        }
        stats
    }

    /// The persisted facts, for the tests' oracles.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    fn on_endpoint_event(&mut self, now: Instant, event: ReceiverEvent, datagram: &[u8]) {
        match event {
            ReceiverEvent::Connected => self.greet(now),
            ReceiverEvent::Message { body, .. } => {
                let body = datagram.get(body).unwrap_or(&[]).to_vec();
                self.on_message(now, &body);
            }
            ReceiverEvent::Drained => self.flush(now),
            ReceiverEvent::Disconnected { .. } => self.on_disconnected("server-silent"),
        }
    }

    /// There is no channel any more, and nothing that was to be said in it.
    fn on_disconnected(&mut self, reason: &'static str) {
        self.queue.clear();
        self.drop_sessions();
        self.forsake();
        if std::mem::take(&mut self.member) {
            self.tell(AgentEvent::Disconnected { reason });
        }
    }

    fn settle(&mut self, now: Instant) {
        self.drain_sessions(now);
        self.flush(now);
    }

    fn tell(&mut self, event: AgentEvent) {
        self.events.push_back(event);
    }

    /// Sends a message reliably, now or when the channel has room.
    fn say(&mut self, now: Instant, message: &Up<'_>) {
        self.queue.push(message);
        self.flush(now);
    }

    /// Sends a message that may be lost.
    fn mention(&mut self, now: Instant, message: &Up<'_>) {
        let mut buffer = [0; MAX_MESSAGE];
        if let Ok(bytes) = encode(message, &mut buffer) {
            // When the channel is full the next report says more.
            let _ = self.endpoint.send(now, Sending::Unreliable, bytes);
        }
    }

    fn flush(&mut self, now: Instant) {
        while let Some(message) = self.queue.first() {
            if self.endpoint.send(now, Sending::Reliable, message).is_err() {
                return;
            }
            self.queue.pop();
        }
    }

    fn save(&self) -> Result<(), DiskError> {
        self.state.save(&self.state_disk)
    }
}

/// An installation of an earlier run that cannot be finished now: the others go on.
fn unfinished((stage, error): (String, DiskError)) -> AgentEvent {
    let reason = format!("what was begun in {stage} cannot be finished: {error}");
    AgentEvent::Failed { code: FailCode::Storage.word(), reason }
}

fn endpoint_config(
    config: &AgentConfig,
    enrolment: &Enrolment,
    server_key: StaticKey,
    boot: u64,
) -> ReceiverConfig {
    ReceiverConfig {
        static_secret: config.secret,
        server_key,
        server: enrolment.server,
        token: enrolment.token,
        boot,
        constrained: false,
        max_datagram: MAX_DATAGRAM as u16,
        seed: config.seed,
    }
}
