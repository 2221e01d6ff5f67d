//! Hostile input to the server machine, without a network: strangers' datagrams,
//! and a receiver with valid keys that says whatever it likes.

use std::net::SocketAddr;

use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::digest::Digest;
use fleetcast_core::erasure::Lanes;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, ReceiverId, ReleaseOrder, SessionId, VerifyingKey,
};
use fleetcast_core::limits::MAX_MESSAGE;
use fleetcast_core::receiver::{ReceiverConfig, ReceiverEndpoint};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{FailCode, Object, ReleaseName, Up, WantRun, encode};
use fleetcast_core::wire::nack::{Entry, NackWriter};
use fleetcast_core::wire::transport::Sending;
use fleetcast_tests::admin::Admin;
use fleetcast_tests::node::{Server, SimServer, receiver_address, server_address};
use fleetcast_tests::random::Random;

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
        while let Some(sent) = self.node().poll_transmit(now, &mut buffer, &Lanes) {
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
    assert!(!fleet.take(from, &mut good.clone()).is_empty(), "whole, it is answered");
    for _ in 0..1_000 {
        let sent: usize = fleet.take(from, &mut good.clone()).iter().map(|(_, b)| b.len()).sum();
        assert!(sent <= len);
    }
    // PROTOCOL H5: nothing of this made a receiver.
    assert_eq!(fleet.node().registry().receivers().count(), 0);
}

/// Every kind of message about sessions and releases that nobody knows, and noise.
fn tell_lies(liar: &mut Liar, fleet: &mut Fleet) {
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
        messages.iter().for_each(|message| liar.say(fleet, message));
        let mut nack = NackWriter::new(vec![0; MAX_MESSAGE], session, Epoch(1));
        for block in 0..48 {
            let sources = &[0, 191];
            assert!(nack.push(Entry {
                block: BlockIndex(block),
                missing: 64,
                passed: 255,
                sources
            }));
        }
        liar.say_bytes(fleet, nack.message().expect("48 entries"));
        let mut random = Random::new(5);
        for kind in 0..=20 {
            let mut body = vec![0; 1 + random.below(1_000) as usize];
            random.fill(&mut body);
            body[0] = kind;
            liar.say_bytes(fleet, &body);
        }
    }
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
    tell_lies(&mut liar, &mut fleet);
    let registry = fleet.node().registry();
    assert_eq!(registry.all_held().count(), 0, "a receipt that is not signed counts for nothing");
    assert_eq!(registry.deliveries().count(), 0);
    let honest_id = ReceiverId::of(StaticPair::from_secret(&SECRET).public());
    assert_eq!(registry.receiver(&honest_id).map(|r| r.name.as_str()), Some("honest"));
    honest.exchange(&mut fleet);
    assert!(honest.endpoint.is_connected() && fleet.node().is_here(&honest_id));
}
