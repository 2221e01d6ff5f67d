//! Makes a release of a tree: index chunks, the root, signatures.
//!
//! The entry table is cut into chunks, the list of these into chunks of its own, and so on,
//! until a list fits the root (PROTOCOL §4, "Trees"). All cuts depend on content, so a small
//! change to the tree changes few index chunks; and the same tree has the same index.

use std::collections::HashSet;
use std::io;
use std::io::{Cursor, Read};

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder};
use fleetcast_core::limits::{CHUNK_REF, MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::tree::index::{Levels, TreeTop};
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::trust::document::{add_signature, assemble, signed_len};
use fleetcast_core::trust::release::{BadRoot, FORMAT, ReleaseRoot};
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::control::{CODEC_LZ4, ReleaseName};
use thiserror::Error;

use super::sink::{BATCH, ChunkSink, Encoding, lacking};
use super::table::EntryTable;
use super::tree::{Node, Tree};
use crate::chunker::{Chunker, Profile};
use crate::codec::Encoder;

/// Longest list that stands in the root, in bytes: what else is there takes at most 300.
const MAX_TOP: usize = 3 * 1_024;
/// The same where there are two trees, which share the root.
const MAX_TWIN_TOP: usize = MAX_TOP / 2;

/// All of a release's root but the tree.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseDraft<'a> {
    /// The fleet.
    pub fleet: FleetId,
    /// Version of the authority document that the signers know.
    pub authority: u32,
    /// The group.
    pub group: GroupId,
    /// The group's name now, which becomes a directory.
    pub group_name: &'a str,
    /// Its place among the group's releases.
    pub order: ReleaseOrder,
    /// Now, in seconds since 1970.
    pub created: u64,
    /// Last second of a first installation, since 1970; 0 for ever.
    pub expires: u64,
    /// What people call it, at most 64 bytes.
    pub label: &'a str,
}

/// Why there is no release.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The store failed.
    #[error("index chunks cannot be stored: {0}")]
    Sink(io::Error),
    /// The tree is beyond what a root can name, or an encoder gave up.
    #[error("the tree cannot be written: {0}")]
    Tree(io::Error),
    /// No receiver would accept this root.
    #[error("the release root is not acceptable: {0:?}")]
    Root(BadRoot),
    /// There are more signatures than a document takes.
    #[error("the release cannot be signed: {0:?}")]
    Signature(Malformed),
}

impl ReleaseDraft<'_> {
    /// Cuts the index of `tree`, puts what `sink` lacks of it, and makes the root.
    ///
    /// # Errors
    /// [`ReleaseError`]; chunks that were put stay, and are not put again.
    pub fn build(
        &self,
        tree: &Tree,
        encoding: Encoding,
        sink: &mut dyn ChunkSink,
    ) -> Result<UnsignedRelease, ReleaseError> {
        self.build_both(tree, None, encoding, sink)
    }

    /// The same with a second tree for boards: the same content in smaller chunks.
    ///
    /// # Errors
    /// [`ReleaseError`] as for [`Self::build`].
    pub fn build_both(
        &self,
        tree: &Tree,
        twin: Option<&Tree>,
        encoding: Encoding,
        sink: &mut dyn ChunkSink,
    ) -> Result<UnsignedRelease, ReleaseError> {
        let longest = if twin.is_some() { MAX_TWIN_TOP } else { MAX_TOP };
        let index = Index::cut(tree, Profile::Index, longest, encoding, sink)?;
        let twin = match twin {
            None => None,
            Some(twin) => {
                // A board's block must hold a whole chunk of the index too.
                let boards = Encoding { codecs: CODEC_LZ4, ..encoding };
                Some((twin, Index::cut(twin, Profile::Constrained, longest, boards, sink)?))
            }
        };
        let tree_top = index.numbers(tree)?;
        let (files, bytes) = (tree_top.files, tree_top.content_bytes);
        let mut root = self.root(tree_top);
        root.constrained = twin.as_ref().map(|(twin, index)| index.numbers(twin)).transpose()?;
        let mut body = vec![0; MAX_ROOT];
        let length = root.encode(&mut body).map_err(ReleaseError::Root)?;
        body.truncate(length);
        let name = root.name(Context::Release.digest(&body));
        Ok(UnsignedRelease { body, name, files, bytes, index: index.levels.concat() })
    }

    const fn root<'r>(&self, standard: TreeTop<'r>) -> ReleaseRoot<'r>
    where
        Self: 'r,
    {
        ReleaseRoot {
            format: FORMAT,
            fleet: self.fleet,
            authority: self.authority,
            group: self.group,
            group_name: self.group_name,
            order: self.order,
            created: self.created,
            expires: self.expires,
            label: self.label,
            standard,
            constrained: None,
        }
    }
}

/// A release that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedRelease {
    /// The root's body, at most `MAX_ROOT` bytes.
    pub body: Vec<u8>,
    /// Group, order and digest; signatures do not change it.
    pub name: ReleaseName,
    /// How many files it has.
    pub files: u32,
    /// Their sizes together.
    pub bytes: u64,
    /// Its index chunks, by ordinal.
    pub index: Vec<ChunkRef>,
}

impl UnsignedRelease {
    /// Signs it with each of `keys`.
    ///
    /// # Errors
    /// [`ReleaseError::Signature`] for more than `MAX_SIGNATURES` keys.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<SignedRelease, ReleaseError> {
        let mut document = vec![0; signed_len(self.body.len(), MAX_SIGNATURES)];
        let mut length = assemble(&self.body, &mut document).map_err(ReleaseError::Signature)?;
        for key in keys {
            length = add_signature(&mut document, length, Context::Release, key)
                .map_err(ReleaseError::Signature)?;
        }
        document.truncate(length);
        Ok(SignedRelease { document, name: self.name, files: self.files, bytes: self.bytes })
    }
}

/// A signed release, as the server stores it and receivers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    /// Body and signatures.
    pub document: Vec<u8>,
    /// Group, order and digest.
    pub name: ReleaseName,
    /// How many files it has.
    pub files: u32,
    /// Their sizes together.
    pub bytes: u64,
}

/// The index of a tree, cut and stored.
struct Index {
    /// References per stream, as in the root: the list that stands there first.
    levels: Vec<Vec<ChunkRef>>,
    /// The list in the root.
    top: Vec<u8>,
}

impl Index {
    /// Cuts the entry table of a tree, and lists of chunks until one of at most
    /// `longest` bytes is left.
    fn cut(
        tree: &Tree,
        profile: Profile,
        longest: usize,
        encoding: Encoding,
        sink: &mut dyn ChunkSink,
    ) -> Result<Self, ReleaseError> {
        let encoder = encoding.encoder().map_err(ReleaseError::Tree)?;
        let mut index = Indexer { sink, encoder, profile, levels: Vec::new() };
        index.cut(EntryTable::new(tree))?;
        let top = loop {
            let above = index.levels.last().map_or(&[][..], Vec::as_slice);
            let list: Vec<u8> = above.iter().flat_map(ChunkRef::encode).collect();
            if list.len() <= longest {
                break list;
            }
            index.cut(Cursor::new(list))?;
        };
        Ok(Self { levels: index.levels.into_iter().rev().collect(), top })
    }

    /// What the root says about the tree and this index of it.
    fn numbers(&self, tree: &Tree) -> Result<TreeTop<'_>, ReleaseError> {
        numbers(tree, &self.levels, &self.top)
    }
}

/// Cuts the streams of an index and stores their chunks.
struct Indexer<'s> {
    sink: &'s mut dyn ChunkSink,
    encoder: Encoder,
    profile: Profile,
    /// References per stream; the entry table first.
    levels: Vec<Vec<ChunkRef>>,
}

impl Indexer<'_> {
    fn cut(&mut self, stream: impl Read) -> Result<(), ReleaseError> {
        let mut chunker = Chunker::new(stream, self.profile);
        let (mut level, mut batch) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        while let Some(chunk) = chunker.next_chunk().map_err(ReleaseError::Tree)? {
            // Not more than 8 KiB, by the profile.
            level.push(ChunkRef { id: chunk.digest, len: chunk.bytes.len() as u32 });
            if seen.insert(chunk.digest) {
                batch.push((chunk.digest, chunk.bytes.to_vec()));
            }
            if batch.len() == BATCH {
                self.store(std::mem::take(&mut batch))?;
            }
        }
        self.store(batch)?;
        if !level.is_empty() {
            self.levels.push(level);
        }
        Ok(())
    }

    fn store(&mut self, batch: Vec<(Digest, Vec<u8>)>) -> Result<(), ReleaseError> {
        let ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
        let lacks = lacking(self.sink, &ids).map_err(ReleaseError::Sink)?;
        let mut record = Vec::new();
        for ((id, bytes), _) in batch.iter().zip(lacks).filter(|(_, lacks)| *lacks) {
            record.clear();
            let encoded = self.encoder.encode(bytes, &mut record);
            encoded.map_err(|fault| ReleaseError::Tree(io::Error::other(fault)))?;
            self.sink.put(*id, &record).map_err(ReleaseError::Sink)?;
        }
        Ok(())
    }
}

/// What the root says about a tree and its index.
fn numbers<'t>(
    tree: &Tree,
    levels: &[Vec<ChunkRef>],
    top: &'t [u8],
) -> Result<TreeTop<'t>, ReleaseError> {
    let many = || ReleaseError::Tree(io::Error::other("more than a release can name"));
    let count = |count: usize| u32::try_from(count).map_err(|_| many());
    let lengths = |level: &Vec<ChunkRef>| level.iter().map(|chunk| u64::from(chunk.len)).sum();
    let (mut files, mut content_bytes) = (0, 0_u64);
    let mut content = HashSet::new();
    for (_, node) in tree.entries() {
        if let Node::File(file) = node {
            files += 1;
            content_bytes = content_bytes.checked_add(file.size).ok_or_else(many)?;
            content.extend(file.chunks.iter().map(|chunk| chunk.id));
        }
    }
    let mut counted = Levels::new();
    for level in levels {
        counted.push(count(level.len())?).map_err(|_| many())?;
    }
    debug_assert_eq!(top.len(), levels.first().map_or(0, Vec::len) * CHUNK_REF);
    Ok(TreeTop {
        levels: counted,
        entries: count(tree.len())?,
        files: count(files)?,
        content_bytes,
        content_chunks: count(content.len())?,
        index_bytes: levels.iter().map(lengths).sum(),
        entry_bytes: levels.last().map_or(0, lengths),
        top,
    })
}
