//! The nodes of a simulated fleet: the real machines, and what a driver adds to
//! them: storage, boots, a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetcast::agent::{Agent, AgentConfig, AgentError, AgentEvent, Enrolment};
use fleetcast::model::Change;
use fleetcast::packs::{ChunkStore, MemoryChunks, StoreError};
use fleetcast::server::registry::Registry;
use fleetcast::server::{NodeConfig, ServerNode};
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{ReceiverId, StaticKey};
use fleetcast_core::time::{Duration, Instant};

use crate::admin::{Admin, EPOCH};
use crate::audit::AuditedAead;
use crate::catalog::Catalog;
use crate::disk::{Abilities, SimDisk};
use crate::oracle::Oracle;
use crate::random::Random;

/// A receiver machine in a simulation.
pub type SimAgent = Agent<SimDisk, AuditedAead>;
/// A server machine in a simulation.
pub type SimServer = ServerNode<AuditedAead>;

/// Longest time from a crash of the server to its restart.
const SERVER_DOWN_MS: u64 = 8_000;
/// The same for a receiver.
const RECEIVER_DOWN_MS: u64 = 20_000;

/// A receiver: its machine while it is up, and all that outlives a crash.
pub struct Receiver {
    /// The machine; `None` while it is down.
    pub agent: Option<SimAgent>,
    /// The destination.
    pub destination: SimDisk,
    /// The state directory.
    pub state: SimDisk,
    /// When it boots again, while it is down.
    pub boots_at: Option<Instant>,
    /// How far its clock is off, in seconds; `None` without a clock.
    pub clock: Option<i64>,
    /// Its public device key.
    pub key: StaticKey,
    config: ReceiverConfig,
    random: Random,
}

/// What does not change about a receiver.
struct ReceiverConfig {
    secret: [u8; 32],
    signing_seed: [u8; 32],
    name: String,
    enrolment: Enrolment,
}

impl Receiver {
    /// A receiver that was never started.
    #[must_use]
    pub fn new(
        mut random: Random,
        name: String,
        enrolment: Enrolment,
        abilities: Abilities,
    ) -> Self {
        let (secret, signing_seed) = (random.bytes(), random.bytes());
        let key = *StaticPair::from_secret(&secret).public();
        Self {
            agent: None,
            destination: SimDisk::new(abilities),
            state: SimDisk::new(abilities),
            boots_at: Some(Instant::ZERO),
            clock: Some(0),
            key,
            config: ReceiverConfig { secret, signing_seed, name, enrolment },
            random,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ReceiverId {
        ReceiverId::of(&self.key)
    }

    /// Starts the machine as the driver does: from the state, or with the code
    /// of the enrolment where there is none yet.
    pub fn boot(&mut self, now: Instant) {
        self.boots_at = None;
        for enrolment in [None, Some(self.config.enrolment.clone())] {
            let config = AgentConfig {
                secret: self.config.secret,
                signing_seed: self.config.signing_seed,
                name: self.config.name.clone(),
                seed: self.random.bytes(),
                enrolment,
                login: None,
            };
            match Agent::open(config, self.destination.clone(), self.state.clone(), now) {
                Ok(agent) => self.agent = Some(agent),
                Err(AgentError::NotEnrolled) => continue,
                // A supervisor starts it again.
                Err(AgentError::Storage(_)) => self.boots_at = Some(now + Duration::from_secs(1)),
            }
            break;
        }
        self.tell_time(now);
    }

    /// The power fails; what was not synced is lost in part.
    pub fn crash(&mut self, now: Instant) {
        self.agent = None;
        // Seeds 0 and 1 lose all and nothing.
        for disk in [&self.destination, &self.state] {
            disk.reboot(self.random.below(6));
        }
        let down = self.random.wild(10.0, RECEIVER_DOWN_MS as f64) as u64;
        self.boots_at = Some(now + Duration::from_millis(down));
    }

    /// Whether the power has failed in a storage operation.
    #[must_use]
    pub fn has_lost_power(&self) -> bool {
        self.destination.is_dead() || self.state.is_dead()
    }

    /// Tells the machine what its clock says.
    pub fn tell_time(&mut self, now: Instant) {
        let clock = self.clock.map(|off| unix(now).saturating_add_signed(off));
        if let Some(agent) = &mut self.agent {
            agent.set_time(clock);
        }
    }

    /// When the machine, or its boot, is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agent.as_ref().map_or(self.boots_at, Agent::poll_timeout)
    }

    /// What the machine tells.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.agent.as_mut()?.poll_event()
    }
}

/// The chunk store of a server, and how often it was read.
struct CountedChunks(Arc<MemoryChunks>, Arc<AtomicU64>);

impl ChunkStore for CountedChunks {
    fn put(&self, id: Digest, record: &[u8]) -> Result<bool, StoreError> {
        self.0.put(id, record)
    }

    fn record_len(&self, id: &Digest) -> Result<Option<usize>, StoreError> {
        self.0.record_len(id)
    }

    fn read(&self, id: &Digest, out: &mut [u8]) -> Result<usize, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(id, out)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }

    fn sync_ahead(&self) {
        self.0.sync_ahead();
    }

    fn is_durable(&self, id: &Digest) -> Result<bool, StoreError> {
        self.0.is_durable(id)
    }

    fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        self.0.collect(keep)
    }
}

/// The server: its machine while it is up, and all that outlives a crash.
pub struct Server {
    /// The machine; `None` while it is down.
    pub node: Option<SimServer>,
    /// The facts that are durable.
    pub catalog: Catalog,
    /// The chunks, which are durable.
    pub chunks: Arc<MemoryChunks>,
    /// When it boots again, while it is down.
    pub boots_at: Option<Instant>,
    /// How often it has started.
    pub boots: u32,
    /// How far its clock is off, in seconds.
    pub clock: i64,
    /// Chunks that it read at most between two looks at what has come.
    pub most_reads: u64,
    reads: Arc<AtomicU64>,
    rate: u64,
    receivers: usize,
    random: Random,
}

impl Server {
    /// A server that was never started.
    #[must_use]
    pub fn new(random: Random, receivers: usize, rate: u64) -> Self {
        Self {
            node: None,
            catalog: Catalog::default(),
            chunks: Arc::new(MemoryChunks::default()),
            boots_at: None,
            boots: 0,
            clock: 0,
            most_reads: 0,
            reads: Arc::default(),
            rate,
            receivers,
            random,
        }
    }

    /// Starts the machine from what is durable.
    pub fn boot(&mut self, now: Instant, admin: &Admin) {
        self.boots_at = None;
        self.boots += 1;
        let config = NodeConfig {
            exchange_secret: admin.exchange_secret,
            signing: SigningKey::from_seed(&admin.signing_seed),
            seed: self.random.bytes(),
            pool: [239, 77, 0, 0].into(),
            pool_prefix: 16,
            port: 7_413,
            rate: self.rate,
            max_receivers: self.receivers + 16,
        };
        let registry = Registry::load(self.catalog.snapshot());
        let (document, trusted) = admin.authority.clone();
        let chain = vec![(1, document)];
        let chunks = CountedChunks(Arc::clone(&self.chunks), Arc::clone(&self.reads));
        let chunks = Arc::new(chunks);
        let mut node = ServerNode::new(config, registry, chunks, trusted, chain, now);
        node.set_time(unix(now).saturating_add_signed(self.clock));
        self.node = Some(node);
    }

    /// Tells the machine what its clock says.
    pub fn tell_time(&mut self, now: Instant) {
        if let Some(node) = &mut self.node {
            node.set_time(unix(now).saturating_add_signed(self.clock));
        }
    }

    /// The time told by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let before = self.reads.load(Ordering::Relaxed);
        if let Some(node) = &mut self.node {
            node.handle_timeout(now);
        }
        self.most_reads = self.most_reads.max(self.reads.load(Ordering::Relaxed) - before);
    }

    /// It stops dead: only what is durable stays.
    pub fn crash(&mut self, now: Instant) {
        self.node = None;
        self.catalog.crash();
        let down = self.random.wild(10.0, SERVER_DOWN_MS as f64) as u64;
        self.boots_at = Some(now + Duration::from_millis(down));
    }

    /// It ends in order: what it has said is durable, and it comes back.
    pub fn stop(&mut self, now: Instant, down: Duration) {
        self.write_facts(now, Duration::ZERO, &mut Oracle::default());
        self.node = None;
        while self.catalog.persisted(Instant::FAR_FUTURE).is_some() {}
        self.boots_at = Some(now + down);
    }

    /// Hands new facts to the catalog; `slowest` is the longest that it takes.
    /// The oracle reads the lines of the log among them.
    pub fn write_facts(&mut self, now: Instant, slowest: Duration, oracle: &mut Oracle) {
        let Some(node) = &mut self.node else { return };
        // One writer: what comes up meanwhile is its next batch.
        if self.catalog.is_idle()
            && let Some((batch, changes)) = node.take_changes()
        {
            for change in &changes {
                if let Change::Log(line) = change {
                    oracle.logged(&line.action, &line.subject);
                }
            }
            let takes = self.random.below(slowest.as_micros() + 1);
            self.catalog.write(now, Duration::from_micros(takes), batch, changes);
        }
    }

    /// When the machine, or its boot, is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.node.as_ref().map_or(self.boots_at, ServerNode::poll_timeout)
    }
}

/// Address of the server.
#[must_use]
pub fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7_411))
}

/// The first address of a receiver.
#[must_use]
pub fn receiver_address(receiver: usize) -> SocketAddr {
    let [high, low] = (receiver as u16).to_be_bytes();
    SocketAddr::from(([10, 1, high, low], 40_000))
}

/// The true time, in seconds since 1970.
#[must_use]
pub const fn unix(now: Instant) -> u64 {
    EPOCH + now.as_micros() / 1_000_000
}
