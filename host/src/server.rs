//! The server as a sans-IO machine: everything it decides, and nothing it
//! waits for.
//!
//! ```text
//! release ─▶ deliveries (registry) ─▶ planner ─▶ live sessions ─▶ datagrams
//!                 ▲                                   │
//!                 └── messages of receivers ◀── endpoint ◀── datagrams
//! ```
//!
//! Inputs: [`ServerNode::handle_datagram`], [`ServerNode::handle_timeout`],
//! [`ServerNode::persisted`], [`ServerNode::password_checked`]. Commands: `commands.rs`,
//! `requests.rs`, `accounts.rs`, `tokens.rs`, `releases.rs`. Outputs:
//! [`ServerNode::poll_password_check`], [`ServerNode::poll_transmit`],
//! [`ServerNode::take_changes`], [`ServerNode::poll_timeout`]; views: `views.rs`.
//!
//! Facts become durable in batches: [`ServerNode::take_changes`] gives the next
//! one with its number, [`ServerNode::persisted`] says that it is durable. Before
//! that, no receiver hears what rests on it (`durable.rs`), and no admin gets an
//! answer (the driver waits for [`ServerNode::batch_of_changes`]).

mod accounts;
mod alignment;
mod allowance;
pub mod authority;
mod bounding;
mod chain;
mod clones;
pub mod commands;
mod conditions;
pub mod contents;
mod delivering;
mod demand;
mod doubt;
mod durable;
mod ending;
mod evidence;
mod goodbye;
mod guests;
mod hearing;
mod holding;
mod hours;
pub mod invitations;
mod judged;
mod judging;
mod keyed;
mod lanes;
mod letterbox;
mod link;
mod live;
mod logins;
mod lost;
mod member;
mod messages;
mod newest;
mod overtaking;
#[cfg(test)]
mod patch_tests;
mod patches;
mod patience;
mod people;
mod plan;
mod planner;
mod presence;
mod proposing;
mod rates;
pub mod registry;
pub mod releases;
mod requests;
mod retention;
mod running;
mod savings;
mod sharing;
mod shown;
mod signatures;
mod signing;
mod since;
mod slow;
mod spoiled;
mod strangers;
pub mod tokens;
mod urgency;
pub mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use fleetcast_core::chain::ChainAnswerer;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::erasure::MulAdd;
use fleetcast_core::ids::{PeerSlot, ReceiverId, StaticKey};
use fleetcast_core::server::{HalfOpen, Peer, ServerConfig, ServerEndpoint, ServerEvent};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::transmit::Transmit;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::wire::control::{Down, ReleaseName, encode};
use fleetcast_core::wire::transport::Sending;
use fleetcast_core::wire::{chain as asking, session};

use self::chain::Chain;
use self::clones::Clones;
use self::contents::Contents;
use self::durable::Batches;
use self::guests::Strangers;
use self::hours::Hours;
use self::judged::Judged;
use self::letterbox::Letterbox;
use self::link::{Link, Wanted};
use self::live::LiveSession;
use self::logins::Logins;
use self::patches::Patches;
use self::patience::Patience;
use self::registry::Registry;
use self::savings::Savings;
use self::since::{NetworkSince, Presence};
use crate::health::Health;
use crate::model::{Change, UnixTime};
use crate::packs::ChunkStore;

/// Handshakes under way at a time at most, of some 300 bytes each.
const MAX_HALF_OPEN: usize = 16_384;
/// Messages to a receiver that it has not acknowledged.
const MOST_UNSENT: usize = 4_096;

/// What a server is made from.
pub struct NodeConfig {
    /// Secret X25519 key of the controller.
    pub exchange_secret: [u8; 32],
    /// Its Ed25519 key.
    pub signing: SigningKey,
    /// 32 fresh random bytes.
    pub seed: [u8; 32],
    /// First address of the multicast pool.
    pub pool: Ipv4Addr,
    /// Length of its prefix.
    pub pool_prefix: u8,
    /// Port of multicast sessions.
    pub port: u16,
    /// Cap of all that is sent, in bytes per second.
    pub rate: u64,
    /// Receivers that may be connected at a time.
    pub max_receivers: usize,
}

/// What a server has sent, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of blocks sent once.
    pub payload: u64,
    /// Bytes of multicast datagrams with IP headers.
    pub multicast: u64,
    /// Bytes of catch-up datagrams with IP headers.
    pub unicast: u64,
    /// Parity and repeated symbols.
    pub repairs: u64,
    /// NACK messages received.
    pub nacks: u64,
}

/// The server machine.
pub struct ServerNode<A: Aead> {
    config: NodeConfig,
    endpoint: ServerEndpoint<A, Vec<Peer<A, Letterbox>>, Vec<HalfOpen>, Letterbox>,
    registry: Registry,
    chunks: Arc<dyn ChunkStore>,
    authority: TrustedAuthority,
    chain: Chain,
    /// Answers who asks for the chain without a channel.
    answerer: ChainAnswerer,
    /// Our own key for handshakes, whether the authority document names it or not.
    own: StaticKey,
    links: BTreeMap<PeerSlot, Link>,
    connected: BTreeMap<ReceiverId, PeerSlot>,
    sessions: Vec<LiveSession<A>>,
    /// Which session is asked first for datagrams: they take turns.
    turn: usize,
    next_session: u32,
    contents: BTreeMap<Digest, Arc<Contents>>,
    patches: Patches,
    wanted: BTreeMap<(ReceiverId, Digest), Wanted>,
    /// Releases that are to be activated later.
    scheduled: BTreeSet<Digest>,
    traffic: BTreeMap<Digest, Traffic>,
    total: Traffic,
    plan_at: Option<Instant>,
    /// While patches are to be made.
    patch_at: Option<Instant>,
    batches: Batches,
    rng: ChaCha20Rng,
    started: Instant,
    /// What the driver has noted.
    noted: Health,
    /// With receivers that ask.
    patience: Patience,
    /// Passwords that are being checked.
    logins: Logins,
    clones: Clones,
    hours: Hours,
    presence: Presence,
    savings: Savings,
    /// Since when the network is as it should not be.
    network: NetworkSince,
    judged: Judged,
    strangers: Strangers,
}

impl<A: Aead> ServerNode<A> {
    /// A server with the facts of a catalog; `authority` is the chain's last document.
    #[must_use]
    pub fn new(
        config: NodeConfig,
        registry: Registry,
        chunks: Arc<dyn ChunkStore>,
        authority: TrustedAuthority,
        authority_chain: Vec<(u32, Vec<u8>)>,
        now: Instant,
    ) -> Self {
        let strangers = Strangers::new(config.max_receivers);
        let mut rng = ChaCha20Rng::from_seed(config.seed);
        let [mut seed, mut chain_seed] = [[0; 32]; 2];
        rng.fill_bytes(&mut seed);
        rng.fill_bytes(&mut chain_seed);
        let endpoint_config = ServerConfig { static_secret: config.exchange_secret, seed };
        let places = 0..Strangers::places(config.max_receivers);
        let peers = places.map(|_| Peer::over(Letterbox::default())).collect();
        // Small places, and many: a whole fleet may begin at once.
        let half_open = 0..config.max_receivers.clamp(16, MAX_HALF_OPEN);
        let half_open = half_open.map(|_| HalfOpen::vacant()).collect();
        let scheduled = registry.releases().filter(|r| r.terms.is_scheduled());
        let scheduled = scheduled.map(|release| release.name.digest).collect();
        let mut node = Self {
            endpoint: ServerEndpoint::new(&endpoint_config, peers, half_open, now),
            batches: Batches::new(registry.next_delivery()),
            config,
            registry,
            chunks,
            authority,
            chain: Chain::of(authority_chain),
            answerer: ChainAnswerer::new(chain_seed, now),
            own: *StaticPair::from_secret(&endpoint_config.static_secret).public(),
            links: BTreeMap::new(),
            connected: BTreeMap::new(),
            sessions: Vec::new(),
            turn: 0,
            next_session: rng.next_u32(),
            contents: BTreeMap::new(),
            patches: Patches::default(),
            wanted: BTreeMap::new(),
            scheduled,
            traffic: BTreeMap::new(),
            total: Traffic::default(),
            plan_at: None,
            patch_at: None,
            rng,
            started: now,
            noted: Health::default(),
            patience: Patience::default(),
            logins: Logins::default(),
            clones: Clones::default(),
            hours: Hours::default(),
            presence: Presence::default(),
            savings: Savings::default(),
            network: NetworkSince::default(),
            judged: Judged::default(),
            strangers,
        };
        node.recall_schedule();
        node
    }

    // --- inputs ---

    /// Tells the wall clock, in seconds since 1970; before any other call.
    pub const fn set_time(&mut self, now: UnixTime) {
        self.registry.set_time(now);
    }

    /// Takes a datagram that came to the unicast socket.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        match datagram.first() {
            Some(&session::TYPE) => return,
            // Whoever asks for the chain changes nothing here.
            Some(&asking::REQUEST) => {
                return self.answerer.handle_datagram(now, from, datagram, &self.chain);
            }
            _ => {}
        }
        self.endpoint.handle_datagram(now, from, datagram, &mut self.registry);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(now, event, datagram);
        }
        self.settle(now);
    }

    /// The time told by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(now, event, &[]);
        }
        for session in &mut self.sessions {
            session.handle_timeout(now);
        }
        self.drop_strangers(now);
        self.follow_hours();
        self.note_presence();
        self.watch_network();
        self.invite_again(now);
        self.make_patches(now);
        self.settle(now);
    }

    /// Batch `batch` of changes is durable, and all before it: what rests on them may be said.
    pub fn persisted(&mut self, now: Instant, batch: u64) {
        self.chain.persisted(batch);
        if self.batches.persisted(batch) && self.plan_at.is_none() {
            // A plan has passed these deliveries over.
            self.plan_soon(now, Duration::ZERO);
        }
        let waiting = self.links.iter().filter(|(_, link)| !link.outbox.is_empty());
        for slot in waiting.map(|(&slot, _)| slot).collect::<Vec<_>>() {
            self.flush(now, slot);
        }
        self.settle(now);
    }

    // --- outputs ---

    /// Changes that are not durable yet, as the next batch with its number.
    pub fn take_changes(&mut self) -> Option<(u64, Vec<Change>)> {
        if !self.registry.has_changes() {
            return None;
        }
        let batch = self.batches.take(self.registry.next_delivery());
        Some((batch, self.registry.take_changes()))
    }

    /// The number of the batch that will hold what was changed last.
    #[must_use]
    pub fn batch_of_changes(&self) -> u64 {
        self.batches.of_changes(self.registry.has_changes())
    }

    /// The next datagrams: answers, then of channels, then of sessions in turn.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        mul: &impl MulAdd,
    ) -> Option<Transmit> {
        let answer = self.answerer.poll_transmit(out);
        if let Some(transmit) = answer.or_else(|| self.endpoint.poll_transmit(now, out)) {
            return Some(transmit);
        }
        let count = self.sessions.len();
        for i in 0..count {
            let at = (self.turn + i) % count;
            if let Some(transmit) = self.sessions[at].poll_transmit(now, out, mul) {
                self.turn = at + 1;
                return Some(transmit);
            }
        }
        None
    }

    /// When `handle_timeout` or `poll_transmit` has something to do again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter_map(LiveSession::poll_timeout);
        let own = self.plan_at.into_iter().chain(self.patch_at);
        let own = own.chain(self.strangers.poll_timeout());
        sessions.chain(self.endpoint.poll_timeout()).chain(own).min()
    }

    fn on_event(&mut self, now: Instant, event: ServerEvent, datagram: &[u8]) {
        match event {
            ServerEvent::Connected { slot, key, token, constrained, .. } => {
                self.on_connected(now, slot, (key, token, constrained));
            }
            ServerEvent::Message { slot, body, .. } => {
                let body = datagram.get(body).unwrap_or(&[]).to_vec();
                self.on_message(now, slot, &body);
            }
            ServerEvent::Drained { slot } => self.on_drained(now, slot),
            ServerEvent::Moved { slot } => self.on_moved(now, slot),
            ServerEvent::Gone { slot, .. } => self.on_gone(now, slot),
            ServerEvent::OrderRegressed { key } => {
                let id = ReceiverId::of(&key);
                if self.clones.note(id, self.registry.time()) {
                    let name = self.name_of(&id);
                    let result = "storage set back or key used twice";
                    self.registry.log("server", "identity-regressed", &name, result);
                }
            }
        }
    }

    /// What follows from any input: session events, plans.
    fn settle(&mut self, now: Instant) {
        self.settle_sessions(now);
        self.activate_due(now);
        if self.plan_at.is_some_and(|at| at <= now) {
            self.plan_at = None;
            self.judge_members(now);
            self.plan(now);
        }
    }

    /// Sends a message reliably, once all that was changed until now is durable
    /// and the channel has room.
    fn tell(&mut self, now: Instant, slot: PeerSlot, message: &Down<'_>) {
        let mut buffer = [0; fleetcast_core::limits::MAX_MESSAGE];
        let Ok(bytes) = encode(message, &mut buffer) else { return };
        let batch = self.batch_of_changes();
        let Some(link) = self.links.get_mut(&slot) else { return };
        if link.outbox.len() >= MOST_UNSENT {
            // It asks and does not read: what it is owed it learns on its next channel.
            self.endpoint.disconnect(slot);
            return self.drop_link(now, slot);
        }
        link.outbox.push(batch, bytes.to_vec());
        self.flush(now, slot);
    }

    fn flush(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(&slot) else { return };
        while let Some(message) = link.outbox.front(&self.batches) {
            if self.endpoint.send(now, slot, Sending::Reliable, message).is_err() {
                return;
            }
            link.outbox.pop();
        }
    }

    /// Notes what a receiver tells of that it has installed, in groups that are there.
    fn note_holds(&mut self, slot: PeerSlot, release: &ReleaseName) {
        if let Some(link) = self.links.get_mut(&slot) {
            link.holds.insert(release.group, *release);
        }
    }

    /// The contents of a release, read once.
    fn contents_of(&mut self, release: &ReleaseName) -> Option<Arc<Contents>> {
        if let Some(contents) = self.contents.get(&release.digest) {
            return Some(Arc::clone(contents));
        }
        let record = self.registry.release(&release.digest)?;
        let contents = Contents::read(&record.document, &*self.chunks).map(Arc::new).ok()?;
        self.contents.insert(release.digest, Arc::clone(&contents));
        Some(contents)
    }

    /// A multicast group of the pool for a session, none that shares a MAC
    /// address with the local network control block 224.0.0/24.
    fn pool_address(&self, session: u32) -> SocketAddr {
        let mask = u32::MAX.checked_shr(self.config.pool_prefix.into()).unwrap_or(0);
        let base = u32::from(self.config.pool) & !mask;
        let mut address = base | (session & mask);
        if address & 0x7F_FFFF < 256 {
            address |= 256 & mask;
        }
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(address), self.config.port))
    }
}
