//! LZ4 blocks, decoded while they are read from the card.
//!
//! A decoder that wants its whole input in memory would need a second buffer as
//! large as a chunk. This one takes its input piece by piece and copies only within
//! its output (LZ4 Block Format Description, Yann Collet).

/// Why a block was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecoded<E> {
    /// It is no block of this length.
    Malformed,
    /// Its bytes could not be read.
    Source(E),
}

/// Where a block's bytes come from.
pub(super) trait Source {
    /// What can happen on the way.
    type Error;

    /// Fills `into` with the next bytes.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// Decodes a block of `len` bytes into exactly `out`.
pub(super) fn decode<S: Source>(
    source: &mut S,
    len: usize,
    out: &mut [u8],
) -> Result<(), Undecoded<S::Error>> {
    let mut input = Input { source, left: len };
    let mut at = 0_usize;
    loop {
        let token = input.byte()?;
        let literals = input.length(token >> 4)?;
        let end = at.checked_add(literals).ok_or(Undecoded::Malformed)?;
        input.fill(out.get_mut(at..end).ok_or(Undecoded::Malformed)?)?;
        at = end;
        // A block ends with literals.
        if input.left == 0 {
            return if at == out.len() { Ok(()) } else { Err(Undecoded::Malformed) };
        }
        let back = usize::from(u16::from_le_bytes([input.byte()?, input.byte()?]));
        let matched = input.length(token & 15)?.saturating_add(4);
        let end = at.checked_add(matched).ok_or(Undecoded::Malformed)?;
        let start = at.checked_sub(back).filter(|_| back > 0).ok_or(Undecoded::Malformed)?;
        let window = out.get_mut(start..end).ok_or(Undecoded::Malformed)?;
        repeat(window, back);
        at = end;
    }
}

/// Fills what follows the first `back` bytes with their repetition.
fn repeat(window: &mut [u8], back: usize) {
    let mut done = back;
    // What is filled is periodic, so it can be copied twice as much each time.
    while let Some((filled, rest)) = window.split_at_mut_checked(done) {
        if rest.is_empty() {
            return;
        }
        rest.iter_mut().zip(&*filled).for_each(|(place, &byte)| *place = byte);
        done = done.saturating_add(done);
    }
}

struct Input<'s, S> {
    source: &'s mut S,
    left: usize,
}

impl<S: Source> Input<'_, S> {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), Undecoded<S::Error>> {
        self.left = self.left.checked_sub(into.len()).ok_or(Undecoded::Malformed)?;
        if into.is_empty() { Ok(()) } else { self.source.fill(into).map_err(Undecoded::Source) }
    }

    fn byte(&mut self) -> Result<u8, Undecoded<S::Error>> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    /// A length whose first four bits are `nibble`.
    fn length(&mut self, nibble: u8) -> Result<usize, Undecoded<S::Error>> {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = self.byte()?;
                length = length.saturating_add(usize::from(more));
                if more != u8::MAX {
                    break;
                }
            }
        }
        Ok(length)
    }
}

/// Bytes in memory as a source.
impl Source for &[u8] {
    type Error = core::convert::Infallible;

    fn fill(&mut self, into: &mut [u8]) -> Result<(), Self::Error> {
        // The decoder never asks for more than the length that it was given.
        let (front, rest) = self.split_at(into.len().min(self.len()));
        if let Some(into) = into.get_mut(..front.len()) {
            into.copy_from_slice(front);
        }
        *self = rest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn decoded(block: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut out = vec![0xEE; len];
        decode(&mut &block[..], block.len(), &mut out).ok().map(|()| out)
    }

    #[test]
    fn a_block_by_hand_decodes() {
        // Five literals, then twelve bytes from five back, then five literals.
        let block = [0x58, b'a', b'b', b'c', b'd', b'e', 5, 0, 0x50, 1, 2, 3, 4, 5];
        assert_eq!(decoded(&block, 22).unwrap(), b"abcdeabcdeabcdeab\x01\x02\x03\x04\x05");
        assert_eq!(decoded(&block, 21), None);
        assert_eq!(decoded(&block, 23), None);
        assert_eq!(decoded(&block[..13], 22), None);
        assert_eq!(decoded(&[], 0), None);
        // A distance of zero, and one before the beginning.
        assert_eq!(decoded(&[0x10, 7, 0, 0, 0x00], 5), None);
        assert_eq!(decoded(&[0x10, 7, 2, 0, 0x00], 5), None);
    }

    proptest! {
        #[test]
        fn what_another_encoder_writes_decodes_to_what_it_was(
            seed in proptest::collection::vec(0..4_u8, 1..40), repeats in 1..200_usize,
            noise in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut chunk = seed.repeat(repeats);
            chunk.extend(&noise);
            chunk.extend(&seed);
            let block = lz4_flex::block::compress(&chunk);
            prop_assert_eq!(decoded(&block, chunk.len()), Some(chunk));
        }

        #[test]
        fn it_takes_what_another_decoder_takes_and_nothing_else(
            block in proptest::collection::vec(any::<u8>(), 0..60), len in 0..80_usize,
        ) {
            let mut out = vec![0; len];
            let other = lz4_flex::block::decompress_into(&block, &mut out);
            let whole = other.is_ok_and(|n| n == len).then_some(out);
            let ours = decoded(&block, len);
            // We may be stricter, never more lenient.
            prop_assert!(ours.is_none() || ours == whole, "{:?} {:?}", ours, whole);
        }
    }
}
