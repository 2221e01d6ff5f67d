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

#[cfg(test)]
mod tests {
    use fleetcast_core::trust::release::ReleaseRoot;

    use super::super::fixtures::{DRAFT, Memory, noise, path, tree};
    use super::super::tree::Sent;
    use super::*;

    /// A file of 64 KiB chunks that are stored.
    fn stored(at: &str, bytes: &[u8], sink: &mut Memory) -> Sent {
        let of = |chunk: &[u8]| ChunkRef::of(chunk).unwrap();
        let chunks: Vec<ChunkRef> = bytes.chunks(65_536).map(of).collect();
        let pieces = chunks.iter().map(|chunk| chunk.id).zip(bytes.chunks(65_536));
        sink.chunks.extend(pieces.map(|(id, piece)| (id, piece.to_vec())));
        let size = bytes.len() as u64;
        let node = FileNode { mtime: 7, executable: false, size, chunks };
        Sent { path: path(at), node: Node::File(node) }
    }

    /// The tree for boards, and how many chunks were read for it.
    fn made(tree: &Tree, before: &Before, sink: &mut Memory) -> (Tree, usize) {
        let chunks = sink.chunks.clone();
        let mut read = 0;
        let mut chunk = |reference: &ChunkRef| {
            read += 1;
            Ok(chunks[&reference.id].clone())
        };
        (twin(tree, before, Encoding::HOSTS, &mut chunk, sink).unwrap(), read)
    }

    fn chunks_of<'t>(tree: &'t Tree, at: &str) -> &'t [ChunkRef] {
        let Some(Node::File(file)) = tree.entry(&path(at)) else { panic!("no file {at}") };
        &file.chunks
    }

    #[test]
    fn boards_get_the_same_bytes_in_small_chunks_and_what_has_not_changed_is_not_read() {
        let (mut sink, bytes) = (Memory::default(), noise(300_000));
        let standard = tree([stored("a", &bytes, &mut sink), stored("b", b"small", &mut sink)]);
        let (boards, read) = made(&standard, &Before::default(), &mut sink);
        // Five chunks of 64 KiB, and the small one.
        assert_eq!(read, 6);
        assert_eq!(sink.read(chunks_of(&boards, "a")), bytes);
        assert_eq!(sink.read(chunks_of(&boards, "b")), b"small");
        assert!(chunks_of(&boards, "a").iter().all(|chunk| chunk.len <= 4_096));
        let before = Before { standard, constrained: boards };
        let mut changed = bytes.clone();
        changed[0] ^= 1;
        let next = tree([stored("a", &changed, &mut sink), stored("b", b"small", &mut sink)]);
        sink.new.clear();
        let (boards, read) = made(&next, &before, &mut sink);
        assert_eq!(read, 5);
        assert_eq!(sink.read(chunks_of(&boards, "a")), changed);
        // One byte: the chunk around it.
        assert!(sink.new.len() <= 2, "{:?}", sink.new);
        assert_eq!(chunks_of(&boards, "b"), chunks_of(&before.constrained, "b"));
    }

    #[test]
    fn a_root_with_two_trees_names_both_and_index_chunks_for_boards_are_small() {
        let mut sink = Memory::default();
        let files: Vec<Sent> = (0..400)
            .map(|n| stored(&format!("file-{n:03}"), &noise(3_000 + n), &mut sink))
            .collect();
        let standard = tree(files);
        let (boards, _) = made(&standard, &Before::default(), &mut sink);
        sink.new.clear();
        let release = DRAFT.build_both(&standard, Some(&boards), Encoding::HOSTS, &mut sink);
        let release = release.unwrap();
        let root = ReleaseRoot::decode(&release.body).unwrap();
        let top = root.constrained.unwrap();
        assert_eq!(top.content_bytes, root.standard.content_bytes);
        let mut longest = 0;
        let mut chunk = |reference: &ChunkRef| {
            longest = longest.max(reference.len);
            Ok(sink.chunks[&reference.id].clone())
        };
        assert_eq!(Tree::from_release(&top, &mut chunk).unwrap(), boards);
        // What a board has room for (`STORE_CHUNK` of the core).
        assert!(longest <= 4_096, "{longest}");
    }
}
