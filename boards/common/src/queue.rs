//! Frames between an interrupt, which takes them out of the controller, and the program.
//!
//! A ring of words, each of them an atomic: one side only writes, the other only reads,
//! and each tells the other by its own position how far it is. Nobody waits, and frames
//! take the room that they have. A frame is two bytes of its length, then its bytes, so
//! that what follows Ethernet's header stands at a whole word.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Words that a frame of so many bytes takes.
#[must_use]
pub const fn words_of(len: usize) -> usize {
    (2 + len).div_ceil(4)
}

/// Frames that wait, in `WORDS` words of memory less one.
#[derive(Debug)]
pub struct FrameQueue<const WORDS: usize> {
    words: [AtomicU32; WORDS],
    /// Where the next frame is read, and where it is written; the same: there is none.
    read: AtomicUsize,
    written: AtomicUsize,
}

impl<const WORDS: usize> FrameQueue<WORDS> {
    /// One without frames.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: [const { AtomicU32::new(0) }; WORDS],
            read: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
        }
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.load(Ordering::Relaxed) == self.written.load(Ordering::Acquire)
    }

    /// Whether there is room for so many words; for the one who writes.
    #[must_use]
    pub fn has_room(&self, words: usize) -> bool {
        let (read, written) =
            (self.read.load(Ordering::Acquire), self.written.load(Ordering::Relaxed));
        // One word stays free: full is not empty.
        let taken = if written < read { written + WORDS - read } else { written - read };
        words < WORDS - taken
    }

    /// Puts a frame of `len` bytes behind the others: `head`, whose first word has the
    /// frame's first bytes in its upper half, and then what `next` gives. For the one who
    /// writes, who knows that there is room: [`Self::has_room`] of [`words_of`] `len`.
    pub fn push<const HEAD: usize>(
        &self,
        len: u16,
        mut head: [u32; HEAD],
        mut next: impl FnMut() -> u32,
    ) {
        let mut at = self.written.load(Ordering::Relaxed);
        if let Some(first) = head.first_mut() {
            *first = *first & 0xFFFF_0000 | u32::from(len);
        }
        for word in head {
            if let Some(place) = self.words.get(at) {
                place.store(word, Ordering::Relaxed);
            }
            at = Self::behind(at, 1);
        }
        let rest = words_of(len.into()).saturating_sub(HEAD);
        let (front, back) = self.parts(at, rest);
        for part in [front, back] {
            let (fours, ones) = part.as_chunks::<4>();
            // Four at a time: a loop takes longer than the words.
            for [a, b, c, d] in fours {
                a.store(next(), Ordering::Relaxed);
                b.store(next(), Ordering::Relaxed);
                c.store(next(), Ordering::Relaxed);
                d.store(next(), Ordering::Relaxed);
            }
            ones.iter().for_each(|one| one.store(next(), Ordering::Relaxed));
        }
        self.written.store(Self::behind(at, rest), Ordering::Release);
    }

    /// Takes the first frame to the front of `out`, behind two bytes of its length; the
    /// length. What has no room there is lost. For the one who reads.
    pub fn pop(&self, out: &mut [u8]) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let at = self.read.load(Ordering::Relaxed);
        let [low, high, ..] = self.words.get(at)?.load(Ordering::Relaxed).to_le_bytes();
        let len = u16::from_le_bytes([low, high]).into();
        let words = words_of(len);
        let (front, back) = self.parts(at, words);
        let places = out.as_chunks_mut::<4>().0;
        if let Some((first, rest)) = places.split_at_mut_checked(front.len()) {
            copy(front, first);
            copy(back, rest);
        }
        self.read.store(Self::behind(at, words), Ordering::Release);
        Some(len)
    }

    /// The words from `at` on, which go on at the beginning behind the last one.
    fn parts(&self, at: usize, words: usize) -> (&[AtomicU32], &[AtomicU32]) {
        let front = words.min(WORDS.saturating_sub(at));
        let part = |from: usize, len: usize| self.words.get(from..from + len).unwrap_or_default();
        (part(at, front), part(0, words - front))
    }

    const fn behind(at: usize, words: usize) -> usize {
        let behind = at + words;
        if behind < WORDS { behind } else { behind - WORDS }
    }
}

/// Copies words to the front of `out`.
fn copy(words: &[AtomicU32], out: &mut [[u8; 4]]) {
    let load = |word: &AtomicU32| word.load(Ordering::Relaxed).to_le_bytes();
    let (fours, ones) = words.as_chunks::<4>();
    let (quads, singles) = out.get_mut(..words.len()).unwrap_or_default().as_chunks_mut::<4>();
    for ([a, b, c, d], quad) in fours.iter().zip(quads) {
        *quad = [load(a), load(b), load(c), load(d)];
    }
    ones.iter().zip(singles).for_each(|(one, single)| *single = load(one));
}

impl<const WORDS: usize> Default for FrameQueue<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
