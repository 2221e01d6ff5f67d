//! The simulated fleet: parts that tests are made of.

pub mod disk;
pub mod golden;
pub mod release;
