//! The symbols of a block, and sets of their indices.

use crate::erasure::FIRST_PARITY;
use crate::ids::SymbolIndex;

/// One symbol of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// The source with this index.
    Source(u8),
    /// The parity with this number, counted from 0.
    Parity(u8),
}

impl Symbol {
    /// The symbol that an index on the wire names.
    #[must_use]
    pub const fn of(index: SymbolIndex) -> Self {
        match index.0.checked_sub(FIRST_PARITY) {
            Some(number) => Self::Parity(number),
            None => Self::Source(index.0),
        }
    }
}

/// Any of 256 indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolSet {
    words: [u64; 4],
    /// How many bits are set: asked for with every symbol.
    len: u16,
}

impl SymbolSet {
    /// The empty set.
    pub const EMPTY: Self = Self { words: [0; 4], len: 0 };

    /// Adds a symbol; `false` when it was there already.
    pub fn insert(&mut self, index: u8) -> bool {
        let bit = 1 << (index % 64);
        let word = &mut self.words[usize::from(index / 64)];
        let new = *word & bit == 0;
        *word |= bit;
        self.len += u16::from(new);
        new
    }

    /// Takes a symbol out.
    pub fn remove(&mut self, index: u8) {
        let word = &mut self.words[usize::from(index / 64)];
        let bit = 1 << (index % 64);
        self.len -= u16::from(*word & bit != 0);
        *word &= !bit;
    }

    /// Whether a symbol is in it.
    #[must_use]
    pub const fn contains(&self, index: u8) -> bool {
        self.words[(index / 64) as usize] & (1 << (index % 64)) != 0
    }

    /// The smallest symbol in it.
    #[must_use]
    pub fn first(&self) -> Option<u8> {
        let word = self.words.iter().position(|&word| word != 0)?;
        Some((word * 64) as u8 + self.words[word].trailing_zeros() as u8)
    }

    /// The largest symbol in it.
    #[must_use]
    pub fn last(&self) -> Option<u8> {
        let word = self.words.iter().rposition(|&word| word != 0)?;
        Some((word * 64) as u8 + 63 - self.words[word].leading_zeros() as u8)
    }

    /// How many symbols are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_keeps_each_symbol_once() {
        let mut set = SymbolSet::EMPTY;
        assert!(set.insert(255) && set.insert(64) && !set.insert(255));
        assert_eq!((set.len(), set.first(), set.last()), (2, Some(64), Some(255)));
        set.remove(64);
        set.remove(64);
        assert_eq!((set.len(), set.first(), set.last()), (1, Some(255), Some(255)));
        assert!(!set.contains(64) && set.contains(255));
        set.remove(255);
        assert!(set.is_empty());
    }
}
