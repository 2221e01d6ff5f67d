//! Firmware under QEMU, on the same switch as a real server and real receivers: what it
//! is for, and every fault that emulation can bring about.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod stand;

mod cards;
mod crashes;
mod cuts;
mod network;
mod story;
