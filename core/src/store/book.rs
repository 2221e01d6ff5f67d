//! A release's book: all that the card knows of it but its chunks.
//!
//! ```text
//! head, head │ root document │ map: a twin per ten chunks … │ finder: buckets …
//! ```
//!
//! The map has one line per chunk, index chunks first, then content, by ordinal. The
//! finder leads from a chunk's id to its line; what it says is a hint that the line
//! proves, so it needs no second copy and is made again when it is damaged.

use embedded_io::{Read, Seek, Write};

use super::disk::{Disk, Sector};
use super::error::{Result, StoreError};
use super::page::{Kind, read_twin, write_twin};
use super::superblock::{Fields, LOG, Slot, put};
use crate::digest::Digest;
use crate::ids::Ordinal;
use crate::limits::{MAX_CHUNK, MAX_NAME, SECTOR};
use crate::tree::entry::TreeTotals;
use crate::tree::index::{IndexLayout, Levels, MAX_LEVELS, TreeTop};
use crate::wire::control::Object;

/// What a page of the map is.
pub(super) const MAP: Kind = *b"fcMP";
/// What a bucket of the finder is.
pub(super) const BUCKET: Kind = *b"fcFI";
const HEAD: Kind = *b"fcBK";

/// Lines of a page of the map.
pub(super) const LINES: u32 = 10;
const LINE: usize = 48;
/// Places of a bucket.
pub(super) const PLACES: usize = 62;
/// Places of a bucket that are counted on.
const LOAD: u32 = 40;

/// What the map says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its name; zeros while the list that names it has not been read.
    pub(super) id: Digest,
    /// Its length, 0 while that is not known.
    pub(super) len: u32,
    /// The first sector of its bytes.
    pub(super) place: u32,
    /// How many bytes it has there.
    pub(super) stored: u16,
    /// How they are encoded.
    pub(super) codec: u8,
    pub(super) state: State,
}

/// Whether a chunk is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is not.
    Lacking,
    /// Its place may hold it; that has not been checked.
    Claimed,
    /// Its place held it when it was checked.
    Held,
}

impl Line {
    /// A chunk of which nothing is known.
    pub(super) const EMPTY: Self =
        Self { id: Digest([0; 32]), len: 0, place: 0, stored: 0, codec: 0, state: State::Lacking };

    /// Sectors that it takes at its place.
    pub(super) fn sectors(&self) -> u32 {
        u32::from(self.stored).div_ceil(SECTOR as u32)
    }

    /// The same chunk, not here.
    pub(super) const fn lacking(&self) -> Self {
        Self { id: self.id, len: self.len, ..Self::EMPTY }
    }

    /// Reads a line of a page of the map.
    pub(super) fn read(page: &Sector, line: usize) -> Self {
        let mut fields = Fields(page.get(line * LINE..(line + 1) * LINE).unwrap_or(&[]));
        let (id, len, place) = (Digest(fields.take()), fields.u32(), fields.u32());
        let stored = u16::from_le_bytes(fields.take());
        let [codec, state] = fields.take();
        let state = match state {
            1 => State::Claimed,
            2 => State::Held,
            _ => State::Lacking,
        };
        Self { id, len: len.min(MAX_CHUNK as u32), place, stored, codec, state }
    }

    /// Writes it into a page of the map.
    pub(super) fn write(&self, page: &mut Sector, line: usize) {
        let state = match self.state {
            State::Lacking => 0,
            State::Claimed => 1,
            State::Held => 2,
        };
        let (len, place) = (self.len.to_le_bytes(), self.place.to_le_bytes());
        let parts: [&[u8]; 5] =
            [&self.id.0, &len, &place, &self.stored.to_le_bytes(), &[self.codec, state]];
        put(page, line * LINE, &parts);
    }
}

/// Where a release's book is, and how many lines it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Book {
    first: u32,
    pub(super) tag: u32,
    root: u16,
    pub(super) index: u32,
    pub(super) content: u32,
}

impl Book {
    pub(super) const fn of(slot: &Slot) -> Self {
        let Slot { root, book, tag, index, content, .. } = *slot;
        Self { first: book, tag, root, index, content }
    }

    /// Lines of its map.
    pub(super) const fn lines(&self) -> u32 {
        self.index.saturating_add(self.content)
    }

    /// Pages of its map.
    pub(super) const fn pages(&self) -> u32 {
        self.lines().div_ceil(LINES)
    }

    /// Buckets of its finder.
    pub(super) const fn buckets(&self) -> u32 {
        self.lines().div_ceil(LOAD) + 1
    }

    /// Sectors of all of it; `None` when that is more than a card can have.
    pub(super) fn sectors(&self) -> Option<u32> {
        let lines = self.index.checked_add(self.content)?;
        let map = lines.div_ceil(LINES).checked_mul(2)?;
        (2 + self.root_sectors()).checked_add(map)?.checked_add(self.buckets())
    }

    /// Whether all of it lies where books may lie.
    pub(super) fn is_within(&self, sectors: u32) -> bool {
        let end = self.sectors().and_then(|count| self.first.checked_add(count));
        self.first >= LOG && end.is_some_and(|end| end <= sectors)
    }

    /// Its first sector.
    pub(super) const fn first(&self) -> u32 {
        self.first
    }

    /// Length of its root document.
    pub(super) const fn root_len(&self) -> usize {
        self.root as usize
    }

    /// The first sector of the root document.
    pub(super) const fn root(&self) -> u32 {
        self.first.saturating_add(2)
    }

    /// The twin of a page of the map.
    pub(super) const fn page(&self, page: u32) -> (u32, u32) {
        let map = self.root().saturating_add(self.root_sectors());
        (map.saturating_add(page.saturating_mul(2)), 1)
    }

    /// The sector of a bucket.
    pub(super) const fn bucket(&self, bucket: u32) -> u32 {
        self.page(self.pages()).0.saturating_add(bucket)
    }

    /// What a line's chunk is.
    pub(super) const fn ordinal(&self, line: u32) -> (Object, Ordinal) {
        match line.checked_sub(self.index) {
            None => (Object::Index, Ordinal(line)),
            Some(content) => (Object::Content, Ordinal(content)),
        }
    }

    /// The line of a chunk; `None` when the release has no such.
    pub(super) fn line(&self, object: Object, ordinal: Ordinal) -> Option<u32> {
        match object {
            Object::Root => None,
            Object::Index => Some(ordinal.0).filter(|&line| line < self.index),
            Object::Content if ordinal.0 < self.content => self.index.checked_add(ordinal.0),
            Object::Content => None,
        }
    }

    const fn root_sectors(&self) -> u32 {
        (self.root as u32).div_ceil(SECTOR as u32)
    }
}

/// The numbers of a release's tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) layout: IndexLayout,
    pub(super) totals: TreeTotals,
    pub(super) index_bytes: u64,
}

impl Head {
    /// Writes the head of a book, twice.
    pub(super) fn write<D: Read + Write + Seek>(
        disk: &mut Disk<D>,
        page: &mut Sector,
        book: &Book,
        tree: &TreeTop<'_>,
        directory: &str,
    ) -> Result<()> {
        let mut found = None;
        for _ in 0..2 {
            page.fill(0);
            put(page, 0, &[&[tree.levels.len() as u8, directory.len() as u8]]);
            for (n, level) in tree.levels.iter().enumerate() {
                put(page, 4 + 4 * n, &[&level.to_le_bytes()]);
            }
            let parts: [&[u8]; 5] = [
                &tree.entries.to_le_bytes(),
                &tree.files.to_le_bytes(),
                &tree.content_bytes.to_le_bytes(),
                &tree.index_bytes.to_le_bytes(),
                &tree.entry_bytes.to_le_bytes(),
            ];
            put(page, 4 + 4 * MAX_LEVELS, &parts);
            put(page, 4 + 4 * MAX_LEVELS + 32, &[directory.as_bytes()]);
            found = Some(write_twin(disk, (book.first, 1), (HEAD, book.tag), page, found)?);
        }
        Ok(())
    }

    /// Reads the head of a book; `page` holds it afterwards.
    pub(super) fn read<D: Read + Write + Seek>(
        disk: &mut Disk<D>,
        page: &mut Sector,
        book: &Book,
    ) -> Result<Self> {
        if read_twin(disk, (book.first, 1), (HEAD, book.tag), page)?.is_none() {
            return Err(StoreError::Damaged);
        }
        let mut fields = Fields(&page[..]);
        let [count, ..] = fields.take::<4>();
        let all: [u32; MAX_LEVELS] = core::array::from_fn(|_| fields.u32());
        let mut levels = Levels::new();
        for level in all.into_iter().take(usize::from(count)) {
            // There are no more than there are places for.
            let _ = levels.push(level);
        }
        let layout = IndexLayout::new(&levels).map_err(|_| StoreError::Damaged)?;
        let (entries, files) = (fields.u32(), fields.u32());
        let (content_bytes, index_bytes) = (fields.u64(), fields.u64());
        let totals = TreeTotals { entries, files, content_bytes, entry_bytes: fields.u64() };
        if layout.total() != book.index {
            return Err(StoreError::Damaged);
        }
        Ok(Self { layout, totals, index_bytes })
    }

    /// The directory of the group, from the page that was read.
    pub(super) fn directory(page: &Sector) -> &[u8] {
        let [_, len, ..] = *page;
        let start = 4 + 4 * MAX_LEVELS + 32;
        page.get(start..start + usize::from(len).min(MAX_NAME)).unwrap_or(&[])
    }
}
