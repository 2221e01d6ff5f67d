//! Cuts files into chunks and stores those that are new.
//!
//! ```text
//! reader: open ─ read ─ cut ─ hash ─► batches ─► caller: lacks? ─► jobs ─► workers: encode
//!                                                caller: put ◄─── records ◄───┘
//! ```
//!
//! The sink stays on the caller's thread. Batches are bounded by count and bytes, jobs and
//! records together by [`IN_FLIGHT`], so memory does not grow with what is sent, but for the
//! references (36 bytes a chunk). Compressing takes longest, so that is what has many threads.

use std::collections::HashSet;
use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use fleetcast_core::digest::Digest;
use fleetcast_core::tree::reference::ChunkRef;
use thiserror::Error;

use super::sink::{BATCH, ChunkSink, Encoding, lacking};
use super::tree::{FileNode, Node, Sent};
use crate::chunker::{Chunker, Profile};
use crate::codec::Encoder;
use crate::files::{Entry, FileError, Kind, Reader};

/// A batch is handed on when this many bytes were read for it.
const BATCH_BYTES: u64 = 2 << 20;
/// Chunks that are being encoded or wait for it: 2 MiB on average, 8 MiB at most.
const IN_FLIGHT: usize = 128;

/// Why files could not be taken in.
#[derive(Debug, Error)]
pub enum IngestError {
    /// A file cannot be sent, or changed meanwhile.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store failed.
    #[error("chunks cannot be stored: {0}")]
    Sink(io::Error),
    /// Our own fault: no memory or no threads, or an encoder gave up.
    #[error("chunks cannot be encoded: {0}")]
    Encoding(io::Error),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of files read so far.
    pub read: u64,
    /// Sizes of all files together.
    pub total: u64,
    /// Chunks stored so far, because the sink lacked them.
    pub new_chunks: u64,
    /// Their length before compression, in bytes.
    pub new_bytes: u64,
    /// Length of their records, in bytes.
    pub record_bytes: u64,
}

/// What was taken in.
#[derive(Debug)]
pub struct Ingested {
    /// All entries, in the order given.
    pub sent: Vec<Sent>,
    /// The last progress.
    pub progress: Progress,
}

/// Reads all files of `entries`, puts the chunks that `sink` lacks, and returns what a tree
/// needs; `progress` is called after each batch.
///
/// # Errors
/// [`IngestError`]; chunks that were put stay, and are not put again by the next attempt.
pub fn ingest(
    entries: &[Entry],
    encoding: Encoding,
    sink: &mut dyn ChunkSink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Ingested, IngestError> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    // All encoders before the first thread: what fails, fails here.
    let encoders = (0..workers).map(|_| encoding.encoder()).collect::<io::Result<Vec<_>>>();
    let encoders = encoders.map_err(IngestError::Encoding)?;
    let (batches, read) = sync_channel::<Batch>(1);
    let (jobs, queue) = sync_channel::<Chunk>(IN_FLIGHT);
    let (records, encoded) = sync_channel::<io::Result<Record>>(IN_FLIGHT);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        // The scope waits for its threads: both ends must be gone before that.
        let (jobs, encoded) = (jobs, encoded);
        for encoder in encoders {
            let (queue, records) = (&queue, records.clone());
            spawn(scope, move || encode(encoder, queue, &records))?;
        }
        drop(records);
        let reader = spawn(scope, move || Cutter::new(batches).cut_all(entries))?;
        let total = entries.iter().map(size).sum();
        let start = Progress { total, ..Progress::default() };
        let mut store = Store { sink, encoded, in_flight: 0, progress: start };
        // When storing fails first, the reader only finds nobody listening.
        store.take_all(read, jobs, progress)?;
        let sent = reader.join().map_err(|_| internal("the reading thread panicked"))??;
        Ok(Ingested { sent, progress: store.progress })
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, T>, IngestError> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(IngestError::Encoding)
}

fn internal(fault: &str) -> IngestError {
    IngestError::Encoding(io::Error::other(fault))
}

const fn size(entry: &Entry) -> u64 {
    match entry.kind {
        Kind::File { size, .. } => size,
        Kind::Directory => 0,
    }
}

/// A chunk on its way to a worker.
struct Chunk {
    id: Digest,
    bytes: Vec<u8>,
}

/// A chunk on its way back.
struct Record {
    id: Digest,
    chunk_len: usize,
    bytes: Vec<u8>,
}

/// Chunks that were not seen before in this run, and how many bytes are read by now.
#[derive(Default)]
struct Batch {
    chunks: Vec<Chunk>,
    read: u64,
}

/// The reading thread.
struct Cutter {
    batches: SyncSender<Batch>,
    batch: Batch,
    /// What `batch.read` was when the batch began.
    handed_on: u64,
    seen: HashSet<Digest>,
    chunker: Option<Chunker<Reader>>,
}

impl Cutter {
    fn new(batches: SyncSender<Batch>) -> Self {
        let batch = Batch::default();
        Self { batches, batch, handed_on: 0, seen: HashSet::new(), chunker: None }
    }

    fn cut_all(mut self, entries: &[Entry]) -> Result<Vec<Sent>, IngestError> {
        let mut sent = Vec::with_capacity(entries.len());
        for entry in entries {
            let node = match entry.kind {
                Kind::Directory => Node::Directory { mtime: entry.modified },
                Kind::File { size, executable } => {
                    let chunks = self.cut(entry)?;
                    Node::File(FileNode { mtime: entry.modified, executable, size, chunks })
                }
            };
            sent.push(Sent { path: entry.components.clone(), node });
        }
        self.hand_on()?;
        Ok(sent)
    }

    /// The references of one file. Its reader fails at the end unless its size and all
    /// else are still what was listed, so they add up to that size.
    fn cut(&mut self, entry: &Entry) -> Result<Vec<ChunkRef>, IngestError> {
        let reader = entry.open()?;
        // One buffer for all files: getting it takes longer than reading a small one.
        let mut chunker = match self.chunker.take() {
            Some(mut chunker) => {
                chunker.restart(reader);
                chunker
            }
            None => Chunker::new(reader, Profile::Standard),
        };
        let mut references = Vec::new();
        let failed = |error| FileError::from_read(error, &entry.source());
        while let Some(chunk) = chunker.next_chunk().map_err(failed)? {
            // Not more than 64 KiB, by the profile.
            let len = chunk.bytes.len() as u32;
            references.push(ChunkRef { id: chunk.digest, len });
            self.batch.read += u64::from(len);
            if self.seen.insert(chunk.digest) {
                self.batch.chunks.push(Chunk { id: chunk.digest, bytes: chunk.bytes.to_vec() });
            }
            let read = self.batch.read - self.handed_on;
            if self.batch.chunks.len() == BATCH || read >= BATCH_BYTES {
                self.hand_on()?;
            }
        }
        self.chunker = Some(chunker);
        Ok(references)
    }

    fn hand_on(&mut self) -> Result<(), IngestError> {
        let next = Batch { chunks: Vec::new(), read: self.batch.read };
        self.handed_on = next.read;
        let batch = std::mem::replace(&mut self.batch, next);
        self.batches.send(batch).map_err(|_| internal("nothing is stored any more"))
    }
}

/// A worker.
fn encode(
    mut encoder: Encoder,
    queue: &Mutex<Receiver<Chunk>>,
    records: &SyncSender<io::Result<Record>>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Chunk { id, bytes }) = next else { return };
        let mut record = Vec::new();
        let encoded = encoder.encode(&bytes, &mut record).map_err(io::Error::other);
        let record = encoded.map(|_| Record { id, chunk_len: bytes.len(), bytes: record });
        if records.send(record).is_err() {
            return;
        }
    }
}

/// The caller's thread.
struct Store<'s> {
    sink: &'s mut dyn ChunkSink,
    encoded: Receiver<io::Result<Record>>,
    /// At most [`IN_FLIGHT`], the room of both channels: so nobody ever waits for room.
    in_flight: usize,
    progress: Progress,
}

impl Store<'_> {
    fn take_all(
        &mut self,
        batches: Receiver<Batch>,
        jobs: SyncSender<Chunk>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), IngestError> {
        for batch in batches {
            self.progress.read = batch.read;
            self.take(batch.chunks, &jobs)?;
            progress(self.progress);
        }
        // The workers end when they are done: nobody waits for one that panicked.
        drop(jobs);
        while self.in_flight > 0 {
            self.put_next()?;
        }
        progress(self.progress);
        Ok(())
    }

    fn take(&mut self, chunks: Vec<Chunk>, jobs: &SyncSender<Chunk>) -> Result<(), IngestError> {
        let ids: Vec<Digest> = chunks.iter().map(|chunk| chunk.id).collect();
        let lacks = lacking(self.sink, &ids).map_err(IngestError::Sink)?;
        for (chunk, _) in chunks.into_iter().zip(lacks).filter(|(_, lacks)| *lacks) {
            if self.in_flight == IN_FLIGHT {
                self.put_next()?;
            }
            jobs.send(chunk).map_err(|_| internal("all encoding threads ended"))?;
            self.in_flight += 1;
        }
        Ok(())
    }

    fn put_next(&mut self) -> Result<(), IngestError> {
        let record = self.encoded.recv().map_err(|_| internal("all encoding threads ended"))?;
        self.in_flight -= 1;
        let record = record.map_err(IngestError::Encoding)?;
        self.sink.put(record.id, &record.bytes).map_err(IngestError::Sink)?;
        self.progress.new_chunks += 1;
        self.progress.new_bytes += record.chunk_len as u64;
        self.progress.record_bytes += record.bytes.len() as u64;
        Ok(())
    }
}
