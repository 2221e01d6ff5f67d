//! Both ways side by side, by published vectors and by what an attacker would try.

use std::vec::Vec;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};

use super::{Message, dalek, lean};

/// RFC 8032 §7.1, tests 1, 2, 3 and SHA(abc): key, message, signature.
const RFC_8032: [[&str; 3]; 4] = [
    [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589\
         09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

/// Chalkias, Garillot, Nikolaenko: Taming the many EdDSAs (SSR 2020), the twelve vectors of
/// the paper (github.com/novifinancial/ed25519-speccheck): message, key, signature.
const SPECCHECK: [[&str; 3]; 12] = [
    [
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a\
         0000000000000000000000000000000000000000000000000000000000000000",
    ],
    [
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43\
         a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ],
    [
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa\
         8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
    ],
    [
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f\
         87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    ],
    [
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512\
         5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    ],
    [
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7\
         e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    ],
    [
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e\
         547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
    ],
    [
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942\
         7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
    ],
    [
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
    ],
    [
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
    ],
    [
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc\
         a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ],
    [
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc\
         a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ],
];
/// The one of them that the paper found dalek's strict verification to accept: A and R are
/// of mixed order, and the equation holds without a cofactor.
const ACCEPTED: usize = 3;

/// The order of the group, little-endian (RFC 8032 §5.1).
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// What both say; they must agree.
fn judge(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (head, tail) = message.split_at(message.len() / 3);
    let (middle, tail) = tail.split_at(tail.len() / 2);
    let pieces = [middle, tail];
    let message = Message::new(head, &pieces).unwrap();
    let by_lean = lean::verify_strict(key, message, signature);
    assert_eq!(by_lean, dalek::verify_strict(key, message, signature));
    by_lean
}

/// A signature of these halves.
fn signature(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    [*r, *s].concat().try_into().unwrap()
}

/// A signature whose S is `add` more than it was, as a number of 32 bytes.
fn with_more(signature: [u8; 64], add: &[u8; 32]) -> [u8; 64] {
    let (mut more, mut carry) = (signature, 0);
    for (byte, add) in more[32..].iter_mut().zip(add) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    more
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

#[test]
fn the_signatures_of_rfc_8032_are_accepted() {
    for [key, message, signature] in RFC_8032 {
        assert!(judge(&bytes(key), &hex(message), &bytes(signature)));
    }
}

#[test]
fn the_signatures_of_rfc_8032_count_for_their_message_only_and_bit_by_bit() {
    for [key, message, signature] in RFC_8032 {
        let (key, message, signature) = (bytes(key), hex(message), bytes(signature));
        assert!(!judge(&key, &[&message[..], &[0]].concat(), &signature));
        for bit in (0..512).step_by(3) {
            let mut other = signature;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!judge(&key, &message, &other), "bit {bit}");
        }
    }
}

#[test]
fn an_s_that_is_not_below_the_order_is_refused() {
    for [key, message, signature] in RFC_8032 {
        let (key, message) = (bytes(key), hex(message));
        let mut more = bytes(signature);
        // All that 256 bits hold: the same S modulo the order.
        for times in 1..=14 {
            more = with_more(more, &bytes(ORDER));
            assert!(!judge(&key, &message, &more), "{times} times the order more");
        }
    }
}

#[test]
fn of_the_edge_cases_of_the_paper_only_one_is_accepted() {
    for (number, [message, key, signature]) in SPECCHECK.into_iter().enumerate() {
        let accepted = judge(&bytes(key), &hex(message), &bytes(signature));
        assert_eq!(accepted, number == ACCEPTED, "vector {number}");
    }
}

#[test]
fn a_key_of_small_order_is_refused_even_where_the_equation_holds() {
    for a in EIGHT_TORSION {
        let key = a.compress().to_bytes();
        let mut held = false;
        // S = 0 and R = −[k]A: found by trying messages.
        for (message, r) in (0..8_u8).flat_map(|n| EIGHT_TORSION.map(|r| ([n], r))) {
            let r_bytes = r.compress().to_bytes();
            held |= r == -(a * challenge(&r_bytes, &key, &message));
            assert!(!judge(&key, &message, &signature(&r_bytes, &[0; 32])));
        }
        assert!(held, "the equation held for no message");
    }
}

#[test]
fn an_r_of_small_order_is_refused_even_where_the_equation_holds() {
    let secret = Scalar::from(0xFEED_u64);
    let key = (ED25519_BASEPOINT_POINT * secret).compress().to_bytes();
    // With R = 0 only the owner of the key can make it: S = k × secret.
    let r = EIGHT_TORSION[0].compress().to_bytes();
    let s = challenge(&r, &key, b"message") * secret;
    assert!(!judge(&key, b"message", &signature(&r, s.as_bytes())));
}

#[test]
fn points_that_differ_by_one_of_small_order_are_told_apart() {
    let (secret, nonce) = (Scalar::from(0xFEED_u64), Scalar::from(0xBEEF_u64));
    let (mut accepted, mut refused) = (0, 0);
    for (key_part, nonce_part) in EIGHT_TORSION.iter().flat_map(|a| EIGHT_TORSION.map(|r| (a, r))) {
        let key = (ED25519_BASEPOINT_POINT * secret + key_part).compress().to_bytes();
        let r = (ED25519_BASEPOINT_POINT * nonce + nonce_part).compress().to_bytes();
        let k = challenge(&r, &key, b"message");
        let s = nonce + k * secret;
        // With a cofactor all 64 would be accepted; without, those whose parts cancel out.
        let cancels = nonce_part == -(key_part * k);
        assert_eq!(judge(&key, b"message", &signature(&r, s.as_bytes())), cancels);
        if cancels {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    assert!(accepted >= 1 && refused >= 32, "{accepted} accepted, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_key_signed_is_accepted_and_what_was_changed_is_not(
        seed: [u8; 32],
        message in proptest::collection::vec(any::<u8>(), 0..300),
        place in 0_usize..64,
        change in 1_u8..,
    ) {
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key().to_bytes();
        let mut signature = key.sign(&message).to_bytes();
        prop_assert!(judge(&public, &message, &signature));
        signature[place] ^= change;
        prop_assert!(!judge(&public, &message, &signature));
    }
}
