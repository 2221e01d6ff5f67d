//! Documents that several admins sign, one after the other.

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::limits::MAX_SIGNATURES;
use fleetcast_core::trust::authority::AuthorityDocument;
use fleetcast_core::trust::document::{
    Fingerprint, SignedDocument, add_signature, append_signature, assemble, signed_len,
};

/// The admin keys of a document that is not in force yet, less those that it revokes.
pub(super) fn counting(document: &AuthorityDocument) -> impl Iterator<Item = VerifyingKey> + '_ {
    let revoked = |key: &VerifyingKey| document.revoked.contains(&Fingerprint::of(&key.0));
    document.admins.iter().copied().filter(move |key| !revoked(key))
}

/// A document with the valid signatures that `keys` have put on it, and on what is known
/// of it; each counts once, and others are left out. `None` when what is known is another
/// document.
pub(super) fn merged(
    signed: &SignedDocument<'_>,
    known: Option<&[u8]>,
    context: Context,
    max_body: usize,
    keys: &[VerifyingKey],
) -> Option<Vec<u8>> {
    let known = known.and_then(|known| SignedDocument::parse(known, max_body).ok());
    if known.is_some_and(|known| known.body() != signed.body()) {
        return None;
    }
    let room = signed_len(signed.body().len(), MAX_SIGNATURES);
    let mut document = vec![0; room];
    let mut len = assemble(signed.body(), &mut document).ok()?;
    for key in keys {
        let own = signed.signature_by(context, key);
        let before = || known.and_then(|known| known.signature_by(context, key));
        let Some(signature) = own.or_else(before) else { continue };
        // More than a document takes are more than any threshold needs.
        let signer = Fingerprint::of(&key.0);
        let Ok(longer) = append_signature(&mut document, len, signer, &signature) else { break };
        len = longer;
    }
    document.truncate(len);
    Some(document)
}

/// A body under one signature.
pub(super) fn signed(body: &[u8], context: Context, key: &SigningKey) -> Option<Vec<u8>> {
    let mut document = vec![0; signed_len(body.len(), 1)];
    let len = assemble(body, &mut document).ok()?;
    add_signature(&mut document, len, context, key).ok()?;
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn by(seed: u8) -> Vec<u8> {
        signed(b"body", Context::Release, &key(seed)).unwrap()
    }

    fn signers(document: &[u8]) -> Vec<Fingerprint> {
        SignedDocument::parse(document, 100).unwrap().signers().collect()
    }

    #[test]
    fn signatures_of_several_come_together_and_others_are_left_out() {
        let keys = [1, 2, 3].map(|seed| key(seed).verifying_key());
        let names = keys.map(|key| Fingerprint::of(&key.0));
        let merge = |new: &[u8], known: Option<&[u8]>| {
            let new = SignedDocument::parse(new, 100).unwrap();
            merged(&new, known, Context::Release, 100, &keys).unwrap()
        };
        let both = merge(&by(2), Some(&by(1)));
        assert_eq!(signers(&both), names[..2]);
        assert_eq!(signers(&merge(&by(1), Some(&both))), names[..2], "again is the same");
        // A stranger, and one that signed something else.
        assert_eq!(signers(&merge(&by(9), Some(&by(3)))), names[2..]);
        let other = signed(b"body", Context::Voucher, &key(1)).unwrap();
        assert_eq!(signers(&merge(&other, None)), []);
        let another = signed(b"else", Context::Release, &key(1)).unwrap();
        let new = SignedDocument::parse(&another, 100).unwrap();
        assert!(merged(&new, Some(&both), Context::Release, 100, &keys).is_none());
    }
}
