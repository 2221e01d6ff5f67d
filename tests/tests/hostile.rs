//! Hostile input to the server machine, without a network: strangers' datagrams,
//! and a receiver with valid keys that says whatever it likes.

#[path = "hostile/inventory.rs"]
mod inventory;
#[path = "hostile/members.rs"]
mod members;
#[path = "hostile/standing.rs"]
mod standing;
#[path = "hostile/strangers.rs"]
mod strangers;

use std::net::SocketAddr;

use fleetcast::accounts::PasswordChecked;
use fleetcast::model::Role;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::digest::Digest;
use fleetcast_core::erasure::Lanes;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, ReceiverId, ReleaseOrder, SessionId, VerifyingKey,
};
use fleetcast_core::limits::MAX_MESSAGE;
use fleetcast_core::receiver::{ReceiverConfig, ReceiverEndpoint, ReceiverEvent};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{
    Down, FailCode, Object, ReleaseName, Standing, Up, WantRun, decode, encode,
};
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
    /// Whether what the server changes becomes durable.
    durable: bool,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let admin = Admin::new(random.split());
        let mut server = Server::new(random.split(), 8, 12_000_000);
        server.boot(Instant::ZERO, &admin);
        Self { now: Instant::ZERO, admin, server, durable: true }
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
        while self.durable
            && let Some((batch, _)) = self.node().take_changes()
        {
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
    /// What the server has said.
    heard: Vec<Vec<u8>>,
}

impl Liar {
    /// Connected to the server.
    fn connected(fleet: &mut Fleet, number: usize) -> Self {
        Self::with_secret(fleet, number, [number as u8 + 5; 32])
    }

    /// The same, with a key of its own choice.
    fn with_secret(fleet: &mut Fleet, number: usize, static_secret: [u8; 32]) -> Self {
        Self::with_token(fleet, number, static_secret, None)
    }

    /// The same, with a token.
    fn with_token(
        fleet: &mut Fleet,
        number: usize,
        static_secret: [u8; 32],
        token: Option<[u8; 16]>,
    ) -> Self {
        let config = ReceiverConfig {
            static_secret,
            server_key: fleet.admin.server_key(),
            server: server_address(),
            token,
            boot: 1,
            constrained: false,
            max_datagram: 1_472,
            seed: [number as u8; 32],
        };
        let endpoint = ReceiverEndpoint::new(&config, fleet.now);
        let address = receiver_address(number);
        let mut liar = Self { endpoint, address, heard: Vec::new() };
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
                    self.listen(&answer);
                }
            }
            self.listen(&[]);
        }
    }

    fn listen(&mut self, datagram: &[u8]) {
        while let Some(event) = self.endpoint.poll_event() {
            if let ReceiverEvent::Message { body, .. } = event {
                self.heard.extend(datagram.get(body).map(<[u8]>::to_vec));
            }
        }
    }

    /// What the server has answered people, or refused, since the last time.
    fn answers(&mut self) -> Vec<String> {
        let heard = std::mem::take(&mut self.heard);
        let answers = heard.iter().filter_map(|body| match decode::<Down<'_>>(body) {
            Ok(Down::Answer { group, answer }) => Some(format!("{group}: {answer:?}")),
            Ok(Down::Groups { groups, .. }) => Some(format!("{} groups", groups.len())),
            Ok(Down::Account { answer }) => Some(format!("{answer:?}")),
            Ok(Down::Refused { why }) => Some(format!("refused: {why:?}")),
            _ => None,
        });
        answers.collect()
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
            datagram[..4].copy_from_slice(&[(round / 2 % 9) as u8, 1, 0, 0]);
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
        for kind in 0..=30 {
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

/// The receiver number 0, waiting for approval.
fn waiting(fleet: &mut Fleet) -> (Liar, String) {
    let mut liar = Liar::connected(fleet, 0);
    liar.hello(fleet, "w");
    let id = ReceiverId::of(StaticPair::from_secret(&SECRET).public());
    (liar, id.to_string())
}

#[test]
fn who_was_not_approved_asks_for_groups_in_vain() {
    let mut fleet = Fleet::new(21);
    // One that is open in name only, without a voucher, is none.
    assert!(fleet.node().create_group("admin", "g", true).is_err());
    fleet.node().create_group("admin", "g", false).unwrap();
    let (mut liar, id) = waiting(&mut fleet);
    // PROTOCOL G1
    for message in [Up::Groups { after: None }, Up::Join { group: "g" }, Up::Leave { group: "g" }] {
        liar.say(&mut fleet, &message);
    }
    assert_eq!(liar.answers(), [""; 0]);
    assert_eq!(fleet.node().registry().requests().count(), 0);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).unwrap();
    liar.say(&mut fleet, &Up::Join { group: "g" });
    liar.say(&mut fleet, &Up::Groups { after: None });
    assert_eq!(liar.answers(), ["g: Asked", "1 groups"]);
}

#[test]
fn what_is_not_durable_is_answered_to_nobody() {
    let mut fleet = Fleet::new(25);
    fleet.node().create_group("admin", "g", false).unwrap();
    fleet.node().add_account("admin", "ann", Role::Member, "a hash".to_owned()).unwrap();
    let (mut liar, id) = waiting(&mut fleet);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).unwrap();
    liar.exchange(&mut fleet);
    fleet.durable = false;
    // PROTOCOL G1
    liar.say(&mut fleet, &Up::Join { group: "g" });
    liar.say(&mut fleet, &Up::Login { user: "ann", password: b"correct horse" });
    let number = fleet.node().poll_password_check().expect("a check").number;
    fleet.node().password_checked(now, PasswordChecked { number, right: true, new: None });
    fleet.node().deny_request(now, "admin", "g", &id, "no").unwrap();
    liar.say(&mut fleet, &Up::Pong { nonce: 1 });
    assert_eq!(liar.answers(), [""; 0]);
    fleet.durable = true;
    for _ in 0..5 {
        fleet.now += Duration::from_millis(500);
        liar.say(&mut fleet, &Up::Pong { nonce: 1 });
    }
    assert_eq!(liar.answers(), ["g: Asked", "LoggedIn", "g: Denied { reason: \"no\" }"]);
}

#[test]
fn a_flood_of_requests_leaves_bounded_traces_and_is_answered_in_bounds() {
    let mut fleet = Fleet::new(22);
    for n in 0..40 {
        fleet.node().create_group("admin", &format!("g{n}"), false).unwrap();
    }
    let (mut liar, id) = waiting(&mut fleet);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).unwrap();
    let lines = fleet.node().registry().recent_log().count();
    let begin = fleet.now;
    for round in 0..20 {
        for n in 0..40 {
            let group = format!("g{n}");
            liar.say(&mut fleet, &Up::Join { group: &group });
            if round % 2 == 1 {
                liar.say(&mut fleet, &Up::Leave { group: &group });
            }
            liar.say(&mut fleet, &Up::Groups { after: None });
        }
    }
    // PROTOCOL G2: twenty changes at once, one more each six seconds.
    let most = 20 + fleet.now.since(begin).as_micros() / 6_000_000 + 1;
    assert!(fleet.node().registry().requests().count() <= 16);
    let lines = fleet.node().registry().recent_log().count() - lines;
    assert!(lines as u64 <= most, "{lines} lines, {most} allowed");
    let answers = liar.answers();
    assert!(answers.iter().any(|answer| answer == "g39: Later"), "{}", answers.len());
    // 400 pages at once, one more each 50 ms.
    let pages = answers.iter().filter(|answer| answer.ends_with("groups")).count() as u64;
    let most = 400 + fleet.now.since(begin).as_micros() / 50_000 + 1;
    assert!((400..=most).contains(&pages), "{pages} pages, {most} allowed");
}

#[test]
fn passwords_are_checked_in_bounded_number_and_only_against_what_still_counts() {
    let mut fleet = Fleet::new(23);
    fleet.node().add_account("admin", "ann", Role::Member, "a hash".to_owned()).unwrap();
    let (mut liar, id) = waiting(&mut fleet);
    let standing = |fleet: &mut Fleet| fleet.node().receiver(&id).unwrap().standing;
    let login = Up::Login { user: "ann", password: b"correct horse" };
    liar.say(&mut fleet, &login);
    let check = fleet.node().poll_password_check().expect("a check");
    assert_eq!(
        (check.kept.as_deref(), &check.password[..]),
        (Some("a hash"), &b"correct horse"[..])
    );
    // Nobody has asked for this one.
    let (now, number) = (fleet.now, check.number);
    let right = |number| PasswordChecked { number, right: true, new: None };
    fleet.node().password_checked(now, right(number + 1));
    assert_eq!(standing(&mut fleet), Standing::Waiting);
    // PROTOCOL G5: right, but of an account that has another password by now.
    fleet.node().change_account("admin", "ann", None, Some("another".to_owned())).unwrap();
    fleet.node().password_checked(now, right(number));
    assert_eq!(standing(&mut fleet), Standing::Waiting);
    liar.say(&mut fleet, &login);
    let number = fleet.node().poll_password_check().expect("a check").number;
    fleet.node().password_checked(now, right(number));
    assert_eq!(standing(&mut fleet), Standing::Member);
    assert_eq!(fleet.node().receiver(&id).unwrap().owner.as_deref(), Some("ann"));
    // Many names from one address: thirty at once, one more each ten seconds.
    let begin = fleet.now;
    for n in 0..500 {
        let user = format!("user{n}");
        liar.say(&mut fleet, &Up::Login { user: &user, password: b"guess" });
    }
    let checks = std::iter::from_fn(|| fleet.node().poll_password_check());
    let checks: Vec<_> = checks.collect();
    assert!(checks.iter().all(|check| check.kept.is_none()), "nobody has these names");
    let most = 30 + fleet.now.since(begin).as_micros() / 10_000_000 + 1;
    assert!((28..=most).contains(&(checks.len() as u64)), "{} checks", checks.len());
    assert!(liar.answers().iter().filter(|answer| *answer == "Later").count() > 400);
}

#[test]
fn the_list_of_who_waits_is_bounded_and_who_stays_is_not_pushed_out() {
    let mut fleet = Fleet::new(24);
    let mut stays = Liar::connected(&mut fleet, 0);
    stays.hello(&mut fleet, "stays");
    let secret = |n: usize| {
        let mut secret = [0x55; 32];
        // Not in the first byte, of which X25519 clears three bits.
        secret[8..16].copy_from_slice(&n.to_le_bytes());
        secret
    };
    let mut refused = 0;
    for n in 0..1_100 {
        fleet.node().set_time(1_700_000_000 + n as u64);
        let mut liar = Liar::with_secret(&mut fleet, 1, secret(n));
        liar.hello(&mut fleet, &format!("gone-{n}"));
        refused += liar.answers().len();
        liar.say(&mut fleet, &Up::Bye);
    }
    let names: Vec<&str> =
        fleet.server.node.iter().flat_map(|n| n.registry().receivers()).map(|r| &*r.name).collect();
    assert_eq!((names.len(), refused), (1_000, 0));
    assert!(names.contains(&"stays") && names.contains(&"gone-1099"));
    assert!(!names.contains(&"gone-0"), "who has gone longest has made room");
}
