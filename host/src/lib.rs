//! fleetcast on std sockets: server, receiver agent, command line.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod audit;
pub mod catalog;
pub mod code;
pub mod error;
pub mod health;
pub mod keys;
pub mod model;
pub mod packs;
pub mod private;
pub mod state;
pub mod status;
pub mod units;
