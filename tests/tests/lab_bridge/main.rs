//! The lab's bridge in user space: its faults, measured from outside with plain
//! sockets, and real processes that get through them.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod net;

mod deliveries;
mod faults;
mod snooping;
mod standing;
