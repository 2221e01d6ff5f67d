//! Session machines: one sender, many receivers (PROTOCOL §5).
//!
//! `layout`, `symbols`, `digest` and `timers` are the common ground; `source` and
//! `intake` are the two storages, handed to each call as its last argument;
//! `announcing` tells when a receiver speaks of its multicast membership;
//! `pacing`, `rate` and `tally` decide when; `sender` and `receiver` are the machines.

pub mod digest;
pub mod layout;
pub mod symbols;
pub mod timers;

pub mod intake;
pub mod source;

pub mod announcing;

pub mod pacing;
pub mod rate;
pub mod tally;

pub mod receiver;
pub mod sender;

#[cfg(test)]
mod tests;
