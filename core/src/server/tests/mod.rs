//! Both endpoints on a virtual clock, with a link between them that loses,
//! duplicates and reorders by seed.

mod handshake;
mod hostile;
mod pair;
mod traffic;
