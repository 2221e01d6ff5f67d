//! The chunk store of a board: releases on a bare card, safe against power cuts.
//!
//! ```text
//! superblock ×2 │ small records ×2 each │ chunks ──►   …free…   ◄── books
//! ```
//!
//! Chunks are appended, as they came, to whatever is free; nothing that a kept release
//! uses is ever written again. A release's *book* leads from ordinals and ids to the
//! places of its chunks, so releases share what they have in common. The superblock
//! names the books: a release becomes active, or is forgotten, by one write of it. What
//! no book points to is free; that is found out after each start, and stored nowhere.
//! `core/STORE.md` tells every byte.
//!
//! ```text
//! expect ─► root admitted ─► index chunks resolved ─► content held ─► activate
//!              (gate)          (claims on what older releases have, checked by hash)
//! ```
//!
//! Commands: [`Store::expect`], [`Store::activate`], [`Store::fall_back`],
//! [`Store::discard`]. Inputs: what [`Store::intake`] is handed, and [`Store::step`]
//! whenever there is time. Outputs: [`Store::missing`], [`Store::failure`], files
//! ([`Store::open_file`], [`Store::walk`]). A chunk leaves the store as a
//! `VerifiedChunk` only: its SHA-256 is computed each time that it is read.
//!
//! After a write or a barrier that failed the store refuses to write until it is
//! opened again.

mod book;
mod card;
mod disk;
mod error;
mod lz4;
mod page;
mod space;
mod state;
mod superblock;
mod target;

mod admit;
mod intake;
mod memory;
mod order;
mod read;
mod receiving;
mod records;
mod resolve;
mod scrub;

use core::mem::size_of;

use embedded_io::{Read, Seek, Write};

pub use self::error::{Fault, Result, StoreError};
pub use self::intake::{Gate, Receiving, TrustGate};
pub use self::memory::{Memory, StoreMemory};
pub use self::order::Kept;
pub use self::read::{File, Walk};
pub use self::records::MembershipDocuments;
pub use self::scrub::{Scrub, ScrubStep};
pub use self::superblock::{KeptAs, STORE_MAGIC, STORE_VERSION};
pub use self::target::Step;

use self::book::Book;
use self::card::Card;
use self::disk::Disk;
use self::space::Space;
use self::superblock::{LEAST, LOG, Superblock};
use self::target::{Reader, Target, Task};
use crate::limits::STORE_MEMORY;
use crate::tree::entry::NameSlot;
use crate::wire::control::ReleaseName;

/// The chunk store on a device, with memory of its owner.
pub struct Store<'b, D> {
    card: Card<'b, D>,
    /// Room for one chunk.
    chunk: &'b mut [u8],
    /// Which chunk lies there, verified: its book's tag and line.
    chunk_of: Option<(u32, u32)>,
    /// Room for reading an entry table, while none is read.
    names: Option<&'b mut [NameSlot]>,
    reader: Reader<'b>,
    /// Which release is to arrive.
    expected: Option<ReleaseName>,
    /// The same once its root is here.
    target: Option<Target>,
    task: Task,
    failure: Option<StoreError>,
}

impl<'b, D: Read + Write + Seek> Store<'b, D> {
    /// Opens the store on a device; [`Self::step`] then finds out what is free.
    ///
    /// # Errors
    /// The device, and why there is no store to be opened on it.
    pub fn open(device: D, memory: Memory<'b>) -> core::result::Result<Self, (D, StoreError)> {
        let mut disk = Disk::new(device)?;
        match Superblock::read(&mut disk, memory.any) {
            Ok(found) if !has_sound_books(&found) => Err((disk.into_device(), StoreError::Damaged)),
            Ok(superblock) => Ok(Self::new(disk, superblock, memory)),
            Err(error) => Err((disk.into_device(), error)),
        }
    }

    /// Makes an empty store of the whole device, whatever it held.
    ///
    /// # Errors
    /// The device, and why that failed.
    pub fn format(device: D, memory: Memory<'b>) -> core::result::Result<Self, (D, StoreError)> {
        let mut disk = Disk::new(device)?;
        match format(&mut disk, memory.any) {
            Ok(superblock) => Ok(Self::new(disk, superblock, memory)),
            Err(error) => Err((disk.into_device(), error)),
        }
    }

    /// Gives the device back. What was not committed is not durable.
    pub fn into_device(self) -> D {
        self.card.disk.into_device()
    }

    /// Bytes of chunks and books that are free, once that is known.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let known = !matches!(self.task, Task::Scan { .. });
        known.then(|| self.card.space.free())
    }

    /// Bytes that the card holds in all.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.card.space.capacity()
    }

    fn new(disk: Disk<D>, superblock: Superblock, memory: Memory<'b>) -> Self {
        let space = Space::new(memory.extents, LOG, superblock.sectors);
        Self {
            card: Card::new(disk, superblock, space, memory.any, memory.map),
            chunk: memory.chunk,
            chunk_of: None,
            names: Some(memory.names),
            reader: Reader::None,
            expected: None,
            target: None,
            task: Task::SCAN,
            failure: None,
        }
    }
}

/// Whether every book that a superblock names lies within the store.
fn has_sound_books(superblock: &Superblock) -> bool {
    let mut slots = superblock.slots.iter().flatten();
    slots.all(|slot| Book::of(slot).is_within(superblock.sectors))
}

/// Forgets what was there, then writes both superblocks.
fn format<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut disk::Sector,
) -> Result<Superblock> {
    let sectors = disk.sectors();
    if sectors < LEAST {
        return Err(StoreError::Truncated { needed: LEAST, found: sectors });
    }
    // Records of an earlier store must not be taken for ours.
    page.fill(0);
    for sector in 0..LOG {
        disk.write(sector, page)?;
    }
    disk.flush()?;
    let mut superblock = Superblock::new(sectors);
    superblock.write(disk, page)?;
    superblock.write(disk, page)?;
    Ok(superblock)
}

const _: () = assert!(size_of::<Store<'_, ()>>() + size_of::<StoreMemory>() <= STORE_MEMORY);
