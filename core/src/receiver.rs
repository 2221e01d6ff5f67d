//! The receiver's end of the unicast path: handshakes with one server, and the
//! channel that follows (PROTOCOL §2, §3).

mod attempt;
mod config;

use core::net::SocketAddr;
use core::ops::Range;

use chacha20::ChaCha20Rng;
use heapless::Deque;
use rand_core::{Rng as _, SeedableRng as _};

use self::attempt::{Agreed, Attempts};
pub use self::config::ReceiverConfig;
use crate::channel::{Channel, Pulse, SendError};
use crate::crypto::aead::{Aead, ChaCha};
use crate::ids::StaticKey;
use crate::lent::Bytes;
use crate::limits::{
    BYE_PAUSE, BYE_SPREAD_MAX, HALF_OPEN_TIMEOUT, HANDSHAKE_RETRY_MAX, MAX_DATAGRAM, MAX_MESSAGE,
    MESSAGE_RETRY, MESSAGE_RETRY_MAX, SEND_WINDOW,
};
use crate::time::{Duration, Instant};
use crate::transmit::Transmit;
use crate::wire::datagram::{INITIATION, Kind};
use crate::wire::transport::{Header, Sending};

/// Unreliable messages that may wait: a NACK and a progress report.
const LOOSE: usize = 2;
/// Memory for messages with which only their number is ever a bound, in bytes.
pub const MESSAGES: usize = (SEND_WINDOW + LOOSE) * MAX_MESSAGE;
/// Events that one input can raise, and some room.
const EVENTS: usize = 4;

/// What a receiver tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// The server has answered a handshake: messages can be sent.
    Connected,
    /// A message came.
    Message {
        /// How it travelled.
        kind: Sending,
        /// Where it stands in the datagram just handled.
        body: Range<usize>,
    },
    /// There is room again after [`SendError::Full`], or everything reliable is acknowledged.
    Drained,
    /// The channel is gone, with all that waited in it; a new handshake has begun.
    Disconnected {
        /// Why it is gone.
        why: Lost,
    },
}

/// Why a channel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The server was silent for PEER_TIMEOUT.
    Silent,
    /// The server answered the handshake, and then nothing.
    Unconfirmed,
}

/// Where the receiver stands.
///
/// ```text
/// Initiate ──sent──▶ Waiting ──response──▶ Unconfirmed ──any packet──▶ Up
///    ▲  ▲──pause over──┘ │ cookie             │ HALF_OPEN_TIMEOUT        │ PEER_TIMEOUT
///    └───────────────────┴────────────────────┴──────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An initiation is to be sent.
    Initiate,
    /// When to initiate again.
    Waiting { until: Instant },
    /// The server has answered, but has sent nothing in the channel so far.
    Unconfirmed { give_up: Instant, repeat: Instant, pause: Duration },
    /// The channel is in use on both sides.
    Up,
}

/// The receiver endpoint.
///
/// * inputs: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout)
/// * commands: [`send`](Self::send), [`set_server`](Self::set_server),
///   [`set_server_key`](Self::set_server_key), [`restart`](Self::restart),
///   [`come_back`](Self::come_back)
/// * outputs, to be drained after each of them: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout)
/// * getters: [`is_connected`](Self::is_connected), [`room`](Self::room),
///   [`unanswered`](Self::unanswered)
///
/// It connects by itself, and again whenever the channel is lost.
///
/// `M` is the memory that messages wait in: an array of its own on a host, lent
/// on a board ([`over`](Self::over)).
pub struct ReceiverEndpoint<A: Aead = ChaCha, M = [u8; MESSAGES]> {
    server: SocketAddr,
    /// What the next handshake's random bytes come from; each one replaces it.
    seed: [u8; 32],
    attempts: Attempts,
    phase: Phase,
    /// What the server addresses this side by.
    index: u32,
    channel: Channel<A, M, LOOSE>,
    events: Deque<ReceiverEvent, EVENTS>,
}

impl<A: Aead> ReceiverEndpoint<A> {
    /// A receiver that begins its first handshake at once, with memory for as many
    /// messages as may wait.
    #[must_use]
    pub fn new(config: &ReceiverConfig, now: Instant) -> Self {
        Self::over(config, [0; MESSAGES], now)
    }
}

impl<A: Aead, M: Bytes> ReceiverEndpoint<A, M> {
    /// A receiver that begins its first handshake at once, and keeps messages in
    /// `memory`: each takes as many bytes as it has, until it is acknowledged.
    /// More than [`MESSAGES`] bytes are never used.
    #[must_use]
    pub fn over(config: &ReceiverConfig, memory: M, _now: Instant) -> Self {
        Self {
            server: config.server,
            seed: config.seed,
            attempts: Attempts::new(config),
            phase: Phase::Initiate,
            index: 0,
            channel: Channel::idle(memory),
            events: Deque::new(),
        }
    }

    // --- inputs ---

    /// Takes a unicast datagram, decrypting it in place.
    ///
    /// `from` is not looked at: a server may answer from another of its
    /// addresses, and what it says is authenticated.
    #[inline(never)]
    pub fn handle_datagram(&mut self, now: Instant, _from: SocketAddr, datagram: &mut [u8]) {
        // PROTOCOL D1: what does not fit its type is ignored.
        match Kind::of(datagram) {
            Ok(Kind::CookieReply) if self.is_waiting() => self.handle_cookie(now, datagram),
            Ok(Kind::Response) if self.is_waiting() => self.handle_response(now, datagram),
            Ok(Kind::Transport) if self.is_connected() => self.handle_transport(now, datagram),
            _ => {}
        }
    }

    /// Does what is due by the clock.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Initiate => {}
            Phase::Waiting { until } => {
                if now >= until {
                    self.phase = Phase::Initiate;
                }
            }
            Phase::Unconfirmed { give_up, repeat, pause } => {
                if now >= give_up {
                    self.disconnect(Lost::Unconfirmed);
                    return;
                }
                if now >= repeat {
                    self.channel.acknowledge();
                    let pause = pause.saturating_mul(2).min(MESSAGE_RETRY_MAX);
                    self.phase = Phase::Unconfirmed { give_up, repeat: now + pause, pause };
                }
                self.check_pulse(now);
            }
            Phase::Up => self.check_pulse(now),
        }
    }

    // --- commands ---

    /// Sends a message to the server.
    ///
    /// # Errors
    /// [`SendError::Gone`] while there is no channel, [`SendError::Full`],
    /// [`SendError::TooLong`].
    pub fn send(&mut self, _now: Instant, kind: Sending, body: &[u8]) -> Result<(), SendError> {
        if self.is_connected() { self.channel.send(kind, body) } else { Err(SendError::Gone) }
    }

    /// Sends to another address from now on; channel and handshake stay.
    pub const fn set_server(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// Shakes hands with another key of the server from now on: a channel, and the
    /// handshake under way, are given up. Raises no event.
    pub fn set_server_key(&mut self, _now: Instant, key: StaticKey) {
        self.attempts.set_server(key);
        self.phase = Phase::Initiate;
    }

    /// Gives the channel up and begins a new handshake; raises no event.
    pub fn restart(&mut self, _now: Instant) {
        self.attempts.begin_series();
        self.phase = Phase::Initiate;
    }

    /// Gives the channel up and begins a new handshake later, as the server has asked who
    /// is about to stop; raises no event.
    #[inline(never)]
    pub fn come_back(&mut self, now: Instant, spread: Duration) {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        let lot = u64::from(rng.next_u32() >> 16);
        rng.fill_bytes(&mut self.seed);
        // PROTOCOL C7: nobody can keep it away for longer, and a fleet does not come at once.
        let spread = spread.min(BYE_SPREAD_MAX).as_micros() / 65_536 * lot;
        self.attempts.begin_series();
        self.phase = Phase::Waiting { until: now + BYE_PAUSE + Duration::from_micros(spread) };
    }

    // --- outputs ---

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    /// Writes the next datagram into `out`, which has room for [`MAX_DATAGRAM`] bytes.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let len = match self.phase {
            Phase::Initiate => self.initiate(now, out)?,
            Phase::Waiting { .. } => return None,
            Phase::Unconfirmed { .. } | Phase::Up => self.channel.poll_transmit(now, out)?,
        };
        Some(Transmit { to: self.server, len, segment_size: None })
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            // Something is to be sent first.
            Phase::Initiate => None,
            Phase::Waiting { until } => Some(until),
            Phase::Unconfirmed { give_up, repeat, .. } => {
                Some(give_up.min(repeat).min(self.channel.poll_timeout()))
            }
            Phase::Up => Some(self.channel.poll_timeout()),
        }
    }

    // --- getters ---

    /// Whether there is a channel.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Unconfirmed { .. } | Phase::Up)
    }

    /// Reliable messages that the window takes now; where little memory was lent,
    /// [`Self::send`] may still find no room for their bytes.
    #[must_use]
    pub const fn room(&self) -> usize {
        if self.is_connected() { self.channel.room() } else { 0 }
    }

    /// Initiations that no channel has followed.
    #[must_use]
    pub const fn unanswered(&self) -> u32 {
        if self.is_connected() { 0 } else { self.attempts.made() }
    }

    // --- transitions ---

    #[inline(never)]
    fn initiate(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..INITIATION)?;
        // The generator lives for one handshake and ends with the seed of the next
        // (after fast key erasure, Bernstein 2017): 32 bytes are kept, not 320.
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        let initiated = self.attempts.initiate(now, &mut rng);
        rng.fill_bytes(&mut self.seed);
        let Some((initiation, pause)) = initiated else {
            // The server's key is unusable; nothing will come of trying soon.
            self.phase = Phase::Waiting { until: now + HANDSHAKE_RETRY_MAX };
            return None;
        };
        out.copy_from_slice(&initiation);
        // PROTOCOL H7: when nobody answers, again, newly made.
        self.phase = Phase::Waiting { until: now + pause };
        Some(INITIATION)
    }

    fn handle_cookie(&mut self, now: Instant, datagram: &[u8]) {
        if self.attempts.take_cookie(now, datagram) {
            self.phase = Phase::Initiate;
        }
    }

    #[inline(never)]
    fn handle_response(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(agreed) = self.attempts.take_response(datagram) {
            self.connect(now, &agreed);
        }
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    fn connect(&mut self, now: Instant, agreed: &Agreed) {
        self.index = agreed.own_index;
        self.channel.reset(&agreed.keys, agreed.peer_index, MAX_DATAGRAM as u16, now);
        // The server waits for the first packet before it does anything (PROTOCOL H5).
        self.channel.acknowledge();
        self.phase = Phase::Unconfirmed {
            give_up: now + HALF_OPEN_TIMEOUT,
            repeat: now + MESSAGE_RETRY,
            pause: MESSAGE_RETRY,
        };
        self.raise(ReceiverEvent::Connected);
    }

    fn handle_transport(&mut self, now: Instant, datagram: &mut [u8]) {
        if !Header::read(datagram).is_ok_and(|header| header.receiver == self.index) {
            return;
        }
        let Some(received) = self.channel.handle_datagram(now, datagram) else { return };
        if self.phase != Phase::Up {
            self.attempts.begin_series();
            self.phase = Phase::Up;
        }
        if received.drained {
            self.raise(ReceiverEvent::Drained);
        }
        if let Some((kind, body)) = received.message {
            self.raise(ReceiverEvent::Message { kind, body });
        }
    }

    fn check_pulse(&mut self, now: Instant) {
        // PROTOCOL C5: after PEER_TIMEOUT of silence a new handshake begins.
        if self.channel.handle_timeout(now) == Pulse::Away {
            self.disconnect(Lost::Silent);
        }
    }

    fn disconnect(&mut self, why: Lost) {
        self.phase = Phase::Initiate;
        self.raise(ReceiverEvent::Disconnected { why });
    }

    fn raise(&mut self, event: ReceiverEvent) {
        // A driver that drains after every input never finds the queue full.
        let _ = self.events.push_back(event);
    }
}

// A board keeps this in 64 KiB of RAM, beside its messages and everything else.
const _: () = assert!(size_of::<ReceiverEndpoint<ChaCha, [u8; 0]>>() <= 1_536);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
