//! The machines on real sockets and real clocks: a thread of its own for each,
//! running the numbered loop of `core/README.md`.

mod reader;
pub mod receiver;
pub mod server;
mod wake;
