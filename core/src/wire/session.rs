//! Session datagrams (PROTOCOL §5): the outer header, and views over the
//! bodies that stand inside the encryption.

use super::segment::{self, SegmentView};
use super::{Malformed, SIGNATURE, before_signature, byte_at, last_64, short, u32_at};
use crate::ids::{BlockIndex, Epoch, SessionId, SymbolIndex};
use crate::limits::{
    ALL_PARITY, DATA_HEADER, MAX_ECHOES, MAX_PARITY, MAX_SOURCES, SYMBOL_HEADER, TAG, VERSION,
};

/// Type byte of a session datagram.
pub const TYPE: u8 = 5;

/// Kinds of bodies.
pub mod kind {
    /// A symbol of a block.
    pub const SYMBOL: u8 = 0;
    /// A segment's signed header.
    pub const SEGMENT: u8 = super::segment::KIND;
    /// What parity is promised.
    pub const ECHO: u8 = 2;
    /// Does multicast reach you?
    pub const PROBE: u8 = 3;
    /// All has been sent, signed.
    pub const END: u8 = 4;
    /// Digests of symbols, signed: strict mode.
    pub const DIGESTS: u8 = 5;
    /// A parity symbol beyond the first 64.
    pub const FURTHER: u8 = 6;
}

/// The outer header of a session datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which key opens it.
    pub epoch: Epoch,
    /// Which session it belongs to.
    pub session: SessionId,
    /// The send counter: the nonce.
    pub counter: u64,
}

impl Header {
    /// Reads the header of a datagram and checks that a body and a tag follow.
    ///
    /// # Errors
    /// [`Malformed`] for another type, version or a length that cannot be.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let least = DATA_HEADER + 1 + TAG;
        let Some((header, _)) = datagram.split_first_chunk::<DATA_HEADER>() else {
            return Err(Malformed::Length { expected: least, found: datagram.len() });
        };
        // PROTOCOL D1
        if datagram.len() < least {
            return Err(Malformed::Length { expected: least, found: datagram.len() });
        }
        if header[0] != TYPE {
            return Err(Malformed::Kind(header[0]));
        }
        if header[1] != VERSION {
            return Err(Malformed::Version(header[1]));
        }
        Ok(Self {
            epoch: Epoch(u16::from_le_bytes([header[2], header[3]])),
            session: SessionId(u32_at(header, 4)),
            counter: u64::from(u32_at(header, 8)) | u64::from(u32_at(header, 12)) << 32,
        })
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DATA_HEADER] {
        let mut bytes = [0; DATA_HEADER];
        bytes[0] = TYPE;
        bytes[1] = VERSION;
        bytes[2..4].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.session.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }
}

/// What a session datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A symbol of a block.
    Symbol {
        /// Which symbol.
        index: SymbolIndex,
        /// Of which block.
        block: BlockIndex,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// A parity symbol beyond those that a symbol index can name.
    Further {
        /// Its number among the block's parity symbols, 64 to 254.
        number: u8,
        /// Of which block.
        block: BlockIndex,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// A segment's header.
    Segment(SegmentView<'a>),
    /// Promised parity.
    Echo(EchoView<'a>),
    /// A probe and its number.
    Probe(u8),
    /// The end of the session.
    End(End<'a>),
    /// Digests of a block's symbols, in strict mode.
    Digests(DigestsView<'a>),
}

impl<'a> Body<'a> {
    /// Reads a decrypted body whose session has `slots` release slots or fewer.
    ///
    /// # Errors
    /// [`Malformed`] for anything that no sender makes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.first() {
            Some(&kind::SYMBOL) => {
                let (index, block, payload) = symbol(bytes)?;
                Ok(Self::Symbol { index: SymbolIndex(index), block, payload })
            }
            Some(&kind::FURTHER) => {
                let (number, block, payload) = symbol(bytes)?;
                // PROTOCOL S16
                let further = (MAX_PARITY..ALL_PARITY).contains(&usize::from(number));
                further.then_some(Self::Further { number, block, payload }).ok_or(Malformed::Bound)
            }
            Some(&kind::SEGMENT) => SegmentView::parse(bytes).map(Self::Segment),
            Some(&kind::ECHO) => EchoView::parse(bytes).map(Self::Echo),
            Some(&kind::PROBE) if bytes.len() >= 2 => Ok(Self::Probe(byte_at(bytes, 1))),
            Some(&kind::END) => End::parse(bytes).map(Self::End),
            Some(&kind::DIGESTS) => DigestsView::parse(bytes).map(Self::Digests),
            Some(&other) => Err(Malformed::Kind(other)),
            None => Err(short(bytes, 1)),
        }
    }
}

/// Index or number, block and bytes of a symbol of either kind.
fn symbol(bytes: &[u8]) -> Result<(u8, BlockIndex, &[u8]), Malformed> {
    let (&[_, number, a, b, c, d], payload) =
        bytes.split_first_chunk::<SYMBOL_HEADER>().ok_or(short(bytes, SYMBOL_HEADER))?;
    if payload.is_empty() {
        return Err(short(bytes, SYMBOL_HEADER + 1));
    }
    Ok((number, BlockIndex(u32::from_le_bytes([a, b, c, d])), payload))
}

/// Writes the head of the body of parity symbol `number`, 64 or above.
#[must_use]
pub fn further_head(number: u8, block: BlockIndex) -> [u8; SYMBOL_HEADER] {
    let block = block.0.to_le_bytes();
    [kind::FURTHER, number, block[0], block[1], block[2], block[3]]
}

/// Writes the head of a symbol body.
#[must_use]
pub fn symbol_head(index: SymbolIndex, block: BlockIndex) -> [u8; SYMBOL_HEADER] {
    let block = block.0.to_le_bytes();
    [kind::SYMBOL, index.0, block[0], block[1], block[2], block[3]]
}

/// Parity promised per block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoView<'a> {
    entries: &'a [u8],
}

/// Bytes of one entry of an echo.
pub const ECHO_ENTRY: usize = 5;

impl<'a> EchoView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&[_, count], entries) = bytes.split_first_chunk().ok_or(short(bytes, 2))?;
        let count = usize::from(count);
        if count > MAX_ECHOES || entries.len() != count * ECHO_ENTRY {
            return Err(short(bytes, 2 + count * ECHO_ENTRY));
        }
        Ok(Self { entries })
    }

    /// Blocks and how many of their parity symbols are promised in all.
    pub fn entries(&self) -> impl Iterator<Item = (BlockIndex, u8)> + use<'a> {
        let entries = self.entries.as_chunks::<ECHO_ENTRY>().0.iter();
        entries.map(|&[a, b, c, d, n]| (BlockIndex(u32::from_le_bytes([a, b, c, d])), n))
    }
}

/// Bytes of an end without its signature.
pub const END_SIGNED: usize = 16;

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    bytes: &'a [u8],
}

impl<'a> End<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() != END_SIGNED + SIGNATURE {
            return Err(short(bytes, END_SIGNED + SIGNATURE));
        }
        // PROTOCOL D1
        if bytes.get(1..4) != Some(&[0; 3][..]) {
            Err(Malformed::Reserved)
        } else {
            Ok(Self { bytes })
        }
    }

    /// The bytes of an end, to be signed.
    #[must_use]
    pub fn unsigned(segments: u32, blocks: u32, sequence: u32) -> [u8; END_SIGNED] {
        let mut bytes = [0; END_SIGNED];
        bytes[0] = kind::END;
        bytes[4..8].copy_from_slice(&segments.to_le_bytes());
        bytes[8..12].copy_from_slice(&blocks.to_le_bytes());
        bytes[12..16].copy_from_slice(&sequence.to_le_bytes());
        bytes
    }

    /// Segments that the session had.
    #[must_use]
    pub fn segments(&self) -> u32 {
        u32_at(self.bytes, 4)
    }

    /// Blocks that the session had.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32_at(self.bytes, 8)
    }

    /// Its control sequence: each end of a session has a greater one.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        u32_at(self.bytes, 12)
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        before_signature(self.bytes)
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> [u8; SIGNATURE] {
        last_64(self.bytes)
    }
}

/// Bytes of digests in front of the first one.
pub const DIGESTS_HEAD: usize = 12;
/// Bytes of one digest: the first ones of a SHA-256.
pub const DIGEST: usize = 8;
/// Set in the number of digests that are of parity.
const OF_PARITY: u16 = 1 << 15;

/// Digests of consecutive symbols of a block, signed (PROTOCOL S17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestsView<'a> {
    bytes: &'a [u8],
}

impl<'a> DigestsView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let least = DIGESTS_HEAD + DIGEST + SIGNATURE;
        if bytes.len() < least {
            return Err(short(bytes, least));
        }
        let view = Self { bytes };
        // PROTOCOL D2
        if bytes.len() != DIGESTS_HEAD + view.count() * DIGEST + SIGNATURE {
            return Err(short(bytes, DIGESTS_HEAD + view.count() * DIGEST + SIGNATURE));
        }
        // PROTOCOL S17
        let most = if view.of_parity() { ALL_PARITY } else { MAX_SOURCES };
        let fits = view.count() > 0 && usize::from(view.first()) + view.count() <= most;
        fits.then_some(view).ok_or(Malformed::Bound)
    }

    /// The head of `count` digests from the source `first` on, or from the parity of
    /// that number on.
    #[must_use]
    pub fn head(
        of_parity: bool,
        first: u8,
        count: u8,
        block: BlockIndex,
        sequence: u32,
    ) -> [u8; DIGESTS_HEAD] {
        let mut head = [0; DIGESTS_HEAD];
        let number = u16::from(count) | if of_parity { OF_PARITY } else { 0 };
        head[0] = kind::DIGESTS;
        head[1] = first;
        head[2..4].copy_from_slice(&number.to_le_bytes());
        head[4..8].copy_from_slice(&block.0.to_le_bytes());
        head[8..12].copy_from_slice(&sequence.to_le_bytes());
        head
    }

    /// Whether they are digests of parity.
    #[must_use]
    pub fn of_parity(&self) -> bool {
        self.number() & OF_PARITY != 0
    }

    /// Index of the first source, or number of the first parity.
    #[must_use]
    pub fn first(&self) -> u8 {
        byte_at(self.bytes, 1)
    }

    /// How many digests there are, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.number() & !OF_PARITY)
    }

    /// The block whose symbols they are of.
    #[must_use]
    pub fn block(&self) -> BlockIndex {
        BlockIndex(u32_at(self.bytes, 4))
    }

    /// Indices of sources or numbers of parities, and their digests.
    pub fn digests(&self) -> impl Iterator<Item = (u8, [u8; DIGEST])> + use<'a> {
        let digests = self.bytes.get(DIGESTS_HEAD..).unwrap_or(&[]).as_chunks::<DIGEST>().0;
        (self.first()..=u8::MAX).zip(digests.iter().copied()).take(self.count())
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        before_signature(self.bytes)
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> [u8; SIGNATURE] {
        last_64(self.bytes)
    }

    fn number(&self) -> u16 {
        u16::from_le_bytes([byte_at(self.bytes, 2), byte_at(self.bytes, 3)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_type_or_reserved_byte_is_refused() {
        let header = Header { epoch: Epoch(2), session: SessionId(3), counter: 1 << 40 };
        let mut datagram = [0; 33];
        datagram[..16].copy_from_slice(&header.to_bytes());
        assert_eq!(Header::parse(&datagram), Ok(header));
        // PROTOCOL D1
        datagram[1] = 2;
        assert_eq!(Header::parse(&datagram), Err(Malformed::Version(2)));
        assert!(Header::parse(&datagram[..32]).is_err());
        let mut end = [0; END_SIGNED + SIGNATURE];
        end[..END_SIGNED].copy_from_slice(&End::unsigned(1, 2, 3));
        assert!(matches!(Body::parse(&end), Ok(Body::End(_))));
        end[2] = 1;
        assert_eq!(Body::parse(&end), Err(Malformed::Reserved));
    }

    #[test]
    fn further_parity_has_the_bytes_of_the_diagram_and_no_number_of_the_first() {
        let mut body = [6, 64, 4, 3, 2, 1, 0xAB];
        assert_eq!(body[..6], further_head(64, BlockIndex(0x0102_0304)));
        let block = BlockIndex(0x0102_0304);
        let expected = Body::Further { number: 64, block, payload: &[0xAB] };
        assert_eq!(Body::parse(&body), Ok(expected));
        // PROTOCOL S16
        for number in [0, 63, 255] {
            body[1] = number;
            assert_eq!(Body::parse(&body), Err(Malformed::Bound));
        }
        assert!(Body::parse(&body[..6]).is_err());
    }

    // PROTOCOL S17
    #[test]
    fn digests_have_the_bytes_of_the_diagram_and_name_no_symbol_that_cannot_be() {
        // By hand: kind, first, number with bit 15 for parity, block, sequence, digests.
        let mut body = std::vec![5, 190, 2, 0, 4, 3, 2, 1, 9, 0, 0, 0];
        body.extend([0xA1; 8]);
        body.extend([0xA2; 8]);
        body.extend([0x51; 64]);
        let block = BlockIndex(0x0102_0304);
        assert_eq!(body[..12], DigestsView::head(false, 190, 2, block, 9));
        let Ok(Body::Digests(view)) = Body::parse(&body) else { panic!("refused") };
        let read: std::vec::Vec<_> = view.digests().collect();
        assert_eq!(read, [(190, [0xA1; 8]), (191, [0xA2; 8])]);
        assert_eq!((view.block(), view.signature()), (block, [0x51; 64]));
        assert_eq!(view.signed(), &body[..28]);
        // No source 192; but there is such a parity, and none with the number 255.
        body[1] = 191;
        assert_eq!(Body::parse(&body), Err(Malformed::Bound));
        body[3] = 0x80;
        assert_eq!(body[..12], DigestsView::head(true, 191, 2, block, 9));
        assert!(matches!(Body::parse(&body), Ok(Body::Digests(view)) if view.of_parity()));
        body[1] = 254;
        assert_eq!(Body::parse(&body), Err(Malformed::Bound));
        body[2] = 3;
        assert!(Body::parse(&body).is_err());
    }
}
