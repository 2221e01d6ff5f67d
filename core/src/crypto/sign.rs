//! Ed25519 signatures (RFC 8032) over a context and a body, so that a
//! signature made for one purpose never counts for another.

use ed25519_dalek::Signer as _;

use super::aead::Forged;
use crate::digest::{Digest, Hasher};
use crate::ids::VerifyingKey;

/// Length of a signature in bytes.
pub const SIGNATURE: usize = 64;
/// Longest message that a signature covers, context included.
const MAX_SIGNED: usize = 4 * 1024 + 512;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// An authority document.
    Authority,
    /// A release root.
    Release,
    /// A membership certificate.
    Membership,
    /// An enrolment voucher.
    Voucher,
    /// A device's receipt.
    Receipt,
    /// The controller's statement of what is newest.
    Freshness,
    /// Multicast control of a session.
    Session,
    /// A server's beacon.
    Beacon,
}

impl Context {
    /// The bytes that stand before the body, with their closing zero.
    #[must_use]
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Authority => b"fleetcast authority v1\0",
            Self::Release => b"fleetcast release v1\0",
            Self::Membership => b"fleetcast membership v1\0",
            Self::Voucher => b"fleetcast voucher v1\0",
            Self::Receipt => b"fleetcast receipt v1\0",
            Self::Freshness => b"fleetcast freshness v1\0",
            Self::Session => b"fleetcast session v1\0",
            Self::Beacon => b"fleetcast beacon v1\0",
        }
    }

    /// The digest of a document of this kind (PROTOCOL §4).
    #[must_use]
    pub fn digest(self, body: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(self.prefix());
        hasher.update(body);
        hasher.finish()
    }
}

/// A secret Ed25519 key.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key made from 32 secret random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `parts`, one after the other, for one purpose.
    ///
    /// # Panics
    /// Never: a body beyond 4 KiB yields a signature that nobody accepts.
    #[must_use]
    pub fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; SIGNATURE] {
        let mut message = [0; MAX_SIGNED];
        gather(context, parts, &mut message)
            .map_or([0; SIGNATURE], |signed| self.0.sign(signed).to_bytes())
    }
}

/// Checks a signature over `parts` (`verify_strict`: no malleable or small-order keys).
///
/// # Errors
/// [`Forged`] when it is not the key's signature for this purpose.
pub fn verify(
    key: &VerifyingKey,
    context: Context,
    parts: &[&[u8]],
    signature: &[u8; SIGNATURE],
) -> Result<(), Forged> {
    let mut message = [0; MAX_SIGNED];
    let signed = gather(context, parts, &mut message).ok_or(Forged)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.0).map_err(|_| Forged)?;
    key.verify_strict(signed, &ed25519_dalek::Signature::from_bytes(signature)).map_err(|_| Forged)
}

fn gather<'m>(context: Context, parts: &[&[u8]], message: &'m mut [u8]) -> Option<&'m [u8]> {
    let mut used = 0;
    for part in core::iter::once(&context.prefix()).chain(parts) {
        message.get_mut(used..used + part.len())?.copy_from_slice(part);
        used += part.len();
    }
    message.get(..used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_for_its_purpose_only() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign(Context::Release, &[b"bo", b"dy"]);
        let public = key.verifying_key();
        assert_eq!(verify(&public, Context::Release, &[b"body"], &signature), Ok(()));
        assert_eq!(verify(&public, Context::Voucher, &[b"body"], &signature), Err(Forged));
        assert_eq!(verify(&public, Context::Release, &[b"bodY"], &signature), Err(Forged));
    }
}
