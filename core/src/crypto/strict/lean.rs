//! In little memory: on the points of curve25519-dalek, without tables, and the message
//! goes into the hash as it lies.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};

use super::message::Message;

/// Bits of a scalar: all are below 2^253.
const BITS: usize = 253;

/// Whether `signature` is that of `key` over `message`.
pub(in crate::crypto) fn verify_strict(
    key: &[u8; 32],
    message: Message<'_>,
    signature: &[u8; 64],
) -> bool {
    let (r, s) = halves(signature);
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
    let Some(a) = strong_point(key) else { return false };
    if strong_point(&r).is_none() {
        return false;
    }
    let k = challenge(&r, key, message);
    // Points have one canonical encoding, so bytes that differ are another R: a
    // non-canonical one, or one that differs by a point of small order.
    difference(&s, &k, &a) == r
}

const fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    let (left, right) = signature.split_at(32);
    r.copy_from_slice(left);
    s.copy_from_slice(right);
    (r, s)
}

/// The point that `bytes` encode, unless its order is small.
#[inline(never)]
fn strong_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*bytes).decompress().filter(|point| !point.is_small_order())
}

/// SHA-512(R ‖ A ‖ message) modulo the order of the group (RFC 8032 §5.1.7, step 2).
#[inline(never)]
fn challenge(r: &[u8; 32], key: &[u8; 32], message: Message<'_>) -> Scalar {
    let mut hash = Sha512::new();
    hash.update(r);
    hash.update(key);
    message.pieces().for_each(|piece| hash.update(piece));
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// The bytes of `[s]B − [k]A`: both products in one run of doublings (Straus 1964, known as
/// Shamir's trick), with one sum made beforehand. All of it is public, so its time may tell.
#[inline(never)]
fn difference(s: &Scalar, k: &Scalar, a: &EdwardsPoint) -> [u8; 32] {
    let minus_a = -a;
    let both = ED25519_BASEPOINT_POINT + minus_a;
    let mut sum = EdwardsPoint::identity();
    for bit in (0..BITS).rev() {
        // The formula for sums is complete on this curve: it doubles as well.
        sum = sum + sum;
        let addend = match (is_set(s, bit), is_set(k, bit)) {
            (false, false) => continue,
            (true, false) => &ED25519_BASEPOINT_POINT,
            (false, true) => &minus_a,
            (true, true) => &both,
        };
        sum += addend;
    }
    sum.compress().to_bytes()
}

fn is_set(scalar: &Scalar, bit: usize) -> bool {
    scalar.as_bytes().get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}
