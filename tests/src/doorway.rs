//! A witness at the server's door: how many handshakes are half open, counted from the
//! datagrams that pass and not by the server.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use fleetcast_core::limits::HALF_OPEN_TIMEOUT;
use fleetcast_core::time::Instant;

/// Byte 0 of the server's answer to an initiation (core/PROTOCOL.md, §2).
const RESPONSE: u8 = 2;
/// Byte 0 of a datagram of an open channel.
const TRANSPORT: u8 = 4;

/// Whom the server has answered and who has not confirmed it.
#[derive(Clone, Debug, Default)]
pub struct Doorway {
    /// When each was answered last.
    open: BTreeMap<SocketAddr, Instant>,
    /// All answers, the oldest first.
    answers: VecDeque<(Instant, SocketAddr)>,
    /// The most that were half open at a time.
    pub most: usize,
    /// Answers in all.
    pub answered: u64,
}

impl Doorway {
    /// A datagram leaves the server.
    pub fn leaves(&mut self, now: Instant, to: SocketAddr, datagram: &[u8]) {
        if datagram.first() != Some(&RESPONSE) {
            return;
        }
        self.answers.push_back((now, to));
        self.open.insert(to, now);
        self.answered += 1;
        self.most = self.most.max(self.open_at(now));
    }

    /// A datagram comes to the server.
    pub fn enters(&mut self, from: SocketAddr, datagram: &[u8]) {
        if datagram.first() == Some(&TRANSPORT) {
            self.open.remove(&from);
        }
    }

    /// How many are half open now.
    pub fn open_at(&mut self, now: Instant) -> usize {
        while self.answers.front().is_some_and(|(at, _)| now >= *at + HALF_OPEN_TIMEOUT) {
            let gone = self.answers.pop_front();
            // One that was answered again since then is still open.
            if let Some((at, address)) = gone
                && self.open.get(&address) == Some(&at)
            {
                self.open.remove(&address);
            }
        }
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_answered_is_half_open_until_it_confirms_or_its_time_is_over() {
        let mut door = Doorway::default();
        let address = |n| SocketAddr::from(([10, 0, 0, n], 1));
        let at = Instant::from_millis;
        for n in 1..=3 {
            door.leaves(at(u64::from(n)), address(n), &[RESPONSE]);
        }
        door.enters(address(1), &[TRANSPORT]);
        door.leaves(at(4), address(4), &[3]);
        assert_eq!((door.open_at(at(4)), door.most, door.answered), (2, 3, 3));
        // The second is answered again, so it outlives the third.
        door.leaves(at(4_000), address(2), &[RESPONSE]);
        door.leaves(at(5_500), address(5), &[RESPONSE]);
        assert_eq!((door.open_at(at(5_500)), door.most), (2, 3));
    }
}
