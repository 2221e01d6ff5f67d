//! Whom the fleet trusts, and how that changes, on real processes: several admins who
//! must sign together, one who goes, keys that are lost, receivers that follow.

// Helpers of tests, too, end a test by panicking.
#![allow(clippy::unwrap_used)]

mod controller;
mod office;
mod people;
mod recovery;
mod threshold;
