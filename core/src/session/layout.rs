//! How the bytes of a block are cut into symbols (PROTOCOL S3).

use crate::erasure::FIRST_PARITY;
use crate::ids::SymbolIndex;
use crate::limits::{MAX_PARITY, MAX_SOURCES};
use crate::wire::control::Object;

/// Length and kind of a block, for one symbol size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    /// What its records belong to.
    pub object: Object,
    /// Its length in bytes, at least one.
    pub bytes: usize,
    /// Bytes of a full symbol.
    pub symbol: usize,
}

impl BlockLayout {
    /// A layout that a session of at most `sources` source symbols can have.
    #[must_use]
    pub fn checked(object: Object, bytes: usize, symbol: usize, sources: usize) -> Option<Self> {
        let fits = bytes > 0 && symbol > 0 && bytes.div_ceil(symbol) <= sources.min(MAX_SOURCES);
        fits.then_some(Self { object, bytes, symbol })
    }

    /// Number of source symbols.
    #[must_use]
    pub const fn sources(&self) -> usize {
        self.bytes.div_ceil(self.symbol)
    }

    /// Bytes that the symbol `index` has on the wire; `None` when the block has no such symbol.
    #[must_use]
    pub fn symbol_len(&self, index: SymbolIndex) -> Option<usize> {
        let k = self.sources();
        let at = usize::from(index.0);
        if index.0 >= FIRST_PARITY {
            return Some(self.symbol.min(self.bytes));
        }
        (at < k).then(|| self.symbol.min(self.bytes - at * self.symbol))
    }
}

/// The index of the `n`th parity symbol.
#[must_use]
pub const fn parity_index(n: u8) -> Option<SymbolIndex> {
    if (n as usize) < MAX_PARITY { Some(SymbolIndex(FIRST_PARITY + n)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_symbol_is_short_and_lone_parity_is_as_long_as_its_source() {
        // PROTOCOL S3
        let layout = BlockLayout::checked(Object::Content, 2_500, 1_000, 192).unwrap();
        assert_eq!(layout.sources(), 3);
        assert_eq!(layout.symbol_len(SymbolIndex(2)), Some(500));
        assert_eq!(layout.symbol_len(SymbolIndex(3)), None);
        assert_eq!(layout.symbol_len(SymbolIndex(255)), Some(1_000));
        let lone = BlockLayout::checked(Object::Root, 300, 1_000, 192).unwrap();
        assert_eq!(lone.symbol_len(SymbolIndex(192)), Some(300));
        assert_eq!(BlockLayout::checked(Object::Root, 193, 1, 192), None);
        assert_eq!(BlockLayout::checked(Object::Root, 0, 1, 192), None);
    }
}
