//! The memory of a store: none of it is its own.

use super::disk::Sector;
use crate::limits::{SECTOR, STORE_CHUNK, STORE_DEPTH, STORE_EXTENTS};
use crate::tree::entry::NameSlot;

/// What a board sets aside for its store.
pub struct StoreMemory {
    chunk: [u8; STORE_CHUNK],
    any: Sector,
    map: Sector,
    extents: [u8; STORE_EXTENTS],
    names: [NameSlot; STORE_DEPTH + 1],
}

/// What the owner lends to a store.
pub struct Memory<'b> {
    /// Room for one chunk: the longest that can be received or read.
    pub chunk: &'b mut [u8],
    /// Room for any sector.
    pub any: &'b mut [u8; SECTOR],
    /// Room for a page of a map.
    pub map: &'b mut [u8; SECTOR],
    /// One bit per extent: the more, the less is lost where releases share chunks.
    pub extents: &'b mut [u8],
    /// One name per depth of a tree, the root included.
    pub names: &'b mut [NameSlot],
}

impl StoreMemory {
    /// Memory to lend.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunk: [0; STORE_CHUNK],
            any: [0; SECTOR],
            map: [0; SECTOR],
            extents: [0; STORE_EXTENTS],
            names: [NameSlot::EMPTY; STORE_DEPTH + 1],
        }
    }

    /// Lends all of it.
    pub const fn lend(&mut self) -> Memory<'_> {
        Memory {
            chunk: &mut self.chunk,
            any: &mut self.any,
            map: &mut self.map,
            extents: &mut self.extents,
            names: &mut self.names,
        }
    }
}

impl Default for StoreMemory {
    fn default() -> Self {
        Self::new()
    }
}
