//! Reading files by path.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, Head, Line, State};
use super::error::{Result, StoreError};
use crate::digest::Digest;
use crate::ids::Ordinal;
use crate::limits::CHUNK_REF;
use crate::tree::entry::{BadTree, FRONT, MAX_ENTRY, TreeEvent, entry_len, parse_entry};
use crate::tree::path::Component;
use crate::tree::reference::{ChunkRef, VerifiedChunk};
use crate::wire::control::{Object, ReleaseName};

/// References that a file reads at a time.
const BATCH: usize = 8;

/// A position in the entry table of a release.
#[derive(Clone, Copy, Debug)]
struct Position {
    book: Book,
    /// The line of the next chunk of the table, and the end of the table.
    line: u32,
    end: u32,
    /// The next byte of that chunk.
    byte: u32,
}

/// A walk through the directories and files of a release, depth first.
pub struct Walk {
    at: Position,
    /// Bytes of references that follow the last file.
    skip: u64,
    entry: [u8; MAX_ENTRY],
}

/// A file of a release that is being read.
pub struct File {
    /// Its length in bytes.
    pub size: u64,
    /// How many chunks it has.
    pub chunks: u32,
    /// Whether it may be executed.
    pub executable: bool,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    at: Position,
    /// Chunks that are left, and those of them whose references have been read.
    left: u32,
    batch: heapless::Deque<ChunkRef, BATCH>,
}

impl<D: Read + Write + Seek> Store<'_, D> {
    /// The signed root document of a release, in the front of `out`.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it is not on the card, [`StoreError::Length`] when
    /// `out` is too short.
    pub fn root<'o>(&mut self, name: &ReleaseName, out: &'o mut [u8]) -> Result<&'o [u8]> {
        let (_, slot) = self.slot_of(name).ok_or(StoreError::Unknown)?;
        let book = Book::of(&slot);
        let (bound, found) = (book.root_len(), out.len());
        let out = out.get_mut(..bound).ok_or(StoreError::Length { bound, found })?;
        let (disk, any) = self.card.with_any();
        for (sector, piece) in (book.root()..).zip(out.chunks_mut(crate::limits::SECTOR)) {
            disk.read(sector, any)?;
            let len = piece.len();
            piece.copy_from_slice(any.get(..len).unwrap_or(&[]));
        }
        Ok(out)
    }

    /// The directory that the release's group had when it was signed, in `out` of
    /// [`crate::limits::MAX_NAME`] bytes.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when the release is not on the card.
    pub fn directory<'o>(&mut self, name: &ReleaseName, out: &'o mut [u8]) -> Result<&'o [u8]> {
        let (_, slot) = self.slot_of(name).ok_or(StoreError::Unknown)?;
        let (disk, any) = self.card.with_any();
        Head::read(disk, any, &Book::of(&slot))?;
        let directory = Head::directory(any);
        let (bound, found) = (directory.len(), out.len());
        let out = out.get_mut(..bound).ok_or(StoreError::Length { bound, found })?;
        out.copy_from_slice(directory);
        Ok(out)
    }

    /// Begins a walk through a release that is, or was, active.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it is not on the card, [`StoreError::Incomplete`]
    /// while it arrives.
    pub fn walk(&mut self, name: &ReleaseName) -> Result<Walk> {
        let book = self.book_of(name)?;
        let (disk, any) = self.card.with_any();
        let layout = Head::read(disk, any, &book)?.layout;
        let table = layout.ordinals(layout.levels().saturating_sub(1));
        let at = Position { book, line: table.start, end: table.end, byte: 0 };
        Ok(Walk { at, skip: 0, entry: [0; MAX_ENTRY] })
    }

    /// The next directory or file, never a chunk; `None` behind the last.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when part of the entry table is damaged.
    pub fn next_entry<'w>(&mut self, walk: &'w mut Walk) -> Result<Option<TreeEvent<'w>>> {
        self.skip(&mut walk.at, walk.skip)?;
        walk.skip = 0;
        if walk.at.line >= walk.at.end {
            return Ok(None);
        }
        let [kind, _, name, rest @ ..] = &mut walk.entry;
        let mut front = [0; FRONT];
        self.read_table(&mut walk.at, &mut front)?;
        let len = entry_len(front[0], front[2]).map_err(StoreError::Tree)?;
        (*kind, *name) = (front[0], front[2]);
        self.read_table(&mut walk.at, rest.get_mut(..len - FRONT).unwrap_or(&mut []))?;
        walk.entry[1] = front[1];
        let event = parse_entry(walk.entry.get(..len).unwrap_or(&[])).map_err(StoreError::Tree)?;
        if let TreeEvent::File { chunks, .. } = event {
            walk.skip = u64::from(chunks) * CHUNK_REF as u64;
        }
        Ok(Some(event))
    }

    /// Opens a file by the names of its directories and its own.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when there is no such file.
    pub fn open_file(&mut self, name: &ReleaseName, path: &[Component<'_>]) -> Result<File> {
        let mut walk = self.walk(name)?;
        // So many of the path's directories are those that the walk is in.
        let mut inside = 0;
        while let Some(event) = self.next_entry(&mut walk)? {
            let (depth, found) = match event {
                TreeEvent::Directory { depth, name, .. } => (usize::from(depth), name),
                TreeEvent::File { depth, name, .. } => (usize::from(depth), name),
                TreeEvent::Chunk(_) => continue,
            };
            if depth < inside {
                return Err(StoreError::Unknown);
            }
            if depth != inside || path.get(inside) != Some(&found) {
                continue;
            }
            match event {
                TreeEvent::File { executable, mtime, size, chunks, .. }
                    if inside + 1 == path.len() =>
                {
                    let batch = heapless::Deque::new();
                    let (at, left) = (walk.at, chunks);
                    return Ok(File { size, chunks, executable, mtime, at, left, batch });
                }
                TreeEvent::Directory { .. } => inside += 1,
                _ => return Err(StoreError::Unknown),
            }
        }
        Err(StoreError::Unknown)
    }

    /// The next chunk of a file; `None` behind the last.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when it is not on the card any more: it can be asked for again.
    pub fn next_chunk(&mut self, file: &mut File) -> Result<Option<VerifiedChunk<'_>>> {
        if file.batch.is_empty() {
            while file.left > 0 && !file.batch.is_full() {
                let mut bytes = [0; CHUNK_REF];
                self.read_table(&mut file.at, &mut bytes)?;
                let bad = |fault| StoreError::Tree(BadTree::Malformed(fault));
                // It is not full.
                let _ = file.batch.push_back(ChunkRef::parse(&bytes).map_err(bad)?);
                file.left -= 1;
            }
        }
        let Some(reference) = file.batch.pop_front() else { return Ok(None) };
        let (number, line) = self.look_up(&file.at.book, &reference.id)?;
        self.chunk_of = None;
        let (object, ordinal) = file.at.book.ordinal(number);
        let chunk = self.card.load(&line, self.chunk)?;
        chunk.map(Some).ok_or(StoreError::Lost { object, ordinal })
    }

    /// One chunk of a release that is, or was, active.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when it is not on the card any more, [`StoreError::Unknown`]
    /// when the release has no such chunk.
    pub fn chunk(
        &mut self,
        name: &ReleaseName,
        object: Object,
        ordinal: Ordinal,
    ) -> Result<VerifiedChunk<'_>> {
        let book = self.book_of(name)?;
        let number = book.line(object, ordinal).ok_or(StoreError::Unknown)?;
        let line = self.card.line(&book, number)?;
        self.chunk_of = None;
        let chunk = if line.len > 0 { self.card.load(&line, self.chunk)? } else { None };
        chunk.ok_or(StoreError::Lost { object, ordinal })
    }

    /// The line of a content chunk, by the finder or, where that is damaged, by looking.
    fn look_up(&mut self, book: &Book, id: &Digest) -> Result<(u32, Line)> {
        let content = book.index..book.lines();
        if let Some(found) = self.card.find(book, id, content.clone())? {
            return Ok(found);
        }
        for number in content {
            let line = self.card.line(book, number)?;
            if line.id == *id && line.len > 0 {
                return Ok((number, line));
            }
        }
        let ordinal = Ordinal(book.content);
        Err(StoreError::Lost { object: Object::Content, ordinal })
    }

    /// Reads the next bytes of an entry table.
    fn read_table(&mut self, at: &mut Position, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let len = self.load_table(at)?;
            let rest = self.chunk.get(at.byte as usize..len).unwrap_or(&[]);
            let count = rest.len().min(out.len());
            let (front, back) = out.split_at_mut(count);
            front.copy_from_slice(rest.get(..count).unwrap_or(&[]));
            out = back;
            at.byte += count as u32;
            if at.byte as usize >= len {
                (at.line, at.byte) = (at.line + 1, 0);
            }
        }
        Ok(())
    }

    /// Passes over bytes of an entry table.
    fn skip(&mut self, at: &mut Position, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            if at.line >= at.end {
                return Err(StoreError::Tree(BadTree::Unfinished));
            }
            let len = self.card.line(&at.book, at.line)?.len.max(at.byte + 1);
            let count = u64::from(len - at.byte).min(bytes);
            bytes -= count;
            at.byte += count as u32;
            if at.byte >= len {
                (at.line, at.byte) = (at.line + 1, 0);
            }
        }
        Ok(())
    }

    /// Has the chunk of a position in memory, verified; its length.
    fn load_table(&mut self, at: &Position) -> Result<usize> {
        if at.line >= at.end {
            return Err(StoreError::Tree(BadTree::Unfinished));
        }
        let line = self.card.line(&at.book, at.line)?;
        if self.chunk_of != Some((at.book.tag, at.line)) {
            self.chunk_of = None;
            let (object, ordinal) = at.book.ordinal(at.line);
            let held = line.state == State::Held && line.len > 0;
            let chunk = if held { self.card.load(&line, self.chunk)? } else { None };
            if chunk.is_none() {
                return Err(StoreError::Lost { object, ordinal });
            }
            self.chunk_of = Some((at.book.tag, at.line));
        }
        Ok(line.len as usize)
    }
}
