//! The entry table: directories and files, depth first, as one byte stream.
//!
//! [`EntryReader`] takes the stream in pieces of any size and hands each entry
//! and each reference to a closure as soon as it is whole and checked. Order
//! within a directory needs the last name of every open directory: the caller
//! lends one [`NameSlot`] per depth, so a board chooses how deep it can read.
//!
//! ```text
//!   head ──(directory, or file without chunks)──► head
//!   head ──(file)──► references ──(the last one, sizes agree)──► head
//! ```

use core::cmp::Ordering;

use super::path::{Component, UnsafeName};
use super::reference::{ChunkRef, ReferenceReader};
use crate::limits::{MAX_CHUNK, MAX_COMPONENT, MAX_DEPTH};
use crate::wire::Malformed;

/// Kind, depth and name length.
pub(crate) const FRONT: usize = 3;
/// Modification time.
const TIME: usize = 8;
/// Size and number of chunks of a file.
const FILE: usize = 12;
/// Longest entry without its references, in bytes.
pub const MAX_ENTRY: usize = FRONT + MAX_COMPONENT + TIME + FILE;
/// Shortest entry in bytes: a directory whose name is one byte.
pub const MIN_ENTRY: usize = FRONT + 1 + TIME;
/// Name slots that read every tree: one per depth, the root included.
pub const ALL_DEPTHS: usize = MAX_DEPTH + 1;

const KIND_DIRECTORY: u8 = 0;
const KIND_FILE: u8 = 1;
const EXECUTABLE: u8 = 0x80;

/// What the entry table tells, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEvent<'a> {
    /// A directory; what follows at `depth + 1` is in it.
    Directory {
        /// Depth of its parent: 0 when that is the release's own directory.
        depth: u8,
        /// Its name.
        name: Component<'a>,
        /// Modification time in seconds since 1970.
        mtime: i64,
    },
    /// A file; its chunks follow.
    File {
        /// Depth of its parent: 0 when that is the release's own directory.
        depth: u8,
        /// Its name.
        name: Component<'a>,
        /// Whether it may be executed.
        executable: bool,
        /// Modification time in seconds since 1970.
        mtime: i64,
        /// Length in bytes: the sum of its chunks.
        size: u64,
        /// How many [`TreeEvent::Chunk`] follow.
        chunks: u32,
    },
    /// The next chunk of the file last told.
    Chunk(ChunkRef),
}

/// What a whole entry table amounts to; the release root states it beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TreeTotals {
    /// Directories and files.
    pub entries: u32,
    /// Files.
    pub files: u32,
    /// Sum of the sizes of all files.
    pub content_bytes: u64,
    /// Length of the entry table.
    pub entry_bytes: u64,
}

/// Which rule a tree breaks (PROTOCOL R1).
///
/// The fault lies with whoever signed it, but for the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTree {
    /// A kind or a reference that does not exist.
    Malformed(Malformed),
    /// A name that is not safe.
    Name(UnsafeName),
    /// A name that repeats in its directory.
    Repeated,
    /// A name that stands after a greater one in its directory.
    Order,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth {
        /// The depth found.
        found: u8,
    },
    /// No directory is open at the depth above.
    Parent {
        /// Depth stated for the parent.
        found: u8,
        /// The deepest that would have been possible.
        open: u8,
    },
    /// A file's size is not the sum of its chunks.
    Size,
    /// More or fewer entries, files or bytes than the root states.
    Totals {
        /// What the root states.
        expected: TreeTotals,
        /// What was found, up to where it could not fit any more.
        found: TreeTotals,
    },
    /// The stream ends inside an entry.
    Unfinished,
    /// Allowed, but deeper than this reader has name slots: our own limit.
    TooDeepForReader {
        /// Name slots it would need at least.
        needed: usize,
    },
    /// The sink failed before; where the stream stands is not known any more.
    Aborted,
}

/// Why [`EntryReader::feed`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedError<E> {
    /// The tree is bad.
    Tree(BadTree),
    /// The sink failed.
    Sink(E),
}

/// Room for the last name of one open directory.
#[derive(Clone, Copy, Debug)]
pub struct NameSlot {
    /// Zero when the directory has no entry yet.
    len: u8,
    bytes: [u8; MAX_COMPONENT],
}

impl NameSlot {
    /// A slot without a name.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_COMPONENT] };

    fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn set(&mut self, name: Component<'_>) {
        let name = name.as_bytes();
        self.bytes[..name.len()].copy_from_slice(name);
        self.len = name.len() as u8;
    }
}

/// Reads an entry table that arrives in pieces.
///
/// Inputs: [`feed`](Self::feed), in order, then [`finish`](Self::finish) once.
/// After an error every call fails.
#[derive(Debug)]
pub struct EntryReader<'s> {
    head: [u8; MAX_ENTRY],
    state: State,
    open: OpenDirectories<'s>,
    tally: Tally,
}

#[derive(Debug)]
enum State {
    /// `used` bytes of `head` are there, `need` are known to belong to it.
    Head { used: usize, need: usize },
    /// The file's remaining references, and the bytes that they must sum up to.
    References { reader: ReferenceReader, left: u32, bytes_left: u64 },
    /// Stopped for good.
    Failed(BadTree),
}

impl State {
    const NEXT_ENTRY: Self = Self::Head { used: 0, need: FRONT };
}

impl<'s> EntryReader<'s> {
    /// A reader of a tree that must amount to `expected`.
    ///
    /// `slots` holds one slot per depth it can read, [`ALL_DEPTHS`] for all.
    #[must_use]
    pub fn new(slots: &'s mut [NameSlot], expected: TreeTotals) -> Self {
        Self {
            head: [0; MAX_ENTRY],
            state: State::NEXT_ENTRY,
            open: OpenDirectories::new(slots),
            tally: Tally { expected, found: TreeTotals::default() },
        }
    }

    /// Takes the next bytes and hands what they complete to `sink`.
    ///
    /// # Errors
    /// [`FeedError::Tree`] when the tree breaks a rule, [`FeedError::Sink`]
    /// when the sink failed; neither can be continued.
    pub fn feed<E>(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(TreeEvent<'_>) -> Result<(), E>,
    ) -> Result<(), FeedError<E>> {
        let mut input = bytes;
        let mut fed = Ok(());
        while fed.is_ok() && !input.is_empty() {
            fed = match self.state {
                State::Head { .. } => self.take_head(&mut input, sink),
                State::References { .. } => self.take_reference(&mut input, sink),
                State::Failed(fault) => Err(FeedError::Tree(fault)),
            };
        }
        match fed {
            Err(FeedError::Tree(fault)) => self.state = State::Failed(fault),
            Err(FeedError::Sink(_)) => self.state = State::Failed(BadTree::Aborted),
            Ok(()) => {}
        }
        fed
    }

    /// Checks that the stream ended where it may, with the root's numbers.
    ///
    /// # Errors
    /// [`BadTree`] when it did not, or when `feed` failed before.
    pub fn finish(self) -> Result<(), BadTree> {
        self.check_end()
    }

    /// Gives the name slots back, whatever has been read.
    #[must_use]
    pub fn into_slots(self) -> &'s mut [NameSlot] {
        self.open.slots
    }

    /// Checks the same as [`Self::finish`], and gives nothing up.
    ///
    /// # Errors
    /// Those of [`Self::finish`].
    pub fn check_end(&self) -> Result<(), BadTree> {
        match self.state {
            State::Failed(fault) => Err(fault),
            State::Head { used: 0, .. } if self.tally.found == self.tally.expected => Ok(()),
            State::Head { used: 0, .. } => Err(self.tally.differs()),
            State::Head { .. } | State::References { .. } => Err(BadTree::Unfinished),
        }
    }

    fn take_head<E>(
        &mut self,
        input: &mut &[u8],
        sink: &mut impl FnMut(TreeEvent<'_>) -> Result<(), E>,
    ) -> Result<(), FeedError<E>> {
        let State::Head { used, need } = &mut self.state else { return Ok(()) };
        let (front, rest) = input.split_at(input.len().min(*need - *used));
        self.head[*used..*used + front.len()].copy_from_slice(front);
        *used += front.len();
        *input = rest;
        self.tally.count_bytes(front.len()).map_err(FeedError::Tree)?;
        if used < need {
            return Ok(());
        }
        let [kind, _, name_len, ..] = self.head;
        let whole = entry_len(kind, name_len).map_err(FeedError::Tree)?;
        if *need < whole {
            *need = whole;
            return Ok(());
        }
        let event = parse_entry(&self.head[..whole]).map_err(FeedError::Tree)?;
        self.tally.count_entry(&event).map_err(FeedError::Tree)?;
        self.open.enter(&event).map_err(FeedError::Tree)?;
        self.state = match event {
            TreeEvent::File { size, chunks: left @ 1.., .. } => {
                State::References { reader: ReferenceReader::new(), left, bytes_left: size }
            }
            _ => State::NEXT_ENTRY,
        };
        sink(event).map_err(FeedError::Sink)
    }

    fn take_reference<E>(
        &mut self,
        input: &mut &[u8],
        sink: &mut impl FnMut(TreeEvent<'_>) -> Result<(), E>,
    ) -> Result<(), FeedError<E>> {
        let State::References { reader, left, bytes_left } = &mut self.state else {
            return Ok(());
        };
        let before = input.len();
        let read = reader.next(input).map_err(|fault| FeedError::Tree(BadTree::Malformed(fault)));
        self.tally.count_bytes(before - input.len()).map_err(FeedError::Tree)?;
        let Some(reference) = read? else { return Ok(()) };
        // PROTOCOL R1: a file whose size is not the sum of its chunks.
        *bytes_left = bytes_left
            .checked_sub(u64::from(reference.len))
            .ok_or(FeedError::Tree(BadTree::Size))?;
        *left -= 1;
        if *left == 0 {
            if *bytes_left != 0 {
                return Err(FeedError::Tree(BadTree::Size));
            }
            self.state = State::NEXT_ENTRY;
        }
        sink(TreeEvent::Chunk(reference)).map_err(FeedError::Sink)
    }
}

/// The directories that the next entry may be in, with their last names.
#[derive(Debug)]
struct OpenDirectories<'s> {
    slots: &'s mut [NameSlot],
    /// Depth of the deepest one; 0 is the release's own directory.
    deepest: u8,
}

impl<'s> OpenDirectories<'s> {
    fn new(slots: &'s mut [NameSlot]) -> Self {
        if let Some(slot) = slots.first_mut() {
            slot.len = 0;
        }
        Self { slots, deepest: 0 }
    }

    fn enter(&mut self, event: &TreeEvent<'_>) -> Result<(), BadTree> {
        let (depth, name, own_depth) = match *event {
            TreeEvent::Directory { depth, name, .. } => (depth, name, depth.saturating_add(1)),
            TreeEvent::File { depth, name, .. } => (depth, name, depth),
            TreeEvent::Chunk(_) => return Ok(()),
        };
        // PROTOCOL R1: a depth beyond MAX_DEPTH.
        if usize::from(own_depth) > MAX_DEPTH {
            return Err(BadTree::Depth { found: own_depth });
        }
        // PROTOCOL R1: a parent that is not the directory last opened at that depth.
        if depth > self.deepest {
            return Err(BadTree::Parent { found: depth, open: self.deepest });
        }
        let needed = usize::from(depth) + 1;
        let Some(slot) = self.slots.get_mut(usize::from(depth)) else {
            return Err(BadTree::TooDeepForReader { needed });
        };
        // PROTOCOL R1: a name that repeats in its directory, or is out of order.
        match name.as_bytes().cmp(slot.name()) {
            Ordering::Greater => slot.set(name),
            Ordering::Equal => return Err(BadTree::Repeated),
            Ordering::Less => return Err(BadTree::Order),
        }
        self.deepest = own_depth;
        if let Some(inner) = self.slots.get_mut(needed) {
            inner.len = 0;
        }
        Ok(())
    }
}

/// What was found so far, against what the root states.
#[derive(Debug)]
struct Tally {
    expected: TreeTotals,
    found: TreeTotals,
}

impl Tally {
    fn count_bytes(&mut self, len: usize) -> Result<(), BadTree> {
        self.found.entry_bytes = self.found.entry_bytes.saturating_add(len as u64);
        self.check()
    }

    fn count_entry(&mut self, event: &TreeEvent<'_>) -> Result<(), BadTree> {
        self.found.entries = self.found.entries.saturating_add(1);
        if let TreeEvent::File { size, chunks, .. } = *event {
            // PROTOCOL R1: so many chunks can never sum up to that size.
            let most = u64::from(chunks) * MAX_CHUNK as u64;
            if !(u64::from(chunks)..=most).contains(&size) {
                return Err(BadTree::Size);
            }
            self.found.files = self.found.files.saturating_add(1);
            self.found.content_bytes = self.found.content_bytes.saturating_add(size);
        }
        self.check()
    }

    /// Stops at the first number that has grown too large.
    fn check(&self) -> Result<(), BadTree> {
        let (found, expected) = (&self.found, &self.expected);
        let fits = found.entries <= expected.entries
            && found.files <= expected.files
            && found.content_bytes <= expected.content_bytes
            && found.entry_bytes <= expected.entry_bytes;
        if fits { Ok(()) } else { Err(self.differs()) }
    }

    /// PROTOCOL R1: numbers that differ from those in the root.
    const fn differs(&self) -> BadTree {
        BadTree::Totals { expected: self.expected, found: self.found }
    }
}

/// Writes a directory; returns its length in bytes.
///
/// # Errors
/// [`Malformed::Bound`] when it does not fit `out`, which [`MAX_ENTRY`] always does.
pub fn encode_directory(
    depth: u8,
    name: Component<'_>,
    mtime: i64,
    out: &mut [u8],
) -> Result<usize, Malformed> {
    let front = [KIND_DIRECTORY, depth, name.as_bytes().len() as u8];
    write_parts(&[&front, name.as_bytes(), &mtime.to_le_bytes()], out)
}

/// Writes a file without its references, which follow as [`ChunkRef::encode`];
/// returns its length in bytes.
///
/// # Errors
/// [`Malformed::Bound`] when it does not fit `out`, which [`MAX_ENTRY`] always does.
pub fn encode_file(file: &FileEntry<'_>, out: &mut [u8]) -> Result<usize, Malformed> {
    let kind = KIND_FILE | if file.executable { EXECUTABLE } else { 0 };
    let front = [kind, file.depth, file.name.as_bytes().len() as u8];
    let mtime = file.mtime.to_le_bytes();
    let (size, chunks) = (file.size.to_le_bytes(), file.chunks.to_le_bytes());
    write_parts(&[&front, file.name.as_bytes(), &mtime, &size, &chunks], out)
}

/// A file as [`encode_file`] takes it; the fields are those of [`TreeEvent::File`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry<'a> {
    /// Depth of its parent.
    pub depth: u8,
    /// Its name.
    pub name: Component<'a>,
    /// Whether it may be executed.
    pub executable: bool,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Length in bytes.
    pub size: u64,
    /// How many references follow.
    pub chunks: u32,
}

fn write_parts(parts: &[&[u8]], out: &mut [u8]) -> Result<usize, Malformed> {
    let mut used = 0;
    for part in parts {
        let room = out.get_mut(used..used + part.len()).ok_or(Malformed::Bound)?;
        room.copy_from_slice(part);
        used += part.len();
    }
    Ok(used)
}

/// Length of an entry without its references, from its first and third byte.
pub(crate) fn entry_len(kind: u8, name_len: u8) -> Result<usize, BadTree> {
    let common = FRONT + usize::from(name_len) + TIME;
    match kind & !EXECUTABLE {
        // Searching a directory is not a choice of the signer: one encoding only.
        KIND_DIRECTORY if kind & EXECUTABLE == 0 => Ok(common),
        KIND_FILE => Ok(common + FILE),
        _ => Err(BadTree::Malformed(Malformed::Kind(kind))),
    }
}

/// The meaning of one whole entry.
pub(crate) fn parse_entry(entry: &[u8]) -> Result<TreeEvent<'_>, BadTree> {
    let short = BadTree::Malformed(Malformed::Length { expected: MIN_ENTRY, found: entry.len() });
    let (&[kind, depth, name_len], rest) = entry.split_first_chunk::<FRONT>().ok_or(short)?;
    let (name, rest) = rest.split_at_checked(usize::from(name_len)).ok_or(short)?;
    let (mtime, rest) = rest.split_first_chunk::<TIME>().ok_or(short)?;
    let (name, mtime) =
        (Component::parse(name).map_err(BadTree::Name)?, i64::from_le_bytes(*mtime));
    if kind & !EXECUTABLE == KIND_DIRECTORY {
        return Ok(TreeEvent::Directory { depth, name, mtime });
    }
    let (size, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
    let (chunks, _) = rest.split_first_chunk::<4>().ok_or(short)?;
    Ok(TreeEvent::File {
        depth,
        name,
        executable: kind & EXECUTABLE != 0,
        mtime,
        size: u64::from_le_bytes(*size),
        chunks: u32::from_le_bytes(*chunks),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "entry_tests.rs"]
mod tests;
