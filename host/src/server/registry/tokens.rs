//! The part of the facts that remote use needs: tokens of accounts.

use fleetcast_core::digest::Digest;

use super::Registry;
use crate::model::{Change, TokenRecord};

/// How often a token's use is written down, in seconds.
const USED: u64 = 3_600;

impl Registry {
    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// The token with this hash.
    #[must_use]
    pub fn token_of(&self, hash: &Digest) -> Option<&TokenRecord> {
        self.tokens.get(hash)
    }

    /// Writes a token.
    pub fn put_token(&mut self, record: TokenRecord) {
        self.changes.push(Change::Token(record.clone()));
        self.tokens.insert(record.hash, record);
    }

    /// Forgets a token; whether there was one.
    pub fn remove_token(&mut self, hash: &Digest) -> bool {
        let removed = self.tokens.remove(hash).is_some();
        if removed {
            self.changes.push(Change::TokenGone(*hash));
        }
        removed
    }

    /// A token was shown. That it was is written down once an hour: reading changes little.
    pub fn use_token(&mut self, hash: &Digest) {
        let now = self.time();
        let Some(record) = self.tokens.get(hash) else { return };
        if now.saturating_sub(record.used) >= USED {
            self.put_token(TokenRecord { used: now, ..record.clone() });
        }
    }
}
