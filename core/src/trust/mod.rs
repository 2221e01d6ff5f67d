//! Who may say what: signed documents, and evidence that they were checked.
//!
//! Evidence types ([`authority::TrustedAuthority`],
//! [`membership::VerifiedMembership`], [`release::VerifiedRelease`]) have
//! private fields and are made by checking only; the next step takes nothing
//! else. An installation therefore needs all three, in that order.

pub mod authority;
pub mod beacon;
pub mod document;
pub mod membership;
pub mod order;
pub mod release;
pub mod statement;

#[cfg(test)]
mod fixtures;
