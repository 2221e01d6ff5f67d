//! Which counters were accepted already (after RFC 6479, with single bits).

use crate::limits::REPLAY_WINDOW;

const WORD: u64 = 64;
const WORDS: usize = (REPLAY_WINDOW / WORD) as usize;

/// The newest counter accepted, and one bit for each of the
/// [`REPLAY_WINDOW`] counters that end with it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether `counter` may still be accepted; changes nothing.
    pub(super) fn allows(&self, counter: u64) -> bool {
        // A bug for the simulator to find; not in a product.
        #[cfg(feature = "planted")]
        if self.newest == Some(counter) && crate::planted::is(crate::planted::Bug::Replay) {
            return true;
        }
        // PROTOCOL C1: at most once, and none that is older than the window.
        match self.newest {
            Some(newest) if counter <= newest => {
                newest - counter < REPLAY_WINDOW && !self.is_seen(counter)
            }
            // The last number is never used, so that counting cannot overflow.
            _ => counter != u64::MAX,
        }
    }

    /// Marks `counter`, whose packet has verified; `true` when it is the newest.
    pub(super) fn accept(&mut self, counter: u64) -> bool {
        let is_newest = self.newest.is_none_or(|newest| counter > newest);
        #[cfg(feature = "planted")]
        let is_newest = is_newest
            || (self.newest == Some(counter) && crate::planted::is(crate::planted::Bug::Replay));
        if is_newest {
            let first = self.newest.map_or(0, |newest| newest + 1);
            let first = first.max(counter.saturating_sub(REPLAY_WINDOW - 1));
            (first..counter).for_each(|skipped| self.set(skipped, false));
            self.newest = Some(counter);
        }
        self.set(counter, true);
        is_newest
    }

    fn is_seen(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, counter: u64, seen: bool) {
        let (word, bit) = place(counter);
        if seen { self.seen[word] |= bit } else { self.seen[word] &= !bit }
    }
}

const fn place(counter: u64) -> (usize, u64) {
    let at = counter % REPLAY_WINDOW;
    ((at / WORD) as usize, 1 << (at % WORD))
}

const _: () = assert!(REPLAY_WINDOW.is_multiple_of(WORD));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    // PROTOCOL C1
    #[test]
    fn the_window_ends_1024_counters_behind_the_newest() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(5_000));
        assert!(!window.allows(5_000));
        assert!(window.allows(3_977));
        assert!(!window.allows(3_976));
        assert!(window.allows(5_001));
        assert!(!window.allows(u64::MAX));
    }

    proptest! {
        // PROTOCOL C1
        #[test]
        fn a_window_agrees_with_a_set_that_forgets_nothing(
            steps in proptest::collection::vec((0u64..3_000, any::<bool>()), 1..400),
        ) {
            let (mut window, mut model) = (ReplayWindow::default(), BTreeSet::new());
            for (offset, jump) in steps {
                let newest = model.last().copied();
                let counter = newest.unwrap_or(0) + if jump { offset } else { 0 };
                let counter = if jump { counter } else { counter.saturating_sub(offset) };
                let expected = !model.contains(&counter)
                    && newest.is_none_or(|newest| counter + REPLAY_WINDOW > newest);
                prop_assert_eq!(window.allows(counter), expected);
                if expected {
                    let is_newest = newest.is_none_or(|newest| counter > newest);
                    prop_assert_eq!(window.accept(counter), is_newest);
                    model.insert(counter);
                }
            }
        }
    }
}
