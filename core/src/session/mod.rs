//! Session machines: one sender, many receivers (PROTOCOL §5).
//!
//! `layout`, `symbols`, `digest` and `timers` are the common ground; `source` and
//! `intake` are the two storages, handed to each call as its last argument;
//! `pacing` and `rate` decide when; `sender` and `receiver` are the machines.

pub mod digest;
pub mod layout;
pub mod symbols;
pub mod timers;

pub mod intake;
pub mod source;

pub mod pacing;
pub mod rate;

pub mod receiver;
pub mod sender;

#[cfg(test)]
mod tests;
