//! What the server does with an initiation before it keeps anything of it:
//! mac1, cookie, load, Noise, order — cheapest first.

use core::net::SocketAddr;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::config::{Directory, ServerConfig};
use crate::crypto::cookie::{CookieSeal, Jar, Mac1};
use crate::crypto::noise::{Responder, StaticPair, TransportKeys, psk};
use crate::ids::StaticKey;
use crate::limits::HANDSHAKES_PER_SECOND;
use crate::time::{Duration, Instant};
use crate::wire::datagram::{COOKIE_REPLY, RESPONSE};
use crate::wire::handshake::{CookieReply, Initiation, NOISE_2, Payload, Response};

/// What an initiation deserves.
#[expect(clippy::large_enum_variant, reason = "made and consumed at once, and there is no heap")]
pub(super) enum Verdict {
    /// Silence.
    Ignore,
    /// A proof of address first.
    Demand([u8; COOKIE_REPLY]),
    /// An answer, once there is a place for it.
    Welcome(Guest),
}

/// An initiation that is to be answered.
pub(super) struct Guest {
    pub(super) key: StaticKey,
    pub(super) payload: Payload,
    pub(super) peer_index: u32,
    pub(super) is_proved: bool,
    responder: Responder,
    psk: [u8; 32],
}

impl Guest {
    /// Writes the answer: the datagram's Noise part, and the keys of the channel.
    pub(super) fn answer(self) -> Option<([u8; NOISE_2], TransportKeys)> {
        self.responder.answer(&self.psk).ok()
    }
}

/// Keys, secrets and the measure of load.
pub(super) struct Greeter {
    own: StaticPair,
    to_us: Mac1,
    seal: CookieSeal,
    jar: Jar,
    rng: ChaCha20Rng,
    /// The second that is counted in, and unproved handshakes in it.
    second: Instant,
    unproved: u32,
}

impl Greeter {
    pub(super) fn new(config: &ServerConfig, now: Instant) -> Self {
        let own = StaticPair::from_secret(&config.static_secret);
        let mut rng = ChaCha20Rng::from_seed(config.seed);
        let (current, previous) = (random(&mut rng), random(&mut rng));
        Self {
            to_us: Mac1::to(own.public()),
            seal: CookieSeal::of(own.public()),
            jar: Jar::new(current, previous, now),
            own,
            rng,
            second: now,
            unproved: 0,
        }
    }

    /// Answers as another key from now on; cookies of the old one prove nothing more.
    pub(super) fn take_key(&mut self, static_secret: &[u8; 32]) {
        self.own = StaticPair::from_secret(static_secret);
        self.to_us = Mac1::to(self.own.public());
        self.seal = CookieSeal::of(self.own.public());
    }

    /// Judges an initiation.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        directory: &dyn Directory,
    ) -> Verdict {
        let Ok(initiation) = Initiation::new(datagram) else { return Verdict::Ignore };
        // PROTOCOL H1: silence to who does not know the server's key.
        if !self.to_us.fits(initiation.before_mac1(), &initiation.mac1()) {
            return Verdict::Ignore;
        }
        self.jar.turn(now, || random(&mut self.rng));
        let is_proved = self.jar.proves(from, initiation.before_mac2(), &initiation.mac2());
        // PROTOCOL H3: under load a cookie, before anything costly.
        if !is_proved && self.is_loaded(now) {
            return self.demand(from, &initiation);
        }
        let Some(guest) = self.read(&initiation, is_proved, directory) else {
            return Verdict::Ignore;
        };
        // PROTOCOL H3: a cookie of an unknown key, and of one whose order did not grow.
        let last = directory.order(&guest.key);
        let has_grown = last.is_some_and(|last| guest.payload.order > last);
        if is_proved || has_grown {
            Verdict::Welcome(guest)
        } else {
            self.demand(from, &initiation)
        }
    }

    /// The response for an initiator with this key.
    pub(super) fn response(
        key: &StaticKey,
        own_index: u32,
        peer_index: u32,
        noise: &[u8; NOISE_2],
    ) -> [u8; RESPONSE] {
        let mut response = Response::write(own_index, peer_index, noise);
        let mac1 = Mac1::to(key).make(response.before_mac1());
        response.set_mac1(&mac1);
        *response.bytes()
    }

    /// Thirty-two random bits.
    pub(super) fn random_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// A random secret.
    pub(super) fn random_secret(&mut self) -> [u8; 32] {
        random(&mut self.rng)
    }

    fn read(
        &mut self,
        initiation: &Initiation<&[u8]>,
        is_proved: bool,
        directory: &dyn Directory,
    ) -> Option<Guest> {
        let ephemeral = random(&mut self.rng);
        let responder = Responder::read(&self.own, &ephemeral, &initiation.noise()).ok()?;
        let payload = Payload::read(responder.payload()).ok()?;
        // PROTOCOL H4: a token that may not be used ends it; zeros are not tried instead.
        let psk = match &payload.token {
            Some(id) => psk(Some(&directory.token(id)?)),
            None => psk(None),
        };
        let (key, peer_index) = (*responder.key(), initiation.sender());
        Some(Guest { key, payload, peer_index, is_proved, responder, psk })
    }

    fn demand(&mut self, from: SocketAddr, initiation: &Initiation<&[u8]>) -> Verdict {
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        let sealed = self.seal.seal(&nonce, &initiation.mac1(), &self.jar.cookie(from));
        Verdict::Demand(*CookieReply::write(initiation.sender(), &nonce, &sealed).bytes())
    }

    /// Counts an unproved handshake; whether it is one too many in this second.
    fn is_loaded(&mut self, now: Instant) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.unproved) = (now, 0);
        }
        self.unproved = self.unproved.saturating_add(1);
        self.unproved > HANDSHAKES_PER_SECOND
    }
}

fn random(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

// PROTOCOL H2: one answer per initiation, and none longer than it.
const _: () = {
    assert!(RESPONSE <= crate::wire::datagram::INITIATION);
    assert!(COOKIE_REPLY <= crate::wire::datagram::INITIATION);
};
