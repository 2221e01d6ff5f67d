//! Recovery codes: an admin key on paper, for the day on which one is lost.
//!
//! `FR1-` and then in Crockford's base 32, as in enrolment codes: 16 random bytes ‖ the
//! first 4 bytes of SHA-256(`fleetcast recovery code v1` ‖ 0x00 ‖ these bytes). The
//! key's seed is SHA-256(`fleetcast recovery key v1` ‖ 0x00 ‖ these bytes): 128 random
//! bits need no slow derivation.
//!
//! The authority document lists the public key as an admin's like any other, so it counts
//! as one signature. The code is printed once, where it is made, and kept nowhere.

use std::fmt;
use std::str::FromStr;

use fleetcast_core::digest::Digest;

use crate::code::BASE32;
use crate::keys::{AdminKey, KeyError, random};

const PREFIX: &str = "FR1-";
const CODE: &[u8] = b"fleetcast recovery code v1\0";
const KEY: &[u8] = b"fleetcast recovery key v1\0";
/// Characters between two hyphens.
const GROUP: usize = 4;

/// The name that the server keeps for the key.
pub const NAME: &str = "recovery";

/// A recovery code.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode([u8; 16]);

/// Why a recovery code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// It does not begin with `FR1-`.
    #[error("a recovery code begins with FR1-")]
    Prefix,
    /// It is incomplete or mistyped.
    #[error("the recovery code is incomplete or mistyped")]
    Check,
}

impl RecoveryCode {
    /// A new random code.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(random()?))
    }

    /// What a person is told who has to write it down.
    #[must_use]
    pub fn told(&self) -> String {
        format!(
            "recovery code, shown only now:\n\n    {self}\n\nWrite it down and keep it apart \
             from this machine: `fleetcast authority recover`\nreplaces a lost admin key by it. \
             Whoever has it counts as an admin."
        )
    }

    /// The key that it stands for.
    #[must_use]
    pub fn key(&self) -> AdminKey {
        AdminKey { seed: Digest::of_parts(&[KEY, &self.0]).0 }
    }
}

/// What is to be written down.
impl fmt::Display for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.to_vec();
        bytes.extend_from_slice(&check(&self.0));
        let text = BASE32.encode(&bytes);
        write!(f, "{}", PREFIX.trim_end_matches('-'))?;
        for group in text.as_bytes().chunks(GROUP) {
            // Base 32 is ASCII.
            write!(f, "-{}", String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

/// Secrets are never printed by accident.
impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl FromStr for RecoveryCode {
    type Err = RecoveryError;

    fn from_str(text: &str) -> Result<Self, RecoveryError> {
        let text = text.trim();
        let (prefix, rest) = text.split_at_checked(PREFIX.len()).ok_or(RecoveryError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(RecoveryError::Prefix);
        }
        let bytes = BASE32.decode(rest.as_bytes()).map_err(|_| RecoveryError::Check)?;
        let (secret, sum) = bytes.split_last_chunk::<4>().ok_or(RecoveryError::Check)?;
        let secret: [u8; 16] = secret.try_into().map_err(|_| RecoveryError::Check)?;
        if check(&secret) == *sum { Ok(Self(secret)) } else { Err(RecoveryError::Check) }
    }
}

fn check(secret: &[u8; 16]) -> [u8; 4] {
    let [a, b, c, d, ..] = Digest::of_parts(&[CODE, secret]).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn code() -> RecoveryCode {
        RecoveryCode(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_code_and_its_key_are_those_of_another_implementation() {
        // Python's hashlib and base64.b32encode with its alphabet replaced; the public key
        // by the package `cryptography`.
        let text = "FR1-000G-40R4-0M30-E209-185G-R38E-1WRV-WJCY";
        assert_eq!(code().to_string(), text);
        assert_eq!(text.parse(), Ok(code()));
        let public = code().key().signing().verifying_key();
        assert_eq!(
            HEXLOWER.encode(&public.0),
            "96db18999c7a3bead7b0b3a957bddebff1fd0724130a2949c92a84cae06ad4bd"
        );
    }

    #[test]
    fn what_is_read_from_paper_may_be_written_in_any_way() {
        let text = code().to_string();
        let typed = text.to_lowercase().replace('-', " ").replacen("fr1 ", " fr1-", 1);
        assert_eq!(typed.replace('0', "o").parse(), Ok(code()));
    }

    #[test]
    fn every_mistyped_and_every_missing_character_is_noticed() {
        let text = code().to_string();
        for place in 4..text.len() {
            assert!(text[..place].parse::<RecoveryCode>().is_err(), "{place}");
            let mut typed = text.clone().into_bytes();
            if typed[place] == b'-' {
                continue;
            }
            typed[place] = if typed[place] == b'7' { b'8' } else { b'7' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(typed.parse::<RecoveryCode>(), Err(RecoveryError::Check), "{place}");
        }
        for text in ["", "FR", "FC1-0000", "hello there", "ÄÄÄÄ"] {
            assert_eq!(text.parse::<RecoveryCode>(), Err(RecoveryError::Prefix), "{text}");
        }
    }

    #[test]
    fn a_debug_print_shows_nothing() {
        assert_eq!(format!("{:?}", code()), "RecoveryCode(…)");
    }
}
