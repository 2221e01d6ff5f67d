//! What repairs cost beyond what luck asks for, also where receivers get no processor for a
//! while: on a machine with fewer processors than processes each runs in turns, what comes
//! meanwhile waits in its buffers, and timers are looked at late.

use std::collections::BTreeMap;

use super::harness::World;
use super::link::{Link, Sent};
use crate::erasure::FIRST_PARITY;
use crate::ids::BlockIndex;
use crate::time::{Duration, Instant};

/// Each of some members runs for a slice of time, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Naps {
    slice: Duration,
    members: usize,
}

impl Naps {
    /// When a member runs that has something to do at a time: then, or when its turn comes.
    pub(super) fn runs(&self, at: Instant, member: usize) -> Instant {
        let (slice, members) = (self.slice.as_micros(), self.members as u64);
        let turn = at.as_micros() / slice;
        let wait = (member as u64 + members - turn % members) % members;
        if wait == 0 { at } else { Instant::from_micros((turn + wait) * slice) }
    }
}

/// Parity symbols that were sent, and how many were needed: of each block as many as the
/// receiver needed that had the worst luck, by what came to it, whatever it made of that.
fn parity(world: &World) -> (usize, usize) {
    let mut sources: BTreeMap<BlockIndex, usize> = BTreeMap::new();
    let mut sent = 0;
    for (block, symbol) in world.wire.iter().filter_map(Sent::symbol) {
        let is_source = symbol < FIRST_PARITY.into();
        *sources.entry(block).or_default() += usize::from(is_source);
        sent += usize::from(!is_source);
    }
    let needed = |(block, k): (&BlockIndex, &usize)| {
        let last = world.receivers.iter().map(|member| {
            let mut came = member.came.get(block).cloned().unwrap_or_default();
            came.sort_unstable();
            came.get(k - 1).map_or(0, |last| (last + 1).saturating_sub(FIRST_PARITY.into()))
        });
        last.max().unwrap_or(0)
    };
    (sent, sources.iter().map(needed).sum())
}

/// Eight receivers of 16 MB, which get everything.
fn session(seed: u64, loss: f64, naps: Option<Naps>) -> (usize, usize) {
    let mut world = World::new(seed, 8, 16_000_000);
    world.link = Link { loss, ..Link::PERFECT };
    world.naps = naps;
    world.run();
    world.everyone_has_everything();
    parity(&world)
}

#[test]
fn parity_is_sent_for_losses_and_not_for_headers_that_come_late() {
    for seed in [1, 2] {
        let (sent, needed) = session(seed, 0.2, None);
        std::println!("{sent} parity symbols, {needed} needed");
        // The last block is short, and the parity that goes along is not: 60 of 3,600.
        assert!(sent <= needed + needed / 50 + 60, "{sent} sent, {needed} needed");
    }
}

#[test]
fn receivers_that_run_by_turns_need_no_more_parity() {
    let naps = Naps { slice: Duration::from_millis(20), members: 8 };
    for seed in [1, 2] {
        let (sent, needed) = session(seed, 0.05, Some(naps));
        std::println!("{sent} parity symbols, {needed} needed");
        assert!(sent <= needed + needed / 50 + 20, "{sent} sent, {needed} needed");
    }
}

#[test]
fn receivers_that_run_by_turns_and_lose_a_fifth_get_everything() {
    // While a header was not asked for before all blocks ahead of it were whole, a third of
    // the parity was sent in vain.
    let naps = Naps { slice: Duration::from_millis(20), members: 8 };
    for seed in [1, 2] {
        let (sent, needed) = session(seed, 0.2, Some(naps));
        std::println!("{sent} parity symbols, {needed} needed");
        assert!(sent <= needed + needed / 50 + 60, "{sent} sent, {needed} needed");
    }
}
