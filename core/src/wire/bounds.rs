//! What a constrained receiver has room for (PROTOCOL §3, kind 24): so that a server need
//! not know its firmware.

use super::segment::SEGMENT_HEAD;
use super::{Malformed, SIGNATURE, short};
use crate::limits::{
    MAX_SEGMENT_BLOCKS, MAX_SLOTS, MAX_SOURCES, MAX_SYMBOL, RECORD_HEADER, STORE_CHUNK,
    SYMBOL_HEADER,
};

/// Kind byte of the message.
pub const KIND: u8 = 24;
/// Bytes of the message.
pub const LEN: usize = 8;
/// Least bytes of a symbol: a datagram of its size carries the signed header of a segment of
/// one block in a session of MAX_SLOTS releases, with one run of each.
pub const LEAST_SYMBOL: usize = SEGMENT_HEAD + 4 + MAX_SLOTS * 7 + SIGNATURE - SYMBOL_HEADER;

/// What sessions for a receiver must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a full symbol at most.
    pub symbol: u16,
    /// Source symbols of a block at most.
    pub sources: u8,
    /// Blocks whose symbols may be interleaved, at least one.
    pub interleave: u8,
    /// Blocks of a segment at most.
    pub segment: u8,
    /// Datagrams that may wait for it, at least one.
    pub behind: u16,
}

impl Bounds {
    /// Checks a message whose first byte is [`KIND`].
    ///
    /// # Errors
    /// [`Malformed`] for another length, and for bounds within which there is no session.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let &[kind, low, high, sources, interleave, segment, few, many] = bytes else {
            return Err(short(bytes, LEN));
        };
        if kind != KIND {
            return Err(Malformed::Kind(kind));
        }
        let (symbol, behind) = (u16::from_le_bytes([low, high]), u16::from_le_bytes([few, many]));
        let bounds = Self { symbol, sources, interleave, segment, behind };
        // PROTOCOL M6
        if bounds.allows_sessions() { Ok(bounds) } else { Err(Malformed::Bound) }
    }

    /// The bytes of the message.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; LEN] {
        let ([low, high], [few, many]) = (self.symbol.to_le_bytes(), self.behind.to_le_bytes());
        [KIND, low, high, self.sources, self.interleave, self.segment, few, many]
    }

    /// What suits another receiver too; there may be no session within it, although there
    /// are within each of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            symbol: self.symbol.min(other.symbol),
            sources: self.sources.min(other.sources),
            interleave: self.interleave.min(other.interleave),
            segment: self.segment.min(other.segment),
            behind: self.behind.min(other.behind),
        }
    }

    /// Whether the longest record that a board takes fits a block, a segment's header a
    /// datagram, and all counts are at least one and no more than the protocol has.
    fn allows_sessions(&self) -> bool {
        let (symbol, sources) = (usize::from(self.symbol), usize::from(self.sources));
        symbol * sources >= STORE_CHUNK + RECORD_HEADER
            && (LEAST_SYMBOL..=MAX_SYMBOL).contains(&symbol)
            && sources <= MAX_SOURCES
            && (1..=self.segment).contains(&self.interleave)
            && usize::from(self.segment) <= MAX_SEGMENT_BLOCKS
            && self.behind > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: Bounds =
        Bounds { symbol: 510, sources: 10, interleave: 1, segment: 16, behind: 128 };

    // PROTOCOL M6
    #[test]
    fn bounds_that_leave_no_room_for_a_chunk_or_are_not_of_the_protocol_are_refused() {
        for good in [BOARD, Bounds { symbol: 107, sources: 39, ..BOARD }] {
            assert_eq!(Bounds::parse(&good.to_bytes()), Ok(good));
        }
        let bad = [
            Bounds { symbol: 410, ..BOARD },
            Bounds { symbol: 1_435, ..BOARD },
            // By hand: 17 + 4 + 4 · (1 + 6) + 64 are 113 bytes, 6 more than a symbol of 107.
            Bounds { symbol: 106, sources: 192, ..BOARD },
            Bounds { sources: 8, ..BOARD },
            Bounds { sources: 193, ..BOARD },
            Bounds { interleave: 0, ..BOARD },
            Bounds { interleave: 17, ..BOARD },
            Bounds { segment: 0, ..BOARD },
            Bounds { segment: 17, ..BOARD },
            Bounds { behind: 0, ..BOARD },
        ];
        for bounds in bad {
            assert_eq!(Bounds::parse(&bounds.to_bytes()), Err(Malformed::Bound), "{bounds:?}");
        }
        // PROTOCOL D2
        let longer = [&BOARD.to_bytes()[..], &[0]].concat();
        assert_eq!(Bounds::parse(&longer), Err(Malformed::Length { expected: 8, found: 9 }));
    }

    #[test]
    fn what_suits_two_receivers_is_the_least_of_each() {
        let other = Bounds { symbol: 1_024, sources: 9, interleave: 2, segment: 2, behind: 64 };
        let both = Bounds { symbol: 510, sources: 9, interleave: 1, segment: 2, behind: 64 };
        assert_eq!(BOARD.and(other), both);
        assert_eq!(other.and(BOARD), both);
    }
}
