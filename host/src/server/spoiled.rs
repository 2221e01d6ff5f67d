//! Blocks that members of a session found poisoned: sent again to all, or, where few
//! lack nearly all of one, to these by catch-up.
//!
//! Digests tell each member which symbols were forged, and mostly those are a few of
//! many: then a few repairs for everybody cost less than the whole block for one. But
//! whom an insider reaches alone, by its own wire, it can spoil whole blocks for.

use std::collections::{BTreeMap, BTreeSet};

use fleetcast_core::ids::{BlockIndex, ReceiverId};
use fleetcast_core::time::{Duration, Instant};

/// At most one of so many members is spared repairs for all.
const FEW: usize = 4;
/// What catch-up may send at most, as a multiple of the repairs that it spares.
const DEARER: usize = 4;
/// After the first report of a block the others' are on their way.
const SETTLED: Duration = Duration::from_millis(20);
/// Blocks of a session that are remembered.
const REMEMBERED: usize = 1_024;

/// What a member's report of symbols missing in a block comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// Repairs for all.
    Repair,
    /// None yet: it asks again.
    Wait,
    /// The member is to give the block up, and to be told so.
    GiveUp,
    /// It has been told.
    Told,
}

/// Poisoned blocks of a session.
#[derive(Debug, Default)]
pub(super) struct Spoiled {
    blocks: BTreeMap<BlockIndex, Spoils>,
}

#[derive(Debug)]
struct Spoils {
    since: Instant,
    /// Who has reported it.
    by: BTreeSet<ReceiverId>,
    /// Who was told to give it up.
    told: BTreeSet<ReceiverId>,
}

impl Spoiled {
    /// A member found a block poisoned.
    pub(super) fn report(&mut self, now: Instant, block: BlockIndex, member: ReceiverId) {
        if self.blocks.len() >= REMEMBERED && !self.blocks.contains_key(&block) {
            self.blocks.pop_first();
        }
        let none = || Spoils { since: now, by: BTreeSet::new(), told: BTreeSet::new() };
        self.blocks.entry(block).or_insert_with(none).by.insert(member);
    }

    /// What to do about `missing` symbols of a block of `sources`, which one of `members`
    /// members reports.
    // PROTOCOL S22
    pub(super) fn course(
        &mut self,
        now: Instant,
        (block, member): (BlockIndex, ReceiverId),
        (missing, sources): (usize, usize),
        members: usize,
    ) -> Course {
        let Some(spoils) = self.blocks.get_mut(&block) else { return Course::Repair };
        if spoils.told.contains(&member) {
            return Course::Told;
        }
        let few = spoils.by.len() * FEW <= members;
        let cheap = spoils.by.len() * sources <= missing * DEARER;
        if !(few && cheap && spoils.by.contains(&member)) {
            return Course::Repair;
        }
        if now.since(spoils.since) < SETTLED {
            return Course::Wait;
        }
        spoils.told.insert(member);
        Course::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockIndex = BlockIndex(7);
    const LATER: Instant = Instant::from_millis(20);

    fn member(number: u8) -> ReceiverId {
        ReceiverId([number; 16])
    }

    /// Seven of hundred symbols in a group of 12 were forged for so many members; what
    /// the first of them is told, and again.
    fn courses(reporters: u8, missing: usize, members: usize) -> [Course; 2] {
        let mut spoiled = Spoiled::default();
        (0..reporters).for_each(|n| spoiled.report(Instant::ZERO, BLOCK, member(n)));
        [0, 1].map(|_| spoiled.course(LATER, (BLOCK, member(0)), (missing, 100), members))
    }

    // PROTOCOL S22
    #[test]
    fn one_of_many_that_lacks_most_of_a_block_gives_it_up_once() {
        assert_eq!(courses(1, 25, 4), [Course::GiveUp, Course::Told]);
        assert_eq!(courses(2, 50, 8), [Course::GiveUp, Course::Told]);
        // A little is cheaper for all than a block for one.
        assert_eq!(courses(1, 24, 4), [Course::Repair; 2]);
        assert_eq!(courses(2, 49, 8), [Course::Repair; 2]);
        // Too many need it.
        assert_eq!(courses(1, 100, 3), [Course::Repair; 2]);
        assert_eq!(courses(3, 100, 11), [Course::Repair; 2]);
    }

    #[test]
    fn nothing_is_decided_while_reports_may_be_under_way() {
        let mut spoiled = Spoiled::default();
        spoiled.report(Instant::ZERO, BLOCK, member(1));
        let mut at =
            |ms, who| spoiled.course(Instant::from_millis(ms), (BLOCK, member(who)), (100, 100), 4);
        assert_eq!(at(19, 1), Course::Wait);
        // What others lack of it was lost, and is repaired.
        assert_eq!(at(19, 2), Course::Repair);
        assert_eq!(at(20, 1), Course::GiveUp);
        assert_eq!(at(21, 2), Course::Repair);
    }

    #[test]
    fn blocks_that_nobody_found_poisoned_are_repaired() {
        let mut spoiled = Spoiled::default();
        let other = (BlockIndex(8), member(1));
        spoiled.report(Instant::ZERO, BLOCK, member(1));
        assert_eq!(spoiled.course(LATER, other, (100, 100), 100), Course::Repair);
    }

    #[test]
    fn a_liar_that_reports_every_block_fills_no_memory() {
        let mut spoiled = Spoiled::default();
        (0..5_000).for_each(|block| spoiled.report(Instant::ZERO, BlockIndex(block), member(1)));
        assert_eq!(spoiled.blocks.len(), 1_024);
    }
}
