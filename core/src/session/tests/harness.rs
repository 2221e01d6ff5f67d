//! One sender, many receivers, a link with faults, and an independent idea of
//! what every record must be.

use std::boxed::Box;
use std::collections::BinaryHeap;
use std::vec;
use std::vec::Vec;

use crate::crypto::aead::ChaCha;
use crate::crypto::packet::Sealer;
use crate::crypto::sign::SigningKey;
use crate::erasure::Portable;
use crate::ids::{BlockIndex, Epoch, FleetId, Ordinal, SegmentIndex, SessionId, SymbolIndex};
use crate::session::intake::{Intake, Taken};
use crate::session::layout::BlockLayout;
use crate::session::rate::RateLimits;
use crate::session::receiver::{
    ReceiveSlot, ReceiverConfig, ReceiverEvent, ReceiverSession, SegmentState,
};
use crate::session::sender::{BlockSlot, SenderConfig, SenderEvent, SenderSession};
use crate::session::source::{BlockSource, SegmentSpan, SourceFailed};
use crate::time::{Duration, Instant};
use crate::tree::record::encode_header;
use crate::wire::Malformed;
use crate::wire::control::Object;
use crate::wire::nack::Nack;
use crate::wire::segment::{Run, SegmentWriter};
use crate::wire::session::{kind, symbol_head};

const SYMBOL: usize = 1_434;
const SOURCES: usize = 192;
const CHUNK: usize = 16_384;
const PER_BLOCK: usize = 16;
const SESSION: SessionId = SessionId(77);
const FLEET: FleetId = FleetId([4; 16]);
const BUFFER: usize = 64 * 1_024;

type Sender = SenderSession<ChaCha, Vec<BlockSlot>, Vec<u8>>;
type Receiver = ReceiverSession<ChaCha, Vec<ReceiveSlot>, Vec<u8>, Vec<SegmentState>>;

/// What the link does to each datagram on its way to each receiver, as probabilities.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) corrupt: f64,
}

impl Link {
    pub(super) const PERFECT: Self = Self { loss: 0.0, duplicate: 0.0, reorder: 0.0, corrupt: 0.0 };
}

/// The bytes of chunk `ordinal`: a pure function, known to both sides.
fn chunk(ordinal: u32, total: usize) -> Vec<u8> {
    let len = CHUNK.min(total - ordinal as usize * CHUNK);
    let mut state = u64::from(ordinal) + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

/// Block 0 is a root of 64 bytes, the rest are chunks, sixteen a block.
pub(super) struct Plan {
    total: usize,
    chunks: u32,
}

impl Plan {
    fn new(total: usize) -> Self {
        Self { total, chunks: total.div_ceil(CHUNK) as u32 }
    }

    fn chunks_of(&self, block: BlockIndex) -> core::ops::Range<u32> {
        let first = (block.0 - 1) * PER_BLOCK as u32;
        first..(first + PER_BLOCK as u32).min(self.chunks)
    }

    fn bytes(&self, block: BlockIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |text: &[u8]| {
            bytes.extend(encode_header(0, text.len(), text.len()).unwrap());
            bytes.extend_from_slice(text);
        };
        if block.0 == 0 {
            put(&[0x52; 64]);
        } else {
            self.chunks_of(block).for_each(|ordinal| put(&chunk(ordinal, self.total)));
        }
        bytes
    }
}

impl BlockSource for Plan {
    fn segments(&self) -> u32 {
        self.blocks().div_ceil(8)
    }

    fn blocks(&self) -> u32 {
        1 + self.chunks.div_ceil(PER_BLOCK as u32)
    }

    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan> {
        let first = segment.0 * 8;
        let count = self.blocks().checked_sub(first).filter(|&left| left > 0)?.min(8) as u8;
        Some(SegmentSpan { first: BlockIndex(first), count })
    }

    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex> {
        (block.0 < self.blocks()).then_some(SegmentIndex(block.0 / 8))
    }

    fn layout(&self, block: BlockIndex) -> Option<BlockLayout> {
        if block.0 >= self.blocks() {
            return None;
        }
        let object = if block.0 == 0 { Object::Root } else { Object::Content };
        BlockLayout::checked(object, self.bytes(block).len(), SYMBOL, SOURCES)
    }

    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed> {
        let range = if block.0 == 0 { 0..1 } else { self.chunks_of(block) };
        out.runs(&[Run { first: Ordinal(range.start), count: range.len() as u16 }])
    }

    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed> {
        out.copy_from_slice(&self.bytes(block));
        Ok(())
    }
}

/// A receiver's storage: it knows what each record must be.
pub(super) struct Store {
    total: usize,
    have: Vec<bool>,
    root: bool,
    wrong: u32,
}

impl Intake for Store {
    fn wants(&mut self, object: Object, first: Ordinal, count: u16) -> bool {
        match object {
            Object::Root => !self.root,
            _ => (first.0..first.0 + u32::from(count)).any(|i| !self.have[i as usize]),
        }
    }

    fn record(&mut self, object: Object, at: Ordinal, codec: u8, len: usize, text: &[u8]) -> Taken {
        assert_eq!((codec, len), (0, text.len()));
        if object == Object::Root {
            self.root = true;
            return Taken::Stored;
        }
        if text != chunk(at.0, self.total) {
            return Taken::Poisoned;
        }
        self.have[at.0 as usize] = true;
        Taken::Stored
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    fn is_complete(&self) -> bool {
        self.root && self.have.iter().all(|&have| have)
    }
}

pub(super) struct Member {
    pub(super) session: Receiver,
    store: Store,
    pub(super) told: Vec<ReceiverEvent>,
    pub(super) asked_blocks: Vec<BlockIndex>,
    pub(super) asleep_until: Option<BlockIndex>,
    pub(super) wrong: u32,
    finished: bool,
}

impl Member {
    pub(super) fn held(&self) -> usize {
        self.store.have.iter().filter(|&&have| have).count()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.store.is_complete()
    }

    pub(super) fn has_everything(&self) {
        let lacking = self.store.have.iter().filter(|&&have| !have).count();
        assert!(self.is_complete(), "{lacking} chunks lacking, root {}", self.store.root);
        assert_eq!(self.store.wrong, 0);
    }
}

/// A datagram or message under way, ordered by arrival.
struct Flight {
    at: Instant,
    order: u64,
    to: Option<usize>,
    from: usize,
    bytes: Box<[u8]>,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Flight {}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flight {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

pub(super) struct World {
    now: Instant,
    plan: Plan,
    pub(super) sender: Sender,
    pub(super) receivers: Vec<Member>,
    pub(super) link: Link,
    pub(super) common_loss: f64,
    pub(super) lose_headers_to: Option<usize>,
    pub(super) forge_symbol_of: Option<BlockIndex>,
    pub(super) forge_control: bool,
    pub(super) rekey_at: Option<(Instant, Epoch)>,
    pub(super) sent: Vec<SenderEvent>,
    flights: BinaryHeap<Flight>,
    order: u64,
    random: u64,
    epoch: Epoch,
}

impl World {
    pub(super) fn new(seed: u64, receivers: usize, total: usize) -> Self {
        Self::build(seed, receivers, total, "239.77.0.1:7413")
    }

    pub(super) fn unicast(seed: u64, total: usize) -> Self {
        Self::build(seed, 1, total, "10.0.0.2:9000")
    }

    fn build(seed: u64, receivers: usize, total: usize, to: &str) -> Self {
        let plan = Plan::new(total);
        let signing = SigningKey::from_seed(&[9; 32]);
        let controller = signing.verifying_key();
        let unicast = to.starts_with("10.");
        let config = SenderConfig {
            session: SESSION,
            epoch: Epoch(1),
            key: key_of(Epoch(1)),
            fleet: FLEET,
            signing,
            to: to.parse().unwrap(),
            symbol: SYMBOL,
            sources: SOURCES,
            slots: 1,
            members: receivers as u32,
            limits: RateLimits { cap: 12_000_000, floor: 100_000, start: 6_000_000 },
            report_interval: Duration::from_millis(200),
        };
        let slots = vec![BlockSlot::default(); 24];
        let memory = vec![0; 24 * SOURCES * SYMBOL];
        let parity = vec![0; plan.blocks() as usize];
        let sender = Sender::new(config, slots, memory, parity, Instant::ZERO);
        let member = |i: usize| {
            let config = ReceiverConfig {
                session: SESSION,
                epoch: Epoch(1),
                key: key_of(Epoch(1)),
                fleet: FLEET,
                controller,
                slot: 0,
                symbol: SYMBOL,
                sources: SOURCES,
                first_block: BlockIndex(0),
                unicast,
                receivers: receivers as u32,
                backoff: Duration::from_millis(4),
                report: Duration::from_millis(200),
                seed: seed * 1_000 + i as u64,
            };
            Member::new(config, &plan)
        };
        let receivers = (0..receivers).map(member).collect();
        Self {
            now: Instant::ZERO,
            plan,
            sender,
            receivers,
            link: Link::PERFECT,
            common_loss: 0.0,
            lose_headers_to: None,
            forge_symbol_of: None,
            forge_control: false,
            rekey_at: None,
            sent: Vec::new(),
            flights: BinaryHeap::new(),
            order: 0,
            random: seed,
            epoch: Epoch(1),
        }
    }

    pub(super) fn told(&self, receiver: usize, event: ReceiverEvent) -> bool {
        self.receivers[receiver].told.contains(&event)
    }

    pub(super) fn everyone_has_everything(&self) {
        self.receivers.iter().for_each(Member::has_everything);
    }

    pub(super) fn run(&mut self) {
        self.run_until(Instant::from_millis(60_000));
        assert!(self.sender.is_closed(), "still open at {:?}", self.now);
    }

    /// The numbered loop of core/README.md, for all machines at once.
    pub(super) fn run_until(&mut self, end: Instant) {
        if let Some(late) = self.receivers.iter().position(|r| r.asleep_until.is_some()) {
            self.receivers[late].session = self.late_session(late);
        }
        self.inject();
        while self.now < end && !(self.sender.is_closed() && self.flights.is_empty()) {
            self.drain();
            let next = self
                .receivers
                .iter()
                .filter_map(|r| r.session.poll_timeout())
                .chain(self.sender.poll_timeout())
                .chain(self.flights.peek().map(|flight| flight.at))
                .min()
                .unwrap_or(end);
            self.now = next.max(self.now + Duration::from_micros(1));
            while self.flights.peek().is_some_and(|flight| flight.at <= self.now) {
                let flight = self.flights.pop().unwrap();
                self.arrive(flight);
            }
            self.sender.handle_timeout(self.now);
            for member in &mut self.receivers {
                if member.session.poll_timeout().is_some_and(|at| at <= self.now) {
                    member.session.handle_timeout(self.now, &mut member.store);
                }
            }
        }
        self.drain();
    }

    fn late_session(&self, late: usize) -> Receiver {
        let first = self.receivers[late].asleep_until.unwrap();
        let controller = SigningKey::from_seed(&[9; 32]).verifying_key();
        let config = ReceiverConfig {
            session: SESSION,
            epoch: Epoch(1),
            key: key_of(Epoch(1)),
            fleet: FLEET,
            controller,
            slot: 0,
            symbol: SYMBOL,
            sources: SOURCES,
            first_block: first,
            unicast: false,
            receivers: 2,
            backoff: Duration::from_millis(4),
            report: Duration::from_millis(200),
            seed: 5,
        };
        Member::new(config, &self.plan).session
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; BUFFER];
        while let Some(sent) =
            self.sender.poll_transmit(self.now, &mut buffer, &mut self.plan, &Portable)
        {
            let size = sent.segment_size.unwrap_or(sent.len);
            for datagram in buffer[..sent.len].chunks(size) {
                self.multicast(datagram);
            }
        }
        while let Some(event) = self.sender.poll_event() {
            self.sent.push(event);
        }
        if let Some((at, epoch)) = self.rekey_at
            && at <= self.now
        {
            self.rekey_at = None;
            self.epoch = epoch;
            self.sender.rekey(epoch, &key_of(epoch));
        }
        for at in 0..self.receivers.len() {
            self.drain_member(at);
        }
    }

    fn drain_member(&mut self, at: usize) {
        while let Some(event) = self.receivers[at].session.poll_event() {
            let member = &mut self.receivers[at];
            member.told.push(event);
            let mut message = vec![0xFF];
            match event {
                ReceiverEvent::Nack => {
                    message = member.session.nack().unwrap().to_vec();
                    let nack = Nack::parse(&message).unwrap();
                    member.asked_blocks.extend(nack.entries().map(|entry| entry.block));
                }
                ReceiverEvent::Joined { heard } => message = vec![0xF0, u8::from(heard)],
                ReceiverEvent::HeaderRequest(block) => {
                    message = vec![0xF1];
                    message.extend(block.0.to_le_bytes());
                }
                ReceiverEvent::Finished { .. } => message = vec![0xF2],
                ReceiverEvent::Progress { received, lost, counter } => {
                    message = vec![0xF3];
                    message.extend(received.to_le_bytes());
                    message.extend(lost.to_le_bytes());
                    message.extend(counter.to_le_bytes());
                }
                ReceiverEvent::KeyRequest => {
                    let epoch = self.epoch;
                    member.session.rekey(epoch, &key_of(epoch));
                }
                ReceiverEvent::Poisoned(_) => {}
            }
            self.fly(None, at, &message, Duration::from_millis(1));
        }
    }

    fn multicast(&mut self, datagram: &[u8]) {
        let common = self.chance(self.common_loss);
        for at in 0..self.receivers.len() {
            // Headers can be told by their length: they are neither full nor tiny.
            let header = (100..1_000).contains(&datagram.len());
            let blocked =
                header && self.lose_headers_to == Some(at) && self.now.as_micros() < 600_000;
            if common || blocked || self.chance(self.link.loss) {
                continue;
            }
            let mut bytes = datagram.to_vec();
            if self.chance(self.link.corrupt) {
                let place = self.draw() as usize % bytes.len();
                bytes[place] ^= 1 << (self.draw() % 8);
            }
            let late = if self.chance(self.link.reorder) { self.draw() % 3_000 } else { 0 };
            self.fly(Some(at), 0, &bytes, Duration::from_micros(500 + late));
            if self.chance(self.link.duplicate) {
                let later = Duration::from_micros(500 + self.draw() % 5_000);
                self.fly(Some(at), 0, &bytes, later);
            }
        }
    }

    /// What an insider sends who holds the session key but not the controller's.
    fn inject(&mut self) {
        let mut insider = Sealer::<ChaCha>::new(SESSION, Epoch(1), &key_of(Epoch(1)));
        let mut datagram = vec![0; 1_472];
        if let Some(block) = self.forge_symbol_of {
            datagram[16..22].copy_from_slice(&symbol_head(SymbolIndex(4), block));
            insider.seal(&mut datagram, 6 + SYMBOL);
            self.fly(Some(0), 0, &datagram, Duration::from_micros(100));
        }
        if self.forge_control {
            let mut body = vec![0; 1_440];
            let mut end = crate::wire::session::End::unsigned(1, 1, 1).to_vec();
            end.extend([7; 64]);
            body[..end.len()].copy_from_slice(&end);
            datagram[16..16 + end.len()].copy_from_slice(&end);
            assert_eq!(end[0], kind::END);
            let len = insider.seal(&mut datagram, end.len()).unwrap();
            let forged = datagram[..len].to_vec();
            self.fly(Some(0), 0, &forged, Duration::from_millis(50));
        }
    }

    fn fly(&mut self, to: Option<usize>, from: usize, bytes: &[u8], delay: Duration) {
        self.order += 1;
        let bytes = bytes.to_vec().into_boxed_slice();
        self.flights.push(Flight { at: self.now + delay, order: self.order, to, from, bytes });
    }

    fn arrive(&mut self, mut flight: Flight) {
        let now = self.now;
        if let Some(at) = flight.to {
            let member = &mut self.receivers[at];
            member.session.handle_datagram(now, &mut flight.bytes, &mut member.store, &Portable);
            return;
        }
        let number = |at: usize| u32::from_le_bytes(flight.bytes[at..at + 4].try_into().unwrap());
        match flight.bytes[0] {
            0xF0 if flight.bytes[1] == 1 => self.sender.joined(now),
            0xF1 => self.sender.handle_header_request(BlockIndex(number(1)), &self.plan),
            0xF2 => {
                self.receivers[flight.from].finished = true;
                let left = self.receivers.iter().filter(|r| !r.finished).count();
                self.sender.members(left as u32);
            }
            0xF3 => {
                let counter = u64::from(number(9)) | u64::from(number(13)) << 32;
                self.sender.handle_progress(now, (number(1), number(5)), counter);
            }
            3 => {
                let nack = Nack::parse(&flight.bytes).unwrap();
                self.sender.handle_nack(now, &nack, &mut self.plan);
            }
            _ => {}
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.draw() as f64 / u64::MAX as f64) < probability
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Member {
    fn new(config: ReceiverConfig, plan: &Plan) -> Self {
        let slots = vec![ReceiveSlot::default(); 32];
        let memory = vec![0; 32 * SOURCES * SYMBOL];
        let segments = vec![SegmentState::default(); 8];
        let have = vec![false; plan.chunks as usize];
        Self {
            session: Receiver::new(config, slots, memory, segments, Instant::ZERO),
            store: Store { total: plan.total, have, root: false, wrong: 0 },
            told: Vec::new(),
            asked_blocks: Vec::new(),
            asleep_until: None,
            wrong: 0,
            finished: false,
        }
    }
}

fn key_of(epoch: Epoch) -> [u8; 32] {
    [epoch.0 as u8; 32]
}
