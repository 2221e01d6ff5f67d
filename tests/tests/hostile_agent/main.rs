//! Hostile input to the receiver machine: strangers' datagrams, a server with
//! valid keys that says whatever it likes, members of a session that lie, and
//! releases that must not be installed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authority;
mod captor;
mod freshness;
mod insiders;
mod messages;
mod people;
mod releases;
mod standing;
mod storage;
