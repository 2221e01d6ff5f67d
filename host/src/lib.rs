//! fleetcast on std sockets: server, receiver agent, command line.

pub mod model;

pub mod files;

pub mod chunker;

pub mod codec;

pub mod gf;

pub mod aead;

pub mod disk;

pub mod staging;

pub mod install;
