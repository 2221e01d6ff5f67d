//! Chunks on their way to the server: asked about first, then sent in batches.

use std::collections::HashSet;
use std::io;

use fleetcast_core::digest::Digest;
use fleetcast_core::tree::reference::ChunkRef;

use crate::api::client::Client;
use crate::codec::Decoder;
use crate::error::Failure;
use crate::ingest::ChunkSink;

/// A batch is sent when it has this many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// The server's chunk store, behind its API.
pub(super) struct Upload<'c> {
    client: &'c Client,
    frames: Vec<u8>,
    /// For a dry run: nothing is sent, and these would have been.
    dry: Option<HashSet<Digest>>,
    /// Chunks that the server lacked.
    pub(super) chunks: u64,
    /// Bytes of their records.
    pub(super) bytes: u64,
}

impl<'c> Upload<'c> {
    /// Sends what is lacking, unless `dry`.
    pub(super) fn new(client: &'c Client, dry: bool) -> Self {
        let dry = dry.then(HashSet::new);
        Self { client, frames: Vec::new(), dry, chunks: 0, bytes: 0 }
    }

    /// Whether nothing is sent.
    pub(super) const fn is_dry(&self) -> bool {
        self.dry.is_some()
    }

    /// Sends what waits; on return all that was put is durable at the server.
    ///
    /// # Errors
    /// As the server says, such as `no-space`.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if !self.frames.is_empty() {
            self.client.store_chunks(std::mem::take(&mut self.frames))?;
        }
        Ok(())
    }
}

impl ChunkSink for Upload<'_> {
    fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>> {
        let mut lacks = self.client.lacking(ids).map_err(io::Error::other)?;
        if let Some(put) = &self.dry {
            for (id, lacks) in ids.iter().zip(&mut lacks) {
                *lacks &= !put.contains(id);
            }
        }
        Ok(lacks)
    }

    fn put(&mut self, id: Digest, record: &[u8]) -> io::Result<()> {
        self.chunks += 1;
        self.bytes += record.len() as u64;
        if let Some(put) = &mut self.dry {
            put.insert(id);
            return Ok(());
        }
        self.frames.extend_from_slice(&id.0);
        self.frames.extend_from_slice(record);
        if self.frames.len() >= BATCH_BYTES {
            self.flush().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The bytes of a chunk that the server has.
pub(super) fn read_chunk(client: &Client, reference: &ChunkRef) -> io::Result<Vec<u8>> {
    let record = client.chunk(&reference.id).map_err(io::Error::other)?;
    let mut chunk = Vec::new();
    Decoder::new()?.decode_record(&record, &mut chunk).map_err(io::Error::other)?;
    Ok(chunk)
}

/// The failure behind an error that came through [`ChunkSink`].
pub(super) fn failure_of(error: io::Error) -> Failure {
    error.downcast::<Failure>().unwrap_or_else(|error| Failure::io("chunks", &error))
}
