//! Chunks on their way to the server: asked about first, then sent in batches. One batch
//! is on its way while the next is filled.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

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
    /// From the first batch on.
    courier: Option<Courier>,
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
        Self { client, frames: Vec::new(), courier: None, dry, chunks: 0, bytes: 0 }
    }

    /// Whether nothing is sent.
    pub(super) const fn is_dry(&self) -> bool {
        self.dry.is_some()
    }

    /// Sends what waits; on return the server has all that was put.
    ///
    /// # Errors
    /// As the server says, such as `no-space`.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if !self.frames.is_empty() {
            self.hand_on()?;
        }
        self.courier.as_mut().map_or(Ok(()), Courier::wait)
    }

    /// Hands the batch on, once the one before has arrived.
    fn hand_on(&mut self) -> Result<(), Failure> {
        let courier = match &mut self.courier {
            Some(courier) => courier,
            none => none.insert(Courier::start(self.client.another()?)?),
        };
        courier.wait()?;
        courier.carry(std::mem::take(&mut self.frames))
    }
}

/// A thread that sends batches over a connection of its own, one at a time; it ends with
/// the batch under way when this is dropped.
struct Courier {
    batches: Sender<Vec<u8>>,
    arrived: Receiver<Result<(), Failure>>,
    under_way: bool,
}

impl Courier {
    fn start(client: Client) -> Result<Self, Failure> {
        let (batches, waiting) = channel::<Vec<u8>>();
        let (tell, arrived) = channel();
        let carry = move || {
            for batch in waiting {
                // Nobody waits any more when the sending command gave up.
                let _ = tell.send(client.store_chunks(batch).map(drop));
            }
        };
        thread::Builder::new().spawn(carry).map_err(|error| Failure::io("thread", &error))?;
        Ok(Self { batches, arrived, under_way: false })
    }

    /// Begins to send a batch; none is under way.
    fn carry(&mut self, batch: Vec<u8>) -> Result<(), Failure> {
        self.batches.send(batch).map_err(|_| ended())?;
        self.under_way = true;
        Ok(())
    }

    /// Waits until nothing is under way.
    fn wait(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.under_way) {
            return Ok(());
        }
        self.arrived.recv().unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Failure {
    let hint = "repeat the command; what has come to the server is not sent again";
    Failure::failed("internal", "the thread that sends chunks ended", hint)
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
            self.hand_on().map_err(io::Error::other)?;
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
