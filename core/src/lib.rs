//! The fleetcast protocol and chunk store: `no_std`, no allocator, sans-IO.
//!
//! Modules stand in reading order: each one imports only from those above it.
//! The five verbs that every machine speaks, and the numbered loop that drives
//! them, are told in `core/README.md`; the bytes on the wire in `core/PROTOCOL.md`.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod digest;
pub mod ids;
pub mod lent;
pub mod limits;
#[cfg(feature = "planted")]
pub mod planted;
pub mod time;
pub mod transmit;

pub mod wire;

pub mod crypto;

pub mod channel;

pub mod tree;

pub mod trust;

pub mod chain;

pub mod erasure;

pub mod session;

pub mod receiver;
pub mod server;

pub mod store;

pub mod constrained;
