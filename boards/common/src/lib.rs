//! A fleetcast receiver for boards, on smoltcp: `no_std`, no allocator.
//!
//! A board supplies four things: an Ethernet device ([`net::Nic`]), a disk
//! ([`partition::Disk`]), a clock and a seed. Everything else is told here, once, and
//! runs as it is on a microcontroller and, for debugging, as a process on a PC.
//!
//! Modules stand in reading order: each one imports only from those above it.

#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(test)]
mod testing;

pub mod filter;
pub mod net;
pub mod partition;
pub mod queue;

pub mod fat;
pub mod sd;

pub mod code;
pub mod settings;

pub mod card;

pub mod identity;

pub mod appliance;

#[cfg(feature = "defmt")]
mod log;

pub mod recovery;

pub mod drive;
