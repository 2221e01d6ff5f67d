//! Hostile input to the receiver machine, without a network: strangers' datagrams,
//! and a server with valid keys that says whatever it likes.

use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, PeerSlot, ReleaseOrder, SessionId, StaticKey, TokenId,
};
use fleetcast_core::server::{
    Directory, HalfOpen, Peer, ServerConfig, ServerEndpoint, ServerEvent,
};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::statement::Freshness;
use fleetcast_core::wire::control::{Down, Invitation, ReleaseName, Standing, Up, decode, encode};
use fleetcast_core::wire::transport::Sending;
use fleetcast_tests::admin::Admin;
use fleetcast_tests::disk::{Abilities, SimDisk};
use fleetcast_tests::node::{receiver_address, server_address};
use fleetcast_tests::random::Random;

const DISK: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };
const SECRET: [u8; 32] = [5; 32];

fn release(group: GroupId) -> ReleaseName {
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
struct Captor {
    now: Instant,
    endpoint: ServerEndpoint<ChaCha, Vec<Peer<ChaCha>>, Vec<HalfOpen>>,
    victim: Agent<SimDisk, ChaCha>,
    slot: Option<PeerSlot>,
    events: Vec<AgentEvent>,
    /// What the victim has said.
    heard: Vec<Vec<u8>>,
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
            heard: Vec::new(),
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

    fn say(&mut self, message: &Down<'_>) {
        let mut body = [0; 1_159];
        let body = encode(message, &mut body).expect("it fits").to_vec();
        self.say_bytes(&body);
    }

    fn say_bytes(&mut self, body: &[u8]) {
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

    /// The nonce of the victim's Hello.
    fn nonce(&self) -> [u8; 16] {
        match decode(&self.heard[0]) {
            Ok(Up::Hello { nonce, .. }) => nonce,
            other => panic!("no Hello: {other:?}"),
        }
    }

    /// What the victim has told of its freshness since the last time.
    fn told(&mut self) -> Vec<String> {
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

    fn listening(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, AgentEvent::Listen(_))).count()
    }
}

/// The server's word on what is newest, to the victim's Hello unless `nonce` is another.
fn freshness(admin: &Admin, nonce: [u8; 16], version: u32, newest: &[ReleaseName]) -> Vec<u8> {
    let fleet = admin.authority.1.document().fleet;
    let newest = newest.iter().copied().collect();
    let statement = Freshness { fleet, nonce, authority: version, newest };
    let key = SigningKey::from_seed(&admin.signing_seed);
    let signature = key.sign(Context::Freshness, &[&statement.body().expect("it fits")]);
    let (authority, newest) = (version, statement.newest);
    let message = Down::Freshness { nonce, authority, newest, signature: &signature };
    encode(&message, &mut [0; 1_159]).expect("it fits").to_vec()
}

fn named(group: GroupId, sequence: u64, content: u8) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: 0, sequence };
    ReleaseName { group, order, digest: Digest([content; 32]) }
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
        full: false,
    }
}

#[test]
fn an_agent_says_hello_and_its_inventory_before_all_else() {
    let mut admin = Admin::new(Random::new(12));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GroupId([1; 16]));
    captor.say(&Down::Ping { nonce: 3 });
    // PROTOCOL M1
    let said: Vec<Up<'_>> = captor.heard.iter().map(|body| decode(body).unwrap()).collect();
    assert!(matches!(said[0], Up::Hello { name: "victim", .. }));
    let nothing = Default::default();
    assert_eq!(said[1..], [Up::Holds { releases: nothing, more: false }, Up::Pong { nonce: 3 }]);
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

#[test]
fn what_is_newest_is_shown_kept_and_never_goes_back_unnoticed() {
    let mut admin = Admin::new(Random::new(13));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    let (nonce, said) = (captor.nonce(), captor.heard.len());
    let mut say = |version: u32, newest: &[ReleaseName]| {
        captor.say_bytes(&freshness(&admin, nonce, version, newest));
        (captor.told(), captor.victim.state().seen.clone())
    };
    // PROTOCOL F1
    let five = named(group, 5, 5);
    assert_eq!(say(1, &[five]), (vec!["0 of 5".to_owned()], vec![five]));
    // Older, and another one of the same number: what was seen stays.
    for (statement, again) in [(named(group, 4, 4), 1), (named(group, 5, 6), 0)] {
        let mut expected = vec!["freshness-backwards".to_owned(); again];
        expected.push("0 of 5".to_owned());
        assert_eq!(say(1, &[statement]), (expected, vec![five]));
    }
    // As new as it was: all is well again, and the next step back is news again.
    assert_eq!(say(1, &[five]).0, ["0 of 5"]);
    assert_eq!(say(1, &[named(group, 1, 1)]).0, ["freshness-backwards", "0 of 5"]);
    assert_eq!(say(1, &[]).0, ["freshness-withheld", "0 of 5"]);
    let nine = named(group, 9, 9);
    assert_eq!(say(1, &[nine]), (vec!["0 of 9".to_owned()], vec![nine]));
    // A newer authority document that was not shown, and an older one than ours.
    assert_eq!(say(2, &[nine]).0, ["authority-withheld", "0 of 9"]);
    assert_eq!(say(0, &[nine]).0, ["freshness-backwards", "0 of 9"]);
    // Of a group that it is no member of it remembers nothing.
    assert_eq!(say(1, &[nine, named(GroupId([7; 16]), 1, 1)]).1, [nine]);
    assert_eq!(captor.heard.len(), said, "it asks for nothing because of a statement");
    let behind = captor.victim.behind();
    assert_eq!(
        behind.iter().map(|b| (b.installed, b.newest)).collect::<Vec<_>>(),
        [(None, nine.order)]
    );
}

#[test]
fn a_statement_to_another_nonce_or_without_the_controllers_signature_counts_for_nothing() {
    let mut admin = Admin::new(Random::new(14));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    let nonce = captor.nonce();
    let nine = named(group, 9, 9);
    let mut stranger = Admin::new(Random::new(15));
    stranger.authority = admin.authority.clone();
    let mut cut = freshness(&admin, nonce, 1, &[nine]);
    let last = cut.len() - 1;
    cut[last] ^= 1;
    let forged = [
        // PROTOCOL F1: recorded when another Hello was answered.
        freshness(&admin, [9; 16], 1, &[nine]),
        freshness(&stranger, nonce, 1, &[nine]),
        cut,
    ];
    for (at, body) in forged.iter().enumerate() {
        captor.say_bytes(body);
        let expected: &[&str] = if at == 0 { &["freshness-unproved"] } else { &[] };
        assert_eq!(captor.told(), expected, "{at}");
        assert_eq!(captor.victim.state().seen, []);
    }
    assert_eq!(captor.victim.health().items().len(), 1);
    captor.say_bytes(&freshness(&admin, nonce, 1, &[nine]));
    assert_eq!(captor.told(), ["0 of 9"]);
    assert_eq!(captor.victim.health().items(), []);
}
