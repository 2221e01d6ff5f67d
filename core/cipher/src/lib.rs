//! ChaCha20-Poly1305 (RFC 8439), sealed and opened in place.
//!
//! RustCrypto's, and nothing of our own but the place where it is compiled: generic code is
//! built by the rules of the crate that uses it, and firmware is built for size, which makes
//! this four times as slow. Here it is built for speed (`profile.firmware` of the workspace),
//! once, and without type parameters.

#![no_std]

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

/// Bytes of a key.
pub const KEY: usize = 32;
/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Bytes of a tag.
pub const TAG: usize = 16;

/// A key, and what it encrypts.
#[derive(Clone)]
pub struct Cipher(ChaCha20Poly1305);

impl Cipher {
    /// Takes a key.
    #[must_use]
    pub fn new(key: &[u8; KEY]) -> Self {
        Self(ChaCha20Poly1305::new(&(*key).into()))
    }

    /// Encrypts `text` in place; the tag of it and of `header`. Under one key no nonce may be
    /// used twice.
    #[inline(never)]
    #[must_use]
    pub fn seal(&self, nonce: &[u8; NONCE], header: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let sealed = self.0.encrypt_inout_detached(&Nonce::from(*nonce), header, text.into());
        // Fails only beyond 256 GiB of text; a zero tag never opens.
        sealed.map_or([0; TAG], Into::into)
    }

    /// Decrypts `text` in place; whether the tag is the one of it and of `header`, else
    /// `text` is unspecified.
    #[inline(never)]
    #[must_use]
    pub fn open(
        &self,
        nonce: &[u8; NONCE],
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> bool {
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        self.0.decrypt_inout_detached(&nonce, header, text.into(), &tag).is_ok()
    }
}
