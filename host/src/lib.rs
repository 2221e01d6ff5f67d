//! fleetcast on std sockets: server, receiver agent, command line.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod audit;
pub mod catalog;
pub mod model;
pub mod packs;
