//! Parts that tests are made of: the simulated fleet, and real processes.

pub mod admin;
pub mod audit;
pub mod board;
pub mod board_session;
pub mod card;
pub mod catalog;
pub mod chaos;
pub mod dhcp;
pub mod disk;
pub mod doorway;
pub mod emulated;
pub mod faults;
pub mod fleet;
pub mod golden;
pub mod http;
pub mod insider;
pub mod joining;
pub mod link;
pub mod node;
pub mod oracle;
pub mod package;
pub mod pair;
pub mod processes;
pub mod release;
pub mod script;
pub mod seeds;
pub mod swarm;
pub mod voice;
pub mod world;

// The seeded model of faults is the lab's, and so is its chance.
pub use fleetcast_lab::random;
