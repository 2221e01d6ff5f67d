//! What is durable, and what waits until it is.
//!
//! Nothing may be said that a crash could make untrue: a release that was
//! offered and then forgotten would free its number for other content. So every
//! message carries the number of the batch that holds all that was changed
//! until it was written, and leaves when that batch is durable.

use std::collections::VecDeque;

/// Batches of changes: how many were handed out, and which of them are durable.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// The newest that was handed out.
    taken: u64,
    /// The newest that is durable, with all before it.
    durable: u64,
    /// Batches under way, and the delivery numbers below which they hold all.
    under_way: VecDeque<(u64, u64)>,
    /// Deliveries with smaller numbers are durable.
    deliveries: u64,
}

impl Batches {
    /// Nothing was handed out; deliveries below `next_delivery` were read from the catalog.
    pub(super) const fn new(next_delivery: u64) -> Self {
        Self { taken: 0, durable: 0, under_way: VecDeque::new(), deliveries: next_delivery }
    }

    /// The number of a batch that is handed out now, with all deliveries below a number.
    pub(super) fn take(&mut self, next_delivery: u64) -> u64 {
        self.taken += 1;
        self.under_way.push_back((self.taken, next_delivery));
        self.taken
    }

    /// The number of the batch that holds what was changed last.
    pub(super) const fn of_changes(&self, has_changes: bool) -> u64 {
        if has_changes { self.taken + 1 } else { self.taken }
    }

    /// A batch is durable, and all before it; whether deliveries became so by that.
    pub(super) fn persisted(&mut self, batch: u64) -> bool {
        self.durable = self.durable.max(batch.min(self.taken));
        let before = self.deliveries;
        while let Some((_, below)) = self.under_way.pop_front_if(|(n, _)| *n <= self.durable) {
            self.deliveries = self.deliveries.max(below);
        }
        self.deliveries > before
    }

    /// Whether a batch is durable.
    pub(super) const fn is_durable(&self, batch: u64) -> bool {
        batch <= self.durable
    }

    /// Whether a delivery is durable, and with it the release and membership that it rests on.
    pub(super) const fn has_delivery(&self, delivery: u64) -> bool {
        delivery < self.deliveries
    }
}

/// Messages to one receiver, in their order, each waiting for its batch.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<(u64, Vec<u8>)>);

impl Outbox {
    /// Adds a message that rests on a batch and all before it.
    pub(super) fn push(&mut self, batch: u64, message: Vec<u8>) {
        self.0.push_back((batch, message));
    }

    /// The next message that may leave.
    pub(super) fn front(&self, batches: &Batches) -> Option<&[u8]> {
        let (batch, message) = self.0.front()?;
        batches.is_durable(*batch).then_some(message)
    }

    /// Forgets the next message: it has left.
    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_leaves_when_its_batch_is_durable_and_never_before_its_predecessor() {
        let mut batches = Batches::new(1);
        let mut outbox = Outbox::default();
        outbox.push(batches.of_changes(false), vec![0]);
        assert_eq!(outbox.front(&batches), Some(&[0][..]), "it rests on nothing new");
        outbox.pop();
        outbox.push(batches.of_changes(true), vec![1]);
        assert_eq!(batches.take(1), 1);
        outbox.push(batches.of_changes(false), vec![2]);
        assert_eq!(outbox.front(&batches), None, "taken is not durable");
        batches.persisted(1);
        assert_eq!(outbox.front(&batches), Some(&[1][..]));
        outbox.pop();
        assert_eq!(outbox.front(&batches), Some(&[2][..]));
    }

    #[test]
    fn deliveries_are_durable_with_the_batch_that_holds_them() {
        let mut batches = Batches::new(3);
        assert!(batches.has_delivery(2) && !batches.has_delivery(3));
        assert_eq!((batches.take(5), batches.take(6)), (1, 2));
        assert!(batches.persisted(1));
        assert!(batches.has_delivery(4) && !batches.has_delivery(5));
        assert!(!batches.persisted(1), "again is no news");
        // Several batches may become durable in one transaction.
        assert!(batches.persisted(2));
        assert!(batches.has_delivery(5));
        // Nobody can persist what was never handed out.
        batches.persisted(9);
        assert!(!batches.is_durable(3));
    }
}
