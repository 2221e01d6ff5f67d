//! Messages that wait, one after the other in memory of the owner: first the
//! reliable ones, then the unreliable ones, the oldest of each in front.
//!
//! A message takes as many bytes as it has. So a board lends what its own few
//! messages need, and a host so much that only their number counts.

use heapless::Vec;

use crate::lent::Bytes;
use crate::limits::{MAX_MESSAGE, SEND_WINDOW};

/// The messages of one channel; `LOOSE` is how many unreliable ones may wait.
#[derive(Clone, Debug)]
pub(super) struct Messages<M, const LOOSE: usize> {
    memory: M,
    /// Lengths of the reliable messages.
    reliable: Vec<u16, SEND_WINDOW>,
    /// Lengths of the unreliable ones.
    loose: Vec<u16, LOOSE>,
}

impl<M: Bytes, const LOOSE: usize> Messages<M, LOOSE> {
    pub(super) const fn new(memory: M) -> Self {
        Self { memory, reliable: Vec::new(), loose: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.reliable.clear();
        self.loose.clear();
    }

    /// The longest message that ever fits, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.memory.as_ref().len().min(MAX_MESSAGE)
    }

    /// Keeps a reliable message; `false` when there is no room.
    pub(super) fn push_reliable(&mut self, body: &[u8]) -> bool {
        let at = total(&self.reliable);
        if !self.has_room(body.len()) || self.reliable.push(body.len() as u16).is_err() {
            return false;
        }
        let loose = total(&self.loose);
        let memory = self.memory.as_mut();
        memory.copy_within(at..at + loose, at + body.len());
        memory[at..at + body.len()].copy_from_slice(body);
        true
    }

    /// Keeps an unreliable message; `false` when there is no room.
    pub(super) fn push_loose(&mut self, body: &[u8]) -> bool {
        let at = self.used();
        if !self.has_room(body.len()) || self.loose.push(body.len() as u16).is_err() {
            return false;
        }
        self.memory.as_mut()[at..at + body.len()].copy_from_slice(body);
        true
    }

    /// The `n`th of the reliable messages.
    pub(super) fn reliable(&self, n: usize) -> Option<&[u8]> {
        let at = total(self.reliable.get(..n)?);
        let len = usize::from(*self.reliable.get(n)?);
        self.memory.as_ref().get(at..at + len)
    }

    /// The first of the unreliable messages.
    pub(super) fn loose(&self) -> Option<&[u8]> {
        let at = total(&self.reliable);
        let len = usize::from(*self.loose.first()?);
        self.memory.as_ref().get(at..at + len)
    }

    /// Forgets the first reliable message.
    pub(super) fn pop_reliable(&mut self) {
        let end = self.used();
        if let Some(&len) = self.reliable.first() {
            self.memory.as_mut().copy_within(usize::from(len)..end, 0);
            self.reliable.remove(0);
        }
    }

    /// Forgets the first unreliable message.
    pub(super) fn pop_loose(&mut self) {
        let (at, end) = (total(&self.reliable), self.used());
        if let Some(&len) = self.loose.first() {
            self.memory.as_mut().copy_within(at + usize::from(len)..end, at);
            self.loose.remove(0);
        }
    }

    fn used(&self) -> usize {
        total(&self.reliable) + total(&self.loose)
    }

    fn has_room(&self, len: usize) -> bool {
        len <= MAX_MESSAGE && self.used() + len <= self.memory.as_ref().len()
    }
}

fn total(lengths: &[u16]) -> usize {
    lengths.iter().map(|&len| usize::from(len)).sum()
}

const _: () = assert!(MAX_MESSAGE <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_of_all_lengths_come_out_as_two_queues_do(
            steps in proptest::collection::vec((0u8..4, 0usize..40), 1..200),
        ) {
            let mut memory = [0; 64];
            let mut messages = Messages::<&mut [u8], 2>::new(&mut memory);
            let (mut reliable, mut loose) = (VecDeque::new(), VecDeque::new());
            for (number, (step, len)) in steps.into_iter().enumerate() {
                let body = std::vec![number as u8; len];
                let used: usize = reliable.iter().chain(&loose).map(std::vec::Vec::len).sum();
                match step {
                    0 => {
                        let fits = reliable.len() < 4 && used + len <= 64;
                        prop_assert_eq!(messages.push_reliable(&body), fits);
                        reliable.extend(fits.then_some(body));
                    }
                    1 => {
                        let fits = loose.len() < 2 && used + len <= 64;
                        prop_assert_eq!(messages.push_loose(&body), fits);
                        loose.extend(fits.then_some(body));
                    }
                    2 => {
                        messages.pop_reliable();
                        reliable.pop_front();
                    }
                    _ => {
                        messages.pop_loose();
                        loose.pop_front();
                    }
                }
                for n in 0..5 {
                    prop_assert_eq!(messages.reliable(n), reliable.get(n).map(|b| &b[..]));
                }
                prop_assert_eq!(messages.loose(), loose.front().map(|b| &b[..]));
            }
        }
    }
}
