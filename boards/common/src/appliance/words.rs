//! What a board has to say and could not say yet.
//!
//! Not the messages wait, but what they are about: a message is made when the channel
//! takes it, so that little memory is enough and what is said is never stale.

use fleetcast_core::ids::{BlockIndex, Epoch, SessionId};
use heapless::Deque;

/// Words that may wait: more than a server has reason to ask for at a time.
const MOST: usize = 16;

/// Something to be said reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Who I am.
    Hello,
    /// What I have room for.
    Bounds,
    /// What I have installed.
    Holds,
    /// That one of the releases held is installed, by its number among them.
    Installed(u8),
    /// Whether a session reaches me.
    Joined(SessionId, Epoch, bool),
    /// I lack the key of an epoch.
    KeyRequest(SessionId),
    /// A block held what is not the sender's.
    Poisoned(SessionId, BlockIndex),
    /// A session has nothing more to give; blocks that were poisoned.
    Finished(SessionId, u32),
    /// What I still lack.
    Want,
    /// A release was not installed.
    Failed,
    /// The answer to a ping.
    Pong(u64),
}

/// The words that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Words(Deque<Word, MOST>);

impl Words {
    /// Appends a word, in place of one that it makes pointless.
    ///
    /// When there is no room it is lost: whoever asks so much asks again.
    pub(super) fn push(&mut self, word: Word) {
        for _ in 0..self.0.len() {
            if let Some(old) = self.0.pop_front()
                && !supersedes(word, old)
            {
                // A place has just become free.
                let _ = self.0.push_back(old);
            }
        }
        let _ = self.0.push_back(word);
    }

    /// The oldest word.
    pub(super) fn first(&self) -> Option<Word> {
        self.0.front().copied()
    }

    /// Takes the oldest word out.
    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whether nobody needs `old` once `new` is said.
fn supersedes(new: Word, old: Word) -> bool {
    match (new, old) {
        (Word::Pong(_), Word::Pong(_)) => true,
        (Word::Joined(new, ..), Word::Joined(old, ..)) => new == old,
        _ => new == old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_asks_without_end_gets_the_newest_answers_in_their_order() {
        let mut words = Words::default();
        words.push(Word::Finished(SessionId(9), 0));
        for number in 0..1_000 {
            words.push(Word::Pong(number));
            words.push(Word::Joined(SessionId(1), Epoch(number as u16), true));
            words.push(Word::Want);
        }
        let mut left = std::vec::Vec::new();
        while let Some(word) = words.first() {
            left.push(word);
            words.pop();
        }
        let joined = Word::Joined(SessionId(1), Epoch(999), true);
        assert_eq!(left, [Word::Finished(SessionId(9), 0), Word::Pong(999), joined, Word::Want]);
    }

    #[test]
    fn more_words_than_there_is_room_for_are_not_kept() {
        let mut words = Words::default();
        for block in 0..100 {
            words.push(Word::Poisoned(SessionId(1), BlockIndex(block)));
        }
        assert_eq!(words.0.len(), MOST);
        assert_eq!(words.first(), Some(Word::Poisoned(SessionId(1), BlockIndex(0))));
    }
}
