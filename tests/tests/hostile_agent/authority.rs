//! Who the server is: documents that do not follow, answers that nobody asked for, and a
//! server that is lost and found again.

use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast_core::chain::{ChainAnswerer, Documents};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::cookie::Mac1;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, StaticKey};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::authority::Controller;
use fleetcast_core::wire::chain::{self, Answer, AnswerBody, Request, Wanted};
use fleetcast_core::wire::control::{Down, Up};
use fleetcast_core::wire::handshake::Initiation;
use fleetcast_tests::admin::Admin;
use fleetcast_tests::disk::{Abilities, Fault, SimDisk};
use fleetcast_tests::node::{receiver_address, server_address};
use fleetcast_tests::random::Random;

use crate::captor::{Captor, SECRET, invitation};

const DISK: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// Another controller: its secret is filled with this byte.
fn controller(seed: u8) -> Controller {
    let exchange = *StaticPair::from_secret(&[seed; 32]).public();
    Controller { exchange, signing: key(seed).verifying_key() }
}

fn show(captor: &mut Captor, version: u32, document: &[u8]) {
    let total = document.len() as u16;
    captor.say(&Down::Authority { version, offset: 0, total, bytes: document });
}

fn trusts(captor: &Captor) -> u32 {
    let trusted = captor.victim.state().trusted().expect("a document");
    trusted.document().version
}

#[test]
fn only_a_successor_is_taken_and_nothing_goes_back() {
    let mut admin = Admin::new(Random::new(31));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GroupId([1; 16]));
    let first = admin.authority.0.clone();
    let stranger = Admin::new(Random::new(32));
    // PROTOCOL T2: another fleet's, a skipped version, the same once more, a document that
    // one of the new admins has not signed.
    let refused = [
        stranger.next_authority(|_| {}, &[]),
        admin.next_authority(|document| document.version = 3, &[]),
        first.clone(),
        admin.next_authority(
            |document| {
                document.admins.push(key(9).verifying_key()).unwrap();
                document.threshold = 2;
            },
            &[],
        ),
    ];
    for document in refused {
        show(&mut captor, 2, &document);
        assert_eq!(trusts(&captor), 1);
    }
    let added =
        admin.next_authority(|document| document.admins.push(key(9).verifying_key()).unwrap(), &[]);
    show(&mut captor, 2, &added);
    assert_eq!(trusts(&captor), 2);
    // PROTOCOL A5
    assert_eq!(captor.times_said(|up| *up == Up::Trusts { version: 2 }), 1);
    for document in [&first, &added] {
        show(&mut captor, 1, document);
        assert_eq!(trusts(&captor), 2);
    }
}

#[test]
fn a_document_that_cannot_be_kept_does_not_count() {
    let admin = Admin::new(Random::new(33));
    let (mut agent, _state) = lonely(&admin, admin.authority.1.digest());
    // PROTOCOL A2: the disk of the state fails while the document is written.
    let next = admin.next_authority(|document| document.controllers[0] = controller(7), &[]);
    let book = Book(vec![admin.authority.0.clone(), next]);
    let mut lost = Lost::new();
    lost.run(&mut agent, &book, Duration::from_secs(5), |_, _| {});
    assert_eq!(version(&agent), Some(2));
    drop(agent);

    let (mut agent, failing) = lonely(&admin, admin.authority.1.digest());
    let first = Book(vec![admin.authority.0.clone()]);
    let mut lost = Lost::new();
    lost.run(&mut agent, &first, Duration::from_secs(5), |_, _| {});
    assert_eq!(version(&agent), Some(1), "pinned by the code alone");
    failing.set_fault(Some(Fault::error(0, fleetcast::disk::DiskError::Io(5), true)));
    lost.run(&mut agent, &book, Duration::from_secs(40), |_, _| {});
    assert_eq!(version(&agent), Some(1));
    failing.set_fault(None);
    lost.run(&mut agent, &book, Duration::from_secs(40), |_, _| {});
    assert_eq!(version(&agent), Some(2));
}

#[test]
fn what_counted_under_the_document_before_is_judged_anew_under_a_stricter_one() {
    let mut admin = Admin::new(Random::new(34));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    captor.say(&Down::Invitation(invitation(group, 1)));
    assert_eq!(captor.listening(), 1);
    // Looser: the delivery goes on.
    let second = key(9);
    let looser =
        admin.next_authority(|document| document.admins.push(second.verifying_key()).unwrap(), &[]);
    show(&mut captor, 2, &looser);
    let unlistened = |captor: &Captor| {
        captor.events.iter().any(|event| matches!(event, AgentEvent::Unlisten(_)))
    };
    assert_eq!((trusts(&captor), unlistened(&captor)), (2, false));
    // PROTOCOL T8: two must sign from now on.
    let stricter = admin.next_authority(
        |document| {
            document.version = 3;
            document.admins.push(second.verifying_key()).unwrap();
            document.threshold = 2;
        },
        &[&second],
    );
    show(&mut captor, 3, &stricter);
    assert_eq!((trusts(&captor), unlistened(&captor)), (3, true));
    let changed = AgentEvent::Disconnected { reason: "authority-changed" };
    assert!(captor.events.contains(&changed), "{:?}", captor.events);
}

/// A chain of documents, found by their digests.
struct Book(Vec<Vec<u8>>);

impl Documents for Book {
    fn document(&self, digest: &Digest, wanted: Wanted) -> Option<&[u8]> {
        let is = |document: &&Vec<u8>| {
            use fleetcast_core::crypto::sign::Context;
            use fleetcast_core::trust::document::SignedDocument;
            let signed = SignedDocument::parse(document, 1_024).unwrap();
            signed.digest(Context::Authority) == *digest
        };
        let at = self.0.iter().position(|document| is(&document))?;
        self.0.get(at + usize::from(wanted == Wanted::Successor)).map(Vec::as_slice)
    }
}

/// A receiver whose server answers no handshake; and its state directory.
fn lonely(admin: &Admin, pinned: Digest) -> (Agent<SimDisk, ChaCha>, SimDisk) {
    let state = SimDisk::new(DISK);
    let enrolment = Enrolment {
        server: server_address(),
        server_key: admin.server_key(),
        authority: pinned,
        token: None,
    };
    (open(Some(enrolment), &state), state)
}

fn open(enrolment: Option<Enrolment>, state: &SimDisk) -> Agent<SimDisk, ChaCha> {
    let config = AgentConfig {
        secret: SECRET,
        signing_seed: [6; 32],
        name: "lonely".to_owned(),
        seed: [8; 32],
        enrolment,
        login: None,
    };
    Agent::open(config, SimDisk::new(DISK), state.clone(), Instant::ZERO).expect("a disk")
}

fn version(agent: &Agent<SimDisk, ChaCha>) -> Option<u32> {
    agent.state().trusted().map(|trusted| trusted.document().version)
}

/// The network of a receiver that nobody but a chain answers.
struct Lost {
    now: Instant,
    answerer: ChainAnswerer,
    /// Bytes that the receiver has sent for the chain, and that came back.
    asked: usize,
    answered: usize,
    /// The newest initiation.
    initiation: Vec<u8>,
    requests: u32,
}

impl Lost {
    fn new() -> Self {
        Self {
            now: Instant::ZERO,
            answerer: ChainAnswerer::new([3; 32], Instant::ZERO),
            asked: 0,
            answered: 0,
            initiation: Vec::new(),
            requests: 0,
        }
    }

    /// Lets time pass; `tamper` sees every request and its answer before that arrives.
    fn run(
        &mut self,
        agent: &mut Agent<SimDisk, ChaCha>,
        book: &Book,
        time: Duration,
        mut tamper: impl FnMut(&Request, &mut Vec<u8>),
    ) {
        let end = self.now + time;
        while self.now < end {
            agent.handle_timeout(self.now);
            let mut buffer = [0; 1_472];
            while let Some(sent) = agent.poll_transmit(self.now, &mut buffer) {
                let bytes = buffer[..sent.len].to_vec();
                if bytes[0] != chain::REQUEST {
                    self.initiation = bytes;
                    continue;
                }
                self.requests += 1;
                self.asked += bytes.len();
                self.answerer.handle_datagram(self.now, receiver_address(0), &bytes, book);
                let mut answer = Vec::new();
                if let Some(sent) = self.answerer.poll_transmit(&mut buffer) {
                    answer = buffer[..sent.len].to_vec();
                }
                tamper(&Request::read(&bytes).unwrap(), &mut answer);
                self.answered += answer.len();
                if !answer.is_empty() {
                    agent.handle_datagram(self.now, server_address(), &mut answer);
                }
            }
            while agent.poll_event().is_some() {}
            self.now += Duration::from_millis(50);
        }
    }

    /// Whether the newest initiation is for this key.
    fn calls(&self, key: &StaticKey) -> bool {
        let initiation = Initiation::new(&self.initiation[..]).unwrap();
        Mac1::to(key).fits(initiation.before_mac1(), &initiation.mac1())
    }
}

#[test]
fn who_gets_no_answer_follows_the_chain_to_the_controller_that_it_names() {
    let admin = Admin::new(Random::new(35));
    let (mut agent, state) = lonely(&admin, admin.authority.1.digest());
    let second = admin.next_authority(|document| document.controllers[0] = controller(7), &[]);
    let third = admin.next_authority(
        |document| {
            document.version = 3;
            document.controllers[0] = controller(8);
        },
        &[],
    );
    let book = Book(vec![admin.authority.0.clone(), second, third]);
    let mut lost = Lost::new();
    // PROTOCOL A3: not before several initiations went unanswered.
    lost.run(&mut agent, &book, Duration::from_millis(2_500), |_, _| {});
    assert_eq!((lost.requests, version(&agent)), (0, None));
    assert!(lost.calls(&admin.server_key()));
    lost.run(&mut agent, &book, Duration::from_secs(3), |_, _| {});
    assert_eq!(version(&agent), Some(3));
    assert!(lost.calls(&controller(8).exchange) && !lost.calls(&admin.server_key()));
    // PROTOCOL A1: never more than was asked for.
    assert!(lost.answered <= lost.asked, "{} for {}", lost.answered, lost.asked);
    // A restart begins with what it has learned.
    drop(agent);
    let mut again = open(None, &state);
    let mut lost = Lost::new();
    lost.run(&mut again, &book, Duration::from_secs(1), |_, _| {});
    assert!(lost.calls(&controller(8).exchange));
    assert_eq!(version(&again), Some(3));
}

#[test]
fn forged_chains_and_tampered_answers_move_nobody() {
    let admin = Admin::new(Random::new(36));
    let stranger = Admin::new(Random::new(37));
    let next = admin.next_authority(|document| document.controllers[0] = controller(7), &[]);
    let book = Book(vec![admin.authority.0.clone(), next.clone()]);
    let mut forged = stranger.next_authority(|_| {}, &[]);
    forged.truncate(forged.len() - 1);
    let mut random = Random::new(38);
    let mut tamper = |request: &Request, answer: &mut Vec<u8>| {
        let fake = |bytes: &[u8], total: usize, offset: u16| {
            let mut out = [0; 1_472];
            let body = AnswerBody::Piece { total: total as u16, offset, bytes };
            let len = Answer { number: request.number, body }.write(&mut out).unwrap();
            out[..len].to_vec()
        };
        *answer = match random.below(6) {
            // Whole documents that are none, or do not follow.
            0 => fake(&forged, forged.len(), 0),
            1 => fake(&next[..next.len() - 1], next.len() - 1, 0),
            // Endless ones, and pages from nowhere.
            2 => fake(&[7; 1_400], 1_603, request.offset),
            3 => fake(&next[10..], next.len(), 10),
            // A flipped bit.
            4 if !answer.is_empty() => {
                let at = random.below(answer.len() as u64) as usize;
                answer[at] ^= 1 << random.below(8);
                answer.clone()
            }
            _ => Vec::new(),
        };
    };
    let (mut agent, _state) = lonely(&admin, admin.authority.1.digest());
    let mut lost = Lost::new();
    let minute = Duration::from_secs(60);
    lost.run(&mut agent, &Book(vec![admin.authority.0.clone()]), minute, |_, _| {});
    assert_eq!(version(&agent), Some(1));
    let before = lost.requests;
    for _ in 0..10 {
        lost.run(&mut agent, &book, minute, &mut tamper);
        assert_eq!(version(&agent), Some(1));
        assert!(lost.calls(&admin.server_key()));
    }
    // At most a few requests per initiation, whatever comes back: no storm.
    let initiations = 10 * 60 / 7;
    assert!(lost.requests - before <= initiations * 6, "{}", lost.requests - before);
    lost.run(&mut agent, &book, minute, |_, _| {});
    assert_eq!(version(&agent), Some(2));
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    let mut admin = Admin::new(Random::new(39));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GroupId([1; 16]));
    let next = admin.next_authority(|document| document.controllers[0] = controller(7), &[]);
    for number in 0..1_000 {
        let body = AnswerBody::Piece { total: next.len() as u16, offset: 0, bytes: &next };
        let mut out = [0; 1_472];
        let len = Answer { number, body }.write(&mut out).unwrap();
        captor.victim.handle_datagram(captor.now, server_address(), &mut out[..len]);
    }
    captor.wait(Duration::from_secs(1));
    assert_eq!(trusts(&captor), 1);
}
