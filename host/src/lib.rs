//! fleetcast on std sockets: server, receiver agent, command line.

pub mod disk;
pub mod model;
