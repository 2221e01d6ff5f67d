//! The server's side: one answer to one request, and nothing kept of either.

use core::net::SocketAddr;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::crypto::cookie::Jar;
use crate::digest::Digest;
use crate::limits::{CHAIN_ANSWERS_PER_SECOND, MAX_DATAGRAM};
use crate::time::{Duration, Instant};
use crate::transmit::Transmit;
use crate::wire::chain::{ANSWER_HEAD, Answer, AnswerBody, Request, Wanted, before_mac2, mac2_of};

/// The chain that a server shows.
pub trait Documents {
    /// The signed document with this digest, or the one that follows it.
    fn document(&self, digest: &Digest, wanted: Wanted) -> Option<&[u8]>;
}

/// Answers requests for authority documents.
///
/// * input: [`handle_datagram`](Self::handle_datagram)
/// * output, to be drained after it: [`poll_transmit`](Self::poll_transmit)
///
/// It has no timers and no events, and forgets an answer that was not fetched
/// when the next request comes.
pub struct ChainAnswerer {
    jar: Jar,
    rng: ChaCha20Rng,
    /// The second that is counted in, and answers in it.
    second: Instant,
    answered: u32,
    reply: Option<(SocketAddr, usize)>,
    bytes: [u8; MAX_DATAGRAM],
}

impl ChainAnswerer {
    /// One that has answered nobody; `seed` is 32 fresh random bytes.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let (current, previous) = (random(&mut rng), random(&mut rng));
        let jar = Jar::new(current, previous, now);
        Self { jar, rng, second: now, answered: 0, reply: None, bytes: [0; MAX_DATAGRAM] }
    }

    /// Takes a datagram; what is no request that deserves an answer is ignored.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        chain: &impl Documents,
    ) {
        self.reply = None;
        let Ok(request) = Request::read(datagram) else { return };
        // PROTOCOL A1: silence to who names no document of this chain, and to who asks
        // for what does not exist.
        let Some(document) = chain.document(&request.digest, request.wanted) else { return };
        let Some(rest) = document.get(usize::from(request.offset)..) else { return };
        let Ok(total) = u16::try_from(document.len()) else { return };
        if rest.is_empty() || self.is_loaded(now) {
            return;
        }
        self.jar.turn(now, || random(&mut self.rng));
        let is_proved = self.jar.proves(from, before_mac2(datagram), &mac2_of(datagram));
        let cookie = self.jar.cookie(from);
        // PROTOCOL A1: a cookie, and nothing else, to who has proved no address.
        let body = if is_proved {
            // PROTOCOL A1: never more bytes than came.
            let room = datagram.len().min(MAX_DATAGRAM) - ANSWER_HEAD;
            let bytes = &rest[..rest.len().min(room)];
            AnswerBody::Piece { total, offset: request.offset, bytes }
        } else {
            AnswerBody::Cookie(cookie)
        };
        let answer = Answer { number: request.number, body };
        let written = answer.write(&mut self.bytes).ok();
        debug_assert!(written.is_none_or(|len| len <= datagram.len()));
        self.reply = written.map(|len| (from, len));
    }

    /// Writes the answer to the request just handled into `out`.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let (to, len) = self.reply.take()?;
        out.get_mut(..len)?.copy_from_slice(&self.bytes[..len]);
        Some(Transmit { to, len, segment_size: None })
    }

    /// Counts an answer; whether it is one too many in this second.
    fn is_loaded(&mut self, now: Instant) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.answered) = (now, 0);
        }
        self.answered = self.answered.saturating_add(1);
        self.answered > CHAIN_ANSWERS_PER_SECOND
    }
}

fn random(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}
