//! What the tests of this folder share.

use std::collections::HashMap;
use std::io;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder};
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::trust::release::ReleaseRoot;

use super::release::{ReleaseDraft, UnsignedRelease};
use super::sink::{BATCH, ChunkSink, Encoding};
use super::tree::{FileNode, Node, Sent, Tree};
use crate::codec::Decoder;

/// A store in memory that decodes and checks what it is given.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) chunks: HashMap<Digest, Vec<u8>>,
    /// Lengths of the chunks put since it was cleared.
    pub(super) new: Vec<usize>,
    decoder: Decoder,
}

impl ChunkSink for Memory {
    fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>> {
        assert!((1..=BATCH).contains(&ids.len()));
        Ok(ids.iter().map(|id| !self.chunks.contains_key(id)).collect())
    }

    fn put(&mut self, id: Digest, record: &[u8]) -> io::Result<()> {
        let mut chunk = Vec::new();
        self.decoder.decode_record(record, &mut chunk).unwrap();
        assert_eq!(Digest::of(&chunk), id);
        self.new.push(chunk.len());
        assert_eq!(self.chunks.insert(id, chunk), None, "put twice");
        Ok(())
    }
}

impl Memory {
    pub(super) fn read(&self, references: &[ChunkRef]) -> Vec<u8> {
        references.iter().flat_map(|reference| self.chunks[&reference.id].clone()).collect()
    }

    /// The tree that a root names.
    pub(super) fn tree(&self, body: &[u8]) -> Tree {
        let root = ReleaseRoot::decode(body).unwrap();
        let mut chunk = |reference: &ChunkRef| Ok(self.chunks[&reference.id].clone());
        Tree::from_release(&root.standard, &mut chunk).unwrap()
    }
}

pub(super) const DRAFT: ReleaseDraft<'static> = ReleaseDraft {
    fleet: FleetId([0xf1; 16]),
    authority: 3,
    group: GroupId([0x61; 16]),
    group_name: "kiosks",
    order: ReleaseOrder { reset_epoch: 1, sequence: 7 },
    created: 1_000,
    expires: 0,
    label: "summer",
};

pub(super) fn build(tree: &Tree, sink: &mut Memory) -> UnsignedRelease {
    DRAFT.build(tree, Encoding::HOSTS, sink).unwrap()
}

pub(super) fn path(path: &str) -> Vec<String> {
    path.split('/').map(str::to_owned).collect()
}

pub(super) fn directory(at: &str) -> Sent {
    Sent { path: path(at), node: Node::Directory { mtime: -5 } }
}

/// A file of made-up chunks, without their content.
pub(super) fn file(at: &str, lengths: &[u32]) -> Sent {
    let chunk = |(n, &len): (usize, &u32)| {
        let id = Digest::of_parts(&[at.as_bytes(), &n.to_le_bytes()]);
        ChunkRef { id, len }
    };
    let chunks = lengths.iter().enumerate().map(chunk).collect();
    let size = lengths.iter().map(|len| u64::from(*len)).sum();
    let node = FileNode { mtime: 1 << 40, executable: at.ends_with('x'), size, chunks };
    Sent { path: path(at), node: Node::File(node) }
}

pub(super) fn tree(sent: impl IntoIterator<Item = Sent>) -> Tree {
    let mut tree = Tree::default();
    tree.merge(sent).unwrap();
    tree
}

pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
