//! Reads the tree of a release that exists already.

use std::io;

use fleetcast_core::tree::entry::{ALL_DEPTHS, EntryReader, FeedError, NameSlot, TreeEvent};
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::path::Component;
use fleetcast_core::tree::reference::{ChunkRef, ReferenceReader};

use super::tree::{FileNode, Node, Tree, TreeError};

type Chunks<'c> = dyn FnMut(&ChunkRef) -> io::Result<Vec<u8>> + 'c;

impl Tree {
    /// The tree of a release: `chunk` gives the bytes of an index chunk, decoded; they are
    /// verified here.
    ///
    /// # Errors
    /// [`TreeError::Read`] when `chunk` fails, others when the release is not sound.
    pub fn from_release(top: &TreeTop<'_>, chunk: &mut Chunks<'_>) -> Result<Self, TreeError> {
        let layout = top.layout().map_err(TreeError::Top)?;
        let listed = top.references().map_err(TreeError::Reference)?;
        let mut level: Vec<ChunkRef> =
            listed.collect::<Result<_, _>>().map_err(TreeError::Reference)?;
        for lists in 0..layout.levels() {
            if layout.is_entry_table(lists) {
                return read_table(top, &level, chunk);
            }
            let mut below = Vec::new();
            let mut reader = ReferenceReader::new();
            for reference in &level {
                let bytes = verified(reference, chunk)?;
                let mut input = &bytes[..];
                while let Some(found) = reader.next(&mut input).map_err(TreeError::Reference)? {
                    below.push(found);
                }
            }
            level = below;
        }
        Ok(Self::default())
    }
}

fn read_table(
    top: &TreeTop<'_>,
    references: &[ChunkRef],
    chunk: &mut Chunks<'_>,
) -> Result<Tree, TreeError> {
    let mut slots = vec![NameSlot::EMPTY; ALL_DEPTHS];
    let mut reader = EntryReader::new(&mut slots, top.totals());
    let mut growing = Growing::default();
    for reference in references {
        let bytes = verified(reference, chunk)?;
        reader.feed(&bytes, &mut |event| growing.take(event)).map_err(|fault| match fault {
            FeedError::Tree(bad) => TreeError::Table(bad),
            FeedError::Sink(refused) => refused,
        })?;
    }
    reader.finish().map_err(TreeError::Table)?;
    growing.tree.refuse_collisions()?;
    Ok(growing.tree)
}

fn verified(reference: &ChunkRef, chunk: &mut Chunks<'_>) -> Result<Vec<u8>, TreeError> {
    let bytes = chunk(reference).map_err(TreeError::Read)?;
    // PROTOCOL R2
    reference.verify(&bytes).map_err(TreeError::Chunk)?;
    Ok(bytes)
}

/// The tree up to the entry last told.
#[derive(Default)]
struct Growing {
    tree: Tree,
    /// Components of that entry's path.
    path: Vec<String>,
    /// The file that is told, and how many of its chunks are still to come.
    file: Option<(FileNode, u32)>,
}

impl Growing {
    fn take(&mut self, event: TreeEvent<'_>) -> Result<(), TreeError> {
        match event {
            TreeEvent::Directory { depth, name, mtime } => {
                self.enter(depth, name);
                self.tree.insert(self.path.clone(), Node::Directory { mtime })
            }
            TreeEvent::File { depth, name, executable, mtime, size, chunks } => {
                self.enter(depth, name);
                let file = FileNode { mtime, executable, size, chunks: Vec::new() };
                self.file = Some((file, chunks));
                self.finish_file()
            }
            TreeEvent::Chunk(reference) => {
                if let Some((file, left)) = &mut self.file {
                    file.chunks.push(reference);
                    *left = left.saturating_sub(1);
                }
                self.finish_file()
            }
        }
    }

    fn enter(&mut self, depth: u8, name: Component<'_>) {
        self.path.truncate(usize::from(depth));
        self.path.push(name.as_str().to_owned());
    }

    fn finish_file(&mut self) -> Result<(), TreeError> {
        match self.file.take() {
            Some((file, 0)) => self.tree.insert(self.path.clone(), Node::File(file)),
            unfinished => {
                self.file = unfinished;
                Ok(())
            }
        }
    }
}
