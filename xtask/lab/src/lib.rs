//! A LAN on one machine: each host is a network namespace, a bridge in one more
//! namespace is the switch, and every cable is a pair of virtual interfaces.
//!
//! ```text
//!   host 0 (admin)         host 1            host 2
//!  ┌──────────────┐   ┌──────────────┐  ┌──────────────┐
//!  │ eth0         │   │ eth0         │  │ eth0         │   10.77.0.1, .2, .3, …
//!  └──────┬───────┘   └──────┬───────┘  └──────┬───────┘
//!  ┌──────┴──────────────────┴─────────────────┴───────┐
//!  │ port0                 port1            port2      │
//!  │                   br0 (switch)                    │
//!  └───────────────────────────────────────────────────┘
//! ```
//!
//! A namespace has no name: a process holds it, and it goes with its processes.
//! So nothing is left behind when whoever made a [`Lan`] is killed, and LANs that
//! exist at the same time cannot collide. A LAN that shall outlive its maker is
//! [`standing`], and is found again by a tag in its holders' environment.
//!
//! All ports carry at most one segment per packet (`gso_max_segs 1`): without
//! that a batch of 40 datagrams crosses as one packet and is lost as one.
//!
//! In place of the kernel's bridge may stand one in user space that misbehaves by
//! a seed ([`bridge`]); its model of faults is the simulator's ([`weather`]).
//!
//! Needs root, or a user namespace (`unshare -Urn`), and the programs of
//! util-linux, iproute2 and nftables. Errors are sentences for a person: what
//! did not work, and the cure where there is one.

pub mod random;

pub mod membership;
pub mod weather;

mod tool;

pub mod card;

mod namespace;
mod plan;

mod lan;
mod misbehave;

pub mod fault;

mod frame;

pub mod bridge;
pub mod standing;

pub use bridge::Bridge;
pub use lan::{Lan, Traffic};
pub use misbehave::Snooping;
pub use namespace::{Door, Namespace};
pub use plan::{Plan, Rate};
