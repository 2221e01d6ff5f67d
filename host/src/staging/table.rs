//! The entry table of a release in memory: names, sizes, times; not its chunks.
//!
//! 56 bytes and the name for each entry.

use std::collections::HashSet;

use fleetcast_core::digest::Hasher;
use fleetcast_core::tree::entry::{
    ALL_DEPTHS, BadTree, EntryReader, FeedError, NameSlot, TreeEvent, TreeTotals,
};
use fleetcast_core::tree::reference::ChunkRef;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::disk::DiskError;

/// The parent of what stands in the release's own directory.
pub(crate) const TOP: u32 = u32::MAX;

/// Why a table could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    /// The tree breaks a rule: the signer's fault.
    Tree(BadTree),
    /// A name is not in NFC.
    NotComposed,
    /// Two names of a directory differ only by case.
    SameButForCase,
    /// More than this receiver can hold.
    TooLarge,
    /// Our storage failed.
    Disk(DiskError),
}

impl From<DiskError> for TableError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// One directory or file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Entry number of its directory, or [`TOP`].
    pub(crate) parent: u32,
    /// Where its name begins in the table's text.
    name: u32,
    /// Length of its name.
    name_len: u8,
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// Whether it may be executed.
    pub(crate) executable: bool,
    /// In staging: it shares its inode with an installed file, and is never written.
    pub(crate) linked: bool,
    /// In staging: made already, by link or by clone.
    pub(crate) made: bool,
    /// Modification time in seconds since 1970.
    pub(crate) mtime: i64,
    /// Length in bytes.
    pub(crate) size: u64,
    /// Number of its first chunk among all occurrences of chunks.
    pub(crate) first: u32,
    /// Number of its chunks.
    pub(crate) chunks: u32,
    /// Front of the SHA-256 of its references: equal for equal content.
    pub(crate) content: [u8; 16],
}

const _: () = assert!(size_of::<Entry>() == 56);

/// All entries of a tree, in the order of the entry table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    text: String,
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    /// The name of an entry.
    pub(crate) fn name(&self, entry: &Entry) -> &str {
        let start = entry.name as usize;
        &self.text[start..start + usize::from(entry.name_len)]
    }

    /// The entry of a number.
    pub(crate) fn entry(&self, number: u32) -> &Entry {
        &self.entries[number as usize]
    }
}

/// Builds a [`Table`] from the pieces of an entry table.
pub(crate) struct TableReader<'s> {
    reader: EntryReader<'s>,
    build: Build,
}

/// Room that [`TableReader`] borrows.
pub(crate) fn name_slots() -> Vec<NameSlot> {
    vec![NameSlot::EMPTY; ALL_DEPTHS]
}

impl<'s> TableReader<'s> {
    /// A reader of a tree with these totals.
    pub(crate) fn new(slots: &'s mut [NameSlot], totals: TreeTotals) -> Self {
        Self { reader: EntryReader::new(slots, totals), build: Build::default() }
    }

    /// Takes the next bytes; tells each chunk with its file and offset.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        on_chunk: &mut dyn FnMut(u32, u64, ChunkRef) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let build = &mut self.build;
        let fed = self.reader.feed(bytes, &mut |event| build.take(&event, on_chunk));
        fed.map_err(|error| match error {
            FeedError::Tree(bad) => TableError::Tree(bad),
            FeedError::Sink(error) => error,
        })
    }

    /// The table, when it is whole.
    pub(crate) fn finish(mut self) -> Result<Table, TableError> {
        self.reader.finish().map_err(TableError::Tree)?;
        self.build.close_file();
        Ok(self.build.table)
    }
}

#[derive(Default)]
struct Build {
    table: Table,
    /// Open directories: entry number and folded names seen in it.
    open: Vec<(u32, HashSet<String>)>,
    top: HashSet<String>,
    hasher: Hasher,
    offset: u64,
    occurrences: u32,
}

impl Build {
    fn take(
        &mut self,
        event: &TreeEvent<'_>,
        on_chunk: &mut dyn FnMut(u32, u64, ChunkRef) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        match *event {
            TreeEvent::Directory { depth, name, mtime } => {
                let number = self.enter(depth, name.as_str(), mtime)?;
                self.open.push((number, HashSet::new()));
            }
            TreeEvent::File { depth, name, executable, mtime, size, chunks } => {
                let number = self.enter(depth, name.as_str(), mtime)?;
                let first = self.occurrences;
                let entry = &mut self.table.entries[number as usize];
                (entry.is_file, entry.executable) = (true, executable);
                (entry.size, entry.first, entry.chunks) = (size, first, chunks);
            }
            TreeEvent::Chunk(reference) => {
                let file = self.table.entries.len() as u32 - 1;
                on_chunk(file, self.offset, reference)?;
                self.hasher.update(&reference.encode());
                self.offset += u64::from(reference.len);
                self.occurrences = self.occurrences.checked_add(1).ok_or(TableError::TooLarge)?;
            }
        }
        Ok(())
    }

    /// Adds an entry and checks its name against those beside it.
    fn enter(&mut self, depth: u8, name: &str, mtime: i64) -> Result<u32, TableError> {
        self.close_file();
        self.open.truncate(usize::from(depth));
        // PROTOCOL R1: names in NFC that differ by more than case.
        if !is_nfc(name) {
            return Err(TableError::NotComposed);
        }
        let (parent, beside) = match self.open.last_mut() {
            Some((parent, names)) => (*parent, names),
            None => (TOP, &mut self.top),
        };
        if !beside.insert(fold(name)) {
            return Err(TableError::SameButForCase);
        }
        let number = u32::try_from(self.table.entries.len()).map_err(|_| TableError::TooLarge)?;
        let start = u32::try_from(self.table.text.len()).map_err(|_| TableError::TooLarge)?;
        self.table.text.push_str(name);
        self.table.entries.push(Entry {
            parent,
            name: start,
            name_len: name.len() as u8,
            is_file: false,
            executable: false,
            linked: false,
            made: false,
            mtime,
            size: 0,
            first: 0,
            chunks: 0,
            content: [0; 16],
        });
        Ok(number)
    }

    fn close_file(&mut self) {
        let digest = std::mem::take(&mut self.hasher).finish();
        self.offset = 0;
        if let Some(entry) = self.table.entries.last_mut() {
            entry.content.copy_from_slice(&digest.0[..16]);
        }
    }
}

/// A name with differences of case taken away: lower, then upper case, so that
/// letters that are two in upper case meet too.
fn fold(name: &str) -> String {
    let lower: String = name.nfd().flat_map(char::to_lowercase).collect();
    lower.chars().flat_map(char::to_uppercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use fleetcast_core::tree::entry::{FileEntry, MAX_ENTRY, encode_directory, encode_file};
    use fleetcast_core::tree::path::Component;

    use super::*;

    /// Reads empty files and directories (those with a final `/`), all in the
    /// release's own directory but for what is indented by a `>`.
    fn read(names: &[&str]) -> Result<Table, TableError> {
        let (mut bytes, mut files) = (Vec::new(), 0);
        for text in names {
            let depth = text.matches('>').count() as u8;
            let name = text.trim_start_matches('>');
            let component = Component::parse(name.trim_end_matches('/').as_bytes());
            let component = component.expect("tests use safe names");
            let mut out = [0; MAX_ENTRY];
            let len = if name.ends_with('/') {
                encode_directory(depth, component, 5, &mut out)
            } else {
                files += 1;
                let (executable, mtime, size, chunks) = (false, 6, 0, 0);
                let name = component;
                encode_file(&FileEntry { depth, name, executable, mtime, size, chunks }, &mut out)
            };
            bytes.extend_from_slice(&out[..len.expect("it fits")]);
        }
        let entries = names.len() as u32;
        let (content_bytes, entry_bytes) = (0, bytes.len() as u64);
        let totals = TreeTotals { entries, files, content_bytes, entry_bytes };
        let mut slots = name_slots();
        let mut reader = TableReader::new(&mut slots, totals);
        reader.feed(&bytes, &mut |_, _, _| Ok(()))?;
        reader.finish()
    }

    #[test]
    fn entries_know_their_directory_and_name() {
        let table = read(&["a/", ">b/", ">>c", ">d", "e"]).expect("a good tree");
        let parents: Vec<_> = table.entries.iter().map(|entry| entry.parent).collect();
        assert_eq!(parents, [TOP, 0, 1, 0, TOP]);
        let names: Vec<_> = table.entries.iter().map(|entry| table.name(entry)).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn names_that_are_not_composed_are_refused() {
        // PROTOCOL R1: U+00E9 is composed; e and U+0301 are not.
        assert!(read(&["caf\u{e9}"]).is_ok());
        assert_eq!(read(&["cafe\u{301}"]).err(), Some(TableError::NotComposed));
    }

    #[test]
    fn names_that_differ_only_by_case_are_refused_within_a_directory() {
        // PROTOCOL R1
        for pair in [["README", "readme"], ["STRASSE", "stra\u{df}e"], ["\u{c9}", "\u{e9}"]] {
            assert_eq!(read(&pair).err(), Some(TableError::SameButForCase), "{pair:?}");
        }
        assert!(read(&["A/", ">x", "B/", ">X"]).is_ok());
        assert_eq!(read(&["A/", ">x", "a/"]).err(), Some(TableError::SameButForCase));
    }
}
