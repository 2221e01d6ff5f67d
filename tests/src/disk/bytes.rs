//! A file's bytes, in pages that are shared with all equal ones: a thousand
//! receivers that hold the same release hold it once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::random::hash;

/// Bytes of a page.
const PAGE: usize = 4_096;
/// The table of what is shared is looked through when it has grown to this, or to
/// twice of what was left the last time.
const LEAST: usize = 4_096;

/// What a file holds. A page that is not there is all zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    len: usize,
    pages: Vec<Option<Arc<[u8]>>>,
}

impl Bytes {
    pub(super) const fn new() -> Self {
        Self { len: 0, pages: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Cuts it short, or makes it longer with zeros.
    pub(super) fn resize(&mut self, len: usize) {
        if len < self.len && !len.is_multiple_of(PAGE) {
            // What is cut off must not come back when it grows again.
            let zeros = vec![0; (PAGE - len % PAGE).min(self.len - len)];
            self.write(len, &zeros);
        }
        self.pages.resize(len.div_ceil(PAGE), None);
        self.len = len;
    }

    /// Puts bytes at an offset; it grows where it must.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if self.len < offset + bytes.len() {
            self.resize(offset + bytes.len());
        }
        let mut done = 0;
        while done < bytes.len() {
            let (at, from) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - from).min(bytes.len() - done);
            let mut page = [0; PAGE];
            if let Some(old) = &self.pages[at] {
                page.copy_from_slice(old);
            }
            page[from..from + count].copy_from_slice(&bytes[done..done + count]);
            self.pages[at] = Some(share(&page));
            done += count;
        }
    }

    /// Fills `into` from an offset on; how many bytes there were.
    pub(super) fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(into.len());
        let mut done = 0;
        while done < count {
            let (at, from) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let part = &mut into[done..count.min(done + PAGE - from)];
            match &self.pages[at] {
                Some(page) => part.copy_from_slice(&page[from..from + part.len()]),
                None => part.fill(0),
            }
            done += part.len();
        }
        count
    }

    /// All of it.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }
}

/// Those bytes, held once for all who hold them on this thread.
pub(super) fn share(bytes: &[u8]) -> Arc<[u8]> {
    thread_local! {
        static POOL: RefCell<Pool> = RefCell::default();
    }
    POOL.with_borrow_mut(|pool| pool.share(bytes))
}

#[derive(Default)]
struct Pool {
    held: HashMap<u64, Weak<[u8]>>,
    /// When to look for what nobody holds any more.
    full: usize,
}

impl Pool {
    fn share(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        let key = hash(0, bytes);
        let held = self.held.get(&key).and_then(Weak::upgrade);
        if let Some(held) = held.filter(|held| **held == *bytes) {
            return held;
        }
        if self.held.len() >= self.full.max(LEAST) {
            self.held.retain(|_, held| held.strong_count() > 0);
            self.full = 2 * self.held.len();
        }
        let new: Arc<[u8]> = bytes.into();
        self.held.insert(key, Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_does_what_a_vector_does() {
        let mut random = Random::new(1);
        let (mut bytes, mut model) = (Bytes::new(), Vec::new());
        for _ in 0..2_000 {
            let (at, len) = (random.below(20_000) as usize, random.below(9_000) as usize);
            match random.below(8) {
                0 => {
                    bytes.resize(at);
                    model.resize(at, 0);
                }
                1..4 => {
                    let mut read = vec![7; len];
                    let count = bytes.read(at, &mut read);
                    let expected = model.get(at..).unwrap_or(&[]);
                    let expected = &expected[..expected.len().min(len)];
                    assert_eq!(&read[..count], expected);
                }
                _ => {
                    let mut new = vec![0; len];
                    random.fill(&mut new);
                    bytes.write(at, &new);
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].copy_from_slice(&new);
                }
            }
            assert_eq!(bytes.len(), model.len());
        }
        assert_eq!(bytes.to_vec(), model);
    }

    #[test]
    fn equal_pages_are_held_once_however_they_came_to_be() {
        let mut noise = vec![0; 3 * PAGE + 100];
        Random::new(2).fill(&mut noise);
        let (mut one, mut other) = (Bytes::new(), Bytes::new());
        one.write(0, &noise);
        for (number, piece) in noise.chunks(1_000).enumerate().rev() {
            other.write(number * 1_000, piece);
        }
        for (one, other) in one.pages.iter().zip(&other.pages) {
            assert!(Arc::ptr_eq(one.as_ref().unwrap(), other.as_ref().unwrap()));
        }
        // Written to, it is a page of its own.
        other.write(5, &[!noise[5]]);
        assert_eq!(one.to_vec(), noise);
        assert_ne!(other.to_vec(), noise);
    }
}
