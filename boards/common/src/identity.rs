//! Who a board is, and what it draws its randomness from.

use chacha20::ChaCha20Rng;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;
use rand_core::{Rng as _, SeedableRng as _};

use crate::code::Enrolment;
use crate::settings::MAX_NAME;

/// Bytes of an identity as it is kept.
pub const KEPT: usize = 1 + 32 + 32 + 32 + 6 + 32 + 32 + 1 + 16 + 1 + MAX_NAME;
const VERSION: u8 = 1;

/// Keys of a board, and its enrolment.
#[derive(Clone)]
pub struct Identity {
    /// Secret half of its X25519 key.
    pub secret: [u8; 32],
    /// Seed of its Ed25519 key.
    pub signing: [u8; 32],
    /// Digest of the newest authority document that it trusts: at first that of the code.
    pub trusted: Digest,
    /// What its enrolment code told; without a token once that has been used.
    pub enrolment: Enrolment,
    /// The name that it asks for.
    pub name: Name,
}

/// A name of at most [`MAX_NAME`] bytes.
pub type Name = heapless::String<MAX_NAME>;

/// Everything that a board draws at its start, from what it kept.
pub struct Draw {
    /// What to keep in the place of the seed, before anything else is used.
    pub next: [u8; 32],
    /// The seed of the endpoint.
    pub endpoint: [u8; 32],
    /// Keys, for a board that has none yet.
    pub keys: ([u8; 32], [u8; 32]),
    /// What guards no secret: back-offs, nonces.
    pub small: u64,
}

impl Draw {
    /// Draws from the seed that was kept; the boot counter sees to it that two starts
    /// never draw the same, even where the next seed could not be kept.
    #[must_use]
    pub fn from(seed: &[u8; 32], boot: u64) -> Self {
        let mixed = Digest::of_parts(&[b"fleetcast board seed v1\0", seed, &boot.to_le_bytes()]);
        let mut rng = ChaCha20Rng::from_seed(mixed.0);
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let (next, endpoint, keys) = (draw(), draw(), (draw(), draw()));
        let small = draw().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self { next, endpoint, keys, small }
    }
}

impl Identity {
    /// Its public key.
    #[must_use]
    pub fn device(&self) -> StaticKey {
        *StaticPair::from_secret(&self.secret).public()
    }

    /// As it is kept; its length.
    pub fn write(&self, out: &mut [u8; KEPT]) {
        // There is room for the longest name.
        let mut room = out.iter_mut();
        let mut put = |bytes: &[u8]| {
            room.by_ref().zip(bytes).for_each(|(place, &byte)| *place = byte);
        };
        let server = match self.enrolment.server {
            core::net::SocketAddr::V4(server) => server.ip().octets(),
            // Codes with such addresses are refused.
            core::net::SocketAddr::V6(_) => [0; 4],
        };
        put(&[VERSION]);
        put(&self.secret);
        put(&self.signing);
        put(&self.trusted.0);
        put(&server);
        put(&self.enrolment.server.port().to_le_bytes());
        put(&self.enrolment.controller.0);
        put(&self.enrolment.authority.0);
        put(&[u8::from(self.enrolment.token.is_some())]);
        put(&self.enrolment.token.unwrap_or_default());
        put(&[self.name.len() as u8]);
        put(self.name.as_bytes());
    }

    /// Reads what was kept; `None` where it is none, or of another version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version] = take::<1>(&mut rest)?;
        let (secret, signing) = (take(&mut rest)?, take(&mut rest)?);
        let trusted = Digest(take(&mut rest)?);
        let (address, port) = (take::<4>(&mut rest)?, take::<2>(&mut rest)?);
        let (controller, authority) = (take(&mut rest)?, take(&mut rest)?);
        let ([flag], token) = (take::<1>(&mut rest)?, take::<16>(&mut rest)?);
        let [len] = take::<1>(&mut rest)?;
        let name = core::str::from_utf8(rest.get(..usize::from(len))?).ok()?;
        let enrolment = Enrolment {
            server: core::net::SocketAddr::from((address, u16::from_le_bytes(port))),
            controller: StaticKey(controller),
            authority: Digest(authority),
            token: (flag != 0).then_some(token),
        };
        let known = version == VERSION;
        let name = Name::try_from(name).ok()?;
        known.then_some(Self { secret, signing, trusted, enrolment, name })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(token: Option<[u8; 16]>) -> Identity {
        let enrolment = Enrolment {
            server: "10.77.0.1:7411".parse().unwrap(),
            controller: StaticKey([3; 32]),
            authority: Digest([4; 32]),
            token,
        };
        let name = Name::try_from("till-7").unwrap();
        let trusted = Digest([8; 32]);
        Identity { secret: [1; 32], signing: [2; 32], trusted, enrolment, name }
    }

    #[test]
    fn an_identity_comes_back_as_it_was_kept() {
        for token in [None, Some([5; 16])] {
            let mut kept = [0; KEPT];
            identity(token).write(&mut kept);
            let read = Identity::read(&kept).unwrap();
            assert!(read.enrolment == identity(token).enrolment);
            assert_eq!(read.trusted, Digest([8; 32]));
            assert_eq!((read.secret, read.signing, &*read.name), ([1; 32], [2; 32], "till-7"));
            kept[0] = 2;
            assert!(Identity::read(&kept).is_none());
        }
        assert!(Identity::read(&[1; 40]).is_none());
    }

    #[test]
    fn no_two_starts_draw_the_same_even_from_the_same_seed() {
        let (first, again) = (Draw::from(&[7; 32], 1), Draw::from(&[7; 32], 2));
        assert_ne!(first.endpoint, again.endpoint);
        assert_ne!(first.next, again.next);
        assert_ne!(first.next, first.endpoint);
        assert_ne!(first.keys.0, first.keys.1);
        assert_ne!(first.small, again.small);
    }
}
