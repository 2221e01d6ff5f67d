//! The entry table of a tree as a byte stream (PROTOCOL §4, "Trees").

use std::io;
use std::io::Read;

use fleetcast_core::tree::entry::{FileEntry, MAX_ENTRY, encode_directory, encode_file};
use fleetcast_core::tree::path::Component;

use super::tree::{Node, Tree};

/// Yields a tree's entry table; never holds more than one entry of it.
pub(super) struct EntryTable<'t> {
    entries: Box<dyn Iterator<Item = (&'t [String], &'t Node)> + 't>,
    /// The entry that is being handed out …
    entry: Vec<u8>,
    /// … from here on.
    at: usize,
}

impl<'t> EntryTable<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        Self { entries: Box::new(tree.entries()), entry: Vec::new(), at: 0 }
    }
}

impl Read for EntryTable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.entry.len() {
            let Some((path, node)) = self.entries.next() else { return Ok(0) };
            encode(path, node, &mut self.entry)?;
            self.at = 0;
        }
        let length = buffer.len().min(self.entry.len() - self.at);
        buffer[..length].copy_from_slice(&self.entry[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Writes one entry and its references. A tree holds only what can be written.
fn encode(path: &[String], node: &Node, out: &mut Vec<u8>) -> io::Result<()> {
    let impossible = || io::Error::other("an entry that no tree holds");
    let (name, parents) = path.split_last().ok_or_else(impossible)?;
    let name = Component::parse(name.as_bytes()).map_err(|_| impossible())?;
    let depth = u8::try_from(parents.len()).map_err(|_| impossible())?;
    out.resize(MAX_ENTRY, 0);
    let length = match node {
        Node::Directory { mtime } => encode_directory(depth, name, *mtime, out),
        Node::File(file) => {
            let (executable, mtime, size) = (file.executable, file.mtime, file.size);
            let chunks = u32::try_from(file.chunks.len()).map_err(|_| impossible())?;
            encode_file(&FileEntry { depth, name, executable, mtime, size, chunks }, out)
        }
    };
    out.truncate(length.map_err(|_| impossible())?);
    if let Node::File(file) = node {
        file.chunks.iter().for_each(|chunk| out.extend_from_slice(&chunk.encode()));
    }
    Ok(())
}
