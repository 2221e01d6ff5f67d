//! Cuts a stream into content-defined chunks and names each by its SHA-256.
//!
//! FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data
//! Deduplication Based Storage Systems", 2020): a cut falls where a rolling hash of the last
//! bytes has a certain form, so a change moves only the cuts beside it. The same bytes give
//! the same chunks, however the source hands them out.

use std::io;
use std::io::{ErrorKind, Read};

use fastcdc::v2020::MASKS;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_CHUNK;

/// FastCDC's level of normalisation: how much harder a cut is before the average
/// size, and easier after it, in bits. Two keep most chunks near the average.
const NORMALIZATION: usize = 2;
/// The buffer is this many largest chunks long, so that moving what is left of
/// it to the front costs a quarter of the bytes at most.
const BUFFERED: usize = 4;

/// Which sizes chunks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Files, for PCs: 4, 16 and 64 KiB.
    Standard,
    /// Files, for lanes with microcontrollers: 1, 2 and 4 KiB.
    Constrained,
    /// The tree's own streams, where a small change should cost little: 0.5, 2 and 8 KiB.
    Index,
}

impl Profile {
    /// Smallest, average and largest chunk in bytes; a stream's last may be smaller.
    #[must_use]
    pub const fn sizes(self) -> (usize, usize, usize) {
        match self {
            Self::Standard => (4 << 10, 16 << 10, 64 << 10),
            Self::Constrained => (1 << 10, 2 << 10, 4 << 10),
            Self::Index => (512, 2 << 10, 8 << 10),
        }
    }
}

const _: () = assert!(Profile::Standard.sizes().2 <= MAX_CHUNK);

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The SHA-256 of its bytes: its name.
    pub digest: Digest,
    /// Its bytes, at least one.
    pub bytes: &'a [u8],
}

/// Cuts what `source` yields; holds four of the largest chunks in memory.
#[derive(Debug)]
pub struct Chunker<R> {
    source: R,
    profile: Profile,
    buffer: Vec<u8>,
    /// What is read and not yet handed out lies from here …
    start: usize,
    /// … to here.
    end: usize,
    finished: bool,
}

impl<R: Read> Chunker<R> {
    /// A chunker at the beginning of `source`, which needs no buffer of its own.
    #[must_use]
    pub fn new(source: R, profile: Profile) -> Self {
        let buffer = vec![0; profile.sizes().2 * BUFFERED];
        Self { source, profile, buffer, start: 0, end: 0, finished: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    ///
    /// # Errors
    /// What the source says; the next call reads on from there.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk<'_>>> {
        self.fill()?;
        if self.start == self.end {
            return Ok(None);
        }
        let start = self.start;
        self.start += self.cut(&self.buffer[start..self.end]);
        let bytes = &self.buffer[start..self.start];
        Ok(Some(Chunk { digest: Digest::of(bytes), bytes }))
    }

    /// The source, for what it says about itself at the end.
    #[must_use]
    pub fn into_source(self) -> R {
        self.source
    }

    /// Length of the chunk that `bytes` begin with. What follows the largest
    /// chunk has no influence, so neither has the size of the buffer.
    fn cut(&self, bytes: &[u8]) -> usize {
        let (smallest, average, largest) = self.profile.sizes();
        let bits = average.ilog2() as usize;
        let (hard, easy) = (MASKS[bits + NORMALIZATION], MASKS[bits - NORMALIZATION]);
        let (_, length) = fastcdc::v2020::cut(
            bytes,
            smallest,
            average,
            largest,
            hard,
            easy,
            hard << 1,
            easy << 1,
        );
        length
    }

    /// Sees to it that a largest chunk lies ready, or all that is left.
    fn fill(&mut self) -> io::Result<()> {
        let (_, _, largest) = self.profile.sizes();
        if self.finished || self.end - self.start >= largest {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.finished && self.end < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.finished = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcdc::v2020::{FastCDC, Normalization};

    const PROFILES: [Profile; 3] = [Profile::Standard, Profile::Constrained, Profile::Index];

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        (0..length).map(|_| next()).collect()
    }

    /// Hands out few bytes at a time, and is interrupted now and then.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(5) {
                return Err(ErrorKind::Interrupted.into());
            }
            let length = buffer.len().min(1 + self.1 * 37 % 3_000).min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn chunks(source: impl Read, profile: Profile) -> Vec<(Digest, Vec<u8>)> {
        let mut chunker = Chunker::new(source, profile);
        let mut chunks = Vec::new();
        while let Some(chunk) = chunker.next_chunk().unwrap() {
            chunks.push((chunk.digest, chunk.bytes.to_vec()));
        }
        chunks
    }

    #[test]
    fn chunks_are_those_of_the_reference_over_the_whole_stream_at_once() {
        let bytes = noise(1 << 20, 1);
        for profile in PROFILES {
            let (smallest, average, largest) = profile.sizes();
            let level = Normalization::Level2;
            let expected: Vec<_> = FastCDC::with_level(&bytes, smallest, average, largest, level)
                .map(|chunk| &bytes[chunk.offset..chunk.offset + chunk.length])
                .map(|bytes| (Digest::of(bytes), bytes.to_vec()))
                .collect();
            assert!(expected.len() > 10);
            assert_eq!(chunks(&bytes[..], profile), expected);
        }
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_the_source_yields() {
        let bytes = noise(500_000, 2);
        for profile in PROFILES {
            assert_eq!(chunks(Trickle(&bytes, 0), profile), chunks(&bytes[..], profile));
        }
    }

    #[test]
    fn sizes_stay_within_the_profile_and_pieces_make_the_whole() {
        for (bytes, profile) in [noise(1 << 20, 3), vec![0; 1 << 20]].iter().zip(PROFILES) {
            let (smallest, _, largest) = profile.sizes();
            let chunks = chunks(&bytes[..], profile);
            let (_, all_but_last) = chunks.split_last().unwrap();
            let fits = |length: usize| (smallest..=largest).contains(&length);
            assert!(all_but_last.iter().all(|(_, chunk)| fits(chunk.len())));
            assert_eq!(
                &chunks.iter().flat_map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>(),
                bytes
            );
        }
    }

    #[test]
    fn a_byte_in_front_changes_few_chunks() {
        let bytes = noise(1 << 20, 4);
        let shifted: Vec<u8> = std::iter::once(9).chain(bytes.iter().copied()).collect();
        let before = chunks(&bytes[..], Profile::Standard);
        let after = chunks(&shifted[..], Profile::Standard);
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(after.len() > 40 && new <= 2, "{new} of {} chunks are new", after.len());
    }

    #[test]
    fn the_empty_stream_has_no_chunks_and_an_error_is_told() {
        assert_eq!(chunks(io::empty(), Profile::Standard), []);
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::TimedOut.into())
            }
        }
        let error = Chunker::new(Broken, Profile::Index).next_chunk().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
