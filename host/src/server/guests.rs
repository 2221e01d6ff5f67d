//! Who has a channel without being let in, and how many may.

use std::collections::{BTreeSet, VecDeque};

use fleetcast_core::ids::PeerSlot;
use fleetcast_core::time::Instant;

/// Places that the table has beside those for receivers, at most.
const SPARE: usize = 1_024;

/// Who has a channel without being let in.
pub(super) struct Strangers {
    pub(super) here: BTreeSet<PeerSlot>,
    /// Receivers that may be connected at a time.
    pub(super) receivers: usize,
    /// When to look at channels, which are told by when they began; the next first.
    pub(super) due: VecDeque<(Instant, PeerSlot, Instant)>,
}

impl Strangers {
    /// Nobody yet, beside so many receivers.
    pub(super) fn new(receivers: usize) -> Self {
        Self { here: BTreeSet::new(), receivers, due: VecDeque::new() }
    }

    /// Places for others beside so many receivers.
    pub(super) fn spare(receivers: usize) -> usize {
        (receivers / 8).clamp(16, SPARE)
    }

    /// Places in the table of channels.
    pub(super) fn places(receivers: usize) -> usize {
        receivers + Self::spare(receivers)
    }

    /// When to look at a channel.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|&(at, ..)| at)
    }

    /// A channel is gone, or its receiver was let in.
    pub(super) fn forget(&mut self, slot: PeerSlot) {
        self.here.remove(&slot);
    }
}
