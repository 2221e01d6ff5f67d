//! One sender, many receivers, a link with faults, and an independent idea of
//! what every record must be.

use std::collections::{BTreeMap, BinaryHeap};
use std::vec;
use std::vec::Vec;

pub(super) use super::config::{BACKOFF, CAP, SALT};
use super::config::{SESSION, Sender, key_of, receiver_config, sender};
use super::insider::{Forgery, Insider, forged_control};
use super::link::{Flight, Link, Sent, Wire};
use super::naps::Naps;
use super::plan::{Plan, SOURCES, SYMBOL, Store};
use crate::crypto::aead::ChaCha;
use crate::crypto::packet::Sealer;
use crate::erasure::Portable;
use crate::ids::{BlockIndex, Epoch, SymbolIndex};
use crate::limits::{MAX_MESSAGE, SEGMENT_WINDOW};
use crate::session::intake::Intake;
use crate::session::receiver::{
    Buffers, DIGESTS_OF_SLOT, ReceiveSlot, ReceiverConfig, ReceiverEvent, ReceiverSession,
    SegmentState, longest_header,
};
use crate::session::sender::SenderEvent;
use crate::session::tally::Tally;
use crate::time::{Duration, Instant};
use crate::wire::nack::Nack;
use crate::wire::session::{Header, kind, symbol_head};

const BUFFER: usize = 64 * 1_024;
/// How long a datagram is under way when nothing delays it.
pub(super) const DELAY: Duration = Duration::from_micros(500);

type Receiver = ReceiverSession<ChaCha, Vec<ReceiveSlot>, Vec<u8>, Vec<SegmentState>>;

pub(super) struct Member {
    pub(super) session: Receiver,
    store: Store,
    pub(super) told: Vec<ReceiverEvent>,
    pub(super) asked_blocks: Vec<BlockIndex>,
    pub(super) asleep_until: Option<BlockIndex>,
    /// Its `Finished` does not reach the sender before.
    pub(super) mute_until: Option<Instant>,
    finished: bool,
    /// When it had everything.
    pub(super) complete_at: Option<Instant>,
    /// Symbols of blocks that have come, by their numbers in [`Sent::symbol`].
    pub(super) came: BTreeMap<BlockIndex, Vec<usize>>,
    tally: Tally,
}

impl Member {
    pub(super) fn held(&self) -> usize {
        self.store.have.iter().filter(|&&have| have).count()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.store.is_complete()
    }

    /// Of each chunk whether it was said to be the sender's when it came.
    pub(super) fn proved(&self) -> &[Option<bool>] {
        &self.store.proved_of
    }

    pub(super) fn has_everything(&self) {
        let lacking = self.store.have.iter().filter(|&&have| !have).count();
        assert!(self.is_complete(), "{lacking} chunks lacking, root {}", self.store.root);
    }
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) plan: Plan,
    pub(super) sender: Sender,
    pub(super) receivers: Vec<Member>,
    pub(super) link: Link,
    pub(super) common_loss: f64,
    /// Datagrams that reached nobody.
    pub(super) common_losses: usize,
    /// This symbol, sent for the first time, reaches nobody.
    pub(super) lose_symbol: Option<(BlockIndex, SymbolIndex)>,
    pub(super) lose_headers_to: Option<usize>,
    /// So many digests, the first ones sent, reach nobody.
    pub(super) lose_digests: usize,
    /// Nothing reaches this receiver.
    pub(super) absent: Option<usize>,
    pub(super) forge_symbol_of: Option<BlockIndex>,
    pub(super) forge_control: bool,
    /// Blocks that receivers are told to give up once they have found them poisoned.
    pub(super) given_up: Vec<(usize, BlockIndex)>,
    /// All datagrams to receivers share this wire, if there is one.
    pub(super) shared: Option<Wire>,
    pub(super) insider: Option<Insider>,
    /// Receivers run by turns, if so.
    pub(super) naps: Option<Naps>,
    pub(super) rekey_at: Option<(Instant, Epoch)>,
    pub(super) sent: Vec<SenderEvent>,
    /// All that the sender sent.
    pub(super) wire: Vec<Sent>,
    /// Processor time of the sender's machine and of all receivers', for their datagrams.
    pub(super) spent: [std::time::Duration; 2],
    /// NACK messages, and when their receivers sent them.
    pub(super) reports: Vec<(Instant, Vec<u8>)>,
    flights: BinaryHeap<Flight>,
    joined: usize,
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
        let member = |i: usize| {
            let config = ReceiverConfig {
                unicast: to.starts_with("10."),
                receivers: receivers as u32,
                seed: seed * 1_000 + i as u64,
                ..receiver_config()
            };
            Member::new(config, &plan)
        };
        Self {
            now: Instant::ZERO,
            sender: sender(&plan, receivers, to),
            receivers: (0..receivers).map(member).collect(),
            plan,
            link: Link::PERFECT,
            common_loss: 0.0,
            common_losses: 0,
            lose_symbol: None,
            lose_headers_to: None,
            lose_digests: 0,
            absent: None,
            forge_symbol_of: None,
            forge_control: false,
            given_up: Vec::new(),
            shared: None,
            insider: None,
            naps: None,
            rekey_at: None,
            sent: Vec::new(),
            wire: Vec::new(),
            spent: [std::time::Duration::ZERO; 2],
            reports: Vec::new(),
            flights: BinaryHeap::new(),
            joined: 0,
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
                .enumerate()
                .filter_map(|(at, r)| Some(self.runs(at, r.session.poll_timeout()?)))
                .chain(self.sender.poll_timeout())
                .chain(self.flights.peek().map(|flight| flight.at))
                .chain(self.insider.as_ref().map(Insider::poll_timeout))
                .min()
                .unwrap_or(end);
            self.now = next.max(self.now + Duration::from_micros(1));
            while self.flights.peek().is_some_and(|flight| flight.at <= self.now) {
                let mut flight = self.flights.pop().unwrap();
                let runs = flight.to.map_or(self.now, |to| self.runs(to, self.now));
                if runs > self.now {
                    flight.at = runs;
                    self.flights.push(flight);
                } else {
                    self.arrive(flight);
                }
            }
            self.forge();
            self.sender.handle_timeout(self.now);
            for at in 0..self.receivers.len() {
                let runs = self.runs(at, self.now) <= self.now;
                let member = &mut self.receivers[at];
                if runs && member.session.poll_timeout().is_some_and(|at| at <= self.now) {
                    member.session.handle_timeout(self.now, &mut member.store);
                }
            }
        }
        self.drain();
    }

    /// When a receiver runs that has something to do at a time.
    fn runs(&self, receiver: usize, at: Instant) -> Instant {
        self.naps.map_or(at, |naps| naps.runs(at.max(self.now), receiver))
    }

    /// Makes a receiver one that has no memory for digests.
    pub(super) fn take_digests_from(&mut self, at: usize) {
        let config = ReceiverConfig { receivers: 2, seed: 5, ..receiver_config() };
        self.receivers[at] = Member::with_digests(config, &self.plan, 0);
    }

    fn late_session(&self, late: usize) -> Receiver {
        let first_block = self.receivers[late].asleep_until.unwrap();
        let config = ReceiverConfig { first_block, receivers: 2, seed: 5, ..receiver_config() };
        Member::new(config, &self.plan).session
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let begin = std::time::Instant::now();
            let sent = self.sender.poll_transmit(self.now, &mut buffer, &mut self.plan, &Portable);
            self.spent[0] += begin.elapsed();
            let Some(sent) = sent else { break };
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
                    self.reports.push((self.now, message.clone()));
                    let nack = Nack::parse(&message).unwrap();
                    member.asked_blocks.extend(nack.entries().map(|entry| entry.block));
                }
                ReceiverEvent::Joined { heard } => message = vec![0xF0, u8::from(heard)],
                ReceiverEvent::HeaderRequest(block) => {
                    message = vec![0xF1];
                    message.extend(block.0.to_le_bytes());
                }
                ReceiverEvent::Finished { .. } => {
                    member.complete_at = member.is_complete().then_some(self.now);
                    message = vec![0xF2];
                }
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
                ReceiverEvent::Poisoned(block) => {
                    if self.given_up.contains(&(at, block)) {
                        member.session.leave_block(block, &mut member.store);
                    }
                    message = vec![0xF4];
                    message.extend(block.0.to_le_bytes());
                }
            }
            self.fly(None, at, &message, Duration::from_millis(1));
        }
    }

    fn multicast(&mut self, datagram: &[u8]) {
        let sent = Sent::open(self.now, datagram, key_of);
        let head = self.lose_symbol.map(|(block, index)| symbol_head(index, block));
        let lost = head.is_some_and(|head| sent.body.starts_with(&head));
        if lost {
            self.lose_symbol = None;
        }
        let digests = sent.body.first() == Some(&kind::DIGESTS) && self.lose_digests > 0;
        self.lose_digests -= usize::from(digests);
        let lost = lost || digests;
        let header = sent.body.first() == Some(&kind::SEGMENT);
        self.wire.push(sent);
        let Some(on_wire) = self.carry(datagram) else { return };
        let common = self.chance(self.common_loss) || lost;
        self.common_losses += usize::from(common);
        for at in 0..self.receivers.len() {
            let blocked =
                header && self.lose_headers_to == Some(at) && self.now.as_micros() < 600_000;
            if common || blocked || self.absent == Some(at) || self.chance(self.link.loss) {
                continue;
            }
            let mut bytes = datagram.to_vec();
            if self.chance(self.link.corrupt) {
                let place = self.draw() as usize % bytes.len();
                bytes[place] ^= 1 << (self.draw() % 8);
            }
            let late = if self.chance(self.link.reorder) { self.draw() % 3_000 } else { 0 };
            self.fly(Some(at), 0, &bytes, on_wire + DELAY + Duration::from_micros(late));
            if self.chance(self.link.duplicate) {
                let later = Duration::from_micros(500 + self.draw() % 5_000);
                self.fly(Some(at), 0, &bytes, later);
            }
        }
    }

    /// How long a datagram to all receivers takes through the wire that they share.
    fn carry(&mut self, datagram: &[u8]) -> Option<Duration> {
        match &mut self.shared {
            Some(wire) => wire.carry(self.now, datagram.len()),
            None => Some(Duration::ZERO),
        }
    }

    /// An insider forges symbols from now on, at so many times the sender's rate.
    pub(super) fn begin_forging(&mut self, forgery: Forgery, times: u64) {
        let key = key_of(Epoch(1));
        self.insider = Some(Insider::new(&self.plan, SESSION, key, forgery, times));
    }

    /// Sends what the insider has due, through the same wire as the sender's.
    fn forge(&mut self) {
        let now = self.now;
        if self.sender.is_closed() {
            self.insider.iter_mut().for_each(Insider::stop);
        }
        while let Some(insider) = self.insider.as_mut().filter(|i| i.poll_timeout() <= now) {
            let counter = self.sender.counter().saturating_sub(1);
            let rate = self.sender.current_rate();
            let datagram = insider.forge(&self.wire, counter, rate);
            if let Some(on_wire) = self.carry(&datagram) {
                for at in 0..self.receivers.len() {
                    if !self.chance(self.link.loss) {
                        self.fly(Some(at), 0, &datagram, on_wire + DELAY);
                    }
                }
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
            for body in forged_control() {
                datagram[16..16 + body.len()].copy_from_slice(&body);
                let len = insider.seal(&mut datagram, body.len()).unwrap();
                self.fly(Some(0), 0, &datagram[..len], Duration::from_micros(100));
            }
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
            let counter = Header::parse(&flight.bytes).map_or(u64::MAX, |header| header.counter);
            let sent = self.wire.get(counter as usize).and_then(Sent::symbol);
            sent.into_iter().for_each(|(b, symbol)| member.came.entry(b).or_default().push(symbol));
            let begin = std::time::Instant::now();
            member.session.handle_datagram(now, &mut flight.bytes, &mut member.store, &Portable);
            self.spent[1] += begin.elapsed();
            return;
        }
        let number = |at: usize| u32::from_le_bytes(flight.bytes[at..at + 4].try_into().unwrap());
        match flight.bytes[0] {
            0xF0 if flight.bytes[1] == 1 => {
                self.joined += 1;
                let awaited = self.receivers.len().saturating_sub(self.joined);
                self.sender.joined(now, awaited as u32);
            }
            0xF1 => {
                self.sender.handle_header_request(now, BlockIndex(number(1)), &mut self.plan);
            }
            0xF4 => {
                self.sender.handle_poisoned(now, BlockIndex(number(1)), &mut self.plan);
            }
            0xF2 if self.receivers[flight.from].mute_until.is_some_and(|until| now < until) => {
                // It has no answer, so it says it again.
                let later = Duration::from_millis(100);
                self.fly(None, flight.from, &flight.bytes, later);
            }
            0xF2 => {
                self.receivers[flight.from].finished = true;
                let left = self.receivers.iter().filter(|r| !r.finished).count();
                self.sender.members(left as u32);
            }
            0xF3 => {
                let counter = u64::from(number(9)) | u64::from(number(13)) << 32;
                let came = (number(1), number(5));
                let tally = &mut self.receivers[flight.from].tally;
                let believed = tally.take(self.sender.counter(), came, counter);
                self.sender.handle_progress(now, Some(believed));
            }
            3 => {
                let nack = Nack::parse(&flight.bytes).unwrap();
                let given_up = &self.given_up;
                let repairs = |block| !given_up.contains(&(flight.from, block));
                self.sender.handle_nack(now, &nack, &repairs, &mut self.plan);
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
        Self::with_digests(config, plan, 32 * DIGESTS_OF_SLOT)
    }

    fn with_digests(config: ReceiverConfig, plan: &Plan, digests: usize) -> Self {
        let lent = Buffers {
            slots: vec![ReceiveSlot::default(); 32],
            blocks: vec![0; 32 * SOURCES * SYMBOL],
            segments: vec![SegmentState::default(); SEGMENT_WINDOW],
            headers: vec![0; SEGMENT_WINDOW * longest_header(SYMBOL)],
            digests: vec![0; digests],
            report: vec![0; MAX_MESSAGE],
        };
        Self {
            session: Receiver::new(config, lent, Instant::ZERO),
            store: Store::of(plan),
            told: Vec::new(),
            asked_blocks: Vec::new(),
            asleep_until: None,
            mute_until: None,
            finished: false,
            complete_at: None,
            came: BTreeMap::new(),
            tally: Tally::default(),
        }
    }
}
