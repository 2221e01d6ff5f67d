//! The beacon: where a server is and by what it can be recognised, for people
//! who bring a receiver into its network without a code.
//!
//! It proves only that whoever made it holds the key that it names: a person
//! compares the fingerprint.

use crate::crypto::aead::Forged;
use crate::crypto::sign::{Context, SIGNATURE, SigningKey, verify};
use crate::digest::{Digest, Hasher};
use crate::ids::{StaticKey, VerifyingKey};
use crate::limits::VERSION;
use crate::wire::Malformed;

/// The type of the datagram.
pub const TYPE: u8 = 6;
/// Its length in bytes.
pub const BEACON: usize = 172;

/// Where its fields lie.
mod field {
    use core::ops::Range;

    pub(super) const PORT: Range<usize> = 2..4;
    pub(super) const TIME: Range<usize> = 4..12;
    pub(super) const AUTHORITY: Range<usize> = 12..44;
    pub(super) const EXCHANGE: Range<usize> = 44..76;
    pub(super) const SIGNING: Range<usize> = 76..108;
    pub(super) const SIGNATURE: Range<usize> = 108..172;
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// UDP port of its unicast socket; its address is that of the datagram.
    pub port: u16,
    /// Its time in seconds since 1970.
    pub time: u64,
    /// Digest of the authority document to trust first.
    pub authority: Digest,
    /// X25519 key of the controller.
    pub exchange: StaticKey,
    /// Its Ed25519 key, which signs this.
    pub signing: VerifyingKey,
}

/// Why a beacon is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconRefused {
    /// Its bytes.
    Malformed(Malformed),
    /// Its signature is not by the key that it names.
    Forged,
}

impl Beacon {
    /// Writes it, signed by the controller's key.
    #[must_use]
    pub fn write(&self, key: &SigningKey) -> [u8; BEACON] {
        let mut bytes = [0; BEACON];
        bytes[0] = TYPE;
        bytes[1] = VERSION;
        bytes[field::PORT].copy_from_slice(&self.port.to_le_bytes());
        bytes[field::TIME].copy_from_slice(&self.time.to_le_bytes());
        bytes[field::AUTHORITY].copy_from_slice(&self.authority.0);
        bytes[field::EXCHANGE].copy_from_slice(&self.exchange.0);
        bytes[field::SIGNING].copy_from_slice(&self.signing.0);
        let signature = key.sign(Context::Beacon, &[&bytes[..field::SIGNATURE.start]]);
        bytes[field::SIGNATURE].copy_from_slice(&signature);
        bytes
    }

    /// Reads one and checks its signature.
    ///
    /// # Errors
    /// [`BeaconRefused`] says what is wrong.
    // PROTOCOL B2
    pub fn read(datagram: &[u8]) -> Result<Self, BeaconRefused> {
        let length = Malformed::Length { expected: BEACON, found: datagram.len() };
        let bytes: &[u8; BEACON] =
            datagram.try_into().map_err(|_| BeaconRefused::Malformed(length))?;
        if bytes[0] != TYPE {
            return Err(BeaconRefused::Malformed(Malformed::Kind(bytes[0])));
        }
        if bytes[1] != VERSION {
            return Err(BeaconRefused::Malformed(Malformed::Version(bytes[1])));
        }
        let [_, _, p0, p1, ..] = *bytes;
        let port = u16::from_le_bytes([p0, p1]);
        if port == 0 {
            return Err(BeaconRefused::Malformed(Malformed::Bound));
        }
        let signing = VerifyingKey(part(bytes, field::SIGNING));
        let signature: [u8; SIGNATURE] = part(bytes, field::SIGNATURE);
        let signed = &bytes[..field::SIGNATURE.start];
        verify(&signing, Context::Beacon, &[signed], &signature)
            .map_err(|Forged| BeaconRefused::Forged)?;
        Ok(Self {
            port,
            time: u64::from_le_bytes(part(bytes, field::TIME)),
            authority: Digest(part(bytes, field::AUTHORITY)),
            exchange: StaticKey(part(bytes, field::EXCHANGE)),
            signing,
        })
    }
}

/// What people compare: it stands for whom to trust first, and for the server's key.
#[must_use]
pub fn fingerprint(authority: &Digest, exchange: &StaticKey) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"fleetcast server v1\0");
    hasher.update(&authority.0);
    hasher.update(&exchange.0);
    hasher.finish()
}

/// `N` bytes at a place of the beacon.
fn part<const N: usize>(bytes: &[u8; BEACON], at: core::ops::Range<usize>) -> [u8; N] {
    bytes.get(at).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_with_any_bit_changed_is_ignored() {
        let key = SigningKey::from_seed(&[3; 32]);
        let beacon = Beacon {
            port: 7_411,
            time: 1_700_000_000,
            authority: Digest([1; 32]),
            exchange: StaticKey([2; 32]),
            signing: key.verifying_key(),
        };
        let bytes = beacon.write(&key);
        assert_eq!(Beacon::read(&bytes), Ok(beacon));
        // PROTOCOL B2
        for bit in 0..BEACON * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Beacon::read(&changed).is_err(), "bit {bit}");
        }
        for length in [0, 1, BEACON - 1] {
            assert!(Beacon::read(&bytes[..length]).is_err());
        }
        let other = SigningKey::from_seed(&[4; 32]);
        assert_eq!(Beacon::read(&beacon.write(&other)), Err(BeaconRefused::Forged));
    }
}
