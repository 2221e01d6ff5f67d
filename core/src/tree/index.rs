//! Index lists: how the chunks of the entry table are found from the root.
//!
//! The root holds the last list, as `top`. `levels` counts chunks from there
//! downwards: `levels[0]` is how many chunks `top` names; these, put together,
//! are the list that names the `levels[1]` chunks below, and so on. The last
//! level is the entry table. (PROTOCOL §4 counts lists upwards: its list of
//! level 0 names the chunks of the last level here.) An empty tree has no
//! levels at all.
//!
//! ```text
//! root: top ─► 2 chunks ─► list ─► 40 chunks ─► entry table    levels = [2, 40]
//! ordinals:      0, 1               2 … 41
//! ```

use core::ops::Range;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::entry::{MIN_ENTRY, TreeTotals};
use super::reference::{ChunkRef, references};
use crate::ids::Ordinal;
use crate::limits::{CHUNK_REF, MAX_CHUNK, MAX_INDEX_LEVELS};
use crate::wire::Malformed;

/// Levels of chunks at most: the lists between, and the entry table.
pub const MAX_LEVELS: usize = MAX_INDEX_LEVELS + 1;

/// Chunks per level, from the root's list downwards.
pub type Levels = Vec<u32, MAX_LEVELS>;

/// One tree as its release root states it; its postcard encoding is part of
/// the root's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeTop<'a> {
    /// Chunks per level, from the root's list downwards; empty for an empty tree.
    pub levels: Levels,
    /// Directories and files.
    pub entries: u32,
    /// Files.
    pub files: u32,
    /// Sum of the sizes of all files.
    pub content_bytes: u64,
    /// Unique content chunks: ordinals of content are below this.
    pub content_chunks: u32,
    /// Sum of the lengths of all index chunks: lists and entry table.
    pub index_bytes: u64,
    /// Length of the entry table.
    pub entry_bytes: u64,
    /// References to the chunks of the first level, 36 bytes each.
    pub top: &'a [u8],
}

/// Which numbers of a [`TreeTop`] contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTop {
    /// A level that is empty, does not grow downwards, or holds more or fewer
    /// chunks than its bytes allow; or a count that does not fit 32 bits.
    Levels,
    /// `top` is not the references of the first level.
    Top,
    /// `index_bytes` is not the length of all lists and the entry table.
    IndexBytes {
        /// What it would have to be.
        expected: u64,
    },
    /// More files than entries, more entries than bytes, or chunks without content.
    Counts,
}

impl TreeTop<'_> {
    /// The tree without entries.
    pub const EMPTY: TreeTop<'static> = TreeTop {
        levels: Vec::new(),
        entries: 0,
        files: 0,
        content_bytes: 0,
        content_chunks: 0,
        index_bytes: 0,
        entry_bytes: 0,
        top: &[],
    };

    /// Checks that the numbers fit each other, and lays the index out.
    ///
    /// # Errors
    /// [`BadTop`] when they do not; the fault is the signer's.
    pub fn layout(&self) -> Result<IndexLayout, BadTop> {
        // PROTOCOL R1: numbers in the root that cannot be true are refused at once.
        let layout = IndexLayout::new(&self.levels)?;
        if self.levels.is_empty() && self.entry_bytes != 0 {
            return Err(BadTop::Levels);
        }
        let mut index_bytes = 0_u64;
        for (level, &chunks) in self.levels.iter().enumerate() {
            let bytes = self.level_bytes(level);
            let most = u64::from(chunks) * MAX_CHUNK as u64;
            if !(u64::from(chunks)..=most).contains(&bytes) {
                return Err(BadTop::Levels);
            }
            index_bytes = index_bytes.checked_add(bytes).ok_or(BadTop::Levels)?;
        }
        if index_bytes != self.index_bytes {
            return Err(BadTop::IndexBytes { expected: index_bytes });
        }
        self.check_top()?;
        self.check_counts()?;
        Ok(layout)
    }

    /// References to the chunks of the first level, in order.
    ///
    /// # Errors
    /// [`Malformed`] when `top` is not a list of references.
    pub fn references(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = Result<ChunkRef, Malformed>> + '_, Malformed> {
        references(self.top)
    }

    /// What the entry table must amount to.
    #[must_use]
    pub const fn totals(&self) -> TreeTotals {
        TreeTotals {
            entries: self.entries,
            files: self.files,
            content_bytes: self.content_bytes,
            entry_bytes: self.entry_bytes,
        }
    }

    /// Length of the list, or the entry table, that the chunks of a level are.
    fn level_bytes(&self, level: usize) -> u64 {
        let below = self.levels.get(level + 1);
        below.map_or(self.entry_bytes, |&chunks| u64::from(chunks) * CHUNK_REF as u64)
    }

    fn check_top(&self) -> Result<(), BadTop> {
        let first = self.levels.first().copied().unwrap_or(0);
        let list = references(self.top).map_err(|_| BadTop::Top)?;
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for reference in list {
            bytes += u64::from(reference.map_err(|_| BadTop::Top)?.len);
            count += 1;
        }
        let expected = if first == 0 { 0 } else { self.level_bytes(0) };
        if count == u64::from(first) && bytes == expected { Ok(()) } else { Err(BadTop::Top) }
    }

    fn check_counts(&self) -> Result<(), BadTop> {
        let shortest = u64::from(self.entries) * MIN_ENTRY as u64;
        let possible = self.files <= self.entries
            && shortest <= self.entry_bytes
            && (self.entries == 0) == (self.entry_bytes == 0)
            && (self.files != 0 || self.content_bytes == 0)
            && u64::from(self.content_chunks) <= self.content_bytes
            && (self.content_chunks == 0) == (self.content_bytes == 0);
        if possible { Ok(()) } else { Err(BadTop::Counts) }
    }
}

/// Where an index chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    /// Its level, counted from the root's list (0) downwards.
    pub level: usize,
    /// Its position within the level.
    pub position: u32,
}

/// Maps ordinals of index chunks to places and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLayout {
    /// `starts[l]` is the first ordinal of level `l`; behind the last level
    /// they all are the total.
    starts: [u32; MAX_LEVELS + 1],
    levels: usize,
}

impl IndexLayout {
    /// The layout of these levels.
    ///
    /// # Errors
    /// [`BadTop::Levels`] when one is empty or not smaller than the one below,
    /// or when all together do not fit 32 bits.
    pub fn new(levels: &Levels) -> Result<Self, BadTop> {
        let mut starts = [0; MAX_LEVELS + 1];
        let (mut total, mut above) = (0_u32, 0_u32);
        for (level, &chunks) in levels.iter().enumerate() {
            if chunks <= above {
                return Err(BadTop::Levels);
            }
            total = total.checked_add(chunks).ok_or(BadTop::Levels)?;
            starts[level + 1..].fill(total);
            above = chunks;
        }
        Ok(Self { starts, levels: levels.len() })
    }

    /// Index chunks of all levels.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.starts[MAX_LEVELS]
    }

    /// How many levels there are; the last is the entry table, the others lists.
    #[must_use]
    pub const fn levels(&self) -> usize {
        self.levels
    }

    /// Whether a level is the entry table rather than a list of references.
    #[must_use]
    pub const fn is_entry_table(&self, level: usize) -> bool {
        level + 1 == self.levels
    }

    /// The ordinals of a level; empty when there is no such level.
    #[must_use]
    pub fn ordinals(&self, level: usize) -> Range<u32> {
        match self.starts.get(level..).unwrap_or(&[]) {
            [first, end, ..] => *first..*end,
            _ => self.total()..self.total(),
        }
    }

    /// The place of an ordinal, or `None` when there is no such chunk.
    #[must_use]
    pub fn place(&self, ordinal: Ordinal) -> Option<IndexPlace> {
        let level = (0..self.levels).find(|&level| self.ordinals(level).contains(&ordinal.0))?;
        Some(IndexPlace { level, position: ordinal.0 - self.ordinals(level).start })
    }

    /// The ordinal at a place, or `None` when there is no such chunk.
    #[must_use]
    pub fn ordinal(&self, place: IndexPlace) -> Option<Ordinal> {
        let ordinals = self.ordinals(place.level);
        let ordinal = ordinals.start.checked_add(place.position)?;
        ordinals.contains(&ordinal).then_some(Ordinal(ordinal))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels(counts: &[u32]) -> Levels {
        counts.iter().copied().collect()
    }

    fn reference(len: u32) -> [u8; 36] {
        let mut bytes = [7; 36];
        bytes[32..].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    /// 2 list chunks (1,000 + 440 bytes = 40 × 36), 40 chunks of 90,000 bytes.
    fn two_levels(top: &[u8]) -> TreeTop<'_> {
        TreeTop {
            levels: levels(&[2, 40]),
            entries: 900,
            files: 800,
            content_bytes: 5_000_000,
            content_chunks: 700,
            index_bytes: 91_440,
            entry_bytes: 90_000,
            top,
        }
    }

    #[test]
    fn chunks_are_numbered_from_the_root_downwards() {
        let layout = IndexLayout::new(&levels(&[2, 3, 7])).unwrap();
        assert_eq!((layout.total(), layout.levels()), (12, 3));
        assert_eq!(layout.ordinals(1), 2..5);
        assert_eq!(layout.ordinals(2), 5..12);
        assert_eq!(layout.place(Ordinal(4)), Some(IndexPlace { level: 1, position: 2 }));
        assert_eq!(layout.place(Ordinal(12)), None);
        assert_eq!(layout.ordinal(IndexPlace { level: 2, position: 6 }), Some(Ordinal(11)));
        assert_eq!(layout.ordinal(IndexPlace { level: 1, position: 3 }), None);
        assert_eq!(layout.ordinal(IndexPlace { level: 3, position: 0 }), None);
        assert!(layout.is_entry_table(2) && !layout.is_entry_table(1));
        assert!(layout.ordinals(9).is_empty());
    }

    #[test]
    fn levels_that_do_not_grow_or_overflow_are_refused() {
        for bad in [&[0][..], &[3, 3], &[3, 2], &[1, u32::MAX]] {
            assert_eq!(IndexLayout::new(&levels(bad)), Err(BadTop::Levels));
        }
    }

    #[test]
    fn a_top_whose_numbers_agree_is_taken_and_an_empty_tree_too() {
        let top = [reference(1_000), reference(440)].concat();
        assert_eq!(two_levels(&top).layout().map(|layout| layout.total()), Ok(42));
        assert_eq!(TreeTop::EMPTY.layout().map(|layout| layout.total()), Ok(0));
    }

    #[test]
    fn each_number_that_cannot_be_true_is_refused() {
        // PROTOCOL R1: numbers in the root.
        let top = [reference(1_000), reference(440)].concat();
        let with = |change: fn(&mut TreeTop<'_>)| {
            let mut tree = two_levels(&top);
            change(&mut tree);
            tree.layout().err()
        };
        let expected = Some(BadTop::IndexBytes { expected: 91_440 });
        assert_eq!(with(|tree| tree.index_bytes += 1), expected);
        assert_eq!(with(|tree| tree.top = &[]), Some(BadTop::Top));
        assert_eq!(with(|tree| tree.top = &tree.top[1..]), Some(BadTop::Top));
        assert_eq!(with(|tree| tree.files = 901), Some(BadTop::Counts));
        assert_eq!(with(|tree| tree.entries = 7_501), Some(BadTop::Counts));
        assert_eq!(with(|tree| tree.content_chunks = 0), Some(BadTop::Counts));
        assert_eq!(with(|tree| tree.content_bytes = 699), Some(BadTop::Counts));
        assert_eq!(with(|tree| tree.entry_bytes = 39), Some(BadTop::Levels));
        assert_eq!(with(|tree| tree.entry_bytes = 40 * 131_072 + 1), Some(BadTop::Levels));
        assert_eq!(with(|tree| tree.levels.clear()), Some(BadTop::Levels));
        let wrong = [reference(1_000), reference(441)].concat();
        assert_eq!(two_levels(&wrong).layout(), Err(BadTop::Top));
    }

    proptest! {
        #[test]
        fn places_and_ordinals_are_each_others_inverse(
            counts in proptest::collection::btree_set(1..2_000_u32, 0..=MAX_LEVELS),
            pick in any::<u32>(),
        ) {
            let counts: std::vec::Vec<u32> = counts.into_iter().collect();
            let layout = IndexLayout::new(&levels(&counts)).unwrap();
            let total: u32 = counts.iter().sum();
            prop_assert_eq!(layout.total(), total);
            if total > 0 {
                let ordinal = Ordinal(pick % total);
                let place = layout.place(ordinal).unwrap();
                // An independent count: all chunks of the levels above, and the position.
                let before: u32 = counts[..place.level].iter().sum();
                prop_assert_eq!(before + place.position, ordinal.0);
                prop_assert!(place.position < counts[place.level]);
                prop_assert_eq!(layout.ordinal(place), Some(ordinal));
            }
        }
    }
}
