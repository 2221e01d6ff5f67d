//! What a release contains, as far as the server must know: the references of
//! its chunks by ordinal. Read from the chunk store, never trusted beyond it:
//! receivers verify everything against the signed root themselves.

use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::tree::entry::{ALL_DEPTHS, EntryReader, NameSlot, TreeEvent};
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::reference::{ChunkRef, ReferenceReader};
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::ReleaseName;
use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::Decoder;
use crate::packs::{ChunkStore, StoreError};

/// Why a release's contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The root document is not one.
    #[error("the release root is malformed")]
    Root,
    /// The tree breaks a rule, or its index chunks are not what the root says.
    #[error("the release's index is damaged: {0}")]
    Tree(String),
    /// A chunk is missing or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The chunks of a release, by ordinal.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Group, order and digest.
    pub name: ReleaseName,
    /// The signed root document.
    pub document: Vec<u8>,
    /// Index chunks: lists from the root downwards, then the entry table.
    pub index: Vec<ChunkRef>,
    /// Content chunks: each id once, by its first occurrence.
    pub content: Vec<ChunkRef>,
    /// How chunks follow one another.
    pub streams: Streams,
    /// The same release in chunks for boards, where it has them.
    pub constrained: Option<Arc<Self>>,
}

/// The byte streams that chunks are cut from: lists and entry table, and files.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Index chunks of each level, from the root's list downwards.
    pub levels: Vec<u32>,
    /// Files in the order of the entry table.
    pub files: Vec<FileStream>,
    /// Ordinals of the content chunks of all files, one file after the other.
    pub ordinals: Vec<u32>,
}

/// The chunks of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStream {
    /// Digest of its path in the release.
    pub path: Digest,
    /// Its first chunk in [`Streams::ordinals`].
    pub first: u32,
    /// How many chunks it has.
    pub chunks: u32,
}

impl Contents {
    /// Reads a release from its root document and the chunk store.
    ///
    /// # Errors
    /// [`ContentsError`] when a chunk is missing or the index is not sound.
    pub fn read(document: &[u8], chunks: &dyn ChunkStore) -> Result<Self, ContentsError> {
        let signed = SignedDocument::parse(document, MAX_ROOT).map_err(|_| ContentsError::Root)?;
        let root = ReleaseRoot::decode(signed.body()).map_err(|_| ContentsError::Root)?;
        let name = root.name(signed.digest(Context::Release));
        let decoder = Decoder::new().map_err(|fault| tree(&fault))?;
        let mut reader = IndexReader { chunks, decoder, index: Vec::new() };
        let mut of_tree = |top: &TreeTop<'_>| {
            let Files { content, mut streams, .. } = reader.read(top)?;
            if content.len() != top.content_chunks as usize {
                return Err(ContentsError::Tree("another number of content chunks".to_owned()));
            }
            let index = std::mem::take(&mut reader.index);
            streams.levels = top.levels.to_vec();
            let document = document.to_vec();
            Ok(Self { name, document, index, content, streams, constrained: None })
        };
        let constrained = root.constrained.as_ref().map(&mut of_tree).transpose()?;
        Ok(Self { constrained: constrained.map(Arc::new), ..of_tree(&root.standard)? })
    }

    /// All chunks of one tree, index first.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.index.iter().chain(&self.content)
    }

    /// All chunks of both trees.
    pub fn all_chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        let boards = self.constrained.iter().flat_map(|boards| boards.chunks());
        self.chunks().chain(boards)
    }
}

struct IndexReader<'s> {
    chunks: &'s dyn ChunkStore,
    decoder: Decoder,
    index: Vec<ChunkRef>,
}

impl IndexReader<'_> {
    fn read(&mut self, top: &TreeTop<'_>) -> Result<Files, ContentsError> {
        let layout = top.layout().map_err(|fault| tree(&fault))?;
        let listed = top.references().map_err(|fault| tree(&fault))?;
        self.index = listed.collect::<Result<_, _>>().map_err(|fault| tree(&fault))?;
        for level in 0..layout.levels() {
            let ordinals = layout.ordinals(level);
            if layout.is_entry_table(level) {
                return self.entry_table(ordinals.start as usize, top);
            }
            let mut references = ReferenceReader::new();
            for at in ordinals {
                let bytes = self.chunk(at as usize)?;
                let mut input = &bytes[..];
                while let Some(found) = references.next(&mut input).map_err(|f| tree(&f))? {
                    self.index.push(found);
                }
            }
        }
        Ok(Files::default())
    }

    fn entry_table(&mut self, from: usize, top: &TreeTop<'_>) -> Result<Files, ContentsError> {
        let mut names = vec![NameSlot::EMPTY; ALL_DEPTHS];
        let mut reader = EntryReader::new(&mut names, top.totals());
        let mut files = Files::default();
        for at in from..self.index.len() {
            let bytes = self.chunk(at)?;
            let fed = reader.feed(&bytes, &mut |event| {
                files.take(&event);
                Ok::<(), std::convert::Infallible>(())
            });
            fed.map_err(|fault| tree(&fault))?;
        }
        reader.finish().map_err(|fault| tree(&fault))?;
        Ok(files)
    }

    fn chunk(&mut self, at: usize) -> Result<Vec<u8>, ContentsError> {
        let reference = *self.index.get(at).ok_or_else(|| tree(&"an index chunk is not listed"))?;
        let mut record = vec![0; reference.len as usize + 1_024];
        let len = self.chunks.read(&reference.id, &mut record)?;
        let mut chunk = Vec::new();
        self.decoder.decode_record(&record[..len], &mut chunk).map_err(|fault| tree(&fault))?;
        reference.verify(&chunk).map_err(|fault| tree(&fault))?;
        Ok(chunk)
    }
}

/// Content chunks and files, as the entry table tells them.
#[derive(Default)]
struct Files {
    content: Vec<ChunkRef>,
    streams: Streams,
    known: HashMap<Digest, u32>,
    /// Digests of the paths of the directories that are open.
    open: Vec<Digest>,
}

impl Files {
    fn take(&mut self, event: &TreeEvent<'_>) {
        match *event {
            TreeEvent::Directory { depth, name, .. } => {
                let path = self.path(depth, name.as_bytes());
                self.open.push(path);
            }
            TreeEvent::File { depth, name, chunks, .. } => {
                let path = self.path(depth, name.as_bytes());
                let first = self.streams.ordinals.len() as u32;
                self.streams.files.push(FileStream { path, first, chunks });
            }
            TreeEvent::Chunk(reference) => {
                let next = self.content.len() as u32;
                let ordinal = *self.known.entry(reference.id).or_insert(next);
                if ordinal == next {
                    self.content.push(reference);
                }
                self.streams.ordinals.push(ordinal);
            }
        }
    }

    /// The digest of a path, made from that of its directory.
    fn path(&mut self, depth: u8, name: &[u8]) -> Digest {
        self.open.truncate(depth.into());
        let above: &[u8] = self.open.last().map_or(&[], |directory| &directory.0);
        Digest::of_parts(&[above, b"/", name])
    }
}

fn tree(fault: &impl std::fmt::Debug) -> ContentsError {
    ContentsError::Tree(format!("{fault:?}"))
}
