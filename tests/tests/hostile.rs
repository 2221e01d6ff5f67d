//! Hostile input to the production machines, without a network.
//!
//! The server meets strangers' datagrams and a receiver with valid keys that
//! says whatever it likes; the receiver meets strangers' datagrams and a server
//! with valid keys.

use std::net::SocketAddr;

use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast::gf::Fast;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, PeerSlot, ReceiverId, ReleaseOrder, SessionId, StaticKey, TokenId,
    VerifyingKey,
};
use fleetcast_core::receiver::{ReceiverConfig, ReceiverEndpoint};
use fleetcast_core::server::{
    Directory, HalfOpen, Peer, ServerConfig, ServerEndpoint, ServerEvent,
};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{
    Down, FailCode, Invitation, Object, ReleaseName, Standing, Up, WantRun, encode,
};
use fleetcast_core::wire::nack::{Entry, NackWriter};
use fleetcast_core::wire::transport::Sending;
use fleetcast_tests::admin::Admin;
use fleetcast_tests::disk::{Abilities, SimDisk};
use fleetcast_tests::node::{Server, SimServer, receiver_address, server_address};
use fleetcast_tests::random::Random;

const DISK: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };
const SECRET: [u8; 32] = [5; 32];

fn release(group: GroupId) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: 0, sequence: 9 };
    ReleaseName { group, order, digest: Digest([7; 32]) }
}

/// A founded server, and what it has sent so far to whom.
struct Fleet {
    now: Instant,
    admin: Admin,
    server: Server,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let admin = Admin::new(random.split());
        let mut server = Server::new(random.split(), 8, 12_000_000);
        server.boot(Instant::ZERO, &admin);
        Self { now: Instant::ZERO, admin, server }
    }

    fn node(&mut self) -> &mut SimServer {
        self.server.node.as_mut().expect("it never crashes here")
    }

    /// Hands a datagram over; what the server sends in answer.
    fn take(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = self.now;
        self.node().handle_datagram(now, from, datagram);
        self.drain()
    }

    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = self.now;
        self.node().handle_timeout(now);
        while let Some((batch, _)) = self.node().take_changes() {
            self.node().persisted(now, batch);
        }
        let (mut out, mut buffer) = (Vec::new(), vec![0; 64 * 1_024]);
        while let Some(sent) = self.node().poll_transmit(now, &mut buffer, &Fast) {
            out.push((sent.to, buffer[..sent.len].to_vec()));
        }
        out
    }
}

/// A receiver with valid keys that says what a test wants.
struct Liar {
    endpoint: ReceiverEndpoint<ChaCha>,
    address: SocketAddr,
}

impl Liar {
    /// Connected to the server.
    fn connected(fleet: &mut Fleet, number: usize) -> Self {
        let config = ReceiverConfig {
            static_secret: [number as u8 + 5; 32],
            server_key: fleet.admin.server_key(),
            server: server_address(),
            token: None,
            boot: 1,
            constrained: false,
            max_datagram: 1_472,
            seed: [number as u8; 32],
        };
        let endpoint = ReceiverEndpoint::new(&config, fleet.now);
        let mut liar = Self { endpoint, address: receiver_address(number) };
        for _ in 0..200 {
            liar.exchange(fleet);
            if liar.endpoint.is_connected() {
                return liar;
            }
            fleet.now += Duration::from_millis(50);
        }
        panic!("no channel");
    }

    /// Lets both sides send until they have nothing to say.
    fn exchange(&mut self, fleet: &mut Fleet) {
        let mut buffer = [0; 1_472];
        self.endpoint.handle_timeout(fleet.now);
        while let Some(sent) = self.endpoint.poll_transmit(fleet.now, &mut buffer) {
            for (to, mut answer) in fleet.take(self.address, &mut buffer[..sent.len]) {
                if to == self.address {
                    self.endpoint.handle_datagram(fleet.now, server_address(), &mut answer);
                }
            }
            while self.endpoint.poll_event().is_some() {}
        }
    }

    fn say(&mut self, fleet: &mut Fleet, message: &Up<'_>) {
        let mut body = [0; 1_159];
        let body = encode(message, &mut body).expect("it fits").to_vec();
        self.say_bytes(fleet, &body);
    }

    fn say_bytes(&mut self, fleet: &mut Fleet, body: &[u8]) {
        for _ in 0..100 {
            let sent = self.endpoint.send(fleet.now, Sending::Reliable, body).is_ok();
            self.exchange(fleet);
            if sent {
                return;
            }
            fleet.now += Duration::from_millis(100);
        }
        panic!("the channel stays full");
    }

    fn hello(&mut self, fleet: &mut Fleet, name: &str) {
        let hello = Up::Hello {
            name,
            version: "1",
            signing: VerifyingKey([9; 32]),
            codecs: 3,
            free: u64::MAX,
            authority: 0,
            nonce: [1; 16],
        };
        self.say(fleet, &hello);
    }
}

#[test]
fn strangers_get_no_more_bytes_than_they_send_and_change_nothing() {
    let mut fleet = Fleet::new(1);
    let mut random = Random::new(2);
    let from = receiver_address(7);
    let before = fleet.node().batch_of_changes();
    for round in 0..20_000_u32 {
        let mut datagram = vec![0; random.below(1_473) as usize];
        random.fill(&mut datagram);
        // Half of them look right at the front.
        if round % 2 == 0 && datagram.len() >= 4 {
            datagram[0] = (round / 2 % 6) as u8;
            datagram[1..4].copy_from_slice(&[1, 0, 0]);
        }
        let sent: usize = fleet.take(from, &mut datagram).iter().map(|(_, b)| b.len()).sum();
        // PROTOCOL H1, H2
        assert_eq!(sent, 0, "{round}");
        fleet.now += Duration::from_micros(100);
    }
    assert_eq!(fleet.node().batch_of_changes(), before);
    assert_eq!(fleet.node().registry().receivers().count(), 0);
}

#[test]
fn cut_flipped_and_repeated_initiations_are_answered_by_no_more_than_they_bring() {
    let mut fleet = Fleet::new(3);
    let config = ReceiverConfig {
        static_secret: SECRET,
        server_key: fleet.admin.server_key(),
        server: server_address(),
        token: None,
        boot: 1,
        constrained: false,
        max_datagram: 1_472,
        seed: [3; 32],
    };
    let mut endpoint = ReceiverEndpoint::<ChaCha>::new(&config, fleet.now);
    let mut buffer = [0; 1_472];
    let len = endpoint.poll_transmit(fleet.now, &mut buffer).expect("an initiation").len;
    let good = buffer[..len].to_vec();
    let from = receiver_address(0);
    for cut in 0..len {
        assert_eq!(fleet.take(from, &mut good[..cut].to_vec()), [], "cut at {cut}");
    }
    for bit in 0..len * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let sent: usize = fleet.take(from, &mut flipped).iter().map(|(_, b)| b.len()).sum();
        // Bytes from 184 on are mac2, which only load looks at; PROTOCOL H2 in any case.
        assert!(sent <= len, "bit {bit}");
        assert!(bit / 8 >= 184 || sent == 0, "bit {bit}");
        fleet.now += Duration::from_millis(10);
    }
    for _ in 0..1_000 {
        let sent: usize = fleet.take(from, &mut good.clone()).iter().map(|(_, b)| b.len()).sum();
        assert!(sent <= len);
    }
    // PROTOCOL H5: nothing of this made a receiver.
    assert_eq!(fleet.node().registry().receivers().count(), 0);
}

#[test]
fn a_receiver_that_lies_about_sessions_and_releases_changes_nothing_of_others() {
    let mut fleet = Fleet::new(4);
    let mut honest = Liar::connected(&mut fleet, 0);
    honest.hello(&mut fleet, "honest");
    let mut liar = Liar::connected(&mut fleet, 1);
    // PROTOCOL M3: before its Hello nothing counts.
    liar.say(&mut fleet, &Up::Holds { releases: [].into_iter().collect(), more: false });
    assert_eq!(fleet.node().registry().receivers().count(), 1);
    liar.hello(&mut fleet, "evil\u{202e}\n\u{7}../../etc");
    liar.hello(&mut fleet, &"x".repeat(1_000));
    liar.hello(&mut fleet, "honest");
    assert_eq!(fleet.node().registry().receivers().count(), 2, "a Hello again is no newcomer");
    let id = ReceiverId::of(StaticPair::from_secret(&[6; 32]).public());
    let name = fleet.node().registry().receiver(&id).expect("it said Hello").name.clone();
    assert_eq!(name, "evil....etc");
    let foreign = release(GroupId([1; 16]));
    let (session, block) = (SessionId(1), BlockIndex(u32::MAX));
    let whole = WantRun { object: Object::Content, first: u32::MAX, count: u32::MAX };
    for _ in 0..3 {
        let messages = [
            Up::Joined { session, epoch: Epoch(9), heard: true },
            Up::Joined { session, epoch: Epoch(9), heard: false },
            Up::HeaderRequest { session, block },
            Up::KeyRequest { session },
            Up::Finished { session, poisoned: u32::MAX },
            Up::Want {
                release: foreign,
                page: 0,
                more: false,
                runs: [whole; 100].into_iter().collect(),
            },
            Up::Installed { release: foreign, at: u64::MAX, receipt: &[0; 64] },
            Up::Installed { release: foreign, at: 0, receipt: &[0; 3] },
            Up::Failed { release: foreign, code: FailCode::Storage, reason: "\u{1b}[2J" },
            Up::Pong { nonce: 1 },
            Up::Nack,
        ];
        // PROTOCOL M3: sessions and releases that nobody knows.
        messages.iter().for_each(|message| liar.say(&mut fleet, message));
        let mut nack = NackWriter::new(session, Epoch(1));
        for block in 0..48 {
            let sources = &[0, 191];
            assert!(nack.push(Entry {
                block: BlockIndex(block),
                missing: 64,
                passed: 255,
                sources
            }));
        }
        liar.say_bytes(&mut fleet, nack.message().expect("48 entries"));
        let mut random = Random::new(5);
        for kind in 0..=20 {
            let mut body = vec![0; 1 + random.below(1_000) as usize];
            random.fill(&mut body);
            body[0] = kind;
            liar.say_bytes(&mut fleet, &body);
        }
    }
    let registry = fleet.node().registry();
    assert_eq!(registry.all_held().count(), 0, "a receipt that is not signed counts for nothing");
    assert_eq!(registry.deliveries().count(), 0);
    let honest_id = ReceiverId::of(StaticPair::from_secret(&SECRET).public());
    assert_eq!(registry.receiver(&honest_id).map(|r| r.name.as_str()), Some("honest"));
    honest.exchange(&mut fleet);
    assert!(honest.endpoint.is_connected() && fleet.node().is_here(&honest_id));
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
struct Captor {
    now: Instant,
    endpoint: ServerEndpoint<ChaCha, Vec<Peer<ChaCha>>, Vec<HalfOpen>>,
    victim: Agent<SimDisk, ChaCha>,
    slot: Option<PeerSlot>,
    events: Vec<AgentEvent>,
}

impl Captor {
    fn new(admin: &Admin) -> Self {
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
        };
        let disks = (SimDisk::new(DISK), SimDisk::new(DISK));
        let victim = Agent::open(config_of_victim, disks.0, disks.1, Instant::ZERO);
        let mut captor = Self {
            now: Instant::ZERO,
            endpoint: ServerEndpoint::new(&config, peers, half_open, Instant::ZERO),
            victim: victim.expect("an empty disk"),
            slot: None,
            events: Vec::new(),
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

    fn exchange(&mut self) {
        let mut buffer = [0; 1_472];
        self.victim.handle_timeout(self.now);
        self.endpoint.handle_timeout(self.now);
        for _ in 0..50 {
            let mut quiet = true;
            while let Some(sent) = self.victim.poll_transmit(self.now, &mut buffer) {
                quiet = false;
                let from = receiver_address(0);
                let datagram = &mut buffer[..sent.len];
                self.endpoint.handle_datagram(self.now, from, datagram, &mut Anybody);
                while let Some(event) = self.endpoint.poll_event() {
                    if let ServerEvent::Connected { slot, .. } = event {
                        self.slot = Some(slot);
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

    fn say(&mut self, message: &Down<'_>) {
        let mut body = [0; 1_159];
        let body = encode(message, &mut body).expect("it fits").to_vec();
        let slot = self.slot.expect("connected");
        for _ in 0..100 {
            let sent = self.endpoint.send(self.now, slot, Sending::Reliable, &body).is_ok();
            self.exchange();
            if sent {
                return;
            }
            self.now += Duration::from_millis(100);
        }
        panic!("the channel stays full");
    }

    /// Makes the victim trust its fleet and a member of a group.
    fn take_in(&mut self, admin: &mut Admin, group: GroupId) {
        let document = admin.authority.0.clone();
        let total = document.len() as u16;
        self.say(&Down::Authority { version: 1, offset: 0, total, bytes: &document });
        let device = *StaticPair::from_secret(&SECRET).public();
        let certificate = admin.certificate(device, group, 1);
        self.say(&Down::Membership { certificate: &certificate, voucher: &[] });
        let (id, time, nonce) = (self.victim.id(), 0, [0; 16]);
        let standing = Standing::Member;
        self.say(&Down::Welcome { id, name: "victim", standing, time, nonce });
    }

    fn listening(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, AgentEvent::Listen(_))).count()
    }
}

fn invitation(group: GroupId, session: u32) -> Invitation {
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
    }
}

#[test]
fn an_agent_takes_nothing_of_another_fleet_and_no_group_that_it_is_no_member_of() {
    let mut admin = Admin::new(Random::new(6));
    let mut stranger = Admin::new(Random::new(7));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    // PROTOCOL T2: another fleet's authority is none.
    let document = stranger.authority.0.clone();
    let total = document.len() as u16;
    captor.say(&Down::Authority { version: 1, offset: 0, total, bytes: &document });
    assert!(captor.victim.state().authority.is_none());
    captor.say(&Down::Invitation(invitation(group, 1)));
    captor.take_in(&mut admin, group);
    assert!(captor.victim.state().authority.is_some());
    // Nor is a membership that another fleet's admin signed.
    let device = *StaticPair::from_secret(&SECRET).public();
    let certificate = stranger.certificate(device, GroupId([2; 16]), 2);
    captor.say(&Down::Membership { certificate: &certificate, voucher: &[] });
    captor.say(&Down::Invitation(invitation(GroupId([2; 16]), 2)));
    assert_eq!(captor.victim.state().memberships.len(), 1);
    assert_eq!(captor.listening(), 0);
    let refused =
        |event: &&AgentEvent| matches!(event, AgentEvent::Failed { code: "not-trusted", .. });
    assert_eq!(captor.events.iter().filter(refused).count(), 2);
}

#[test]
fn sizes_that_no_session_can_have_start_none() {
    let mut admin = Admin::new(Random::new(8));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    for (symbol, sources) in [(0, 192), (1_435, 192), (60_000, 192), (1_434, 0), (1_434, 193)] {
        let hostile = Invitation { symbol, sources, ..invitation(group, 3) };
        captor.say(&Down::Invitation(hostile));
    }
    assert_eq!(captor.listening(), 0);
    // The largest numbers of everything else do no harm either.
    let hostile = Invitation {
        slot: 255,
        receivers: u32::MAX,
        backoff_us: u32::MAX,
        report_ms: u32::MAX,
        first_block: BlockIndex(u32::MAX),
        payload: u64::MAX,
        ..invitation(group, 4)
    };
    captor.say(&Down::Invitation(hostile));
    assert_eq!(captor.listening(), 1);
    for _ in 0..20 {
        captor.now += Duration::from_secs(1);
        captor.exchange();
    }
}

#[test]
fn ten_thousand_invitations_and_epochs_leave_eight_sessions() {
    let mut admin = Admin::new(Random::new(9));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    for session in 0..10_000 {
        captor.say(&Down::Invitation(invitation(group, session)));
        let (session, epoch) = (SessionId(session), Epoch(session as u16));
        captor.say(&Down::Epoch { session, epoch, key: [2; 32] });
    }
    // As many as a server runs at a time.
    assert_eq!(captor.listening(), 8);
}

#[test]
fn strangers_datagrams_move_nothing_in_an_agent() {
    let mut admin = Admin::new(Random::new(10));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    captor.say(&Down::Invitation(invitation(group, 5)));
    captor.exchange();
    let (state, events) = (captor.victim.state().clone(), captor.events.len());
    let mut random = Random::new(11);
    let mut buffer = [0; 1_472];
    for round in 0..20_000_u32 {
        let mut datagram = vec![0; random.below(1_473) as usize];
        random.fill(&mut datagram);
        if round % 2 == 0 && datagram.len() >= 16 {
            datagram[0] = (round / 2 % 6) as u8;
            // Half of the session datagrams name the epoch and the session that run.
            let epoch = u8::from(datagram[0] == 5);
            datagram[1..8].copy_from_slice(&[1, epoch, 0, 5, 0, 0, 0]);
        }
        captor.victim.handle_datagram(captor.now, receiver_address(3), &mut datagram);
        assert!(captor.victim.poll_transmit(captor.now, &mut buffer).is_none(), "{round}");
        assert!(captor.victim.poll_event().is_none(), "{round}");
    }
    assert_eq!((captor.victim.state(), captor.events.len()), (&state, events));
}
