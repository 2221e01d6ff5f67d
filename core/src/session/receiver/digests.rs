//! Digests of the symbols of blocks being received, in strict mode.

use core::ops::DerefMut;

use crate::ids::BlockIndex;
use crate::limits::{ALL_PARITY, MAX_SOURCES};
use crate::session::digest::{digest_of, place_of};
use crate::session::symbols::Symbol;
use crate::wire::session::DIGEST;

/// Symbols that a block can have.
const PLACES: usize = MAX_SOURCES + ALL_PARITY;
/// Bytes of a set of them.
const KNOWN: usize = PLACES.div_ceil(8);
/// Bytes that the digests of one block take: which are known, and the digests.
pub const DIGESTS_OF_SLOT: usize = KNOWN + PLACES * DIGEST;

/// The digests of the blocks of all slots, in memory of the owner.
pub(super) struct Digests<B> {
    memory: B,
    salt: [u8; 8],
}

impl<B: DerefMut<Target = [u8]>> Digests<B> {
    pub(super) const fn new(memory: B, salt: [u8; 8]) -> Self {
        Self { memory, salt }
    }

    /// Its memory again.
    pub(super) fn into_memory(self) -> B {
        self.memory
    }

    /// Forgets the digests of a slot, which gets another block.
    pub(super) fn clear(&mut self, at: usize) {
        if let Some(known) = self.row(at).and_then(|row| row.get_mut(..KNOWN)) {
            known.fill(0);
        }
    }

    /// Whether there is memory for so many slots.
    pub(super) fn has_room_for(&self, slots: usize) -> bool {
        self.memory.len() >= slots * DIGESTS_OF_SLOT
    }

    /// The digest that a symbol of a block has.
    pub(super) fn compute(
        &self,
        block: BlockIndex,
        symbol: Symbol,
        payload: &[u8],
    ) -> [u8; DIGEST] {
        digest_of(&self.salt, block, symbol, payload)
    }

    /// Takes the digest of a symbol in.
    pub(super) fn put(&mut self, at: usize, symbol: Symbol, digest: [u8; DIGEST]) {
        let place = place_of(symbol);
        let Some(row) = self.row(at) else { return };
        row[place / 8] |= 1 << (place % 8);
        row[KNOWN + place * DIGEST..][..DIGEST].copy_from_slice(&digest);
    }

    /// The digest of a symbol, if it has come.
    pub(super) fn of(&self, at: usize, symbol: Symbol) -> Option<&[u8]> {
        let place = place_of(symbol);
        let row = self.memory.get(at * DIGESTS_OF_SLOT..)?.get(..DIGESTS_OF_SLOT)?;
        let known = row[place / 8] & (1 << (place % 8)) != 0;
        known.then(|| &row[KNOWN + place * DIGEST..][..DIGEST])
    }

    fn row(&mut self, at: usize) -> Option<&mut [u8]> {
        self.memory.get_mut(at * DIGESTS_OF_SLOT..)?.get_mut(..DIGESTS_OF_SLOT)
    }
}
