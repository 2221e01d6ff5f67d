//! The receiver's handshakes: one after the other, each newly made, at growing
//! intervals, with a cookie where the server asked for one.

use chacha20::ChaCha20Rng;
use rand_core::Rng as _;
use zeroize::Zeroizing;

use super::config::ReceiverConfig;
use crate::crypto::cookie::{Cookie, CookieSeal, Mac1, mac2};
use crate::crypto::noise::{Initiator, StaticPair, TransportKeys, psk};
use crate::ids::{StaticKey, TokenId};
use crate::limits::{COOKIE_LIFETIME, HANDSHAKE_RETRY, HANDSHAKE_RETRY_MAX, MAX_DATAGRAM};
use crate::time::{Duration, Instant};
use crate::wire::datagram::INITIATION;
use crate::wire::handshake::{CookieReply, Initiation, LEAST_DATAGRAM, NOISE_1, Payload, Response};

/// A finished handshake.
pub(super) struct Agreed {
    pub(super) keys: TransportKeys,
    /// What this side is addressed by.
    pub(super) own_index: u32,
    /// What the server is addressed by.
    pub(super) peer_index: u32,
}

/// Everything that outlives one attempt, and the attempt under way.
pub(super) struct Attempts {
    own: StaticPair,
    /// What is derived from the two public keys is made anew where it is needed:
    /// one SHA-256 each.
    server: StaticKey,
    psk: [u8; 32],
    payload: Payload,
    cookie: Option<(Cookie, Instant)>,
    pause: Duration,
    /// Initiations since the series began.
    made: u32,
    current: Option<Attempt>,
}

/// An initiation that was sent. The handshake's state, 704 bytes, is made again
/// from these when the response comes: two key agreements once per channel.
struct Attempt {
    ephemeral: Zeroizing<[u8; 32]>,
    index: u32,
    mac1: [u8; 16],
    had_cookie: bool,
}

impl Attempts {
    pub(super) fn new(config: &ReceiverConfig) -> Self {
        let own = StaticPair::from_secret(&config.static_secret);
        let most = config.max_datagram.clamp(LEAST_DATAGRAM, MAX_DATAGRAM as u16);
        let payload = Payload {
            order: (config.boot, 0),
            token: config.token.as_ref().map(TokenId::of),
            constrained: config.constrained,
            max_datagram: most,
        };
        Self {
            server: config.server_key,
            // PROTOCOL H4: the psk and the token's name come from the same field.
            psk: psk(config.token.as_ref()),
            own,
            payload,
            cookie: None,
            pause: HANDSHAKE_RETRY,
            made: 0,
            current: None,
        }
    }

    /// Makes a new initiation; the one before is forgotten. Returns it with the
    /// time to wait for an answer. `None` when the server's key is unusable.
    pub(super) fn initiate(
        &mut self,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<([u8; INITIATION], Duration)> {
        // PROTOCOL H6: n grows with every initiation; the caller has persisted the boot counter.
        self.payload.order.1 = self.payload.order.1.saturating_add(1);
        let mut ephemeral = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *ephemeral);
        let index = rng.next_u32();
        let (_, message) = self.begin(&ephemeral)?;
        let mut initiation = Initiation::write(index, &message);
        let mac1 = Mac1::to(&self.server).make(initiation.before_mac1());
        initiation.set_mac1(&mac1);
        self.cookie = self.cookie.filter(|(_, since)| now.since(*since) < COOKIE_LIFETIME);
        if let Some((cookie, _)) = &self.cookie {
            initiation.set_mac2(&mac2(cookie, initiation.before_mac2()));
        }
        let had_cookie = self.cookie.is_some();
        self.made = self.made.saturating_add(1);
        self.current = Some(Attempt { ephemeral, index, mac1, had_cookie });
        Some((*initiation.bytes(), self.next_pause(rng)))
    }

    /// The next handshake is the first of a new series.
    pub(super) const fn begin_series(&mut self) {
        self.pause = HANDSHAKE_RETRY;
        self.made = 0;
    }

    /// Initiations since the series began. What a cookie reply says proves nothing: who
    /// knows the server's public key can make one.
    pub(super) const fn made(&self) -> u32 {
        self.made
    }

    /// The server has another key from now on; the number of initiations goes on.
    pub(super) fn set_server(&mut self, key: StaticKey) {
        self.server = key;
        // It was sealed and is used under the old one.
        self.cookie = None;
        self.current = None;
    }

    /// Takes a cookie reply; whether to initiate at once.
    ///
    /// At once only where the initiation carried no cookie: whoever can forge
    /// replies gets one datagram more per retry out of it, and no storm.
    pub(super) fn take_cookie(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let Some((attempt, cookie)) = self.opened(datagram) else { return false };
        let at_once = !attempt.had_cookie;
        self.cookie = Some((cookie, now));
        if let Some(attempt) = &mut self.current {
            attempt.had_cookie = true;
        }
        at_once
    }

    /// Takes a response; nothing changes when it is not the server's answer.
    pub(super) fn take_response(&mut self, datagram: &[u8]) -> Option<Agreed> {
        let response = Response::new(datagram).ok()?;
        let attempt = self.current.as_ref().filter(|it| it.index == response.receiver())?;
        if !Mac1::to(self.own.public()).fits(response.before_mac1(), &response.mac1()) {
            return None;
        }
        let (noise, _) = self.begin(&attempt.ephemeral)?;
        let keys = noise.finish(&response.noise()).ok()?;
        let agreed = Agreed { keys, own_index: attempt.index, peer_index: response.sender() };
        self.current = None;
        Some(agreed)
    }

    /// The handshake that `ephemeral` begins, and its first message: the same until
    /// the payload's number is raised.
    fn begin(&self, ephemeral: &[u8; 32]) -> Option<(Initiator, [u8; NOISE_1])> {
        let payload = self.payload.write();
        Initiator::begin(&self.own, &self.server, ephemeral, &self.psk, &payload).ok()
    }

    fn opened(&self, datagram: &[u8]) -> Option<(&Attempt, Cookie)> {
        let reply = CookieReply::new(datagram).ok()?;
        let attempt = self.current.as_ref().filter(|it| it.index == reply.receiver())?;
        let cookie = CookieSeal::of(&self.server)
            .open(&reply.nonce(), &attempt.mac1, &reply.sealed())
            .ok()?;
        Some((attempt, cookie))
    }

    fn next_pause(&mut self, rng: &mut ChaCha20Rng) -> Duration {
        // PROTOCOL H7: from HANDSHAKE_RETRY, doubling, to HANDSHAKE_RETRY_MAX; up to a
        // quarter is taken off at random, so that a fleet does not march in step.
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(HANDSHAKE_RETRY_MAX);
        let off = pause.as_micros() / 4 * u64::from(rng.next_u32() >> 16) / 65_536;
        pause.saturating_sub(Duration::from_micros(off)).max(HANDSHAKE_RETRY)
    }
}
