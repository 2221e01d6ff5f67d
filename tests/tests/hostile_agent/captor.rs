//! A server with the controller's keys that says what a test wants, and its victim.

use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, PeerSlot, ReleaseOrder, SessionId, StaticKey, TokenId,
};
use fleetcast_core::limits::PEER_TIMEOUT;
use fleetcast_core::server::{
    Directory, HalfOpen, Peer, ServerConfig, ServerEndpoint, ServerEvent,
};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{Down, Invitation, ReleaseName, Standing, Up, decode, encode};
use fleetcast_core::wire::transport::{OVERHEAD, Sending};
use fleetcast_tests::admin::Admin;
use fleetcast_tests::disk::{Abilities, SimDisk};
use fleetcast_tests::node::{receiver_address, server_address};

const DISK: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };
pub(crate) const SECRET: [u8; 32] = [5; 32];

pub(crate) fn release(group: GroupId) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: 0, sequence: 9 };
    ReleaseName { group, order, digest: Digest([7; 32]) }
}

/// Knows everybody and keeps nothing.
struct Anybody;

impl Directory for Anybody {
    fn order(&self, _key: &StaticKey) -> Option<(u64, u64)> {
        None
    }
    fn raise_order(&mut self, _key: &StaticKey, _order: (u64, u64)) {}
    fn token(&self, _id: &TokenId) -> Option<[u8; 16]> {
        None
    }
}

/// A server with the controller's keys that says what a test wants, and its victim.
pub(crate) struct Captor {
    pub(crate) now: Instant,
    endpoint: ServerEndpoint<ChaCha, Vec<Peer<ChaCha>>, Vec<HalfOpen>>,
    pub(crate) victim: Agent<SimDisk, ChaCha>,
    /// Where the victim installs.
    pub(crate) destination: SimDisk,
    slot: Option<PeerSlot>,
    pub(crate) events: Vec<AgentEvent>,
    /// What the victim has said.
    pub(crate) heard: Vec<Vec<u8>>,
    /// Of what the victim sends only bare acknowledgements are read.
    pub(crate) deaf: bool,
}

impl Captor {
    pub(crate) fn new(admin: &Admin) -> Self {
        let config = ServerConfig { static_secret: admin.exchange_secret, seed: [4; 32] };
        let peers = (0..4).map(|_| Peer::vacant()).collect();
        let half_open = (0..2).map(|_| HalfOpen::vacant()).collect();
        let enrolment = Enrolment {
            server: server_address(),
            server_key: admin.server_key(),
            authority: admin.authority.1.digest(),
            token: None,
        };
        let config_of_victim = AgentConfig {
            secret: SECRET,
            signing_seed: [6; 32],
            name: "victim".to_owned(),
            seed: [7; 32],
            enrolment: Some(enrolment),
            login: None,
        };
        let (destination, state) = (SimDisk::new(DISK), SimDisk::new(DISK));
        let victim = Agent::open(config_of_victim, destination.clone(), state, Instant::ZERO);
        let mut captor = Self {
            now: Instant::ZERO,
            endpoint: ServerEndpoint::new(&config, peers, half_open, Instant::ZERO),
            victim: victim.expect("an empty disk"),
            destination,
            slot: None,
            events: Vec::new(),
            heard: Vec::new(),
            deaf: false,
        };
        for _ in 0..100 {
            captor.exchange();
            if captor.slot.is_some() {
                return captor;
            }
            captor.now += Duration::from_millis(50);
        }
        panic!("no channel");
    }

    pub(crate) fn exchange(&mut self) {
        let mut buffer = [0; 1_472];
        self.victim.handle_timeout(self.now);
        self.endpoint.handle_timeout(self.now);
        for _ in 0..50 {
            let mut quiet = true;
            while let Some(sent) = self.victim.poll_transmit(self.now, &mut buffer) {
                quiet = false;
                if self.deaf && sent.len > OVERHEAD {
                    continue;
                }
                let from = receiver_address(0);
                let datagram = &mut buffer[..sent.len];
                self.endpoint.handle_datagram(self.now, from, datagram, &mut Anybody);
                while let Some(event) = self.endpoint.poll_event() {
                    match event {
                        ServerEvent::Connected { slot, .. } => self.slot = Some(slot),
                        ServerEvent::Message { body, .. } => {
                            self.heard.push(buffer[body].to_vec());
                        }
                        _ => {}
                    }
                }
            }
            while let Some(sent) = self.endpoint.poll_transmit(self.now, &mut buffer) {
                quiet = false;
                self.victim.handle_datagram(self.now, server_address(), &mut buffer[..sent.len]);
            }
            while let Some(event) = self.victim.poll_event() {
                self.events.push(event);
            }
            if quiet {
                return;
            }
        }
    }

    pub(crate) fn say(&mut self, message: &Down<'_>) {
        let mut body = [0; 1_159];
        let body = encode(message, &mut body).expect("it fits").to_vec();
        self.say_bytes(&body);
    }

    pub(crate) fn say_bytes(&mut self, body: &[u8]) {
        let slot = self.slot.expect("connected");
        for _ in 0..100 {
            let sent = self.endpoint.send(self.now, slot, Sending::Reliable, body).is_ok();
            self.exchange();
            if sent {
                return;
            }
            self.now += Duration::from_millis(100);
        }
        panic!("the channel stays full");
    }

    /// The channel ends, and the victim makes another one.
    pub(crate) fn reconnect(&mut self) {
        self.now += PEER_TIMEOUT + Duration::from_secs(1);
        (self.slot, self.heard) = (None, Vec::new());
        for _ in 0..400 {
            self.exchange();
            if self.slot.is_some() && !self.heard.is_empty() {
                return;
            }
            self.now += Duration::from_millis(50);
        }
        panic!("no other channel");
    }

    /// Makes the victim trust its fleet and a member of a group.
    pub(crate) fn take_in(&mut self, admin: &mut Admin, group: GroupId) {
        let document = admin.authority.0.clone();
        let total = document.len() as u16;
        self.say(&Down::Authority { version: 1, offset: 0, total, bytes: &document });
        self.make_member(admin, group);
        let (id, time, nonce) = (self.victim.id(), 0, [0; 16]);
        let standing = Standing::Member;
        self.say(&Down::Welcome { id, name: "victim", standing, time, nonce });
    }

    /// Makes the victim a member of a group.
    pub(crate) fn make_member(&mut self, admin: &mut Admin, group: GroupId) {
        let device = *StaticPair::from_secret(&SECRET).public();
        let certificate = admin.certificate(device, group, 1);
        self.say(&Down::Membership { certificate: &certificate, voucher: &[] });
    }

    /// Lets time pass, in steps of 50 ms.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(50);
            self.exchange();
        }
    }

    /// How often the victim has said what `is` picks.
    pub(crate) fn times_said(&self, is: impl Fn(&Up<'_>) -> bool) -> usize {
        self.heard.iter().filter(|body| decode(body).is_ok_and(|up| is(&up))).count()
    }

    /// Releases that failed with this code.
    pub(crate) fn failed(&self, code: &str) -> usize {
        let failed =
            |event: &&AgentEvent| matches!(event, AgentEvent::Failed { code: c, .. } if *c == code);
        self.events.iter().filter(failed).count()
    }

    /// Numbers of the releases that were installed.
    pub(crate) fn installed(&self) -> Vec<u64> {
        let installed = |event: &AgentEvent| match event {
            AgentEvent::Installed { sequence, .. } => Some(*sequence),
            _ => None,
        };
        self.events.iter().filter_map(installed).collect()
    }

    /// The nonce of the victim's Hello.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        match decode(&self.heard[0]) {
            Ok(Up::Hello { nonce, .. }) => nonce,
            other => panic!("no Hello: {other:?}"),
        }
    }

    /// What the victim has told of its freshness since the last time.
    pub(crate) fn told(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        let told = events.into_iter().filter_map(|event| match event {
            AgentEvent::Behind { installed, newest, .. } => {
                Some(format!("{installed} of {newest}"))
            }
            AgentEvent::Unwell { condition, .. } => Some(condition.code().to_owned()),
            _ => None,
        });
        told.collect()
    }

    pub(crate) fn listening(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, AgentEvent::Listen(_))).count()
    }
}

/// An invitation to a session that carries a release of a group.
pub(crate) fn invitation(group: GroupId, session: u32) -> Invitation {
    Invitation {
        session: SessionId(session),
        epoch: Epoch(1),
        key: [1; 32],
        address: [239, 77, 0, 1].into(),
        port: 7_413,
        slot: 0,
        release: release(group),
        root_len: 500,
        symbol: 1_434,
        sources: 192,
        first_block: BlockIndex(0),
        receivers: 10,
        backoff_us: 4_000,
        report_ms: 100,
        salt: [0; 8],
        payload: 1 << 20,
        full: false,
    }
}
