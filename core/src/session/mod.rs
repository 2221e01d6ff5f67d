//! Session machines: one sender, many receivers.

pub mod intake;
