//! The one cipher: ChaCha20-Poly1305 (RFC 8439), behind a trait so that a host
//! can plug in a faster implementation and a test can watch the nonces.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

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
pub struct ChaCha(ChaCha20Poly1305);

impl Aead for ChaCha {
    fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(&(*key).into()))
    }

    fn seal(&self, counter: u64, header: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let sealed =
            self.0.encrypt_inout_detached(&Nonce::from(nonce(counter)), header, text.into());
        // Fails only beyond 256 GiB of text; a zero tag never opens.
        sealed.map_or([0; TAG], Into::into)
    }

    fn open(
        &self,
        counter: u64,
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        let tag = Tag::from(*tag);
        self.0
            .decrypt_inout_detached(&Nonce::from(nonce(counter)), header, text.into(), &tag)
            .map_err(|_| Forged)
    }
}
