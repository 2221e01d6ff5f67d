//! The one cipher: ChaCha20-Poly1305 (RFC 8439), behind a trait so that a host
//! can plug in a faster implementation and a test can watch the nonces.

use fleetcast_cipher::Cipher;

use crate::limits::TAG;

/// The tag did not verify: the bytes are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// A keyed AEAD whose nonce is a counter: 4 zero bytes, then 8 little-endian.
pub trait Aead: Clone {
    /// Takes a key.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts `text` in place and returns its tag.
    ///
    /// The caller never uses a counter twice under one key (PROTOCOL S1).
    fn seal(&self, counter: u64, header: &[u8], text: &mut [u8]) -> [u8; TAG];

    /// Decrypts `text` in place.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not verify; `text` is then unspecified.
    fn open(
        &self,
        counter: u64,
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged>;
}

/// The nonce that belongs to a counter.
#[must_use]
pub fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// The portable implementation (RustCrypto), used on boards and by default.
#[derive(Clone)]
pub struct ChaCha(Cipher);

impl Aead for ChaCha {
    fn new(key: &[u8; 32]) -> Self {
        Self(Cipher::new(key))
    }

    fn seal(&self, counter: u64, header: &[u8], text: &mut [u8]) -> [u8; TAG] {
        self.0.seal(&nonce(counter), header, text)
    }

    fn open(
        &self,
        counter: u64,
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        if self.0.open(&nonce(counter), header, text, tag) { Ok(()) } else { Err(Forged) }
    }
}
