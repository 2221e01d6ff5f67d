//! The card: superblock, free space, one page of a map that is being changed, and
//! reading and writing chunks.
//!
//! Two orders make it safe. A page of a map is written only when the chunks that it
//! names are durable; and what the superblock does not name is free, so no sector
//! that anybody relies on is ever written again.

use embedded_io::{Read, Seek, Write};

use super::book::{BUCKET, Book, LINES, Line, MAP, PLACES, State};
use super::disk::{Disk, Sector};
use super::error::{Result, StoreError};
use super::lz4::{self, Source, Undecoded};
use super::page::{self, Found, read_twin, write_twin};
use super::space::Space;
use super::superblock::{Fields, LOG, Superblock, put};
use crate::digest::Digest;
use crate::limits::{SECTOR, STORE_UNSYNCED};
use crate::tree::record::{LZ4, NONE};
use crate::tree::reference::{ChunkRef, VerifiedChunk};

/// A page of a map in memory.
struct Page {
    tag: u32,
    number: u32,
    place: (u32, u32),
    found: Option<Found>,
    dirty: bool,
}

/// What is known to lie in the sector of memory for anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cached {
    /// A page of a map: its tag and number.
    Page(u32, u32),
    /// A valid bucket of a finder: its tag and sector.
    Bucket(u32, u32),
}

/// The card and the sectors of memory to work on it.
pub(super) struct Card<'b, D> {
    pub(super) disk: Disk<D>,
    pub(super) superblock: Superblock,
    pub(super) space: Space<'b>,
    /// For whatever is read or written next.
    pub(super) any: &'b mut Sector,
    /// What lies in `any`, if that is known.
    cached: Option<Cached>,
    /// The page of a map that is being changed.
    map: &'b mut Sector,
    page: Option<Page>,
    /// Bytes of chunks that are not durable yet.
    unsynced: usize,
}

impl<'b, D: Read + Write + Seek> Card<'b, D> {
    pub(super) const fn new(
        disk: Disk<D>,
        superblock: Superblock,
        space: Space<'b>,
        any: &'b mut Sector,
        map: &'b mut Sector,
    ) -> Self {
        Self { disk, superblock, space, any, cached: None, map, page: None, unsynced: 0 }
    }

    /// The sector of memory for anything; what it held is forgotten.
    pub(super) fn with_any(&mut self) -> (&mut Disk<D>, &mut Sector) {
        self.cached = None;
        (&mut self.disk, self.any)
    }

    /// Makes what the superblock says so.
    pub(super) fn write_superblock(&mut self) -> Result<()> {
        self.commit()?;
        self.cached = None;
        self.superblock.write(&mut self.disk, self.any)
    }

    // --- the map ---

    /// Reads a line of a map.
    pub(super) fn line(&mut self, book: &Book, line: u32) -> Result<Line> {
        let (number, at) = (line / LINES, (line % LINES) as usize);
        if self.has(book, number) {
            return Ok(Line::read(self.map, at));
        }
        let wanted = Some(Cached::Page(book.tag, number));
        if self.cached != wanted {
            self.cached = None;
            read_twin(&mut self.disk, book.page(number), (MAP, book.tag), self.any)?;
            self.cached = wanted;
        }
        Ok(Line::read(self.any, at))
    }

    /// Changes a line of a map; durable after [`Self::commit`].
    pub(super) fn set(&mut self, book: &Book, line: u32, what: &Line) -> Result<()> {
        let (number, at) = (line / LINES, (line % LINES) as usize);
        if !self.has(book, number) {
            self.write_page()?;
            self.page = None;
            let place = book.page(number);
            let found = read_twin(&mut self.disk, place, (MAP, book.tag), self.map)?;
            self.page = Some(Page { tag: book.tag, number, place, found, dirty: false });
        }
        what.write(self.map, at);
        if let Some(page) = &mut self.page {
            page.dirty = true;
        }
        if self.cached == Some(Cached::Page(book.tag, number)) {
            self.cached = None;
        }
        Ok(())
    }

    /// Makes all that was changed durable.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.write_page()?;
        self.disk.flush()?;
        self.unsynced = 0;
        Ok(())
    }

    /// Makes it durable when enough has come together.
    pub(super) fn commit_some(&mut self, bytes: usize) -> Result<()> {
        self.unsynced += bytes;
        if self.unsynced >= STORE_UNSYNCED { self.commit() } else { Ok(()) }
    }

    fn has(&self, book: &Book, number: u32) -> bool {
        self.page.as_ref().is_some_and(|page| (page.tag, page.number) == (book.tag, number))
    }

    /// Writes the page that was changed, after the chunks that it names are durable.
    fn write_page(&mut self) -> Result<()> {
        let Some(page) = self.page.as_mut().filter(|page| page.dirty) else { return Ok(()) };
        self.disk.flush()?;
        let (place, what) = (page.place, (MAP, page.tag));
        page.found = Some(write_twin(&mut self.disk, place, what, self.map, page.found)?);
        page.dirty = false;
        Ok(())
    }

    // --- the finder ---

    /// The first line from `range` on that has this id, and is in the range.
    pub(super) fn find(
        &mut self,
        book: &Book,
        id: &Digest,
        range: core::ops::Range<u32>,
    ) -> Result<Option<(u32, Line)>> {
        let hint = hint(id);
        for probe in 0..book.buckets() {
            let sector = book.bucket(bucket(book, hint, probe));
            let mut from = 0;
            loop {
                if !self.bucket(book, sector)? {
                    return Ok(None);
                }
                match next_place(self.any, hint, &mut from) {
                    Next::Line(number) if range.contains(&number) => {
                        let line = self.line(book, number)?;
                        if line.id == *id && line.len > 0 {
                            return Ok(Some((number, line)));
                        }
                    }
                    Next::Line(_) => {}
                    Next::Empty => return Ok(None),
                    Next::Full => break,
                }
            }
        }
        Ok(None)
    }

    /// Notes the line of an id.
    pub(super) fn note(&mut self, book: &Book, id: &Digest, line: u32) -> Result<()> {
        let hint = hint(id);
        let entry = [hint.to_le_bytes(), line.saturating_add(1).to_le_bytes()];
        for probe in 0..book.buckets() {
            let sector = book.bucket(bucket(book, hint, probe));
            if !self.bucket(book, sector)? {
                self.any.fill(0);
            }
            for place in 0..PLACES {
                let there = self.any.get(place * 8..place * 8 + 8).unwrap_or(&[]);
                if there == entry.as_flattened() {
                    return Ok(());
                }
                if there.iter().all(|&byte| byte == 0) {
                    self.cached = None;
                    put(self.any, place * 8, &[entry.as_flattened()]);
                    page::seal(self.any, BUCKET, book.tag, 1);
                    return self.disk.write(sector, self.any);
                }
            }
        }
        // There are half as many places again as lines.
        Err(StoreError::Damaged)
    }

    /// Has a bucket in memory; whether it is valid. Looking for an id and noting it follow
    /// each other, so it often lies there.
    fn bucket(&mut self, book: &Book, sector: u32) -> Result<bool> {
        let wanted = Some(Cached::Bucket(book.tag, sector));
        if self.cached != wanted {
            self.cached = None;
            self.disk.read(sector, self.any)?;
            let valid = page::open(self.any, BUCKET, book.tag).is_some();
            self.cached = wanted.filter(|_| valid);
        }
        Ok(self.cached.is_some())
    }

    // --- chunks ---

    /// Writes a chunk's bytes, as they came, where there is room for them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u32> {
        let count = bytes.len().div_ceil(SECTOR) as u32;
        let needed = u64::from(count) * SECTOR as u64;
        // What is free is counted only to be told: that takes longer than writing a chunk.
        let Some(place) = self.space.take(count) else {
            return Err(StoreError::Full { needed, free: self.space.free() });
        };
        let (whole, rest) = bytes.split_at(bytes.len() / SECTOR * SECTOR);
        if !whole.is_empty() {
            self.disk.write(place, whole)?;
        }
        if !rest.is_empty() {
            self.cached = None;
            self.any.fill(0);
            put(self.any, 0, &[rest]);
            self.disk.write(place + count - 1, self.any)?;
        }
        Ok(place)
    }

    /// Reads a chunk and checks it; `None` when it is not at its place.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn load<'c>(
        &mut self,
        line: &Line,
        out: &'c mut [u8],
    ) -> Result<Option<VerifiedChunk<'c>>> {
        let end = line.place.checked_add(line.sectors());
        if end.is_none_or(|end| line.place < LOG || end > self.superblock.sectors) {
            return Ok(None);
        }
        // A longer chunk was never taken, so this line is not what was written.
        let Some(out) = out.get_mut(..line.len as usize) else { return Ok(None) };
        self.cached = None;
        let read = match line.codec {
            NONE if u32::from(line.stored) == line.len => self.read_plain(line.place, out)?,
            LZ4 => self.read_lz4(line, out)?,
            _ => false,
        };
        let reference = ChunkRef { id: line.id, len: line.len };
        // PROTOCOL R2
        Ok(reference.verify(out).ok().filter(|_| read && line.state != State::Lacking))
    }

    fn read_plain(&mut self, place: u32, out: &mut [u8]) -> Result<bool> {
        let (whole, rest) = out.split_at_mut(out.len() / SECTOR * SECTOR);
        if !whole.is_empty() {
            self.disk.read(place, whole)?;
        }
        if !rest.is_empty() {
            self.disk.read(place.saturating_add((whole.len() / SECTOR) as u32), self.any)?;
            let len = rest.len();
            put(rest, 0, &[self.any.get(..len).unwrap_or(&[])]);
        }
        Ok(true)
    }

    fn read_lz4(&mut self, line: &Line, out: &mut [u8]) -> Result<bool> {
        let mut source =
            Sectors { disk: &mut self.disk, sector: self.any, next: line.place, at: SECTOR };
        match lz4::decode(&mut source, usize::from(line.stored), out) {
            Ok(()) => Ok(true),
            Err(Undecoded::Malformed) => Ok(false),
            Err(Undecoded::Source(error)) => Err(error),
        }
    }
}

/// Bytes on the card, sector by sector.
struct Sectors<'s, D> {
    disk: &'s mut Disk<D>,
    sector: &'s mut Sector,
    next: u32,
    at: usize,
}

impl<D: Read + Write + Seek> Source for Sectors<'_, D> {
    type Error = StoreError;

    fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            if self.at >= SECTOR {
                self.disk.read(self.next, self.sector)?;
                self.next = self.next.saturating_add(1);
                self.at = 0;
            }
            let count = (into.len() - filled).min(SECTOR - self.at);
            put(into, filled, &[self.sector.get(self.at..self.at + count).unwrap_or(&[])]);
            filled += count;
            self.at += count;
        }
        Ok(())
    }
}

/// What comes next in a bucket.
enum Next {
    Line(u32),
    /// There is room, so nothing was put beyond.
    Empty,
    /// It may go on in the next bucket.
    Full,
}

fn next_place(bucket: &Sector, hint: u32, from: &mut usize) -> Next {
    while *from < PLACES {
        let mut fields = Fields(bucket.get(*from * 8..*from * 8 + 8).unwrap_or(&[]));
        let (found, line) = (fields.u32(), fields.u32());
        *from += 1;
        match line.checked_sub(1) {
            None => return Next::Empty,
            Some(line) if found == hint => return Next::Line(line),
            Some(_) => {}
        }
    }
    Next::Full
}

fn hint(id: &Digest) -> u32 {
    Fields(&id.0).u32()
}

fn bucket(book: &Book, hint: u32, probe: u32) -> u32 {
    (hint % book.buckets()).wrapping_add(probe) % book.buckets()
}
