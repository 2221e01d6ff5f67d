//! A release's root is here, and counts: its book is opened.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, Head};
use super::error::{Result, StoreError};
use super::page::{CRC_START, crc32};
use super::resolve::enter;
use super::superblock::{Slot, Stage, put};
use super::target::{Counts, Target, Task};
use crate::limits::{SECTOR, STORE_CHUNK};
use crate::tree::entry::BadTree;
use crate::tree::index::TreeTop;
use crate::trust::release::VerifiedRelease;

impl<D: Read + Write + Seek> Store<'_, D> {
    /// Opens a book for the expected release.
    ///
    /// All of the book that is known is durable before the superblock names it.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when the card could never hold it,
    /// [`StoreError::Full`] when there is no room for its book.
    pub(super) fn admit(&mut self, release: &VerifiedRelease<'_>, document: &[u8]) -> Result<()> {
        if matches!(self.task, Task::Scan { .. }) {
            return Err(StoreError::Busy);
        }
        let name = release.name();
        let slots = &self.card.superblock.slots;
        let at = slots.iter().position(Option::is_none).ok_or(StoreError::Busy)?;
        let (tree, layout) = release.constrained().unwrap_or_else(|| release.standard());
        let (bound, found) = (usize::from(u16::MAX), document.len());
        let root = u16::try_from(found).map_err(|_| StoreError::Length { bound, found })?;
        let (index, content) = (layout.total(), tree.content_chunks);
        let stage = Stage::Index;
        let mut slot = Slot { stage, name, root, book: 0, tag: 0, index, content };
        let sectors = self.check_size(&Book::of(&slot), tree)?;
        let (needed, free) = (u64::from(sectors) * SECTOR as u64, self.card.space.free());
        slot.book = self.card.space.take_run(sectors).ok_or(StoreError::Full { needed, free })?;
        // A number that no earlier attempt can have had, even one that a cut has undone.
        self.card.write_superblock()?;
        slot.tag = tag(&slot, self.card.superblock.next_sequence());
        let book = Book::of(&slot);
        let directory = release.root().group_name;
        self.write_root(&book, document)?;
        let (disk, any) = self.card.with_any();
        Head::write(disk, any, &book, tree, directory)?;
        let (disk, any) = self.card.with_any();
        let head = Head::read(disk, any, &book)?;
        let mut target = Target { slot: at, book, head, counts: Counts::default() };
        self.enter_top(&mut target, tree)?;
        self.card.commit()?;
        if let Some(place) = self.card.superblock.slots.get_mut(at) {
            *place = Some(slot);
        }
        self.card.write_superblock()?;
        self.target = Some(target);
        self.task = Task::Resolve(self.begin_resolving());
        Ok(())
    }

    /// Enters the chunks that the root itself names.
    fn enter_top(&mut self, target: &mut Target, tree: &TreeTop<'_>) -> Result<()> {
        let bad = |fault| StoreError::Tree(BadTree::Malformed(fault));
        let end = target.head.layout.ordinals(0).end;
        let (mut next, most) = (0, self.chunk.len() as u32);
        for reference in tree.references().map_err(bad)? {
            let reference = reference.map_err(bad)?;
            enter(&mut self.card, target, &reference, &mut next, (end, most))?;
        }
        Ok(())
    }

    fn write_root(&mut self, book: &Book, document: &[u8]) -> Result<()> {
        let (disk, any) = self.card.with_any();
        for (sector, piece) in (book.root()..).zip(document.chunks(SECTOR)) {
            any.fill(0);
            put(any, 0, &[piece]);
            disk.write(sector, any)?;
        }
        Ok(())
    }

    /// Refuses what the card could not hold if nothing else were on it; sectors of the book.
    fn check_size(&self, book: &Book, tree: &TreeTop<'_>) -> Result<u32> {
        let fits = self.card.space.capacity();
        let sector = SECTOR as u64;
        let sectors = book.sectors();
        // Each chunk begins a sector. Files may share chunks: there is a bound by number too.
        let chunks = u64::from(tree.content_chunks);
        let longest = chunks.saturating_mul(STORE_CHUNK as u64 / sector);
        let content = (tree.content_bytes / sector).saturating_add(chunks).min(longest);
        let index = (tree.index_bytes / sector).saturating_add(u64::from(book.index));
        let all = u64::from(sectors.unwrap_or(u32::MAX)).saturating_add(content);
        let needed = all.saturating_add(index).saturating_mul(sector);
        match sectors {
            Some(sectors) if needed <= fits => Ok(sectors),
            _ => Err(StoreError::TooLarge { needed, fits }),
        }
    }
}

/// What distinguishes the pages of this book from whatever lay there before.
fn tag(slot: &Slot, sequence: u32) -> u32 {
    let crc = crc32(CRC_START, &sequence.to_le_bytes());
    let crc = crc32(crc, &slot.name.digest.0);
    crc32(crc, &slot.book.to_le_bytes())
}
