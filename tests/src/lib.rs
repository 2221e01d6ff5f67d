//! The simulated fleet: parts that tests are made of.

pub mod admin;
pub mod audit;
pub mod catalog;
pub mod chaos;
pub mod disk;
pub mod faults;
pub mod fleet;
pub mod golden;
pub mod link;
pub mod node;
pub mod oracle;
pub mod random;
pub mod release;
pub mod script;
pub mod seeds;
pub mod world;
