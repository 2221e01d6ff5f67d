//! Which parts of the card are free.
//!
//! The card is divided into extents, one bit each. Nothing of this is stored: it
//! follows from what the kept releases point to, and is found out again after each start.

use crate::limits::SECTOR;

/// Least sectors of an extent: the longest chunk fits one.
const LEAST: u32 = 16;

/// The table of extents, and where chunks are written next.
pub(super) struct Space<'b> {
    used: &'b mut [u8],
    first: u32,
    /// Sectors per extent.
    extent: u32,
    extents: u32,
    /// Where the next chunk goes, and the end of what is taken there.
    next: u32,
    end: u32,
}

impl<'b> Space<'b> {
    /// The table of the sectors from `first` to `end`, all free.
    pub(super) fn new(used: &'b mut [u8], first: u32, end: u32) -> Self {
        let sectors = end.saturating_sub(first);
        let bits = u32::try_from(used.len().saturating_mul(8)).unwrap_or(u32::MAX).max(1);
        let extent = sectors.div_ceil(bits).next_multiple_of(LEAST).max(LEAST);
        let extents = (sectors / extent).min(bits);
        used.fill(0);
        Self { used, first, extent, extents, next: first, end: first }
    }

    /// Forgets all that is used.
    pub(super) fn clear(&mut self) {
        self.used.fill(0);
        self.end = self.next;
    }

    /// Bytes of all extents together.
    pub(super) const fn capacity(&self) -> u64 {
        self.extents as u64 * self.extent as u64 * SECTOR as u64
    }

    /// Bytes that are free, in whole extents and in the one that is being filled.
    pub(super) fn free(&self) -> u64 {
        let free = (0..self.extents).filter(|&extent| !self.is_used(extent)).count() as u64;
        let open = u64::from(self.end.saturating_sub(self.next));
        (free * u64::from(self.extent) + open) * SECTOR as u64
    }

    /// Notes that sectors are used.
    pub(super) fn mark(&mut self, sector: u32, count: u32) {
        let Some(from) = sector.checked_sub(self.first) else { return };
        let last = self.extent_of(from.saturating_add(count.max(1) - 1));
        for extent in self.extent_of(from)..=last.min(self.extents.saturating_sub(1)) {
            self.set(extent);
        }
    }

    /// Takes `count` sectors, at most [`LEAST`], for a chunk.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        if self.end.saturating_sub(self.next) < count {
            let following = self.extent_of(self.end.saturating_sub(self.first));
            let touches = self.end > self.first && self.start_of(following) == self.end;
            if touches && following < self.extents && !self.is_used(following) {
                // The chunk may begin in this extent and end in the next.
                self.set(following);
                self.end = self.start_of(following + 1);
            } else {
                let mut extents = (following..self.extents).chain(0..following);
                let free = extents.find(|&extent| !self.is_used(extent))?;
                self.set(free);
                self.next = self.start_of(free);
                self.end = self.start_of(free + 1);
            }
        }
        let at = self.next;
        self.next = self.next.checked_add(count).filter(|&next| next <= self.end)?;
        Some(at)
    }

    /// Takes `count` sectors that follow each other, from the end of the card.
    pub(super) fn take_run(&mut self, count: u32) -> Option<u32> {
        let needed = self.extent_of(count.saturating_add(self.extent - 1)).max(1);
        let mut run = 0;
        for extent in (0..self.extents).rev() {
            run = if self.is_used(extent) { 0 } else { run + 1 };
            if run == needed {
                (extent..extent + needed).for_each(|extent| self.set(extent));
                return Some(self.start_of(extent));
            }
        }
        None
    }

    /// The extent of a sector, counted from the first. No extent is of no length, but only
    /// `new` can see that.
    fn extent_of(&self, sector: u32) -> u32 {
        sector.checked_div(self.extent).unwrap_or(u32::MAX)
    }

    const fn start_of(&self, extent: u32) -> u32 {
        self.first + extent * self.extent
    }

    fn is_used(&self, extent: u32) -> bool {
        let byte = self.used.get(extent as usize / 8);
        byte.is_none_or(|byte| byte & (1 << (extent % 8)) != 0)
    }

    fn set(&mut self, extent: u32) {
        if let Some(byte) = self.used.get_mut(extent as usize / 8) {
            *byte |= 1 << (extent % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fill_extents_from_the_front_and_runs_come_from_the_end() {
        let mut used = [0; 2];
        // 100 sectors: six extents of 16.
        let mut space = Space::new(&mut used, 10, 110);
        assert_eq!(space.capacity(), 96 * 512);
        assert_eq!(space.take_run(17), Some(10 + 64));
        assert_eq!(space.free(), 64 * 512);
        assert_eq!(space.take(8), Some(10));
        assert_eq!(space.take(7), Some(18));
        assert_eq!(space.take(8), Some(25), "over the edge into the next extent");
        assert_eq!(space.free(), (64 - 23) * 512);
        space.mark(10 + 32, 1);
        assert_eq!(space.take(8), Some(33));
        assert_eq!(space.take(8), Some(10 + 48), "not into what is used");
        assert_eq!(space.take(8), Some(10 + 56));
        assert_eq!(space.take(1), None);
        space.clear();
        assert_eq!(space.free(), 96 * 512);
    }
}
