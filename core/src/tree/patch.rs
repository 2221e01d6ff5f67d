//! Patches: a chunk told by chunks that its receivers have installed (PROTOCOL §4).
//!
//! What is encoded begins with the names of its predecessors; a zstd frame
//! follows, which may copy from their bytes. A name is the front of an id: what
//! it leads to is hashed before it is used, and so is what comes out.

use crate::digest::Digest;
use crate::limits::MAX_PREDECESSORS;
use crate::wire::Malformed;

/// The front of a chunk's SHA-256, as patches name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; Self::LEN]);

impl ShortId {
    /// Bytes of a name.
    pub const LEN: usize = 8;

    /// The name of a chunk.
    #[must_use]
    pub fn of(id: &Digest) -> Self {
        let mut front = [0; Self::LEN];
        front.copy_from_slice(&id.0[..Self::LEN]);
        Self(front)
    }
}

/// The encoded part of a patch's record; nothing in it is checked but its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch<'a> {
    names: &'a [[u8; ShortId::LEN]],
    frame: &'a [u8],
}

impl<'a> Patch<'a> {
    /// Reads what is encoded in a record of codec [`super::record::PATCH`].
    ///
    /// # Errors
    /// [`Malformed::Bound`] when it names no predecessor or more than
    /// [`MAX_PREDECESSORS`], [`Malformed::Length`] when it ends before its frame.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, Malformed> {
        let too_short = Malformed::Length { expected: 1, found: encoded.len() };
        let (&count, rest) = encoded.split_first().ok_or(too_short)?;
        // PROTOCOL R3: so nobody gathers more than so many chunks for one.
        if !(1..=MAX_PREDECESSORS).contains(&usize::from(count)) {
            return Err(Malformed::Bound);
        }
        let expected = usize::from(count) * ShortId::LEN;
        match rest.split_at_checked(expected) {
            Some((names, frame)) if !frame.is_empty() => {
                Ok(Self { names: names.as_chunks().0, frame })
            }
            _ => Err(Malformed::Length { expected: expected + 1, found: rest.len() }),
        }
    }

    /// Names of the predecessors, in the order in which their bytes stand before the frame's.
    pub fn predecessors(&self) -> impl ExactSizeIterator<Item = ShortId> + 'a {
        self.names.iter().map(|name| ShortId(*name))
    }

    /// The zstd frame.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }
}

/// Writes what stands before the frame into `out`; returns its length.
///
/// # Errors
/// [`Malformed::Bound`] for none or too many predecessors, [`Malformed::Length`]
/// when `out` is too short.
pub fn encode_head(predecessors: &[ShortId], out: &mut [u8]) -> Result<usize, Malformed> {
    if !(1..=MAX_PREDECESSORS).contains(&predecessors.len()) {
        return Err(Malformed::Bound);
    }
    let (expected, found) = (1 + predecessors.len() * ShortId::LEN, out.len());
    let (count, rest) = out.split_first_mut().ok_or(Malformed::Length { expected, found })?;
    let names = rest.get_mut(..expected - 1).ok_or(Malformed::Length { expected, found })?;
    *count = predecessors.len() as u8;
    for (place, name) in names.as_chunks_mut().0.iter_mut().zip(predecessors) {
        *place = name.0;
    }
    Ok(expected)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const TWO: [u8; 19] = [2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 0xF0, 0xF1];

    #[test]
    fn predecessors_stand_before_the_frame() {
        let patch = Patch::parse(&TWO).unwrap();
        let names: Vec<ShortId> = patch.predecessors().collect();
        assert_eq!(names, [ShortId([1; 8]), ShortId([2; 8])]);
        assert_eq!(patch.frame(), [0xF0, 0xF1]);
        let mut out = [0; 20];
        assert_eq!(encode_head(&names, &mut out), Ok(17));
        assert_eq!(out[..17], TWO[..17]);
    }

    #[test]
    fn a_name_is_the_front_of_an_id() {
        let id = Digest(core::array::from_fn(|at| at as u8));
        assert_eq!(ShortId::of(&id), ShortId([0, 1, 2, 3, 4, 5, 6, 7]));
    }

    // PROTOCOL R3
    #[test]
    fn patches_of_nothing_of_too_much_or_without_a_frame_are_refused() {
        for end in 0..18 {
            assert!(matches!(Patch::parse(&TWO[..end]), Err(Malformed::Length { .. })), "{end}");
        }
        assert!(Patch::parse(&TWO[..18]).is_ok());
        let many = |count: u8| [&[count][..], &[7; 100]].concat();
        assert_eq!(Patch::parse(&many(0)), Err(Malformed::Bound));
        assert!(Patch::parse(&many(4)).is_ok());
        assert_eq!(Patch::parse(&many(5)), Err(Malformed::Bound));
        assert_eq!(Patch::parse(&many(255)), Err(Malformed::Bound));
        assert_eq!(encode_head(&[], &mut [0; 99]), Err(Malformed::Bound));
        assert_eq!(encode_head(&[ShortId([0; 8]); 5], &mut [0; 99]), Err(Malformed::Bound));
        let short = Malformed::Length { expected: 9, found: 8 };
        assert_eq!(encode_head(&[ShortId([0; 8])], &mut [0; 8]), Err(short));
    }
}
