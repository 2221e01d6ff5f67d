//! A whole release from a sender session to a board's constrained receiver and its
//! store, over a link that loses datagrams: the machines of the core, nothing else.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, VecDeque};

use fleetcast_core::constrained::{
    BLOCKS, ConstrainedSession, HEADERS, INTERLEAVE, REPORT, SEGMENTS, SLOTS, SOURCES,
};
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::erasure::Portable;
use fleetcast_core::ids::{BlockIndex, Epoch, FleetId, Ordinal, SessionId};
use fleetcast_core::limits::{CONSTRAINED_SYMBOL, MAX_ROOT};
use fleetcast_core::session::intake::{Intake as _, Taken};
use fleetcast_core::session::receiver::{
    Buffers, ReceiveSlot, ReceiverConfig, ReceiverEvent, SegmentState,
};
use fleetcast_core::store::Step;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::wire::control::{FailCode, Object, decode_body};
use fleetcast_core::wire::nack::Nack;
use fleetcast_tests::admin::{Admin, Tree};
use fleetcast_tests::board::{Board, BoardRelease, BoardStore, Trust, check, lacking};
use fleetcast_tests::board_session::{Plan, SALT, Sender, all, sender};
use fleetcast_tests::disk::Node;
use fleetcast_tests::random::Random;

const FLEET: FleetId = FleetId([4; 16]);

/// What both sides of a session know.
struct Session {
    number: u32,
    /// The share of its datagrams that is lost.
    loss: f64,
}

impl Session {
    fn signing() -> SigningKey {
        SigningKey::from_seed(&[9; 32])
    }

    fn receiver(&self) -> ReceiverConfig {
        ReceiverConfig {
            session: SessionId(self.number),
            epoch: Epoch(1),
            key: [self.number as u8; 32],
            fleet: FLEET,
            controller: Self::signing().verifying_key(),
            slot: 0,
            symbol: CONSTRAINED_SYMBOL,
            sources: SOURCES,
            interleave: INTERLEAVE,
            first_block: BlockIndex(0),
            unicast: false,
            receivers: 1,
            backoff: Duration::from_millis(4),
            report: Duration::from_millis(200),
            salt: SALT,
            seed: self.number.into(),
        }
    }

    fn sender(&self, plan: &Plan) -> Sender {
        let to = "239.77.0.1:7413".parse().unwrap();
        sender(plan, self.number, FLEET, Self::signing(), to, Instant::ZERO)
    }

    /// Runs it until it ends.
    fn run(&self, store: &mut BoardStore<'_>, trust: &Trust, plan: &mut Plan) {
        let mut slots = [ReceiveSlot::default(); SLOTS];
        let (mut blocks, mut headers) = ([0; BLOCKS], [0; HEADERS]);
        let mut segments: [_; SEGMENTS] = core::array::from_fn(|_| SegmentState::default());
        let mut report = [0; REPORT];
        let lent = Buffers {
            slots: &mut slots[..],
            blocks: &mut blocks[..],
            segments: &mut segments[..],
            headers: &mut headers[..],
            report: &mut report[..],
            digests: &mut [],
        };
        let mut board = ConstrainedSession::new(self.receiver(), lent, Instant::ZERO);
        let mut sender = self.sender(plan);
        let (mut gate, mut random) = (trust.gate(), Random::new(self.number.into()));
        let mut flights: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut answers: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let (mut now, mut out) = (Instant::ZERO, vec![0; 65_536]);
        while !sender.is_closed() && now < Instant::from_millis(120_000) {
            while let Some(sent) = sender.poll_transmit(now, &mut out, plan, &Portable) {
                let size = sent.segment_size.unwrap_or(sent.len);
                let kept = out[..sent.len].chunks(size).filter(|_| !random.chance(self.loss));
                let arrives = now + Duration::from_micros(500);
                flights.extend(kept.map(|datagram| (arrives, datagram.to_vec())));
            }
            while let Some(event) = board.poll_event() {
                let message = answer(&board, event).map(|it| (now + Duration::from_millis(1), it));
                answers.extend(message);
            }
            now += Duration::from_micros(250);
            while let Some((_, mut datagram)) = flights.pop_front_if(|(at, _)| *at <= now) {
                board.handle_datagram(now, &mut datagram, &mut store.intake(&mut gate), &Portable);
                // As a board does after each datagram.
                store.step().unwrap();
            }
            if board.poll_timeout().is_some_and(|at| at <= now) {
                board.handle_timeout(now, &mut store.intake(&mut gate));
            }
            sender.handle_timeout(now);
            while let Some((_, message)) = answers.pop_front_if(|(at, _)| *at <= now) {
                hear(&mut sender, now, &message, plan);
            }
        }
    }
}

/// What a receiver sends because of an event.
fn answer(board: &ConstrainedSession<'_>, event: ReceiverEvent) -> Option<Vec<u8>> {
    match event {
        ReceiverEvent::Nack => board.nack().map(<[u8]>::to_vec),
        ReceiverEvent::Joined { heard: true } => Some(vec![0xF0]),
        ReceiverEvent::HeaderRequest(block) => Some([&[0xF1][..], &block.0.to_le_bytes()].concat()),
        ReceiverEvent::Finished { .. } => Some(vec![0xF2]),
        _ => None,
    }
}

fn hear(sender: &mut Sender, now: Instant, message: &[u8], plan: &mut Plan) {
    match message[0] {
        0xF0 => sender.joined(now, 0),
        0xF1 => {
            let block = u32::from_le_bytes(message[1..5].try_into().unwrap());
            sender.handle_header_request(now, BlockIndex(block), plan);
        }
        0xF2 => sender.members(0),
        _ => sender.handle_nack(now, &Nack::parse(message).unwrap(), &|_| true, plan),
    }
}

fn tree(len: usize) -> Tree {
    let mut noise = vec![0; len];
    Random::new(1).fill(&mut noise);
    let text = b"what the kiosk shows on Mondays. ".repeat(900);
    BTreeMap::from([
        ("pictures".to_owned(), Node::Directory(1)),
        ("pictures/a".to_owned(), Node::File(false, 1, noise)),
        ("text".to_owned(), Node::File(false, 1, text)),
    ])
}

/// Sessions until the release is whole, the first with all of it; how many they were.
fn deliver(board: &mut Board, trust: &Trust, release: &BoardRelease, loss: f64) -> u32 {
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    while store.step().unwrap() == Step::More {}
    let mut runs = all(release);
    for session in 1..8 {
        let mut plan = Plan::new(release, &runs);
        Session { number: session, loss }.run(&mut store, trust, &mut plan);
        let step = loop {
            match store.step().unwrap() {
                Step::More => {}
                step => break step,
            }
        };
        if step == Step::Complete {
            store.activate().unwrap();
            check(&mut store, release);
            return session;
        }
        runs = lacking(&mut store).unwrap();
    }
    panic!("still lacking {runs:?}");
}

#[test]
fn a_board_receives_a_release_without_loss_in_one_session() {
    let trust = Trust::new();
    for lz4 in [false, true] {
        let release = trust.release(1, &tree(90_000), 2_048, lz4);
        let sessions = deliver(&mut Board::formatted(2_048), &trust, &release, 0.0);
        assert_eq!(sessions, 1);
    }
}

#[test]
fn a_board_receives_a_release_where_every_fiftieth_datagram_is_lost() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(90_000), 2_048, true);
    let mut board = Board::formatted(2_048);
    assert!(deliver(&mut board, &trust, &release, 0.02) <= 3);
    // The next release into the same card, over a worse link.
    let mut next = tree(90_000);
    next.insert("new".to_owned(), Node::File(true, 2, vec![7; 30_000]));
    let next = trust.release(2, &next, 2_048, true);
    assert!(deliver(&mut board, &trust, &next, 0.05) <= 4);
}

/// The document of a root without its signatures.
fn unsigned(document: &[u8]) -> Vec<u8> {
    let body = body_of(document);
    let mut bytes = (body.len() as u16).to_le_bytes().to_vec();
    bytes.extend(body);
    bytes.push(0);
    bytes
}

// PROTOCOL S26
#[test]
fn roots_that_members_of_a_session_make_up_fail_no_release_of_a_board() {
    let trust = Trust::new();
    let of = |sequence| trust.release(sequence, &tree(2_000), 2_048, true);
    let release = of(2);
    // No signature; an older release; an expired one; none of the fleet's.
    let stranger = Admin::new(Random::new(8));
    let forged = [
        unsigned(&release.document),
        of(1).document,
        trust.release_until(1, 2, &tree(2_000), 2_048, true).document,
        stranger.sign_root(&decode_body(body_of(&release.document)).unwrap()).1,
        stranger.sign_root(&decode_body(body_of(&of(1).document)).unwrap()).1,
    ];
    let mut board = Board::formatted(2_048);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    while store.step().unwrap() == Step::More {}
    let mut gate = trust.gate();
    let mut take = |store: &mut BoardStore<'_>, proved, root: &[u8]| {
        let mut intake = store.intake(&mut gate);
        intake.attest(proved);
        intake.record(Object::Root, Ordinal(0), 0, root.len(), root)
    };
    for root in &forged {
        assert_eq!(take(&mut store, false, root), Taken::Poisoned);
        assert!(store.failure().is_none());
    }
    assert_eq!(take(&mut store, false, &release.document), Taken::Stored);
    // The sender's own word is another thing.
    let mut board = Board::formatted(2_048);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    while store.step().unwrap() == Step::More {}
    assert_eq!(take(&mut store, true, &of(1).document), Taken::Poisoned, "it is not promised");
    assert_eq!(take(&mut store, true, &unsigned(&release.document)), Taken::Failed);
    assert_eq!(store.failure().unwrap().fail_code(), FailCode::NotTrusted);
}

fn body_of(document: &[u8]) -> &[u8] {
    SignedDocument::parse(document, MAX_ROOT).unwrap().body()
}
