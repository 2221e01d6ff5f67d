//! Who can read a session: everybody that was told its key, also who has left since.

use std::collections::BTreeMap;

use fleetcast_core::ids::ReceiverId;

/// Receivers that were told a key, and the slots that they were told it for.
pub(super) struct Keyed {
    /// The key in use.
    present: BTreeMap<ReceiverId, u8>,
    /// The one that is used next, while there is one.
    next: Option<BTreeMap<ReceiverId, u8>>,
}

impl Keyed {
    /// Those to whom the first key is told.
    pub(super) fn new(members: impl Iterator<Item = (ReceiverId, u8)>) -> Self {
        Self { present: members.collect(), next: None }
    }

    /// One more is told the newest key.
    pub(super) fn add(&mut self, id: ReceiverId, slot: u8) {
        self.next.as_mut().unwrap_or(&mut self.present).insert(id, slot);
    }

    /// A new key is told to these.
    pub(super) fn renew(&mut self, members: impl Iterator<Item = (ReceiverId, u8)>) {
        self.next = Some(members.collect());
    }

    /// The new key is in use.
    pub(super) fn switch(&mut self) {
        if let Some(next) = self.next.take() {
            self.present = next;
        }
    }

    /// Who was told the key in use, and who the next one.
    pub(super) fn all(&self) -> impl Iterator<Item = &BTreeMap<ReceiverId, u8>> {
        std::iter::once(&self.present).chain(&self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(keyed: &Keyed) -> Vec<u8> {
        let mut told: Vec<u8> =
            keyed.all().flat_map(|told| told.keys().map(|id| id.0[0])).collect();
        told.sort_unstable();
        told.dedup();
        told
    }

    #[test]
    fn who_was_told_a_key_is_forgotten_only_when_another_is_in_use() {
        let member = |n: u8| (ReceiverId([n; 16]), 0);
        let mut keyed = Keyed::new([member(1), member(2)].into_iter());
        keyed.add(ReceiverId([3; 16]), 0);
        // 1 was removed; 2 and 3 are told the next key, and 4, which comes meanwhile.
        keyed.renew([member(2), member(3)].into_iter());
        keyed.add(ReceiverId([4; 16]), 0);
        assert_eq!(told(&keyed), [1, 2, 3, 4], "the old key is still in use");
        keyed.switch();
        assert_eq!(told(&keyed), [2, 3, 4]);
        keyed.switch();
        assert_eq!(told(&keyed), [2, 3, 4], "there was no other key");
    }
}
