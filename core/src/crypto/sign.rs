//! Ed25519 signatures (RFC 8032) over a context and a body, so that a
//! signature made for one purpose never counts for another.

use ed25519_dalek::ed25519::signature::MultipartSigner as _;

use super::aead::Forged;
use super::strict::{Message, verify_strict};
use crate::digest::{Digest, Hasher};
use crate::ids::VerifyingKey;

/// Length of a signature in bytes.
pub const SIGNATURE: usize = 64;
/// Most parts of a body that is signed.
const MAX_PARTS: usize = 7;

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
    /// Never: a body beyond 4 KiB or 7 parts yields a signature that nobody accepts.
    #[must_use]
    pub fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; SIGNATURE] {
        // In parts: a copy of the message would be what takes most of a board's stack.
        let message = Message::new(context.prefix(), parts);
        let Some(message) = message.filter(|_| parts.len() <= MAX_PARTS) else {
            return [0; SIGNATURE];
        };
        let mut pieces = [&[][..]; 1 + MAX_PARTS];
        pieces.iter_mut().zip(message.pieces()).for_each(|(place, piece)| *place = piece);
        self.0.try_multipart_sign(&pieces).map_or([0; SIGNATURE], |made| made.to_bytes())
    }
}

/// Checks a signature over `parts` strictly: no malleable ones, no small-order keys.
///
/// # Errors
/// [`Forged`] when it is not the key's signature for this purpose.
pub fn verify(
    key: &VerifyingKey,
    context: Context,
    parts: &[&[u8]],
    signature: &[u8; SIGNATURE],
) -> Result<(), Forged> {
    let message = Message::new(context.prefix(), parts).ok_or(Forged)?;
    verify_strict(&key.0, message, signature).then_some(()).ok_or(Forged)
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

    #[test]
    fn what_is_too_long_to_be_signed_counts_nowhere() {
        let key = SigningKey::from_seed(&[7; 32]);
        let room = 4 * 1024 + 512 - Context::Release.prefix().len();
        let body = [5; 4 * 1024 + 512];
        let (longest, longer) = (&body[..room], &body[..=room]);
        let public = key.verifying_key();
        let signature = key.sign(Context::Release, &[longest]);
        assert_eq!(verify(&public, Context::Release, &[longest], &signature), Ok(()));
        assert_eq!(key.sign(Context::Release, &[longer]), [0; SIGNATURE]);
        assert_eq!(key.sign(Context::Release, &[b"x".as_slice(); 8]), [0; SIGNATURE]);
        // As somebody else would sign it.
        let whole = [Context::Release.prefix(), longer].concat();
        let signature = ed25519_dalek::Signer::sign(&key.0, &whole).to_bytes();
        assert_eq!(verify(&public, Context::Release, &[longer], &signature), Err(Forged));
    }
}
