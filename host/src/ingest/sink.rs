//! Where chunk records go.

use std::io;

use fleetcast_core::digest::Digest;
use fleetcast_core::wire::control::{CODEC_LZ4, CODEC_ZSTD};

use crate::codec::Encoder;

/// How many chunks one question to a [`ChunkSink`] names at most.
pub const BATCH: usize = 256;

/// A store of chunk records: the server's, behind its API or directly.
pub trait ChunkSink {
    /// Which of these chunks are not stored: one answer per id, in order. At most [`BATCH`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>>;

    /// Stores the record of a chunk that it lacked.
    ///
    /// # Errors
    /// When the store did not take it.
    fn put(&mut self, id: Digest, record: &[u8]) -> io::Result<()>;
}

/// How records are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Bits of the codecs that all readers decode.
    pub codecs: u8,
    /// Whether anything is to be compressed.
    pub compress: bool,
}

impl Encoding {
    /// All codecs that hosts decode.
    pub const HOSTS: Self = Self { codecs: CODEC_LZ4 | CODEC_ZSTD, compress: true };

    pub(super) fn encoder(self) -> io::Result<Encoder> {
        Encoder::new(self.codecs, self.compress)
    }
}

/// Asks `sink` about `ids`, and holds it to one answer for each.
pub(super) fn lacking(sink: &mut dyn ChunkSink, ids: &[Digest]) -> io::Result<Vec<bool>> {
    let answers = if ids.is_empty() { Vec::new() } else { sink.lacks(ids)? };
    if answers.len() != ids.len() {
        return Err(io::Error::other("the chunk store answered another question"));
    }
    Ok(answers)
}
