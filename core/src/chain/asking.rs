//! The receiver's side: one document at a time, piece by piece.

use core::net::SocketAddr;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::crypto::cookie::{Cookie, mac2};
use crate::digest::Digest;
use crate::limits::{CHAIN_RETRY, CHAIN_TRIES, MAX_DATAGRAM};
use crate::time::Instant;
use crate::transmit::Transmit;
use crate::wire::chain::{
    Answer, AnswerBody, LEAST_REQUEST, Request, Wanted, before_mac2, set_mac2,
};

/// What an asker tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// The document that was asked for stands whole in the room for it. Whoever has
    /// sent it: it is to be judged.
    Whole {
        /// Its length in bytes.
        len: usize,
    },
}

/// Where an asker stands.
///
/// ```text
/// Idle ──ask──▶ Due ──sent──▶ Waiting ──last piece──▶ Idle
///   ▲            ▲──cookie, piece, CHAIN_RETRY──┘
///   └─────────── CHAIN_TRIES of one request ────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked for.
    Idle,
    /// A request is to be sent.
    Due,
    /// When to send it again.
    Waiting { until: Instant },
}

/// Asks a server for authority documents.
///
/// * inputs: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout)
/// * commands: [`ask`](Self::ask), [`stop`](Self::stop)
/// * outputs, to be drained after each of them: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout)
///
/// The document is put together in room that the caller lends with each datagram.
pub struct ChainAsker {
    server: SocketAddr,
    /// What numbers come from; each one replaces it.
    seed: [u8; 32],
    /// Length of requests, and so of the longest answer.
    len: u16,
    phase: Phase,
    digest: Digest,
    wanted: Wanted,
    cookie: Option<Cookie>,
    /// The request under way carries a mac2.
    is_proved: bool,
    number: u64,
    /// It was answered: what else comes under its number counts for nothing.
    is_answered: bool,
    /// Bytes that are here, of so many.
    here: u16,
    total: u16,
    tries: u8,
    whole: Option<usize>,
}

impl ChainAsker {
    /// One that asks for nothing yet; `seed` is 32 fresh random bytes, and no answer may
    /// be longer than `longest`, in bytes.
    #[must_use]
    pub fn new(server: SocketAddr, seed: [u8; 32], longest: usize) -> Self {
        Self {
            server,
            seed,
            len: longest.clamp(LEAST_REQUEST, MAX_DATAGRAM) as u16,
            phase: Phase::Idle,
            digest: Digest([0; 32]),
            wanted: Wanted::Itself,
            cookie: None,
            is_proved: false,
            number: 0,
            is_answered: true,
            here: 0,
            total: 0,
            tries: 0,
            whole: None,
        }
    }

    // --- inputs ---

    /// Takes a datagram of the unicast socket, and puts pieces into `room`.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8], room: &mut [u8]) {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        let Ok(answer) = Answer::read(datagram) else { return };
        // PROTOCOL A2: the answer to the last request, and to no other, once.
        if answer.number != self.number || self.is_answered {
            return;
        }
        self.is_answered = true;
        match answer.body {
            AnswerBody::Cookie(cookie) => {
                self.cookie = Some(cookie);
                // Where ours was too old, or somebody plays with us, no storm: later.
                if !self.is_proved {
                    self.phase = Phase::Due;
                }
            }
            AnswerBody::Piece { total, offset, bytes } => {
                self.take(now, total, offset, bytes, room)
            }
        }
    }

    /// The time told by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Waiting { until } = self.phase
            && now >= until
        {
            self.phase = if self.tries >= CHAIN_TRIES { Phase::Idle } else { Phase::Due };
        }
    }

    // --- commands ---

    /// Asks for a document from now on, in place of what was asked for before. Again
    /// while it is under way changes nothing.
    pub fn ask(&mut self, digest: Digest, wanted: Wanted) {
        if self.phase != Phase::Idle && (self.digest, self.wanted) == (digest, wanted) {
            return;
        }
        (self.digest, self.wanted) = (digest, wanted);
        (self.here, self.total, self.tries) = (0, 0, 0);
        self.whole = None;
        self.phase = Phase::Due;
    }

    /// Asks for nothing more.
    pub const fn stop(&mut self) {
        self.phase = Phase::Idle;
    }

    // --- outputs ---

    /// The next event.
    pub const fn poll_event(&mut self) -> Option<ChainEvent> {
        match self.whole.take() {
            Some(len) => Some(ChainEvent::Whole { len }),
            None => None,
        }
    }

    /// Writes the next request into `out`.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        if self.phase != Phase::Due {
            return None;
        }
        let len = usize::from(self.len);
        let out = out.get_mut(..len)?;
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        // Off the path nobody can guess it.
        self.number = rng.next_u64();
        rng.fill_bytes(&mut self.seed);
        let Self { number, digest, wanted, here: offset, .. } = *self;
        Request { number, digest, wanted, offset }.write(out).ok()?;
        (self.is_answered, self.is_proved) = (false, self.cookie.is_some());
        if let Some(cookie) = &self.cookie {
            let mac = mac2(cookie, before_mac2(out));
            set_mac2(out, &mac);
        }
        self.tries = self.tries.saturating_add(1);
        self.phase = Phase::Waiting { until: now + CHAIN_RETRY };
        Some(Transmit { to: self.server, len, segment_size: None })
    }

    /// When `handle_timeout` has something to do.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            // Something is to be sent first, or nothing at all.
            Phase::Idle | Phase::Due => None,
        }
    }

    // --- getters ---

    /// Whether a document is being asked for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Takes a piece that answers the last request.
    fn take(&mut self, now: Instant, total: u16, offset: u16, bytes: &[u8], room: &mut [u8]) {
        let is_next = offset == self.here && (self.here == 0 || total == self.total);
        let start = usize::from(self.here);
        let end = start + bytes.len();
        let fits = usize::from(total) <= room.len() && end <= usize::from(total);
        let place = room.get_mut(start..end).filter(|_| is_next && fits);
        let Some(place) = place else {
            // Of another document, since the chain has grown: from its beginning, later.
            (self.here, self.total) = (0, 0);
            self.phase = Phase::Waiting { until: now + CHAIN_RETRY };
            return;
        };
        place.copy_from_slice(bytes);
        // No longer than a document: it was read as such.
        (self.here, self.total, self.tries) = (end as u16, total, 0);
        if end == usize::from(total) {
            self.whole = Some(end);
            self.phase = Phase::Idle;
        } else {
            self.phase = Phase::Due;
        }
    }
}

// A board keeps it beside all else.
const _: () = assert!(size_of::<ChainAsker>() <= 208);
