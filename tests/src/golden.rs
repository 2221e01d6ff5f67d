//! The golden bytes of protocol version 1, in `tests/golden/`.
//!
//! They were written down from PROTOCOL.md and the rules of postcard, with
//! implementations of Ed25519, ChaCha20-Poly1305 and SHA-256 that are none of
//! ours. Nothing writes them again: other bytes are another protocol version.

use std::fs;
use std::path::PathBuf;

/// Where they lie.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The bytes of `name.hex`: pairs of hexadecimal digits; lines that begin with
/// `#` are comments.
///
/// # Panics
/// When there is no such file, or it holds anything else.
#[must_use]
pub fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{path:?}: {fault}"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: String = lines.collect();
    assert!(digits.len().is_multiple_of(2), "{path:?}: half a byte");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
