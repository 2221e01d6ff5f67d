//! fleetcast on std sockets: server, receiver agent, command line.
//!
//! Modules stand in the order of the flow: what a person sends becomes chunks
//! and a signed release; the server plans and sends; the receiver stages and
//! installs; beside them what both sides say of themselves.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod code;
pub mod error;
pub mod health;
pub mod ids;
pub mod keys;
pub mod localtime;
pub mod model;
pub mod person;
pub mod private;
pub mod recovery;
pub mod room;
pub mod schedule;
pub mod state;
pub mod status;
pub mod units;

pub mod chunker;
pub mod codec;
pub mod files;

pub mod accounts;

pub mod ingest;

pub mod aead;
pub mod vectors;

pub mod archive;
pub mod audit;
pub mod backup;
pub mod catalog;
pub mod packs;
pub mod server;

pub mod disk;
pub mod install;
pub mod staging;

pub mod agent;

pub mod net;

pub mod discovery;

pub mod driver;

pub mod api;

pub mod my;

pub mod demo;

pub mod cli;
