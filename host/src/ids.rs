//! Keys and identities as the hexadecimal text that the API and people use.

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use fleetcast_core::ids::{StaticKey, VerifyingKey};

/// Bytes as lower-case hexadecimal text.
#[must_use]
pub fn hex(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    HEX.encode(bytes.as_ref())
}

/// The bytes of hexadecimal text of either case.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    HEX.decode(text.as_bytes()).ok()
}

/// Exactly `N` bytes of hexadecimal text.
#[must_use]
pub fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

/// An X25519 key.
#[must_use]
pub fn exchange_key(text: &str) -> Option<StaticKey> {
    array(text).map(StaticKey)
}

/// An Ed25519 key.
#[must_use]
pub fn signing_key(text: &str) -> Option<VerifyingKey> {
    array(text).map(VerifyingKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixty_four_digits_of_either_case() {
        let key = "AB".repeat(32);
        assert_eq!(signing_key(&key), Some(VerifyingKey([0xab; 32])));
        assert_eq!(exchange_key(&hex(&[0xab; 32])), Some(StaticKey([0xab; 32])));
        for bad in ["", "ab", &key[1..], &"xy".repeat(32), &"AB".repeat(33)] {
            assert_eq!(signing_key(bad), None, "{bad}");
        }
    }
}
