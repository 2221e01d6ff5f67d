//! Strangers and people without the right at the API for other machines, on real processes.

// Helpers of tests, too, end a test by panicking.
#![allow(clippy::unwrap_used)]

mod people;
mod pinned;
mod proposals;
mod remote;
mod roles;
mod strangers;
