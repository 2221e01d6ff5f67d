//! Signed documents: a body and any number of signatures over it.
//!
//! ```text
//! length (2) ‖ body ‖ n (1) ‖ n × (key fingerprint (8) ‖ signature (64))
//! ```
//!
//! Signatures may be added one by one, on different machines, until there are
//! enough; the digest covers the body only and does not change by that.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::crypto::sign::{self, Context, SIGNATURE, SigningKey};
use crate::digest::Digest;
use crate::ids::VerifyingKey;
use crate::limits::MAX_SIGNATURES;
use crate::wire::Malformed;

/// Fingerprint and signature.
const ENTRY: usize = Fingerprint::LEN + SIGNATURE;

/// The first 8 bytes of the SHA-256 of a public key: a name, not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// The fingerprint of a public key, Ed25519 or X25519.
    #[must_use]
    pub fn of(key: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = Digest::of(key).0;
        Self([a, b, c, d, e, f, g, h])
    }
}

/// Too few of the keys that count have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// Keys whose signature counts.
    pub valid: u8,
    /// How many it would have needed.
    pub threshold: u8,
}

/// A view over a signed document; its signatures are not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDocument<'a> {
    body: &'a [u8],
    signatures: &'a [[u8; ENTRY]],
}

impl<'a> SignedDocument<'a> {
    /// Views `bytes` as a document whose body has at most `max_body` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when lengths do not fit each other or their bounds.
    pub fn parse(bytes: &'a [u8], max_body: usize) -> Result<Self, Malformed> {
        let short = |expected| Malformed::Length { expected, found: bytes.len() };
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or(short(3))?;
        let len = usize::from(u16::from_le_bytes(*len));
        if len > max_body {
            return Err(Malformed::Bound);
        }
        let (body, rest) = rest.split_at_checked(len).ok_or(short(len + 3))?;
        let (&count, rest) = rest.split_first().ok_or(short(len + 3))?;
        if usize::from(count) > MAX_SIGNATURES {
            return Err(Malformed::Bound);
        }
        let (signatures, trailing) = rest.as_chunks::<ENTRY>();
        // PROTOCOL D2: as many signatures as counted, and nothing behind them.
        if signatures.len() != usize::from(count) || !trailing.is_empty() {
            return Err(short(signed_len(len, usize::from(count))));
        }
        Ok(Self { body, signatures })
    }

    /// The body, postcard.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The fingerprints of those who claim to have signed, in order.
    pub fn signers(&self) -> impl Iterator<Item = Fingerprint> + 'a {
        self.signatures.iter().map(|entry| split(entry).0)
    }

    /// The document's digest: its name in pins, orders and receipts.
    #[must_use]
    pub fn digest(&self, context: Context) -> Digest {
        context.digest(self.body)
    }

    /// Checks that at least `threshold` of `keys` have signed; a threshold of
    /// zero is never met.
    ///
    /// # Errors
    /// [`Untrusted`] says how many have.
    pub fn verify_threshold(
        &self,
        context: Context,
        keys: impl Iterator<Item = VerifyingKey>,
        threshold: u8,
    ) -> Result<(), Untrusted> {
        // PROTOCOL T1: the loop goes over keys, so a key counts once however
        // often it has signed, and one that is listed twice counts once too.
        let mut counted: Vec<VerifyingKey, MAX_SIGNATURES> = Vec::new();
        for key in keys {
            if counted.contains(&key) || !self.is_signed_by(context, &key) {
                continue;
            }
            if counted.push(key).is_err() {
                break;
            }
        }
        let valid = counted.len() as u8;
        if threshold == 0 || valid < threshold {
            return Err(Untrusted { valid, threshold });
        }
        Ok(())
    }

    /// The signature of a key for this purpose, if there is one and it is valid.
    #[must_use]
    pub fn signature_by(&self, context: Context, key: &VerifyingKey) -> Option<[u8; SIGNATURE]> {
        let fingerprint = Fingerprint::of(&key.0);
        let own = self.signatures.iter().map(split).filter(|(signer, _)| *signer == fingerprint);
        let mut signatures = own.map(|(_, signature)| signature);
        signatures.find(|signature| sign::verify(key, context, &[self.body], signature).is_ok())
    }

    fn is_signed_by(&self, context: Context, key: &VerifyingKey) -> bool {
        let fingerprint = Fingerprint::of(&key.0);
        self.signatures.iter().map(split).any(|(signer, signature)| {
            signer == fingerprint && sign::verify(key, context, &[self.body], &signature).is_ok()
        })
    }
}

/// Length of a document with `signatures` signatures, in bytes.
#[must_use]
pub const fn signed_len(body: usize, signatures: usize) -> usize {
    2 + body + 1 + signatures * ENTRY
}

/// Writes a document that nobody has signed yet; returns its length.
///
/// # Errors
/// [`Malformed::Bound`] when it does not fit `out`, or the body 65,535 bytes.
pub fn assemble(body: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    let len = u16::try_from(body.len()).map_err(|_| Malformed::Bound)?;
    let whole = signed_len(body.len(), 0);
    let out = out.get_mut(..whole).ok_or(Malformed::Bound)?;
    out[..2].copy_from_slice(&len.to_le_bytes());
    out[2..whole - 1].copy_from_slice(body);
    out[whole - 1] = 0;
    Ok(whole)
}

/// Adds a signature to the document in `buffer[..len]`; returns its new length.
///
/// One by the same key is replaced.
///
/// # Errors
/// [`Malformed`] when there is no document, no room in `buffer`, or when it has
/// [`MAX_SIGNATURES`] already.
pub fn append_signature(
    buffer: &mut [u8],
    len: usize,
    signer: Fingerprint,
    signature: &[u8; SIGNATURE],
) -> Result<usize, Malformed> {
    let written = buffer.get(..len).ok_or(Malformed::Bound)?;
    let document = SignedDocument::parse(written, usize::from(u16::MAX))?;
    let (body, count) = (document.body.len(), document.signatures.len());
    let place = document.signers().position(|earlier| earlier == signer).unwrap_or(count);
    if place >= MAX_SIGNATURES {
        return Err(Malformed::Bound);
    }
    let start = signed_len(body, place);
    let entry = buffer.get_mut(start..start + ENTRY).ok_or(Malformed::Bound)?;
    entry[..Fingerprint::LEN].copy_from_slice(&signer.0);
    entry[Fingerprint::LEN..].copy_from_slice(signature);
    let count = count.max(place + 1);
    buffer[signed_len(body, 0) - 1] = count as u8;
    Ok(signed_len(body, count))
}

/// Signs the document in `buffer[..len]`; returns its new length.
///
/// # Errors
/// Those of [`append_signature`].
pub fn add_signature(
    buffer: &mut [u8],
    len: usize,
    context: Context,
    key: &SigningKey,
) -> Result<usize, Malformed> {
    let written = buffer.get(..len).ok_or(Malformed::Bound)?;
    let document = SignedDocument::parse(written, usize::from(u16::MAX))?;
    let signature = key.sign(context, &[document.body]);
    append_signature(buffer, len, Fingerprint::of(&key.verifying_key().0), &signature)
}

fn split(entry: &[u8; ENTRY]) -> (Fingerprint, [u8; SIGNATURE]) {
    let (mut signer, mut signature) = ([0; Fingerprint::LEN], [0; SIGNATURE]);
    signer.copy_from_slice(&entry[..Fingerprint::LEN]);
    signature.copy_from_slice(&entry[Fingerprint::LEN..]);
    (Fingerprint(signer), signature)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixtures::{key, public, signed};
    use super::*;

    fn check(document: &[u8], keys: &[u8], threshold: u8) -> Result<(), Untrusted> {
        let document = SignedDocument::parse(document, 100).unwrap();
        let keys = keys.iter().map(|&seed| public(seed));
        document.verify_threshold(Context::Release, keys, threshold)
    }

    #[test]
    fn t_of_n_counts_each_listed_key_once() {
        // PROTOCOL T1: who signed, which keys are listed, how many count.
        for (signers, listed, valid) in [
            (&[][..], &[1, 2, 3][..], 0),
            (&[1], &[1, 2, 3], 1),
            (&[3, 1], &[1, 2, 3], 2),
            (&[1, 2, 3], &[1, 2, 3], 3),
            (&[4, 5], &[1, 2, 3], 0),
            (&[4, 1], &[1, 2, 3], 1),
            (&[1], &[1, 1, 1], 1),
        ] {
            let document = signed(Context::Release, b"body", signers);
            for threshold in 1..=3 {
                let expected =
                    if valid >= threshold { Ok(()) } else { Err(Untrusted { valid, threshold }) };
                assert_eq!(check(&document, listed, threshold), expected, "{signers:?}");
            }
        }
    }

    #[test]
    fn the_same_signature_twice_counts_once() {
        // PROTOCOL T1: written by hand, since the writer replaces it.
        let mut document = signed(Context::Release, b"body", &[1]);
        let entry = document[7..].to_vec();
        document.extend(entry);
        document[6] = 2;
        assert_eq!(SignedDocument::parse(&document, 100).unwrap().signers().count(), 2);
        assert_eq!(check(&document, &[1, 2], 2), Err(Untrusted { valid: 1, threshold: 2 }));
    }

    #[test]
    fn signatures_for_another_purpose_or_by_another_key_do_not_count() {
        let document = signed(Context::Voucher, b"body", &[1]);
        assert_eq!(check(&document, &[1], 1), Err(Untrusted { valid: 0, threshold: 1 }));
        // Key 2 claims to be key 1.
        let mut document = signed(Context::Release, b"body", &[2]);
        document[7..15].copy_from_slice(&Fingerprint::of(&public(1).0).0);
        assert_eq!(check(&document, &[1, 2], 1), Err(Untrusted { valid: 0, threshold: 1 }));
    }

    #[test]
    fn a_signature_is_found_by_its_key_where_it_is_valid() {
        let document = signed(Context::Release, b"body", &[1, 2]);
        let view = SignedDocument::parse(&document, 100).unwrap();
        let found = view.signature_by(Context::Release, &public(2));
        assert_eq!(found, Some(key(2).sign(Context::Release, &[b"body"])));
        assert_eq!(view.signature_by(Context::Release, &public(3)), None);
        assert_eq!(view.signature_by(Context::Voucher, &public(2)), None);
    }

    #[test]
    fn a_threshold_of_zero_is_never_met() {
        let document = signed(Context::Release, b"body", &[1]);
        assert_eq!(check(&document, &[1], 0), Err(Untrusted { valid: 1, threshold: 0 }));
    }

    #[test]
    fn a_document_stands_on_the_wire_as_the_protocol_draws_it() {
        let document = signed(Context::Release, b"body", &[1]);
        assert_eq!(document[..7], [4, 0, b'b', b'o', b'd', b'y', 1]);
        assert_eq!(document[7..15], Digest::of(&public(1).0).0[..8]);
        assert_eq!(document[15..], key(1).sign(Context::Release, &[b"body"]));
        let view = SignedDocument::parse(&document, 4).unwrap();
        let expected = Digest::of(b"fleetcast release v1\0body");
        assert_eq!(view.digest(Context::Release), expected);
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        // PROTOCOL D2
        let document = signed(Context::Release, b"body", &[1]);
        let accepted = |bytes: &[u8]| {
            SignedDocument::parse(bytes, 100).is_ok_and(|view| {
                view.verify_threshold(Context::Release, [public(1)].into_iter(), 1).is_ok()
            })
        };
        assert!(accepted(&document));
        for at in 0..document.len() {
            assert!(!accepted(&document[..at]));
            let mut flipped = document.clone();
            flipped[at] ^= 1;
            assert!(!accepted(&flipped), "byte {at}");
        }
        assert!(!accepted(&[&document[..], &[0]].concat()));
    }

    #[test]
    fn bodies_and_signatures_beyond_their_bounds_are_refused() {
        let document = signed(Context::Release, b"body", &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(SignedDocument::parse(&document, 3), Err(Malformed::Bound));
        let mut buffer = [document, std::vec![0; ENTRY]].concat();
        let len = buffer.len() - ENTRY;
        let ninth = add_signature(&mut buffer, len, Context::Release, &key(9));
        assert_eq!(ninth, Err(Malformed::Bound));
        // Its own signature it may replace.
        assert_eq!(add_signature(&mut buffer, len, Context::Release, &key(8)), Ok(len));
        buffer[6] = 9;
        assert_eq!(SignedDocument::parse(&buffer, 100), Err(Malformed::Bound));
        assert_eq!(assemble(b"body", &mut [0; 6]), Err(Malformed::Bound));
    }
}
