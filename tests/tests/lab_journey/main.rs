//! What a fleet lives through, on real processes: ends without warning, new
//! versions of a file, absence, membership, a real network between.

// Helpers of tests, too, end a test by panicking.
#![allow(clippy::unwrap_used)]

mod accounts;
mod discovery;
mod history;
mod kills;
mod membership;
mod namespaces;
mod people;
mod queue;
mod restarts;
mod versions;
