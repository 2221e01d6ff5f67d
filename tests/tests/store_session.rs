//! A whole release from a sender session to a board's constrained receiver and its
//! store, over a link that loses datagrams: the machines of the core, nothing else.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, VecDeque};

use fleetcast_core::constrained::{
    BLOCKS, ConstrainedSession, HEADERS, REPORT, SEGMENTS, SLOTS, SOURCES,
};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::erasure::Portable;
use fleetcast_core::ids::{BlockIndex, Epoch, FleetId, Ordinal, SegmentIndex, SessionId};
use fleetcast_core::limits::CONSTRAINED_SYMBOL;
use fleetcast_core::session::layout::BlockLayout;
use fleetcast_core::session::rate::RateLimits;
use fleetcast_core::session::receiver::{
    Buffers, ReceiveSlot, ReceiverConfig, ReceiverEvent, SegmentState,
};
use fleetcast_core::session::sender::{BlockSlot, SenderConfig, SenderSession};
use fleetcast_core::session::source::{BlockSource, SegmentSpan, SourceFailed};
use fleetcast_core::store::Step;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::tree::record::encode_header;
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::control::{Object, WantRun};
use fleetcast_core::wire::nack::Nack;
use fleetcast_core::wire::segment::{Run, SegmentWriter};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::board::{Board, BoardRelease, BoardStore, Trust, check, lacking};
use fleetcast_tests::disk::Node;
use fleetcast_tests::random::Random;

const FLEET: FleetId = FleetId([4; 16]);
const BLOCK: usize = SOURCES * CONSTRAINED_SYMBOL;
const SALT: [u8; 8] = *b"saltsalt";
/// Blocks of a segment: as many as the receiver takes at a time.
const PER_SEGMENT: u32 = SLOTS as u32;

/// The blocks of one session, cut by the rule that each holds whole records.
struct Plan {
    blocks: Vec<(Object, Vec<Run>, Vec<u8>)>,
}

impl Plan {
    /// A session that carries what `runs` name.
    fn new(release: &BoardRelease, runs: &[WantRun]) -> Self {
        let mut blocks: Vec<(Object, Vec<Run>, Vec<u8>)> = Vec::new();
        for run in runs {
            for ordinal in run.first..run.first + run.count {
                let root = || {
                    let document = &release.document;
                    let mut record =
                        encode_header(0, document.len(), document.len()).unwrap().to_vec();
                    record.extend(document);
                    record
                };
                let record = match run.object {
                    Object::Root => root(),
                    Object::Index => release.index[ordinal as usize].clone(),
                    Object::Content => release.content[ordinal as usize].clone(),
                };
                assert!(record.len() <= BLOCK, "a record fits a block");
                let one = Run { first: Ordinal(ordinal), count: 1 };
                match blocks.last_mut() {
                    Some((object, runs, bytes))
                        if *object == run.object && bytes.len() + record.len() <= BLOCK =>
                    {
                        runs.push(one);
                        bytes.extend(record);
                    }
                    _ => blocks.push((run.object, vec![one], record)),
                }
            }
        }
        Self { blocks }
    }
}

impl BlockSource for Plan {
    fn segments(&self) -> u32 {
        self.blocks().div_ceil(PER_SEGMENT)
    }

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan> {
        let first = segment.0 * PER_SEGMENT;
        let left = self.blocks().checked_sub(first).filter(|&left| left > 0)?;
        Some(SegmentSpan { first: BlockIndex(first), count: left.min(PER_SEGMENT) as u8 })
    }

    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex> {
        (block.0 < self.blocks()).then_some(SegmentIndex(block.0 / PER_SEGMENT))
    }

    fn layout(&self, block: BlockIndex) -> Option<BlockLayout> {
        let (object, _, bytes) = self.blocks.get(block.0 as usize)?;
        BlockLayout::checked(*object, bytes.len(), CONSTRAINED_SYMBOL, SOURCES)
    }

    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed> {
        out.runs(&self.blocks[block.0 as usize].1)
    }

    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed> {
        out.copy_from_slice(&self.blocks[block.0 as usize].2);
        Ok(())
    }
}

type Sender = SenderSession<ChaCha, Vec<BlockSlot>, Vec<u8>>;

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
        let payload: usize = plan.blocks.iter().map(|(_, _, bytes)| bytes.len()).sum();
        let config = SenderConfig {
            session: SessionId(self.number),
            epoch: Epoch(1),
            key: [self.number as u8; 32],
            fleet: FLEET,
            signing: Self::signing(),
            to: "239.77.0.1:7413".parse().unwrap(),
            symbol: CONSTRAINED_SYMBOL,
            salt: SALT,
            sources: SOURCES,
            slots: 1,
            members: 1,
            payload: payload as u64,
            limits: RateLimits { cap: 300_000, floor: 100_000, start: 300_000 },
            report_interval: Duration::from_millis(200),
        };
        let (slots, memory) = (vec![BlockSlot::default(); 8], vec![0; 8 * BLOCK]);
        let parity = vec![0; plan.blocks.len()];
        Sender::new(config, slots, memory, parity, Instant::ZERO)
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

fn all(release: &BoardRelease) -> Vec<WantRun> {
    let run = |object, count: usize| WantRun { object, first: 0, count: count as u32 };
    let (index, content) = (release.index.len(), release.content.len());
    vec![run(Object::Root, 1), run(Object::Index, index), run(Object::Content, content)]
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
