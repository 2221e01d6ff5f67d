//! The chain of authority documents outside of every channel (PROTOCOL §2).
//!
//! A receiver recognises its server by the controller key that the authority
//! document names. When that key is lost, the server has a new one, and no
//! handshake works any more. But the chain needs no server that is trusted: each
//! version is signed by the admins of the one before. So who gets no answer to
//! its handshakes asks for what came after the document that it trusts, checks
//! it by itself, and goes on with the controllers that it names.
//!
//! Nothing here looks into a document: it is bytes until
//! [`TrustedAuthority`](crate::trust::authority::TrustedAuthority) has judged it.

mod answering;
mod asking;

pub use answering::{ChainAnswerer, Documents};
pub use asking::{ChainAsker, ChainEvent};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
