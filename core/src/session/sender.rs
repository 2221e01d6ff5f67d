//! The sending machine of a session (PROTOCOL §5).
//!
//! Inputs: [`SenderSession::handle_nack`], [`SenderSession::handle_progress`],
//! [`SenderSession::handle_header_request`], [`SenderSession::handle_poisoned`],
//! [`SenderSession::handle_timeout`].
//! Commands: [`SenderSession::joined`], [`SenderSession::members`],
//! [`SenderSession::rekey`], [`SenderSession::redirect`], [`SenderSession::change_limits`].
//! Outputs: [`SenderSession::poll_transmit`], [`SenderSession::poll_event`],
//! [`SenderSession::poll_timeout`].
//!
//! ```text
//! Probing ── first confirmations ──▶ Sending ── last segment ──▶ Ending ── all finished ──▶ Closed
//!    └──────── nobody heard ────────────────────────────────────────────────────────────────▲
//! ```
//!
//! Unicast sessions (catch-up) are the same machine with one member; they send
//! no probes and begin when that member has joined.

mod blocks;
mod build;
mod config;
mod repair;
mod strict;

use core::net::SocketAddr;
use core::ops::DerefMut;

use heapless::Deque;

pub use self::blocks::BlockSlot;
use self::blocks::Blocks;
pub use self::config::{Flow, SenderConfig, SenderEvent, SenderStats};
use super::pacing::TokenBucket;
use super::rate::{RateControl, RateLimits};
use super::source::{BlockSource, SegmentSpan};
use super::tally::Believed;
use super::timers::Timers;
use crate::crypto::aead::Aead;
use crate::crypto::packet::Sealer;
use crate::crypto::sign::SigningKey;
use crate::erasure::MulAdd;
use crate::ids::{BlockIndex, Epoch, FleetId, SegmentIndex, SessionId};
use crate::limits::{DATA_HEADER, MESSAGE_RETRY, PROBE_DEADLINE, PROBE_TIMES, SYMBOL_HEADER, TAG};
use crate::time::{Duration, Instant};
use crate::transmit::Transmit;

/// IPv4 and UDP headers in front of every datagram.
const IP_UDP: usize = 28;
/// Data starts this long after the first probe if at least one member has joined:
/// later than an invitation that was lost is repeated.
const FIRST_WAIT: Duration = Duration::from_millis(MESSAGE_RETRY.as_millis() + 50);
/// A session that is sent within [`SHORT`] waits this long at most: who joins it
/// late has missed all of it and needs a copy. By then an invitation has been
/// sent four times, after MESSAGE_RETRY times 0, 1, 3 and 7.
const SHORT_WAIT: Duration = Duration::from_millis(MESSAGE_RETRY.as_millis() * 7 + 100);
/// A session is short when its payload takes less than this at the starting rate.
const SHORT: Duration = Duration::from_secs(1);
/// Longest time between two decisions about the rate.
const LONGEST_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between the first repetitions of the end.
const END_FIRST: Duration = Duration::from_millis(20);
/// Longest pause between repetitions of the end.
const END_SLOWEST: Duration = Duration::from_millis(500);
/// A session whose members say nothing for so long after its end is closed.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// When to act without being told.
#[derive(Clone, Copy)]
enum Timer {
    /// When to send the next probe.
    Probe,
    /// When to begin with those who have joined.
    Begin,
    /// When to give up waiting for anyone to join.
    NobodyHeard,
    /// When to send the end again.
    End,
    /// When to close although members have not finished.
    GiveUp,
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

/// How far the session is; each state owns what only it needs.
enum Phase {
    /// Waiting for the first confirmations.
    Probing { sent: u8, due: bool },
    /// Segments are being sent.
    Sending(Segment),
    /// All segments were sent; repairs and the end.
    Ending { pause: Duration, due: bool, said: u32, latest: Instant },
    /// Nothing more is sent.
    Closed,
}

/// A segment being sent.
#[derive(Clone, Copy)]
struct Segment {
    index: SegmentIndex,
    span: SegmentSpan,
    step: Step,
    proactive: u8,
}

/// What of a segment is sent next.
#[derive(Clone, Copy)]
enum Step {
    /// Its blocks are not in memory yet.
    Load,
    /// Its header, before the blocks.
    Header,
    /// Symbol `round` of block `at`, interleaved with the others of its group, which
    /// begins at block `group` (PROTOCOL S7).
    Symbols { group: u8, round: u16, at: u8 },
    /// Its header once more.
    HeaderAgain,
}

/// A sending session over buffers of its owner.
///
/// `S` holds the slots of blocks kept in memory (more than two segments' worth
/// lets repairs come from memory), `B` bytes: one buffer of slots × block size,
/// and one byte per block of the session.
pub struct SenderSession<A, S, B> {
    session: SessionId,
    fleet: FleetId,
    signing: SigningKey,
    salt: [u8; 8],
    to: SocketAddr,
    symbol: usize,
    slots: u8,
    sealer: Sealer<A>,
    blocks: Blocks<S, B>,
    phase: Phase,
    members: u32,
    joined: u32,
    /// When data began.
    began: Instant,
    bucket: TokenBucket,
    flow: Flow,
    rate: RateControl,
    timers: Timers<5>,
    headers_due: Deque<SegmentIndex, 8>,
    events: Deque<SenderEvent, 4>,
    stats: SenderStats,
    /// New data waits for members that are behind.
    held: bool,
    /// Repairs have been sent since the last end.
    repaired: bool,
    /// Parity per block that reports have asked for of late, in 1/256 symbols.
    expected_parity: u32,
}

impl<A, S, B> SenderSession<A, S, B>
where
    A: Aead,
    S: DerefMut<Target = [BlockSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// Begins a session: probes where it is multicast, waiting for the member where not.
    ///
    /// `memory` has room for one block per slot; `parity_sent` one zero byte per block.
    pub fn new(config: SenderConfig, slots: S, memory: B, parity_sent: B, now: Instant) -> Self {
        let mut timers = Timers::new();
        let multicast = config.to.ip().is_multicast();
        if multicast {
            let whole = config.limits.start.min(config.limits.cap);
            let short = config.payload < whole.saturating_mul(SHORT.as_millis()) / 1_000;
            timers.set(Timer::Begin, now + if short { SHORT_WAIT } else { FIRST_WAIT });
        }
        timers.set(Timer::NobodyHeard, now + PROBE_DEADLINE + FIRST_WAIT);
        let interval = config.report_interval.min(LONGEST_INTERVAL);
        let rate = RateControl::new(config.limits, interval, now);
        Self {
            session: config.session,
            fleet: config.fleet,
            signing: config.signing,
            salt: config.salt,
            to: config.to,
            symbol: config.symbol,
            slots: config.slots,
            sealer: Sealer::new(config.session, config.epoch, &config.key),
            blocks: Blocks::new(slots, memory, parity_sent, config.sources * config.symbol),
            phase: Phase::Probing { sent: 0, due: multicast },
            members: config.members,
            joined: 0,
            began: now,
            bucket: TokenBucket::new(rate.rate(), config.flow.burst, now),
            flow: config.flow,
            rate,
            timers,
            headers_due: Deque::new(),
            events: Deque::new(),
            stats: SenderStats::default(),
            held: false,
            repaired: false,
            expected_parity: 0,
        }
    }

    // --- commands ---

    /// A member has joined and hears the session; data waits for `awaited` more.
    pub fn joined(&mut self, now: Instant, awaited: u32) {
        self.joined += 1;
        if awaited == 0 && matches!(self.phase, Phase::Probing { .. }) {
            self.begin(now);
        }
    }

    /// How many members have neither finished nor gone; at zero the session closes.
    pub fn members(&mut self, unfinished: u32) {
        self.members = unfinished;
        let may_close = matches!(self.phase, Phase::Sending(_) | Phase::Ending { .. })
            || (matches!(self.phase, Phase::Probing { .. }) && unfinished == 0);
        if unfinished == 0 && may_close {
            self.close(SenderEvent::Closed { unfinished: 0 });
        }
    }

    /// Goes on under a new key: somebody was removed.
    pub fn rekey(&mut self, epoch: Epoch, key: &[u8; 32]) {
        // PROTOCOL S1: a new key for every epoch, counted from zero.
        self.sealer = Sealer::new(self.session, epoch, key);
    }

    /// Holds new data back, or lets it go on; repairs and control are sent in any case.
    pub const fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// The member of a unicast session is elsewhere, and has proved it (PROTOCOL C6).
    pub const fn redirect(&mut self, to: SocketAddr) {
        self.to = to;
    }

    /// Changes the bounds of the rate.
    pub fn change_limits(&mut self, limits: RateLimits) {
        self.rate.change_limits(limits);
    }

    // --- inputs ---

    /// A member reported what came; what is believed of it steers the rate, unless
    /// the member cannot follow in any case.
    pub fn handle_progress(&mut self, now: Instant, believed: Option<Believed>) {
        if let Some(Believed { received, lost, behind }) = believed {
            self.rate.report((received, lost), behind > self.flow.behind);
        }
        self.still_alive(now);
        self.steer(now);
    }

    /// A member lacks the header of a block's segment, or in strict mode its digests.
    pub fn handle_header_request(
        &mut self,
        now: Instant,
        block: BlockIndex,
        source: &mut impl BlockSource,
    ) {
        let Some(segment) = source.segment_of(block).filter(|&segment| self.has_reached(segment))
        else {
            return;
        };
        if !self.headers_due.iter().any(|&due| due == segment) {
            // A full queue drops the request; it is repeated.
            let _ = self.headers_due.push_back(segment);
        }
        self.tell_digests(now, block, source);
    }

    /// The time told by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.expired(Timer::Probe, now)
            && let Phase::Probing { due, .. } = &mut self.phase
        {
            *due = true;
        }
        if self.timers.expired(Timer::Begin, now) {
            if self.joined > 0 {
                self.begin(now);
            } else {
                self.timers.set(Timer::Begin, now + Duration::from_millis(20));
            }
        }
        if self.timers.expired(Timer::NobodyHeard, now) {
            if self.joined > 0 {
                self.begin(now);
            } else if matches!(self.phase, Phase::Probing { .. }) {
                self.close(SenderEvent::NobodyHeard);
            }
        }
        if self.timers.expired(Timer::End, now)
            && let Phase::Ending { due, .. } = &mut self.phase
        {
            *due = true;
        }
        if self.timers.expired(Timer::GiveUp, now) && matches!(self.phase, Phase::Ending { .. }) {
            self.close(SenderEvent::Closed { unfinished: self.members });
        }
        self.steer(now);
    }

    // --- outputs ---

    /// The next datagram, or several of full size, within the rate.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut impl BlockSource,
        mul: &impl MulAdd,
    ) -> Option<Transmit> {
        if self.is_paused(now) || (self.is_bulk() && !self.bucket.ready_for(out.len(), now)) {
            return None;
        }
        let full = DATA_HEADER + SYMBOL_HEADER + self.symbol + TAG;
        let mut used = 0;
        let mut datagrams = 0;
        while out.len() - used >= full && self.bucket.ready(now) {
            let datagram = &mut out[used..used + full];
            let body = &mut datagram[DATA_HEADER..full - TAG];
            let Some(body) = self.next_body(now, body, source, mul) else { break };
            let Some(len) = self.sealer.seal(datagram, body) else { break };
            self.count(len);
            used += len;
            datagrams += 1;
            if len < full {
                break;
            }
        }
        (datagrams > 0).then_some(Transmit {
            to: self.to,
            len: used,
            segment_size: (datagrams > 1).then_some(full),
        })
    }

    /// When `handle_timeout` or `poll_transmit` has something to do again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.next();
        if !self.has_work() {
            return timer;
        }
        let refill = self.rate.paused_until().unwrap_or(self.bucket.refill_at());
        Some(timer.map_or(refill, |at| at.min(refill)))
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    // --- getters ---

    /// What has been sent.
    #[must_use]
    pub const fn stats(&self) -> &SenderStats {
        &self.stats
    }

    /// The present rate in bytes per second.
    #[must_use]
    pub const fn current_rate(&self) -> u64 {
        self.rate.rate()
    }

    /// Loss that 90 % of the last reports stay under, in per mille.
    #[must_use]
    pub const fn loss(&self) -> u32 {
        self.rate.loss()
    }

    /// Whether most members lose so much, even at the least rate, that it pauses, or
    /// tries again after a pause.
    #[must_use]
    pub const fn is_unbearable(&self) -> bool {
        self.rate.is_unbearable()
    }

    /// The counter of the next datagram.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.sealer.counter()
    }

    /// The epoch under which datagrams are sent.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.sealer.epoch()
    }

    /// Whether nothing more will be sent.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether data waits for members.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. })
    }

    /// Whether new members would still get something from the next segment on.
    #[must_use]
    pub fn takes_late_members(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. } | Phase::Sending(_))
    }

    /// The first block that a member joining now would get whole.
    #[must_use]
    pub fn next_segment_block(&self, source: &impl BlockSource) -> BlockIndex {
        match self.phase {
            Phase::Probing { .. } => BlockIndex(0),
            Phase::Sending(segment) => {
                let next = SegmentIndex(segment.index.0 + 1);
                let end = BlockIndex(source.blocks());
                source.segment(next).map_or(end, |span| span.first)
            }
            Phase::Ending { .. } | Phase::Closed => BlockIndex(source.blocks()),
        }
    }

    fn begin(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Probing { .. }) {
            return;
        }
        (self.began, self.timers) = (now, Timers::new());
        self.phase = Phase::Sending(Segment {
            index: SegmentIndex(0),
            span: SegmentSpan { first: BlockIndex(0), count: 0 },
            step: Step::Load,
            proactive: 0,
        });
        self.bucket.change_rate(self.rate.rate(), now);
        self.tell(SenderEvent::Started);
    }

    fn close(&mut self, event: SenderEvent) {
        self.phase = Phase::Closed;
        self.timers = Timers::new();
        self.tell(event);
    }

    fn tell(&mut self, event: SenderEvent) {
        // Four events at most happen in a session's life: started, and one end.
        let _ = self.events.push_back(event);
    }

    fn still_alive(&mut self, now: Instant) {
        if let Phase::Ending { latest, .. } = self.phase {
            self.timers.set(Timer::GiveUp, latest.min(now + END_PATIENCE));
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.rate.paused_until().is_some_and(|end| now < end)
    }

    fn steer(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Sending(_) | Phase::Ending { .. }) {
            self.rate.tick(now);
        }
        // Also where only the bounds have changed: a rate at its cap stays there at each tick.
        if self.bucket.rate() != self.rate.rate() {
            self.bucket.change_rate(self.rate.rate(), now);
        }
    }

    fn count(&mut self, len: usize) {
        // PROTOCOL S12: repairs and control come out of the same bucket.
        self.bucket.take(len + IP_UDP);
        self.stats.wire_bytes += (len + IP_UDP) as u64;
        self.stats.datagrams += 1;
    }

    /// Whether something waits for nothing but the bucket.
    fn has_work(&self) -> bool {
        match self.phase {
            Phase::Probing { due, .. } => due,
            Phase::Sending(_) => {
                !self.held || self.blocks.repairs_wait() || !self.headers_due.is_empty()
            }
            Phase::Ending { due, .. } => {
                due || self.repaired || self.blocks.repairs_wait() || !self.headers_due.is_empty()
            }
            Phase::Closed => false,
        }
    }
}

const _: () = assert!(PROBE_TIMES.len() < u8::MAX as usize);
