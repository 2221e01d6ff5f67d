//! `fleetcast my`: the socket of a receiver, for people who sit at it.
//!
//! One connection asks one question: a line of JSON each way. Anybody on the
//! machine may connect; the kernel tells who it is, and [`Others`] what that one
//! may do. Root and the user that the receiver runs as may do everything.

pub mod client;
pub mod model;
pub mod service;

pub(crate) use service::unknown;
pub use service::{Others, serve};
