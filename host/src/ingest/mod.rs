//! From what a person sends to a signed release, on the admin's side.
//!
//! ```text
//! files::walk ─► chunks::ingest ─► tree::Tree::merge ─► release::ReleaseDraft ─► signed root
//!                     │                    ▲                     │
//!                     └──► ChunkSink ──────┴── current release ◄─┘ index chunks
//! ```
//!
//! Nothing here knows a network: what is stored goes through a [`ChunkSink`], what is stored
//! already comes through a closure. The server sees records and a signed root, no key.

pub mod sink;
pub mod tree;

pub mod chunks;

mod current;
mod table;

pub mod twin;

pub mod release;

pub use chunks::{IngestError, Ingested, Progress, ingest};
pub use release::{ReleaseDraft, ReleaseError, SignedRelease, UnsignedRelease};
pub use sink::{ChunkSink, Encoding};
pub use tree::{FileNode, Node, Sent, Tree, TreeError};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
