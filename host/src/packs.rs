//! The server's chunk store: every chunk once, compressed, under its SHA-256.
//!
//! Chunks are kept as *records*, byte for byte as the wire carries them
//! (PROTOCOL §4, "Chunk record"), so that a block of a session is made by
//! reading records one after the other into one buffer. Records are appended
//! to pack files of bounded size; a full pack gets a sorted index beside it and
//! is never written again. Only the index is derived: whatever is lost of it is
//! built anew from the packs.

mod chunks;
mod directory;
mod index;
mod pack;
mod record;

pub use chunks::{ChunkStore, MemoryChunks, StoreError};
pub use directory::{Packs, Recovered};
pub use record::{Verifier, record_len};
