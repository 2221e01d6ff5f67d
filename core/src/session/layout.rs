//! How the bytes of a block are cut into symbols (PROTOCOL S3).

use super::symbols::Symbol;
use crate::erasure;
use crate::limits::MAX_SOURCES;
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

    /// Number of parity symbols that it can have.
    #[must_use]
    pub const fn parities(&self) -> usize {
        erasure::parities(self.sources(), self.symbol)
    }

    /// Bytes that a symbol has on the wire; `None` when the block has no such symbol.
    #[must_use]
    pub fn symbol_len(&self, symbol: Symbol) -> Option<usize> {
        match symbol {
            Symbol::Parity(number) => {
                (usize::from(number) < self.parities()).then(|| self.symbol.min(self.bytes))
            }
            Symbol::Source(index) => {
                let start = usize::from(index) * self.symbol;
                (start < self.bytes).then(|| self.symbol.min(self.bytes - start))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_symbol_is_short_and_lone_parity_is_as_long_as_its_source() {
        // PROTOCOL S3
        let layout = BlockLayout::checked(Object::Content, 2_500, 1_000, 192).unwrap();
        assert_eq!(layout.sources(), 3);
        assert_eq!(layout.symbol_len(Symbol::Source(2)), Some(500));
        assert_eq!(layout.symbol_len(Symbol::Source(3)), None);
        assert_eq!(layout.symbol_len(Symbol::Parity(63)), Some(1_000));
        let lone = BlockLayout::checked(Object::Root, 300, 1_000, 192).unwrap();
        assert_eq!(lone.symbol_len(Symbol::Parity(0)), Some(300));
        // PROTOCOL S16
        assert_eq!(layout.symbol_len(Symbol::Parity(254)), Some(1_000));
        assert_eq!(layout.symbol_len(Symbol::Parity(255)), None);
        assert_eq!(lone.symbol_len(Symbol::Parity(64)), None);
        assert_eq!(BlockLayout::checked(Object::Root, 193, 1, 192), None);
        assert_eq!(BlockLayout::checked(Object::Root, 0, 1, 192), None);
    }
}
