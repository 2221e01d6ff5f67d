//! mac1, cookies and mac2, after WireGuard §5.4.4–5.4.7: silence to strangers,
//! and a proof of address for whoever must give one.

use core::net::{IpAddr, SocketAddr};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::aead::Forged;
use crate::digest::Digest;
use crate::ids::StaticKey;
use crate::limits::COOKIE_LIFETIME;
use crate::time::Instant;
use crate::wire::handshake::MAC;

/// A proof of address: what mac2 is keyed by.
pub type Cookie = [u8; MAC];

/// Makes and checks mac1 of what is sent to one static key.
#[derive(Clone)]
pub struct Mac1([u8; 32]);

impl Mac1 {
    /// For datagrams to the owner of `addressee`.
    #[must_use]
    pub fn to(addressee: &StaticKey) -> Self {
        Self(Digest::of_parts(&[b"fleetcast mac1 v1", &addressee.0]).0)
    }

    /// mac1 over `before`, the bytes before it.
    #[must_use]
    pub fn make(&self, before: &[u8]) -> [u8; MAC] {
        cut_hmac(&self.0, &[before])
    }

    /// Whether `mac` is mac1 over `before`, in constant time.
    #[must_use]
    pub fn fits(&self, before: &[u8], mac: &[u8; MAC]) -> bool {
        verify(&self.0, before, mac)
    }
}

/// mac2 over `before`, the bytes before it.
#[must_use]
pub fn mac2(cookie: &Cookie, before: &[u8]) -> [u8; MAC] {
    cut_hmac(cookie, &[before])
}

/// Whether `mac` is mac2 over `before`, in constant time.
#[must_use]
pub fn mac2_fits(cookie: &Cookie, before: &[u8], mac: &[u8; MAC]) -> bool {
    verify(cookie, before, mac)
}

/// The secrets that a server makes cookies from: nothing is kept per address.
pub struct Jar {
    current: [u8; 32],
    previous: [u8; 32],
    since: Instant,
}

impl Jar {
    /// A jar with two random secrets.
    #[must_use]
    pub const fn new(current: [u8; 32], previous: [u8; 32], now: Instant) -> Self {
        Self { current, previous, since: now }
    }

    /// Takes a new secret where the current one is COOKIE_LIFETIME old, and
    /// forgets what is older than twice that.
    pub fn turn(&mut self, now: Instant, mut random: impl FnMut() -> [u8; 32]) {
        let age = now.since(self.since);
        if age < COOKIE_LIFETIME {
            return;
        }
        let stale = age >= COOKIE_LIFETIME.saturating_mul(2);
        self.previous = if stale { random() } else { self.current };
        self.current = random();
        self.since = now;
    }

    /// The cookie of an address.
    #[must_use]
    pub fn cookie(&self, of: SocketAddr) -> Cookie {
        bake(&self.current, of)
    }

    /// Whether `mac` over `before` proves that its sender can be reached at `from`.
    #[must_use]
    pub fn proves(&self, from: SocketAddr, before: &[u8], mac: &[u8; MAC]) -> bool {
        mac2_fits(&bake(&self.current, from), before, mac)
            || mac2_fits(&bake(&self.previous, from), before, mac)
    }
}

/// Seals cookies on their way from one server.
#[derive(Clone)]
pub struct CookieSeal(XChaCha20Poly1305);

impl CookieSeal {
    /// For cookies that the owner of `server` sends.
    #[must_use]
    pub fn of(server: &StaticKey) -> Self {
        let key = Digest::of_parts(&[b"fleetcast cookie v1", &server.0]).0;
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// Encrypts a cookie for whoever sent an initiation with this mac1.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 24], mac1: &[u8; MAC], cookie: &Cookie) -> [u8; 32] {
        let mut sealed = [0; 32];
        let (text, tag) = sealed.split_at_mut(MAC);
        text.copy_from_slice(cookie);
        let made = self.0.encrypt_inout_detached(&XNonce::from(*nonce), mac1, text.into());
        // Cannot fail for sixteen bytes; a zero tag would not open.
        tag.copy_from_slice(&made.unwrap_or_default());
        sealed
    }

    /// Decrypts a cookie that answers an initiation with this mac1.
    ///
    /// # Errors
    /// [`Forged`] when it is not such an answer.
    pub fn open(
        &self,
        nonce: &[u8; 24],
        mac1: &[u8; MAC],
        sealed: &[u8; 32],
    ) -> Result<Cookie, Forged> {
        let mut cookie = [0; MAC];
        let mut tag = [0; 16];
        cookie.copy_from_slice(&sealed[..MAC]);
        tag.copy_from_slice(&sealed[MAC..]);
        let text = cookie.as_mut_slice().into();
        self.0
            .decrypt_inout_detached(&XNonce::from(*nonce), mac1, text, &Tag::from(tag))
            .map_err(|_| Forged)?;
        Ok(cookie)
    }
}

fn bake(secret: &[u8; 32], of: SocketAddr) -> Cookie {
    let ip = match of.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    cut_hmac(secret, &[&ip, &of.port().to_le_bytes()])
}

fn cut_hmac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    let mut cut = [0; MAC];
    // HMAC takes keys of every length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        parts.iter().for_each(|part| mac.update(part));
        cut.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
    }
    cut
}

fn verify(key: &[u8], before: &[u8], mac: &[u8; MAC]) -> bool {
    Hmac::<Sha256>::new_from_slice(key)
        .is_ok_and(|hmac| hmac.chain_update(before).verify_truncated_left(mac).is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::time::Duration;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 1_000);

    // PROTOCOL H1
    #[test]
    fn mac1_is_the_hmac_of_rfc_2104_under_the_hash_of_the_key() {
        // Both by OpenSSL: SHA-256 of the label and 32 bytes of 7, then HMAC over `abc`, cut.
        let mac1 = Mac1::to(&StaticKey([7; 32]));
        let made = mac1.make(b"abc");
        let hex: std::string::String = made.iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(hex, "0f5f3f3c20ae6dcc520034e2d2c05362");
        assert!(mac1.fits(b"abc", &made));
        assert!(!mac1.fits(b"abd", &made));
        assert!(!Mac1::to(&StaticKey([8; 32])).fits(b"abc", &made));
    }

    #[test]
    fn a_cookie_proves_one_address_for_at_most_twice_its_lifetime() {
        let mut jar = Jar::new([1; 32], [2; 32], Instant::ZERO);
        let mac = mac2(&jar.cookie(HERE), b"message");
        let there = SocketAddr::new(HERE.ip(), 1_001);
        assert!(jar.proves(HERE, b"message", &mac));
        assert!(!jar.proves(there, b"message", &mac));
        assert!(!jar.proves(HERE, b"massage", &mac));
        let mut secrets = 3..;
        let mut random = || [secrets.next().unwrap_or(0); 32];
        jar.turn(Instant::ZERO + COOKIE_LIFETIME, &mut random);
        assert!(jar.proves(HERE, b"message", &mac));
        jar.turn(Instant::ZERO + COOKIE_LIFETIME.saturating_mul(2), &mut random);
        assert!(!jar.proves(HERE, b"message", &mac));
    }

    #[test]
    fn a_long_idle_jar_forgets_both_secrets() {
        let mut jar = Jar::new([1; 32], [2; 32], Instant::ZERO);
        let mac = mac2(&jar.cookie(HERE), b"message");
        let mut secrets = 3..;
        let late = Instant::ZERO + COOKIE_LIFETIME.saturating_mul(2) + Duration::from_micros(1);
        jar.turn(late, || [secrets.next().unwrap_or(0); 32]);
        assert!(!jar.proves(HERE, b"message", &mac));
    }

    #[test]
    fn an_ipv4_address_and_its_mapped_form_have_one_cookie() {
        let jar = Jar::new([1; 32], [2; 32], Instant::ZERO);
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:1000".parse().unwrap();
        assert_eq!(jar.cookie(HERE), jar.cookie(mapped));
    }

    #[test]
    fn a_sealed_cookie_opens_only_for_its_initiation_and_server() {
        let seal = CookieSeal::of(&StaticKey([7; 32]));
        let sealed = seal.seal(&[3; 24], &[4; 16], &[5; 16]);
        assert_eq!(seal.open(&[3; 24], &[4; 16], &sealed), Ok([5; 16]));
        assert_eq!(seal.open(&[3; 24], &[5; 16], &sealed), Err(Forged));
        assert_eq!(seal.open(&[4; 24], &[4; 16], &sealed), Err(Forged));
        let other = CookieSeal::of(&StaticKey([8; 32]));
        assert_eq!(other.open(&[3; 24], &[4; 16], &sealed), Err(Forged));
    }
}
