//! The superblock: which releases the card holds, and what each of them is.
//!
//! Whatever it says holds from the moment that one sector is written, so a
//! release becomes active, or ceases to exist, at once and whole.

use embedded_io::{Read, Seek, Write};

use super::disk::{Disk, Sector};
use super::error::{Result, StoreError};
use super::page::{Found, Kind, PAGE, read_twin, write_twin};
use crate::digest::Digest;
use crate::ids::{GroupId, ReleaseOrder};
use crate::limits::{STORE_RECORD_SECTORS, STORE_RELEASES};
use crate::wire::control::ReleaseName;

/// The format that this software reads and writes.
pub const STORE_VERSION: u32 = 1;
/// The first bytes of a store.
pub const STORE_MAGIC: [u8; 8] = *b"fcstore\0";

const KIND: Kind = *b"fcSB";
/// The two superblocks: apart, so that no flash page holds both.
const PLACE: (u32, u32) = (0, 8);
/// The first sector of the state's records.
pub(super) const STATE: u32 = 16;
/// Records of the state.
pub(super) const RECORDS: u32 = 16;
/// The first sector of everything else.
pub(super) const LOG: u32 = STATE + RECORDS * 2 * STORE_RECORD_SECTORS as u32;
/// Least sectors of a card: one release of one small file.
pub(super) const LEAST: u32 = LOG + 64;

const HEAD: usize = 16;
const SLOT: usize = 80;

/// What a release on the card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptAs {
    /// It arrives.
    Incoming,
    /// It was active before the active one of its group; whole unless damaged.
    Previous,
    /// It is the one that its group uses; whole unless damaged.
    Active,
}

/// How far a release has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Which chunks its files are made of is not known yet.
    Index,
    /// It is, and content is lacking.
    Content,
    /// It was active.
    Previous,
    /// It is active.
    Active,
}

/// One release of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) stage: Stage,
    pub(super) name: ReleaseName,
    /// Length of its root document in bytes.
    pub(super) root: u16,
    /// Where its book begins.
    pub(super) book: u32,
    /// What the pages of its book are tagged with.
    pub(super) tag: u32,
    /// Chunks of its index.
    pub(super) index: u32,
    /// Chunks of its content.
    pub(super) content: u32,
}

impl Slot {
    /// Whether it is, or was, active.
    pub(super) const fn is_kept(&self) -> bool {
        matches!(self.stage, Stage::Previous | Stage::Active)
    }
}

/// The superblock in memory.
pub(super) struct Superblock {
    pub(super) slots: [Option<Slot>; STORE_RELEASES],
    /// Sectors of the card that are the store's.
    pub(super) sectors: u32,
    found: Option<Found>,
}

impl Superblock {
    /// The superblock of an empty store.
    pub(super) const fn new(sectors: u32) -> Self {
        Self { slots: [None; STORE_RELEASES], sectors, found: None }
    }

    /// The number that the next one will have; no two have the same.
    pub(super) fn next_sequence(&self) -> u32 {
        self.found.map_or(1, |found| found.sequence.saturating_add(1))
    }

    /// Reads the newer valid one.
    pub(super) fn read<D: Read + Write + Seek>(
        disk: &mut Disk<D>,
        page: &mut Sector,
    ) -> Result<Self> {
        if disk.sectors() < LEAST {
            return Err(StoreError::Truncated { needed: LEAST, found: disk.sectors() });
        }
        let Some(found) = read_twin(disk, PLACE, (KIND, 0), page)? else {
            return Err(what_else(disk, page)?);
        };
        let mut superblock = Self::decode(page)?;
        superblock.found = Some(found);
        let (needed, found) = (superblock.sectors, disk.sectors());
        if needed > found {
            return Err(StoreError::Truncated { needed, found });
        }
        if needed < LEAST {
            return Err(StoreError::Damaged);
        }
        Ok(superblock)
    }

    /// Writes it in place of the older one, and waits until it is durable.
    pub(super) fn write<D: Read + Write + Seek>(
        &mut self,
        disk: &mut Disk<D>,
        page: &mut Sector,
    ) -> Result<()> {
        disk.flush()?;
        self.encode(page);
        self.found = Some(write_twin(disk, PLACE, (KIND, 0), page, self.found)?);
        disk.flush()
    }

    fn encode(&self, page: &mut Sector) {
        page.fill(0);
        let head = [&STORE_MAGIC[..], &STORE_VERSION.to_le_bytes(), &self.sectors.to_le_bytes()];
        put(page, 0, &head);
        for (n, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let stage = match slot.stage {
                Stage::Index => 1,
                Stage::Content => 2,
                Stage::Previous => 3,
                Stage::Active => 4,
            };
            let parts = [
                &[stage, 0][..],
                &slot.root.to_le_bytes(),
                &slot.name.group.0,
                &slot.name.order.reset_epoch.to_le_bytes(),
                &slot.name.order.sequence.to_le_bytes(),
                &slot.name.digest.0,
                &slot.book.to_le_bytes(),
                &slot.tag.to_le_bytes(),
                &slot.index.to_le_bytes(),
                &slot.content.to_le_bytes(),
            ];
            put(page, HEAD + n * SLOT, &parts);
        }
    }

    fn decode(page: &Sector) -> Result<Self> {
        let mut fields = Fields(page);
        if fields.take::<8>() != STORE_MAGIC {
            return Err(StoreError::Foreign);
        }
        let found = fields.u32();
        if found != STORE_VERSION {
            return Err(StoreError::Newer { found });
        }
        let mut superblock = Self::new(fields.u32());
        for place in &mut superblock.slots {
            let [stage, _] = fields.take::<2>();
            let root = u16::from_le_bytes(fields.take());
            let group = GroupId(fields.take());
            let order = ReleaseOrder { reset_epoch: fields.u32(), sequence: fields.u64() };
            let name = ReleaseName { group, order, digest: Digest(fields.take()) };
            let [book, tag, index, content] = core::array::from_fn(|_| fields.u32());
            let stage = match stage {
                0 => continue,
                1 => Stage::Index,
                2 => Stage::Content,
                3 => Stage::Previous,
                4 => Stage::Active,
                _ => return Err(StoreError::Damaged),
            };
            *place = Some(Slot { stage, name, root, book, tag, index, content });
        }
        Ok(superblock)
    }
}

/// What stands where no valid superblock of ours does.
fn what_else<D: Read + Write + Seek>(disk: &mut Disk<D>, page: &mut Sector) -> Result<StoreError> {
    let (mut blank, mut ours) = (true, false);
    for which in 0..2 {
        disk.read(PLACE.0 + which * PLACE.1, page)?;
        blank &= page.iter().all(|&byte| byte == 0) || page.iter().all(|&byte| byte == 0xFF);
        ours |= page.starts_with(&STORE_MAGIC);
    }
    Ok(match (ours, blank) {
        (true, _) => StoreError::Damaged,
        (false, true) => StoreError::Blank,
        (false, false) => StoreError::Foreign,
    })
}

/// Copies parts one after the other; all callers' parts fit.
pub(super) fn put(page: &mut [u8], mut at: usize, parts: &[&[u8]]) {
    for part in parts {
        let end = at.saturating_add(part.len());
        if let Some(place) = page.get_mut(at..end) {
            place.copy_from_slice(part);
        }
        at = end;
    }
}

/// Reads fields one after the other; zeros beyond the end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((front, rest)) => {
                self.0 = rest;
                *front
            }
            None => [0; N],
        }
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

const _: () = assert!(HEAD + STORE_RELEASES * SLOT <= PAGE);
