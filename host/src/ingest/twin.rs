//! The second tree of a release: the same content in chunks that a board can take.
//!
//! Files that are as in the release before keep the chunks that they have there;
//! others are put together from their large chunks and cut anew.

use std::collections::HashSet;
use std::io::{self, Read};

use fleetcast_core::digest::Digest;
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::control::CODEC_LZ4;

use super::sink::{BATCH, ChunkSink, Encoding, lacking};
use super::tree::{FileNode, Node, Tree, TreeError};
use crate::chunker::{Chunker, Profile};
use crate::codec::Encoder;

/// Gives the bytes of a stored chunk.
pub type ReadChunk<'c> = dyn FnMut(&ChunkRef) -> io::Result<Vec<u8>> + 'c;

/// The two trees of the release before.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// That of hosts.
    pub standard: Tree,
    /// That of boards.
    pub constrained: Tree,
}

/// Makes the tree for boards of a tree whose chunks are all stored, and puts what
/// `sink` lacks of it.
///
/// # Errors
/// [`TreeError::Read`] when a chunk cannot be read or stored.
pub fn twin(
    tree: &Tree,
    before: &Before,
    encoding: Encoding,
    chunk: &mut ReadChunk<'_>,
    sink: &mut dyn ChunkSink,
) -> Result<Tree, TreeError> {
    // Boards decode nothing else.
    let encoder = Encoding { codecs: CODEC_LZ4, ..encoding }.encoder().map_err(TreeError::Read)?;
    let mut cutter = Cutter { sink, encoder, batch: Vec::new(), seen: HashSet::new() };
    let mut twin = Tree::default();
    for (path, node) in tree.entries() {
        let node = match node {
            Node::Directory { .. } => node.clone(),
            Node::File(file) => {
                let chunks = match before.chunks(path, file) {
                    Some(chunks) => chunks,
                    None => cutter.cut(file, chunk).map_err(TreeError::Read)?,
                };
                Node::File(FileNode { chunks, ..file.clone() })
            }
        };
        twin.insert(path.to_vec(), node)?;
    }
    cutter.store().map_err(TreeError::Read)?;
    Ok(twin)
}

impl Before {
    /// The small chunks of a file that has not changed.
    fn chunks(&self, path: &[String], file: &FileNode) -> Option<Vec<ChunkRef>> {
        let (Node::File(old), Node::File(small)) =
            (self.standard.entry(path)?, self.constrained.entry(path)?)
        else {
            return None;
        };
        (old.chunks == file.chunks && small.size == file.size).then(|| small.chunks.clone())
    }
}

/// Cuts files and stores their chunks.
struct Cutter<'s> {
    sink: &'s mut dyn ChunkSink,
    encoder: Encoder,
    batch: Vec<(Digest, Vec<u8>)>,
    seen: HashSet<Digest>,
}

impl Cutter<'_> {
    fn cut(&mut self, file: &FileNode, read: &mut ReadChunk<'_>) -> io::Result<Vec<ChunkRef>> {
        let stream = Chunks { left: file.chunks.iter(), read, bytes: Vec::new(), at: 0 };
        let mut chunker = Chunker::new(stream, Profile::Constrained);
        let mut chunks = Vec::new();
        while let Some(chunk) = chunker.next_chunk()? {
            // Not more than 4 KiB, by the profile.
            chunks.push(ChunkRef { id: chunk.digest, len: chunk.bytes.len() as u32 });
            if self.seen.insert(chunk.digest) {
                self.batch.push((chunk.digest, chunk.bytes.to_vec()));
            }
            if self.batch.len() == BATCH {
                self.store()?;
            }
        }
        Ok(chunks)
    }

    fn store(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let ids: Vec<Digest> = batch.iter().map(|(id, _)| *id).collect();
        let lacks = lacking(self.sink, &ids)?;
        let mut record = Vec::new();
        for ((id, bytes), _) in batch.iter().zip(lacks).filter(|(_, lacks)| *lacks) {
            record.clear();
            self.encoder.encode(bytes, &mut record).map_err(io::Error::other)?;
            self.sink.put(*id, &record)?;
        }
        Ok(())
    }
}

/// The bytes of a file, chunk by chunk.
struct Chunks<'f, 'r, 'c> {
    left: std::slice::Iter<'f, ChunkRef>,
    read: &'r mut ReadChunk<'c>,
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Chunks<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() {
            let Some(reference) = self.left.next() else { return Ok(0) };
            self.bytes = (self.read)(reference)?;
            self.at = 0;
            // PROTOCOL R2
            reference.verify(&self.bytes).map_err(|f| io::Error::other(format!("{f:?}")))?;
        }
        let count = buffer.len().min(self.bytes.len() - self.at);
        buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
