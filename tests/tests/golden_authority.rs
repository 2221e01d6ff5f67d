//! The chain of authority documents in protocol version 1, byte by byte.
//!
//! The files were written down from PROTOCOL.md, with Python's `hmac` and the
//! signatures of the package `cryptography`. Keys are made from seeds of 32 equal bytes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_core::crypto::cookie::mac2;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{StaticKey, VerifyingKey};
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::wire::chain::{
    Answer, AnswerBody, Request, Wanted, before_mac2, mac2_of, set_mac2,
};
use fleetcast_core::wire::control::{Up, decode, encode};
use fleetcast_tests::golden::golden;

const NUMBER: u64 = 0x0807_0605_0403_0201;

fn public(seed: u8) -> VerifyingKey {
    SigningKey::from_seed(&[seed; 32]).verifying_key()
}

fn first() -> (Vec<u8>, Digest) {
    let bytes = golden("authority");
    let digest = SignedDocument::parse(&bytes, 1_024).unwrap().digest(Context::Authority);
    (bytes, digest)
}

#[test]
fn a_document_that_follows_another() {
    // PROTOCOL T2: two of the first one's admins, and one of its own.
    let (bytes, digest) = first();
    let next = TrustedAuthority::pin(&bytes, digest).unwrap().advance(&golden("authority_next"));
    let next = next.unwrap();
    let document = next.document();
    assert_eq!((document.version, document.threshold, document.reset_epoch), (2, 1, 1));
    assert_eq!(next.admins().collect::<Vec<_>>(), [public(2), public(6), public(7)]);
    assert_eq!(next.controller(&StaticKey([0xBC; 32])), Some(public(8)));
    assert_eq!(next.controllers().count(), 1);
}

#[test]
fn a_request_for_it_and_both_answers() {
    let (_, digest) = first();
    let request = golden("chain_request");
    let asked = Request { number: NUMBER, digest, wanted: Wanted::Successor, offset: 528 };
    assert_eq!(Request::read(&request), Ok(asked));
    let mut written = [0xFF; 548];
    asked.write(&mut written).unwrap();
    let mac = mac2(&[0xC7; 16], before_mac2(&written));
    set_mac2(&mut written, &mac);
    assert_eq!((&written[..], mac2_of(&request)), (&request[..], mac));

    let next = golden("authority_next");
    let (total, offset) = (next.len() as u16, 100);
    let piece = AnswerBody::Piece { total, offset, bytes: &next[100..] };
    for (name, body) in [("chain_cookie", AnswerBody::Cookie([0xC7; 16])), ("chain_piece", piece)] {
        let answer = Answer { number: NUMBER, body };
        assert_eq!(Answer::read(&golden(name)), Ok(answer), "{name}");
        let mut out = [0; 1_472];
        let len = answer.write(&mut out).unwrap();
        assert_eq!(out[..len], golden(name), "{name}");
    }
}

#[test]
fn what_a_receiver_says_once_it_trusts_it() {
    // By hand: Trusts is variant 22; 300 is 0b10_0101100.
    let bytes = golden("up_trusts");
    assert_eq!(bytes, [22, 0xAC, 2]);
    assert_eq!(decode::<Up<'_>>(&bytes), Ok(Up::Trusts { version: 300 }));
    assert_eq!(encode(&Up::Trusts { version: 300 }, &mut [0; 8]), Ok(&bytes[..]));
}
