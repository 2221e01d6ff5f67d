//! fleetcast on std sockets: server, receiver agent, command line.

pub mod model;

pub mod disk;

pub mod staging;

pub mod install;
