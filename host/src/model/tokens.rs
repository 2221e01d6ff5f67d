//! Tokens: what a person, or a script of theirs, shows instead of a password.

use fleetcast_core::digest::Digest;

use super::UnixTime;

/// Hex digits of a token's public name.
const ID: usize = 12;

/// A token of an account. The token itself is known to its owner only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of it: whoever reads the catalog cannot use it.
    pub hash: Digest,
    /// Name of the account whose rights it has.
    pub account: String,
    /// What it is for, in the words of whoever made it.
    pub name: String,
    /// It was made by a login, and ends when the account's password changes.
    pub login: bool,
    /// When it was made.
    pub created: UnixTime,
    /// When it stops counting.
    pub expires: UnixTime,
    /// When it was shown last, within the hour; 0 before the first time.
    pub used: UnixTime,
}

impl TokenRecord {
    /// Its public name: the beginning of its hash, in hex.
    #[must_use]
    pub fn id(&self) -> String {
        self.hash.to_string().chars().take(ID).collect()
    }
}
