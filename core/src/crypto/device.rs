//! Signatures by a device's X25519 key: XEdDSA (T. Perrin, 2016, §2.3 and §3).
//!
//! Memberships name a device by its static key, which agrees keys and signs nothing by
//! itself. Its curve has a twin on which Ed25519 signs: who knows the secret of the one can
//! sign by the other, and everybody computes the public key of the other. So a receipt is
//! bound to the device that a membership names without anybody's word (PROTOCOL T9).

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest as _, Sha512};

use super::sign::{Context, SIGNATURE};
use crate::ids::{StaticKey, VerifyingKey};

/// What the secret of nonces is derived with.
const NONCES: &[u8] = b"fleetcast receipt nonces v1\0";

/// Signs for a device.
#[derive(Clone)]
pub struct DeviceSigner {
    secret: Scalar,
    /// Makes nonces that nobody can guess, together with what is signed (RFC 8032, §5.1.6).
    prefix: [u8; 32],
    public: VerifyingKey,
}

impl DeviceSigner {
    /// The signer of the device with this secret X25519 key; `seed` are 32 secret random
    /// bytes of its own, always the same ones.
    #[must_use]
    pub fn new(exchange_secret: &[u8; 32], seed: &[u8; 32]) -> Self {
        let made = Sha512::new().chain_update(NONCES).chain_update(seed);
        let made = made.chain_update(exchange_secret).finalize();
        let mut prefix = [0; 32];
        prefix.iter_mut().zip(made).for_each(|(place, byte)| *place = byte);
        Self::with_prefix(exchange_secret, prefix)
    }

    fn with_prefix(exchange_secret: &[u8; 32], prefix: [u8; 32]) -> Self {
        let secret = Scalar::from_bytes_mod_order(clamp_integer(*exchange_secret));
        let public = EdwardsPoint::mul_base(&secret).compress().to_bytes();
        // Of the two twins the one whose sign is 0 counts, and the secret that belongs to it.
        let (secret, public) = match public[31] & 0x80 {
            0 => (secret, public),
            _ => (-secret, without_sign(public)),
        };
        Self { secret, prefix, public: VerifyingKey(public) }
    }

    /// The key that checks its signatures: [`signing_key_of`] its static key.
    #[must_use]
    pub const fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    /// Signs `parts`, one after the other, for one purpose.
    #[must_use]
    pub fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; SIGNATURE] {
        self.sign_after(context.prefix(), parts)
    }

    /// RFC 8032, §5.1.6, from step 2 on.
    fn sign_after(&self, prefix: &[u8], parts: &[&[u8]]) -> [u8; SIGNATURE] {
        let hash = |before: &[&[u8]]| {
            let mut hasher = Sha512::new();
            before.iter().chain(&[prefix]).chain(parts).for_each(|part| hasher.update(part));
            Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
        };
        let nonce = hash(&[&self.prefix]);
        let point = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
        let challenge = hash(&[&point, &self.public.0]);
        let mut signature = [0; SIGNATURE];
        signature[..32].copy_from_slice(&point);
        signature[32..].copy_from_slice((nonce + challenge * self.secret).as_bytes());
        signature
    }
}

/// The key that checks what the device with this static key signs; `None` for a key that is
/// no point of the curve.
#[must_use]
pub fn signing_key_of(device: &StaticKey) -> Option<VerifyingKey> {
    let twin = MontgomeryPoint(device.0).to_edwards(0)?;
    Some(VerifyingKey(twin.compress().to_bytes()))
}

const fn without_sign(mut point: [u8; 32]) -> [u8; 32] {
    point[31] &= 0x7F;
    point
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::aead::Forged;
    use crate::crypto::noise::StaticPair;
    use crate::crypto::sign::verify;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits = text.as_bytes();
        let value = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
        core::array::from_fn(|n| value(digits[2 * n]) << 4 | value(digits[2 * n + 1]))
    }

    /// The signer that RFC 8032 makes of a secret key, and the static key of its twin.
    fn of_rfc(secret: &str) -> (DeviceSigner, StaticKey) {
        let expanded: [u8; 64] = Sha512::digest(hex::<32>(secret)).into();
        let (scalar, prefix) = expanded.split_at(32);
        let (scalar, prefix) = (scalar.try_into().unwrap(), prefix.try_into().unwrap());
        let public = *StaticPair::from_secret(&scalar).public();
        (DeviceSigner::with_prefix(&scalar, prefix), public)
    }

    #[test]
    fn it_signs_as_rfc_8032_does_and_the_static_key_tells_the_public_key() {
        // RFC 8032, §7.1, TEST 1 and TEST 2: secret key, public key, message, signature.
        let cases: [(&str, &str, &[u8], &str); 2] = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                b"",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                &[0x72],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ];
        for (secret, public, message, signature) in cases {
            let (signer, device) = of_rfc(secret);
            assert_eq!(signer.verifying_key().0, hex::<32>(public));
            assert_eq!(signing_key_of(&device), Some(signer.verifying_key()));
            assert_eq!(signer.sign_after(&[], &[message]), hex::<64>(signature));
        }
    }

    #[test]
    fn a_twin_with_the_other_sign_signs_by_the_negated_secret() {
        // RFC 8032, §7.1, TEST SHA(abc): its public key has the sign bit set.
        let secret = "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42";
        let mut public: [u8; 32] =
            hex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf");
        let (signer, device) = of_rfc(secret);
        public[31] &= 0x7F;
        assert_eq!(signing_key_of(&device), Some(VerifyingKey(public)));
        assert_eq!(signer.verifying_key(), VerifyingKey(public));
        let signature = signer.sign(Context::Receipt, &[b"bo", b"dy"]);
        assert_eq!(verify(&VerifyingKey(public), Context::Receipt, &[b"body"], &signature), Ok(()));
        public[31] |= 0x80;
        let other = VerifyingKey(public);
        assert_eq!(verify(&other, Context::Receipt, &[b"body"], &signature), Err(Forged));
    }

    // PROTOCOL T9
    #[test]
    fn every_device_signs_by_the_key_that_its_static_key_tells() {
        for n in 0..50_u8 {
            let (secret, seed) = ([n.wrapping_mul(37); 32], [n; 32]);
            let signer = DeviceSigner::new(&secret, &seed);
            let device = *StaticPair::from_secret(&secret).public();
            let key = signing_key_of(&device).unwrap();
            assert_eq!(key, signer.verifying_key());
            let signature = signer.sign(Context::Receipt, &[&[n; 100]]);
            assert_eq!(verify(&key, Context::Receipt, &[&[n; 100]], &signature), Ok(()));
            assert_eq!(verify(&key, Context::Release, &[&[n; 100]], &signature), Err(Forged));
            assert_eq!(signature, signer.sign(Context::Receipt, &[&[n; 60], &[n; 40]]));
        }
        // No point of the curve: u³ + 486662 u² + u is no square for u = 2 (Euler's criterion).
        let mut twist = [0; 32];
        twist[0] = 2;
        assert_eq!(signing_key_of(&StaticKey(twist)), None);
    }
}
