//! The handshake's key agreement: `Noise_IKpsk2_25519_ChaChaPoly_SHA256`
//! (Noise revision 34), by clatter on the primitives that the core has anyway.
//!
//! Two types, one per side, each used once: an [`Initiator`] writes message 1
//! and reads message 2; a [`Responder`] reads message 1 and writes message 2.
//! Both end in [`TransportKeys`].

use clatter::bytearray::SensitiveByteArray;
use clatter::error::{CipherError, CipherResult, DhError, DhResult};
use clatter::handshakepattern::noise_ik_psk2;
use clatter::rand_core::{CryptoRng, Error as RngError, RngCore};
use clatter::traits::{Cipher, CryptoComponent, Dh, Handshaker, Hash, Rng};
use clatter::{KeyPair, NqHandshakeCore};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::aead::{Aead as _, ChaCha, Forged};
use crate::ids::StaticKey;
use crate::wire::handshake::{NOISE_1, NOISE_2, PAYLOAD};

/// What both sides mix in first.
const PROLOGUE: &[u8] = b"fleetcast v1";

type Handshake = NqHandshakeCore<X25519, ChaChaPoly, Sha, NoRng>;
type Secret = SensitiveByteArray<[u8; 32]>;

/// An X25519 key pair.
#[derive(Clone)]
pub struct StaticPair {
    secret: Secret,
    public: StaticKey,
}

impl StaticPair {
    /// The pair that belongs to 32 secret random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let secret = Secret::new(*secret);
        let public = StaticKey(X25519::pubkey(&secret));
        Self { secret, public }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &StaticKey {
        &self.public
    }

    fn noise(&self) -> KeyPair<[u8; 32], Secret> {
        KeyPair::new(self.public.0, self.secret.clone())
    }
}

/// The two keys that a handshake ends in, as seen from one side.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportKeys {
    /// For what this side sends.
    pub send: [u8; 32],
    /// For what this side receives.
    pub receive: [u8; 32],
}

/// The psk that belongs to a token, or to none.
#[must_use]
pub fn psk(token: Option<&[u8; 16]>) -> [u8; 32] {
    // PROTOCOL H4: one function of the token that the payload names, so that no
    // side has a second psk to try.
    token.map_or([0; 32], |token| {
        Hmac::<Sha256>::new_from_slice(token).map_or([0; 32], |mut mac| {
            mac.update(b"fleetcast psk v1");
            mac.finalize().into_bytes().into()
        })
    })
}

/// The receiver's side: message 1 is written, message 2 awaited.
#[derive(Clone)]
pub struct Initiator(Handshake);

impl Initiator {
    /// Begins a handshake with `server`; returns its state and message 1.
    ///
    /// `ephemeral` are 32 fresh random bytes, used for nothing else.
    ///
    /// # Errors
    /// [`Forged`] when `server` is no usable key.
    pub fn begin(
        own: &StaticPair,
        server: &StaticKey,
        ephemeral: &[u8; 32],
        psk: &[u8; 32],
        payload: &[u8; PAYLOAD],
    ) -> Result<(Self, [u8; NOISE_1]), Forged> {
        let ephemeral = StaticPair::from_secret(ephemeral);
        let mut state = Handshake::new(
            noise_ik_psk2(),
            PROLOGUE,
            true,
            Some(own.noise()),
            Some(ephemeral.noise()),
            Some(server.0),
            None,
        )
        .map_err(|_| Forged)?;
        state.push_psk(psk);
        let mut message = [0; NOISE_1];
        state.write_message(payload, &mut message).map_err(|_| Forged)?;
        Ok((Self(state), message))
    }

    /// Reads message 2; the handshake goes on waiting when that is not it.
    ///
    /// # Errors
    /// [`Forged`] when the message is not the server's answer to this handshake.
    // What this takes of the stack is not there yet when the handshake is made again.
    #[inline(never)]
    pub fn finish(&self, message: &[u8; NOISE_2]) -> Result<TransportKeys, Forged> {
        let mut state = self.0.clone();
        state.read_message(message, &mut []).map_err(|_| Forged)?;
        keys(state, true)
    }
}

/// The server's side: message 1 is read, message 2 to be written.
pub struct Responder {
    state: Handshake,
    key: StaticKey,
    payload: [u8; PAYLOAD],
}

impl Responder {
    /// Reads message 1.
    ///
    /// `ephemeral` are 32 fresh random bytes, used for nothing else.
    ///
    /// # Errors
    /// [`Forged`] when the message is not for this server, or made wrongly.
    pub fn read(
        own: &StaticPair,
        ephemeral: &[u8; 32],
        message: &[u8; NOISE_1],
    ) -> Result<Self, Forged> {
        let ephemeral = StaticPair::from_secret(ephemeral);
        let mut state = Handshake::new(
            noise_ik_psk2(),
            PROLOGUE,
            false,
            Some(own.noise()),
            Some(ephemeral.noise()),
            None,
            None,
        )
        .map_err(|_| Forged)?;
        let mut payload = [0; PAYLOAD];
        state.read_message(message, &mut payload).map_err(|_| Forged)?;
        let key = StaticKey(state.get_remote_static().ok_or(Forged)?);
        Ok(Self { state, key, payload })
    }

    /// The initiator's static key: it made message 1 (or somebody repeats it).
    #[must_use]
    pub const fn key(&self) -> &StaticKey {
        &self.key
    }

    /// The initiator's payload.
    #[must_use]
    pub const fn payload(&self) -> &[u8; PAYLOAD] {
        &self.payload
    }

    /// Writes message 2.
    ///
    /// # Errors
    /// [`Forged`] when the initiator's ephemeral key is no usable key.
    pub fn answer(mut self, psk: &[u8; 32]) -> Result<([u8; NOISE_2], TransportKeys), Forged> {
        self.state.push_psk(psk);
        let mut message = [0; NOISE_2];
        self.state.write_message(&[], &mut message).map_err(|_| Forged)?;
        Ok((message, keys(self.state, false)?))
    }
}

fn keys(state: Handshake, initiator: bool) -> Result<TransportKeys, Forged> {
    let ciphers = state.finalize().map_err(|_| Forged)?.take();
    let (up, _) = ciphers.initiator_to_responder.take();
    let (down, _) = ciphers.responder_to_initiator.take();
    let (send, receive) = if initiator { (*up, *down) } else { (*down, *up) };
    Ok(TransportKeys { send, receive })
}

// --- clatter's traits on the core's own primitives ---

#[derive(Clone)]
struct X25519;

impl CryptoComponent for X25519 {
    fn name() -> &'static str {
        "25519"
    }
}

impl Dh for X25519 {
    type PrivateKey = Secret;
    type PubKey = [u8; 32];
    type Output = Secret;

    /// Keys are always handed in.
    fn genkey_rng<R: Rng>(_: &mut R) -> DhResult<KeyPair<Self::PubKey, Self::PrivateKey>> {
        Err(DhError::KeyGeneration)
    }

    fn pubkey(secret: &Self::PrivateKey) -> Self::PubKey {
        // By the ladder, as any other agreement: on the Edwards curve, without tables, it
        // takes 1 KB more of a board's stack.
        let base = x25519_dalek::PublicKey::from(x25519_dalek::X25519_BASEPOINT_BYTES);
        x25519_dalek::StaticSecret::from(**secret).diffie_hellman(&base).to_bytes()
    }

    fn dh(secret: &Self::PrivateKey, public: &Self::PubKey) -> DhResult<Self::Output> {
        let shared = x25519_dalek::StaticSecret::from(**secret)
            .diffie_hellman(&x25519_dalek::PublicKey::from(*public));
        // A small-order key would let a stranger fix the secret (Noise §12.1 allows the check).
        if shared.was_contributory() {
            Ok(Secret::new(shared.to_bytes()))
        } else {
            Err(DhError::KeyGeneration)
        }
    }
}

#[derive(Clone)]
struct ChaChaPoly;

impl ChaChaPoly {
    const TAG: usize = crate::limits::TAG;
}

impl CryptoComponent for ChaChaPoly {
    fn name() -> &'static str {
        "ChaChaPoly"
    }
}

impl Cipher for ChaChaPoly {
    type Key = Secret;

    fn tag_len() -> usize {
        Self::TAG
    }

    fn encrypt(
        key: &Self::Key,
        nonce: u64,
        header: &[u8],
        text: &[u8],
        out: &mut [u8],
    ) -> CipherResult<()> {
        out.get_mut(..text.len()).ok_or(CipherError::Encrypt)?.copy_from_slice(text);
        Self::encrypt_in_place(key, nonce, header, out, text.len()).map(|_| ())
    }

    fn encrypt_in_place(
        key: &Self::Key,
        nonce: u64,
        header: &[u8],
        in_out: &mut [u8],
        text_len: usize,
    ) -> CipherResult<usize> {
        let (text, rest) = in_out.split_at_mut_checked(text_len).ok_or(CipherError::Encrypt)?;
        let tag = rest.get_mut(..Self::TAG).ok_or(CipherError::Encrypt)?;
        tag.copy_from_slice(&ChaCha::new(key).seal(nonce, header, text));
        Ok(text_len + Self::TAG)
    }

    fn decrypt(
        key: &Self::Key,
        nonce: u64,
        header: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> CipherResult<()> {
        let (text, tag) = sealed.split_last_chunk::<{ Self::TAG }>().ok_or(CipherError::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(CipherError::Decrypt)?;
        out.copy_from_slice(text);
        ChaCha::new(key).open(nonce, header, out, tag).map_err(|Forged| CipherError::Decrypt)
    }

    fn decrypt_in_place(
        key: &Self::Key,
        nonce: u64,
        header: &[u8],
        in_out: &mut [u8],
        sealed_len: usize,
    ) -> CipherResult<usize> {
        let sealed = in_out.get_mut(..sealed_len).ok_or(CipherError::Decrypt)?;
        let (text, tag) =
            sealed.split_last_chunk_mut::<{ Self::TAG }>().ok_or(CipherError::Decrypt)?;
        ChaCha::new(key).open(nonce, header, text, tag).map_err(|Forged| CipherError::Decrypt)?;
        Ok(text.len())
    }
}

#[derive(Clone, Default)]
struct Sha(Sha256);

impl CryptoComponent for Sha {
    fn name() -> &'static str {
        "SHA256"
    }
}

impl Hash for Sha {
    type Block = [u8; 64];
    type Output = Secret;

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(self) -> Self::Output {
        Secret::new(self.0.finalize().into())
    }
}

/// Clatter wants a generator type; it is never asked, since every key is handed in.
#[derive(Clone, Default)]
struct NoRng;

impl RngCore for NoRng {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), RngError> {
        Err(RngError::from(core::num::NonZeroU32::MIN))
    }
}

impl CryptoRng for NoRng {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
