//! Keys and documents for the tests of this folder. Keys are named by the byte
//! that fills their seed; admins are 1, 2 and 3 with a threshold of 2.
#![allow(clippy::unwrap_used)]

use std::vec::Vec;

use serde::Serialize;

use super::authority::{AuthorityDocument, Controller, TrustedAuthority};
use super::document::{Fingerprint, SignedDocument, add_signature, assemble, signed_len};
use super::membership::{Membership, VerifiedMembership};
use crate::crypto::sign::{Context, SigningKey};
use crate::ids::{FleetId, GroupId, StaticKey, VerifyingKey};
use crate::limits::MAX_SIGNATURES;
use crate::wire::control;

pub(super) const FLEET: FleetId = FleetId([0xf1; 16]);
pub(super) const GROUP: GroupId = GroupId([0x61; 16]);
pub(super) const DEVICE: StaticKey = StaticKey([0xde; 32]);
pub(super) const CONTROLLER: u8 = 50;

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(super) fn public(seed: u8) -> VerifyingKey {
    key(seed).verifying_key()
}

pub(super) fn signed(context: Context, body: &[u8], signers: &[u8]) -> Vec<u8> {
    let mut buffer = std::vec![0; signed_len(body.len(), MAX_SIGNATURES)];
    let mut len = assemble(body, &mut buffer).unwrap();
    for &signer in signers {
        len = add_signature(&mut buffer, len, context, &key(signer)).unwrap();
    }
    buffer.truncate(len);
    buffer
}

/// The body of any document, unchecked.
pub(super) fn body(document: &impl Serialize) -> Vec<u8> {
    let mut buffer = [0; 8192];
    control::encode(document, &mut buffer).unwrap().to_vec()
}

pub(super) fn authority(version: u32) -> AuthorityDocument {
    let controller = Controller { exchange: StaticKey([0xc0; 32]), signing: public(CONTROLLER) };
    AuthorityDocument {
        version,
        fleet: FLEET,
        admins: [1, 2, 3].into_iter().map(public).collect(),
        threshold: 2,
        controllers: [controller].into_iter().collect(),
        roles: heapless::Vec::new(),
        revoked: heapless::Vec::new(),
        reset_epoch: 4,
    }
}

pub(super) fn revoke(document: &mut AuthorityDocument, seed: u8) {
    document.revoked.push(Fingerprint::of(&public(seed).0)).unwrap();
}

/// Version 1 after a change, signed by all three admins and pinned.
pub(super) fn trusted(change: impl FnOnce(&mut AuthorityDocument)) -> TrustedAuthority {
    let mut document = authority(1);
    change(&mut document);
    let bytes = signed(Context::Authority, &body(&document), &[1, 2, 3]);
    let pinned = SignedDocument::parse(&bytes, 1024).unwrap().digest(Context::Authority);
    TrustedAuthority::pin(&bytes, pinned).unwrap()
}

pub(super) fn membership() -> Membership {
    Membership {
        fleet: FLEET,
        device: DEVICE,
        group: GROUP,
        serial: 1,
        issued: 1_000,
        not_after: 5_000,
        voucher: None,
    }
}

pub(super) fn member(authority: &TrustedAuthority) -> VerifiedMembership {
    let certificate = signed(Context::Membership, &body(&membership()), &[1, 2, 3]);
    VerifiedMembership::verify(authority, &DEVICE, &certificate, &[]).unwrap()
}
