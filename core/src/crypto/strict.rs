//! Strict verification of Ed25519 signatures (RFC 8032), in two ways.
//!
//! Both accept exactly what ed25519-dalek calls `verify_strict`: S below the order of the
//! group, neither A nor R of small order, and R byte for byte what the key, the message and
//! S make of it, without a cofactor. So every receiver judges a document alike, whichever
//! of the two it was built with.
//!
//! | way | stack on a Cortex-M3 | where |
//! |---|---|---|
//! | `dalek` | 12.5 KB | hosts |
//! | `lean` | 2.5 KB | boards, by the feature `lean-verify` |

#[cfg(any(test, not(feature = "lean-verify")))]
mod dalek;
#[cfg(any(test, feature = "lean-verify"))]
mod lean;
mod message;

#[cfg(not(feature = "lean-verify"))]
pub(super) use self::dalek::verify_strict;
#[cfg(feature = "lean-verify")]
pub(super) use self::lean::verify_strict;
pub(super) use self::message::Message;

#[cfg(test)]
mod tests;
