//! Messages that wait for room in the channel.
//!
//! A server that acknowledges nothing but goes on asking must not fill our
//! memory: of what it can ask for again and again only the newest answer waits.

use std::collections::VecDeque;

use fleetcast_core::limits::MAX_MESSAGE;
use fleetcast_core::wire::control::{Up, decode, encode};

/// Messages that a server has not read when what it could ask for later is not
/// kept for it any more.
const MANY: usize = 1_024;

/// Reliable messages, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Vec<u8>>);

impl Queue {
    /// Appends a message, in place of those that it makes pointless.
    pub(super) fn push(&mut self, message: &Up<'_>) {
        let mut buffer = [0; MAX_MESSAGE];
        let Ok(bytes) = encode(message, &mut buffer) else { return };
        if matches!(message, Up::Poisoned { .. }) && self.is_long() {
            // Finished counts these blocks again.
            return;
        }
        let replaces = |old: &Vec<u8>| {
            // The kind first: most messages need no closer look.
            old.first() == bytes.first()
                && decode::<Up<'_>>(old).is_ok_and(|old| supersedes(message, &old))
        };
        self.0.retain(|old| !replaces(old));
        self.0.push_back(bytes.to_vec());
    }

    /// Whether so much waits that a server had better read it first.
    pub(super) fn is_long(&self) -> bool {
        self.0.len() >= MANY
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest message.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.0.front().map(Vec::as_slice)
    }

    /// Takes the oldest message out.
    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whether nobody needs `old` once `new` is said.
fn supersedes(new: &Up<'_>, old: &Up<'_>) -> bool {
    match (new, old) {
        (Up::Pong { .. }, Up::Pong { .. })
        | (Up::Groups { .. }, Up::Groups { .. })
        | (Up::Login { .. }, Up::Login { .. })
        | (Up::Trusts { .. }, Up::Trusts { .. }) => true,
        (Up::Join { group: new }, Up::Join { group: old })
        | (Up::Leave { group: new }, Up::Leave { group: old }) => new == old,
        (Up::Joined { session: new, .. }, Up::Joined { session: old, .. })
        | (Up::KeyRequest { session: new }, Up::KeyRequest { session: old }) => new == old,
        // A receipt and a root are the same each time.
        (Up::Installed { release: new, .. }, Up::Installed { release: old, .. })
        | (Up::Evidence { release: new, offset: 0, .. }, Up::Evidence { release: old, .. }) => {
            new == old
        }
        // A list begins anew with its first page.
        (Up::Want { release: new, page: 0, .. }, Up::Want { release: old, .. }) => new == old,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use fleetcast_core::digest::Digest;
    use fleetcast_core::ids::{BlockIndex, Epoch, GroupId, ReleaseOrder, SessionId};
    use fleetcast_core::wire::control::ReleaseName;

    use super::*;

    fn drain(queue: &mut Queue) -> Vec<Vec<u8>> {
        let next = || {
            let first = queue.first().map(<[u8]>::to_vec);
            queue.pop();
            first
        };
        std::iter::from_fn(next).collect()
    }

    fn bytes(message: &Up<'_>) -> Vec<u8> {
        encode(message, &mut [0; MAX_MESSAGE]).unwrap().to_vec()
    }

    #[test]
    fn the_newest_answer_waits_alone_and_what_was_not_asked_for_keeps_its_order() {
        let mut queue = Queue::default();
        let joined = |session, epoch| Up::Joined {
            session: SessionId(session),
            epoch: Epoch(epoch),
            heard: true,
        };
        let finished = Up::Finished { session: SessionId(9), poisoned: 0 };
        queue.push(&finished);
        for number in 0..1_000 {
            queue.push(&Up::Pong { nonce: u64::from(number) });
            queue.push(&joined(1, number));
            queue.push(&joined(2, number));
            queue.push(&Up::KeyRequest { session: SessionId(1) });
        }
        queue.push(&finished);
        let left = [
            finished.clone(),
            Up::Pong { nonce: 999 },
            joined(1, 999),
            joined(2, 999),
            Up::KeyRequest { session: SessionId(1) },
            finished,
        ];
        assert_eq!(drain(&mut queue), left.each_ref().map(bytes));
    }

    #[test]
    fn a_list_of_wants_replaces_the_one_that_was_not_read() {
        let mut queue = Queue::default();
        let name = |sequence| {
            let order = ReleaseOrder { reset_epoch: 0, sequence };
            ReleaseName { group: GroupId([1; 16]), order, digest: Digest([7; 32]) }
        };
        let want = |sequence, page, more| Up::Want {
            release: name(sequence),
            page,
            more,
            runs: Default::default(),
        };
        for page in 0..3 {
            queue.push(&want(1, page, page < 2));
            queue.push(&want(2, page, page < 2));
        }
        queue.push(&want(1, 0, false));
        let left = [want(2, 0, true), want(2, 1, true), want(2, 2, false), want(1, 0, false)];
        assert_eq!(drain(&mut queue), left.each_ref().map(bytes));
    }

    #[test]
    fn a_person_who_cannot_decide_waits_with_the_last_word() {
        let mut queue = Queue::default();
        let (join, leave) = (Up::Join { group: "g" }, Up::Leave { group: "g" });
        for _ in 0..100 {
            queue.push(&leave);
            queue.push(&join);
            queue.push(&Up::Groups { after: None });
        }
        queue.push(&Up::Join { group: "h" });
        let left = [leave, join, Up::Groups { after: None }, Up::Join { group: "h" }];
        assert_eq!(drain(&mut queue), left.each_ref().map(bytes));
    }

    #[test]
    fn what_is_shown_or_proved_again_waits_once() {
        let mut queue = Queue::default();
        let name = |group| {
            let order = ReleaseOrder { reset_epoch: 0, sequence: 1 };
            ReleaseName { group: GroupId([group; 16]), order, digest: Digest([group; 32]) }
        };
        let piece = |group, offset| Up::Evidence {
            release: name(group),
            offset,
            total: 1_500,
            bytes: &[7; 500],
        };
        let receipt = |group| Up::Installed { release: name(group), at: 7, receipt: &[1; 64] };
        let login = Up::Login { user: "ann", password: b"secret" };
        for _ in 0..500 {
            for group in [1, 2] {
                for offset in [0, 500, 1_000] {
                    queue.push(&piece(group, offset));
                }
                queue.push(&receipt(group));
            }
            queue.push(&login);
        }
        let of = |group| [piece(group, 0), piece(group, 500), piece(group, 1_000), receipt(group)];
        let [first, second] = [of(1), of(2)];
        let left: Vec<_> = first.iter().chain(&second).chain([&login]).map(bytes).collect();
        assert_eq!(drain(&mut queue), left);
    }

    #[test]
    fn reports_of_poisoned_blocks_wait_in_bounded_number() {
        let mut queue = Queue::default();
        for block in 0..5_000 {
            queue.push(&Up::Poisoned { session: SessionId(1), block: BlockIndex(block) });
        }
        assert_eq!(drain(&mut queue).len(), 1_024);
    }
}
