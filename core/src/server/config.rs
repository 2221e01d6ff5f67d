//! What a server is told, and what it asks.

use crate::ids::{StaticKey, TokenId};

/// What a server is told at its construction.
#[derive(Clone)]
pub struct ServerConfig {
    /// The secret half of the controller's X25519 key.
    pub static_secret: [u8; 32],
    /// 32 fresh random bytes; never the same twice.
    pub seed: [u8; 32],
}

/// What a server has to know of receivers and tokens: the storage behind it.
pub trait Directory {
    /// The order (boot counter, n) last accepted of a known receiver key;
    /// `None` when the key is unknown.
    fn order(&self, key: &StaticKey) -> Option<(u64, u64)>;
    /// Takes the order of a channel that was confirmed; it is greater than
    /// [`Directory::order`] told, and must be persisted.
    fn raise_order(&mut self, key: &StaticKey, order: (u64, u64));
    /// The secret behind a token's name, if it may still be used.
    fn token(&self, id: &TokenId) -> Option<[u8; 16]>;
}
