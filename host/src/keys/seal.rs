//! Sealing by passphrase: Argon2id (RFC 9106) makes a key, ChaCha20-Poly1305
//! (RFC 8439) encrypts the secret.
//!
//! Every sealing has a new random salt and so a key of its own, which encrypts
//! one text only; the nonce is therefore zero. Kind and parameters are
//! associated data: none of them can be changed in the file.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER;
use fleetcast_core::crypto::aead::{Aead, ChaCha};
use fleetcast_core::limits::TAG;

use super::file::{Argon2Parameters, KeyDocument, KeyError};

/// The second recommended option of RFC 9106, section 4.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// Most that a file may ask for: 1 GiB, 16 passes, 16 lanes.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// What keeps a key file's secret from who can read the file.
#[derive(Clone, Copy)]
pub enum Seal<'a> {
    /// Nothing: the file's mode is all.
    File,
    /// A passphrase.
    Passphrase(&'a [u8]),
}

/// Seals `secret`; `salt` is random.
pub(super) fn close(
    kind: &str,
    secret: &[u8],
    seal: Seal<'_>,
    salt: [u8; 16],
) -> Result<KeyDocument, KeyError> {
    let mut sealed = secret.to_vec();
    let argon2id = match seal {
        Seal::File => None,
        Seal::Passphrase(passphrase) => {
            let salt = HEXLOWER.encode(&salt);
            let parameters =
                Argon2Parameters { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt };
            let key = derive(passphrase, &parameters).ok_or(KeyError::WrongPassphrase)?;
            let tag = ChaCha::new(&key).seal(0, &context(kind, &parameters), &mut sealed);
            sealed.extend_from_slice(&tag);
            Some(parameters)
        }
    };
    Ok(KeyDocument { schema: 1, kind: kind.into(), argon2id, secret: HEXLOWER.encode(&sealed) })
}

/// Opens what [`close`] sealed; `path` is for the messages.
pub(super) fn open(
    document: &KeyDocument,
    kind: &str,
    passphrase: Option<&[u8]>,
    path: &Path,
) -> Result<Vec<u8>, KeyError> {
    let damaged = |reason| KeyError::Damaged { path: path.to_owned(), reason };
    if document.kind != kind {
        return Err(damaged("it is a key of another kind"));
    }
    let mut secret =
        HEXLOWER.decode(document.secret.as_bytes()).map_err(|_| damaged("it is malformed"))?;
    let Some(parameters) = &document.argon2id else { return Ok(secret) };
    let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
    let key = derive(passphrase, parameters).ok_or_else(|| damaged("its parameters"))?;
    let tag: [u8; TAG] = *secret.last_chunk().ok_or_else(|| damaged("its secret is too short"))?;
    secret.truncate(secret.len() - TAG);
    ChaCha::new(&key)
        .open(0, &context(kind, parameters), &mut secret, &tag)
        .map_err(|_| KeyError::WrongPassphrase)?;
    Ok(secret)
}

/// The key of a passphrase, or `None` for parameters out of bounds.
fn derive(passphrase: &[u8], parameters: &Argon2Parameters) -> Option<[u8; 32]> {
    let Argon2Parameters { memory_kib, passes, lanes, ref salt } = *parameters;
    let salt = HEXLOWER.decode(salt.as_bytes()).ok().filter(|salt| salt.len() == 16)?;
    if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return None;
    }
    let mut key = [0; 32];
    let parameters = Params::new(memory_kib, passes, lanes, Some(key.len())).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon2.hash_password_into(passphrase, &salt, &mut key).ok()?;
    Some(key)
}

fn context(kind: &str, parameters: &Argon2Parameters) -> Vec<u8> {
    let Argon2Parameters { memory_kib, passes, lanes, salt } = parameters;
    format!("fleetcast key v1\0{kind}\0{memory_kib}\0{passes}\0{lanes}\0{salt}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_is_that_of_another_implementation() {
        // The reference implementation: argon2id_hash_raw of libargon2.so.1 (Debian 12).
        let parameters = Argon2Parameters {
            memory_kib: 65_536,
            passes: 3,
            lanes: 4,
            salt: HEXLOWER.encode(b"somesaltsomesalt"),
        };
        let key = derive(b"password", &parameters).unwrap();
        assert_eq!(
            HEXLOWER.encode(&key),
            "81db97a7e67a891784a2599bc879f957cb3512d273984bd97d8a18fc59ff01e2"
        );
    }

    #[test]
    fn parameters_out_of_bounds_are_refused_before_memory_is_taken() {
        let parameters = |memory_kib, passes, lanes, salt: &[u8]| Argon2Parameters {
            memory_kib,
            passes,
            lanes,
            salt: HEXLOWER.encode(salt),
        };
        for bad in [
            parameters(u32::MAX, 1, 1, &[0; 16]),
            parameters(64, 17, 1, &[0; 16]),
            parameters(64, 1, 17, &[0; 16]),
            parameters(64, 0, 1, &[0; 16]),
            parameters(64, 1, 1, &[0; 15]),
        ] {
            assert_eq!(derive(b"p", &bad), None);
        }
    }
}
