//! fleetcast on std sockets.
