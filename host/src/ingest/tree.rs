//! What a group's directory is to contain: the current release and what is added to it.
//!
//! Entries are kept by their paths, as lists of components. Such lists compare component by
//! component, so the map's order *is* the order of the entry table: depth first, names
//! ascending by bytes, a directory before what is in it.
//!
//! Adding follows one rule: **what is sent is there afterwards, as it was sent**.
//! Directories merge, as with `cp -r`; a file replaces a file of the same name. Where the
//! kinds differ, what is sent replaces what was there, a directory with all that is in it.
//! Mirroring is adding to the empty tree.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use fleetcast_core::limits::MAX_DEPTH;
use fleetcast_core::tree::entry::BadTree;
use fleetcast_core::tree::index::BadTop;
use fleetcast_core::tree::reference::{ChunkRef, WrongChunk};
use fleetcast_core::wire::Malformed;
use thiserror::Error;

use crate::files::{NameFault, check_name, folded};
use crate::units::quoted_path;

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// Modification time in seconds since 1970.
        mtime: i64,
    },
    /// A regular file.
    File(FileNode),
}

/// An entry to be added to a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its path below the group's directory.
    pub path: Vec<String>,
    /// What it is.
    pub node: Node,
}

/// A file, by its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNode {
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Length in bytes: the sum of its chunks.
    pub size: u64,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkRef>,
}

/// Why there is no such tree.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A name may not travel.
    #[error("{} {fault}", quoted_path(path))]
    Name {
        /// Its path below the group's directory.
        path: PathBuf,
        /// What is wrong with its name.
        fault: NameFault,
    },
    /// Two names in one directory differ only by case.
    #[error("{} and {} differ only by case", quoted_path(one), quoted_path(other))]
    Collision {
        /// The first by bytes.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Deeper than `MAX_DEPTH` directories.
    #[error("{} lies more than {MAX_DEPTH} directories deep", quoted_path(.0))]
    TooDeep(PathBuf),
    /// The caller's fault: what it lies in is no directory of this tree.
    #[error("{} has no directory to be in", quoted_path(.0))]
    Orphan(PathBuf),
    /// The caller's fault: a file's size is not the sum of its chunks.
    #[error("the chunks of {} do not add up to its size", quoted_path(.0))]
    Size(PathBuf),
    /// The current release's index cannot be got.
    #[error("the index of the current release cannot be read: {0}")]
    Read(io::Error),
    /// The current release's root contradicts itself.
    #[error("the current release is damaged: {0:?}")]
    Top(BadTop),
    /// A reference in the current release's index is none.
    #[error("the current release is damaged: {0:?}")]
    Reference(Malformed),
    /// An index chunk of the current release is not what its reference says.
    #[error("the current release is damaged: {0:?}")]
    Chunk(WrongChunk),
    /// The current release's entry table breaks a rule.
    #[error("the current release is damaged: {0:?}")]
    Table(BadTree),
}

/// The entries of a release, in the order of its entry table.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: BTreeMap<Vec<String>, Node>,
}

impl Tree {
    /// Adds what is sent, by the rule above; entries come with their directories first.
    ///
    /// # Errors
    /// [`TreeError::Collision`] when a name differs from one that is there only by case,
    /// and those of [`Self::insert`]. The tree is then unspecified.
    pub fn merge(&mut self, sent: impl IntoIterator<Item = Sent>) -> Result<(), TreeError> {
        for Sent { path, node } in sent {
            self.insert(path, node)?;
        }
        self.refuse_collisions()
    }

    /// Puts one entry in the place of what was there, if the kinds differ with all below.
    ///
    /// # Errors
    /// [`TreeError`] when its name is unsafe, its directory missing, or its depth or size
    /// wrong. Collisions by case are found by [`Self::refuse_collisions`].
    pub fn insert(&mut self, path: Vec<String>, node: Node) -> Result<(), TreeError> {
        let Some((name, parents)) = path.split_last() else {
            return Err(TreeError::Name { path: PathBuf::new(), fault: NameFault::Nameless });
        };
        // PROTOCOL R1: unsafe names.
        check_name(name.as_bytes())
            .map_err(|fault| TreeError::Name { path: shown(&path), fault })?;
        let own_depth = parents.len() + usize::from(matches!(node, Node::Directory { .. }));
        // PROTOCOL R1: a depth beyond MAX_DEPTH.
        if own_depth > MAX_DEPTH {
            return Err(TreeError::TooDeep(shown(&path)));
        }
        if !parents.is_empty() && !self.is_directory(parents) {
            return Err(TreeError::Orphan(shown(&path)));
        }
        if let Node::File(file) = &node {
            // PROTOCOL R1: a file's size is the sum of its chunks.
            let sum: u64 = file.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            if sum != file.size {
                return Err(TreeError::Size(shown(&path)));
            }
            if self.is_directory(&path) {
                self.remove(&path);
            }
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Takes an entry away, and all that is below it.
    pub fn remove(&mut self, path: &[String]) {
        let mut behind = self.nodes.split_off(path);
        let kept = behind.keys().find(|other| !other.starts_with(path)).cloned();
        if let Some(kept) = kept {
            self.nodes.append(&mut behind.split_off(&kept));
        }
    }

    /// Checks that no two names of a directory differ only by case.
    ///
    /// # Errors
    /// [`TreeError::Collision`] for the first two.
    // PROTOCOL R1
    pub fn refuse_collisions(&self) -> Result<(), TreeError> {
        let mut seen: HashMap<(&[String], String), &[String]> =
            HashMap::with_capacity(self.nodes.len());
        for path in self.nodes.keys() {
            let Some((name, parents)) = path.split_last() else { continue };
            if let Some(one) = seen.insert((parents, folded(name)), path) {
                return Err(TreeError::Collision { one: shown(one), other: shown(path) });
            }
        }
        Ok(())
    }

    /// All entries, in the order of the entry table: paths and what they are.
    pub fn entries(&self) -> impl Iterator<Item = (&[String], &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_slice(), node))
    }

    /// The entry at `path`.
    #[must_use]
    pub fn entry(&self, path: &[String]) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no entries at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn is_directory(&self, path: &[String]) -> bool {
        matches!(self.nodes.get(path), Some(Node::Directory { .. }))
    }
}

fn shown(path: &[String]) -> PathBuf {
    path.iter().collect()
}
