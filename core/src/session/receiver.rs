//! The receiving machine of a session (PROTOCOL §5).
//!
//! Inputs: [`ReceiverSession::handle_datagram`], [`ReceiverSession::handle_timeout`].
//! Commands: [`ReceiverSession::rekey`], [`ReceiverSession::leave_block`].
//! Outputs: [`ReceiverSession::poll_event`], [`ReceiverSession::nack`],
//! [`ReceiverSession::poll_timeout`]. It transmits nothing itself: what it has
//! to say goes through its owner's unicast channel.
//!
//! ```text
//! Listening ── first datagram ──▶ Receiving ── nothing lacking, or the end ──▶ Finished
//!     └── PROBE_DEADLINE: told as not heard; a datagram that comes later still counts
//! ```

mod budget;
mod buffers;
mod checks;
mod config;
mod deliver;
mod digests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod groups_tests;
mod headers;
mod progress;
mod repair;
mod slots;
mod strict;
mod symbols;
mod window;

use core::ops::DerefMut;

use heapless::Deque;

use self::budget::Budget;
pub use self::buffers::Buffers;
pub use self::config::ReceiverConfig;
pub use self::digests::DIGESTS_OF_SLOT;
use self::digests::Digests;
pub use self::slots::ReceiveSlot;
use self::slots::Slots;
use self::window::{Fate, Window};
pub use self::window::{SegmentState, longest_header};
use super::intake::Intake;
use super::symbols::Symbol;
use super::timers::Timers;
use crate::crypto::aead::Aead;
use crate::crypto::packet::Opener;
use crate::erasure::MulAdd;
use crate::ids::{BlockIndex, Epoch, SessionId};
use crate::limits::{
    CONTROL_VERIFICATIONS_PER_SECOND, DATA_HEADER, DIGEST_VERIFICATIONS_PER_SECOND, PROBE_DEADLINE,
    SYMBOL_HEADER, TAG,
};
use crate::time::{Duration, Instant};
use crate::wire::nack::NackWriter;
use crate::wire::session::{Body, Header};

/// A session that is silent for so long has nothing more to give.
const SILENCE: Duration = Duration::from_secs(15);
/// A session that is silent for so long is reported on: the server knows whether it goes on.
const QUIET: Duration = Duration::from_secs(2);
/// How long a symbol without a header waits before the header is asked for.
const HEADER_WAIT: Duration = Duration::from_millis(30);
/// Requests for one missing header: at half loss six of them, and all answers, get lost.
const HEADER_REQUESTS: u8 = 24;

/// What a receiving session tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// Tell the server whether the session reaches us.
    Joined {
        /// Whether it does.
        heard: bool,
    },
    /// Send the report that [`ReceiverSession::nack`] lends, unreliably.
    Nack,
    /// Tell the server that this block's header is missing.
    HeaderRequest(BlockIndex),
    /// Tell the server what came and what was lost since the last time.
    Progress {
        /// Datagrams received.
        received: u32,
        /// Datagrams lost.
        lost: u32,
        /// Highest send counter taken.
        counter: u64,
    },
    /// Ask for the key of an epoch that is not ours.
    KeyRequest,
    /// A complete block held records that do not verify.
    Poisoned(BlockIndex),
    /// The session has nothing more to give.
    Finished {
        /// Blocks that were poisoned.
        poisoned: u32,
    },
}

/// Counts of what a session has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Datagrams that opened.
    pub received: u64,
    /// Gaps in the send counter.
    pub lost: u64,
    /// Datagrams that did not open or made no sense.
    pub refused: u64,
    /// Lost sources that parity has replaced.
    pub repaired: u64,
    /// NACK messages sent.
    pub nacks: u64,
    /// Symbols that their digests proved not to be the sender's.
    pub forged: u64,
}

/// When to act without being told.
#[derive(Clone, Copy)]
enum Timer {
    /// When to say that nothing was heard.
    NotHeard,
    /// When to report blocks that are due.
    Nack,
    /// When to ask for a missing header.
    Header,
    /// When to ask for missing digests.
    Digests,
    /// When to report progress.
    Report,
    /// When to give the session up as silent.
    Silence,
    /// When to say that nothing came of late.
    Quiet,
}

/// How many there are.
const TIMERS: usize = Timer::Quiet as usize + 1;

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Listening,
    Receiving,
    Finished,
}

/// A receiving session over buffers of its owner: `S` slots for blocks, `B`
/// bytes, `W` segments of the window.
pub struct ReceiverSession<A, S, B, W> {
    config: ReceiverConfig,
    opener: Opener<A>,
    phase: Phase,
    slots: Slots<S, B>,
    window: Window<W, B>,
    timers: Timers<TIMERS>,
    events: Deque<ReceiverEvent, 8>,
    nack: NackWriter<B>,
    /// Blocks of the session, once its end is known.
    end: Option<u32>,
    /// Control sequence of the last end that counted.
    last_end: u32,
    header_requests: u8,
    key_requested: Option<Instant>,
    /// Highest counter seen, plus one, and datagrams since the last report.
    counter: u64,
    reported_counter: u64,
    received: u32,
    /// Lowest counter of an echo whose repairs are awaited.
    awaited: Option<u64>,
    budget: Budget,
    digest_budget: Budget,
    /// Every symbol counts by its digest only: signed digests have come.
    strict: bool,
    digest_requests: u8,
    /// In strict mode: symbols have come whose header is missing.
    headerless: bool,
    random: u64,
    poisoned: u32,
    stats: ReceiverStats,
}

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    /// Begins to listen.
    pub fn new(config: ReceiverConfig, lent: Buffers<S, B, W>, now: Instant) -> Self {
        let mut timers = Timers::new();
        let mut events = Deque::new();
        if config.unicast {
            // An empty queue has room for one.
            let _ = events.push_back(ReceiverEvent::Joined { heard: true });
            timers.set(Timer::Silence, now + SILENCE);
        } else {
            timers.set(Timer::NotHeard, now + PROBE_DEADLINE);
        }
        Self {
            opener: Opener::new(&config.key),
            phase: Phase::Listening,
            slots: Slots::new(
                lent.slots,
                lent.blocks,
                Digests::new(lent.digests, config.salt),
                config.symbol,
                config.sources,
            ),
            window: Window::new(
                lent.segments,
                lent.headers,
                config.first_block,
                config.symbol,
                config.sources,
            ),
            timers,
            events,
            nack: NackWriter::new(lent.report, config.session, config.epoch),
            end: None,
            last_end: 0,
            header_requests: 0,
            key_requested: None,
            counter: 0,
            reported_counter: 0,
            received: 0,
            awaited: None,
            budget: Budget::new(CONTROL_VERIFICATIONS_PER_SECOND),
            digest_budget: Budget::new(DIGEST_VERIFICATIONS_PER_SECOND),
            strict: false,
            digest_requests: 0,
            headerless: false,
            random: config.seed,
            poisoned: 0,
            stats: ReceiverStats::default(),
            config,
        }
    }

    /// Ends it, and gives the memory back, with what is in it.
    pub fn into_memory(self) -> Buffers<S, B, W> {
        let (slots, blocks, digests) = self.slots.into_memory();
        let (segments, headers) = self.window.into_memory();
        Buffers { slots, blocks, segments, headers, digests, report: self.nack.into_memory() }
    }

    /// Goes on under the key of another epoch.
    pub fn rekey(&mut self, epoch: Epoch, key: &[u8; 32]) {
        // PROTOCOL S2: blocks and symbols held stay valid across epochs.
        if epoch > self.config.epoch {
            self.config.epoch = epoch;
            self.opener = Opener::new(key);
            self.counter = 0;
            self.reported_counter = 0;
            self.received = 0;
            self.awaited = None;
        }
    }

    /// Leaves a block to catch-up: the sender, who says so over its own channel, does not
    /// send it again here.
    // PROTOCOL S22
    pub fn leave_block(&mut self, block: BlockIndex, store: &mut impl Intake) {
        let place = self.window.place(block);
        if place.is_some_and(|place| self.window.state(place).fate == Fate::Wanted) {
            self.give_up(block);
            self.finish_if_done(store);
        }
    }

    /// Takes a datagram of the session; decrypts it in place.
    #[inline(never)]
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let Ok(header) = Header::parse(datagram) else { return };
        if header.session != self.config.session || self.phase == Phase::Finished {
            return;
        }
        if header.epoch != self.config.epoch {
            return self.other_epoch(now, header.epoch);
        }
        let len = datagram.len();
        let body = self.opener.open(header, datagram).map(|body| &*body);
        let Ok(Ok(body)) = body.map(Body::parse) else {
            self.stats.refused += 1;
            return;
        };
        self.heard(now, header.counter, len);
        match body {
            Body::Symbol { index, block, payload } => {
                let symbol = Symbol::of(index);
                self.on_symbol(now, header.counter, (block, symbol), payload, store, mul);
            }
            Body::Further { number, block, payload } => {
                let symbol = Symbol::Parity(number);
                self.on_symbol(now, header.counter, (block, symbol), payload, store, mul);
            }
            Body::Segment(view) => self.on_segment(now, header.counter, view, store, mul),
            Body::Echo(view) => self.on_echo(now, header.counter, view),
            Body::End(end) => self.on_end(now, header.counter, end),
            Body::Digests(view) => self.on_digests(now, view, store, mul),
            Body::Probe(_) => {}
        }
        self.finish_if_done(store);
    }

    /// Takes the body of a segment header that came over the unicast channel, for who finds
    /// none among what others put into the session (PROTOCOL S24).
    pub fn handle_header(
        &mut self,
        now: Instant,
        body: &[u8],
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        if self.phase == Phase::Finished {
            return;
        }
        if let Ok(Body::Segment(view)) = Body::parse(body) {
            self.on_told_segment(now, view, store, mul);
        }
        self.finish_if_done(store);
    }

    /// The time told by `poll_timeout` has come.
    #[inline(never)]
    pub fn handle_timeout(&mut self, now: Instant, store: &mut impl Intake) {
        if self.phase == Phase::Finished {
            return;
        }
        if self.timers.expired(Timer::NotHeard, now) {
            self.tell(ReceiverEvent::Joined { heard: false });
        }
        if self.timers.expired(Timer::Nack, now) {
            self.report_if_heard(now);
        }
        if self.timers.expired(Timer::Header, now) {
            self.request_header(now);
        }
        if self.timers.expired(Timer::Digests, now) {
            self.request_digests(now);
        }
        if self.timers.expired(Timer::Quiet, now) {
            self.report_quiet(now);
        }
        if self.timers.expired(Timer::Report, now) {
            self.report_progress(now);
        }
        if self.timers.expired(Timer::Silence, now) {
            self.finish();
        }
        self.finish_if_done(store);
    }

    /// When `handle_timeout` has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    /// The NACK message that [`ReceiverEvent::Nack`] speaks of.
    #[must_use]
    pub fn nack(&self) -> Option<&[u8]> {
        self.nack.message()
    }

    /// What has been received.
    #[must_use]
    pub const fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    /// The session's number.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.config.session
    }

    /// The epoch whose key is held.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.config.epoch
    }

    /// Whether it has said `Finished`.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// When anything of the session came last.
    fn last_heard(&self) -> Option<Instant> {
        let silent = self.timers.deadline(Timer::Silence)?;
        Some(Instant::ZERO + silent.since(Instant::ZERO + SILENCE))
    }

    fn heard(&mut self, now: Instant, counter: u64, len: usize) {
        // PROTOCOL S8: of full size, for a path may lose those and carry shorter ones.
        let full = len >= DATA_HEADER + SYMBOL_HEADER + self.config.symbol + TAG;
        if full && self.timers.deadline(Timer::NotHeard).is_some() {
            self.timers.stop(Timer::NotHeard);
            self.tell(ReceiverEvent::Joined { heard: true });
        }
        if self.phase == Phase::Listening {
            self.phase = Phase::Receiving;
            self.counter = counter;
            self.reported_counter = counter;
            let first = self.random_within(self.config.report);
            self.timers.set(Timer::Report, now + first);
        }
        self.timers.set(Timer::Silence, now + SILENCE);
        self.timers.set(Timer::Quiet, now + QUIET);
        self.counter = self.counter.max(counter.saturating_add(1));
        self.received += 1;
        self.stats.received += 1;
    }

    fn give_up(&mut self, block: BlockIndex) {
        self.slots.free(block);
        if let Some(place) = self.window.place(block) {
            self.window.state(place).fate = Fate::GivenUp;
        }
    }

    fn other_epoch(&mut self, now: Instant, epoch: Epoch) {
        let asked = self.key_requested.is_some_and(|at| now.since(at) < Duration::from_secs(1));
        if epoch > self.config.epoch && !asked {
            self.key_requested = Some(now);
            self.tell(ReceiverEvent::KeyRequest);
        }
    }

    fn finish_if_done(&mut self, store: &mut impl Intake) {
        if self.phase != Phase::Receiving {
            return;
        }
        let ended = self.end.is_some_and(|blocks| self.window.known().0 >= blocks);
        // PROTOCOL S14
        if store.is_complete() || self.is_starved() || (ended && !self.window.any_wanted()) {
            self.finish();
        }
    }

    fn is_starved(&self) -> bool {
        self.budget.is_starved() || self.digest_budget.is_starved()
    }

    fn finish(&mut self) {
        self.phase = Phase::Finished;
        self.timers = Timers::new();
        let expected = self.counter.saturating_sub(self.reported_counter);
        self.stats.lost += expected.saturating_sub(u64::from(self.received));
        self.events.clear();
        self.tell(ReceiverEvent::Finished { poisoned: self.poisoned });
    }

    fn tell(&mut self, event: ReceiverEvent) {
        if self.events.is_full() {
            // Reports are repeated; the owner drains after every call.
            let _ = self.events.pop_front();
        }
        let _ = self.events.push_back(event);
    }

    /// A time below `span`, at random, evenly.
    fn random_within(&mut self, span: Duration) -> Duration {
        let fraction = u128::from(self.random_bits() >> 32);
        Duration::from_micros(((u128::from(span.as_micros()) * fraction) >> 32) as u64)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014): it spreads reports, it guards no secret.
    fn random_bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
