//! The power fails at every write of a board's life: two releases, one after the
//! other, with small records between; also soon after it has come back.
//!
//! The card then holds what was durable and any subset of what was not, the last
//! sector possibly torn. Whatever it holds: no wrong byte is readable, the active
//! release is whole, what was accepted stays so, and the transfer goes on where it was.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fleetcast_core::constrained::BLOCKS;
use fleetcast_core::session::intake::Taken;
use fleetcast_core::store::{Step, StoreError};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::board::{
    Board, BoardRelease, BoardStore, GROUP, Trust, hand, lacking, read, settle,
};
use fleetcast_tests::card::{Card, Cut, CutKind, Survivors};
use fleetcast_tests::disk::Node;
use fleetcast_tests::random::Random;

/// Small, so that each write can be looked at.
const SECTORS: usize = 640;
/// Room for a release of which more than a few pages of the map are used.
const LARGE: usize = 1_200;
/// Bytes that may have to come again after a power cut.
const AGAIN: usize = 64 * 1_024;

struct World {
    trust: Trust,
    releases: Vec<BoardRelease>,
    empty: Vec<u8>,
}

/// What a board's life came to, as seen by whoever watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The last boot counter that it used.
    boot: u64,
    /// The sequence that it last said to be installed.
    installed: u64,
    /// Bytes that came of each release.
    came: [usize; 2],
}

impl World {
    fn new() -> Self {
        let mut random = Random::new(5);
        let mut noise = |len: usize| {
            let mut bytes = vec![0; len];
            random.fill(&mut bytes);
            Node::File(false, 1, bytes)
        };
        let text = Node::File(false, 1, b"pictures for the kiosks, ".repeat(200));
        let (shared, first, second) = (noise(30_000), noise(9_000), noise(33_000));
        let mut tree: Tree = BTreeMap::from([
            ("a".to_owned(), Node::Directory(1)),
            ("a/shared".to_owned(), shared),
            ("a/text".to_owned(), text),
            ("b".to_owned(), first),
        ]);
        let trust = Trust::new();
        let one = trust.release(1, &tree, 2_048, true);
        tree.insert("b".to_owned(), second);
        let two = trust.release(2, &tree, 2_048, true);
        let empty = Board::formatted(SECTORS).card.bytes();
        Self { trust, releases: vec![one, two], empty }
    }

    /// One release of many of the largest chunks.
    fn large() -> Self {
        let mut noise = vec![0; 300_000];
        Random::new(6).fill(&mut noise);
        let tree: Tree = BTreeMap::from([("a".to_owned(), Node::File(false, 1, noise))]);
        let trust = Trust::new();
        let releases = vec![trust.release(1, &tree, 4_096, false)];
        Self { trust, releases, empty: Board::formatted(LARGE).card.bytes() }
    }

    /// All that a board does from its start on, until the power fails or it has
    /// both releases.
    fn live(&self, board: &mut Board, seen: &mut Seen) -> Result<(), StoreError> {
        let mut store = board.open()?;
        let boot = store.next_boot()?;
        assert!(boot > seen.boot, "boot {boot} after {}", seen.boot);
        seen.boot = boot;
        for (n, release) in self.releases.iter().enumerate() {
            let sequence = n as u64 + 1;
            if store.active(GROUP).is_some_and(|name| name.order.sequence >= sequence) {
                continue;
            }
            self.receive(&mut store, release, &mut seen.came[n])?;
            store.activate()?;
            seen.installed = sequence;
            store.put_seed(&[sequence as u8; 32])?;
        }
        Ok(())
    }

    fn receive(
        &self,
        store: &mut BoardStore<'_>,
        release: &BoardRelease,
        came: &mut usize,
    ) -> Result<(), StoreError> {
        store.expect(release.name)?;
        for _ in 0..40 {
            if settle(store)? == Step::Complete {
                return Ok(());
            }
            for run in lacking(store)? {
                for ordinal in run.first..run.first + run.count {
                    let taken = hand(store, &self.trust, release, (run.object, ordinal));
                    *came += release.bytes_of(run.object, ordinal);
                    if taken == Taken::Failed {
                        return Err(store.failure().unwrap_or(StoreError::Failed));
                    }
                    store.step()?;
                }
            }
        }
        let kept: Vec<_> = store.releases().collect();
        panic!("it never ends: {:?} of {kept:?}", lacking(store));
    }

    /// Lives until the power fails; what was seen until then, and the card after it.
    fn cut(&self, card: Card, cut: Cut, survivors: Survivors, seen: &mut Seen) -> Card {
        card.cut_at(cut);
        let mut board = Board::with(card);
        let lived = self.live(&mut board, seen);
        assert_eq!(lived.is_err(), board.card.is_off(), "{lived:?}");
        board.card.reboot(survivors)
    }

    /// What must hold of a card when the power is back; what is wrong, if anything.
    fn examine(&self, card: Card, seen: &Seen) -> Result<(), String> {
        let mut board = Board::with(card);
        let mut store = board.open().map_err(|error| format!("cannot be opened: {error:?}"))?;
        let name = store.active(GROUP);
        let active = name.map_or(0, |name| name.order.sequence);
        let highest = store.highest(GROUP).map_err(|error| format!("no order: {error:?}"))?;
        let accepted = highest.map_or(0, |(order, _)| order.sequence);
        if active < seen.installed || accepted < active {
            return Err(format!("{seen:?}, but active {active}, accepted {accepted}"));
        }
        let seed = store.seed().map_err(|error| format!("no seed: {error:?}"))?;
        if seed.is_none() && seen.installed > 1 {
            return Err("the seed is gone".to_owned());
        }
        for release in &self.releases {
            for (path, expected) in &release.files {
                match read(&mut store, &release.name, path) {
                    Ok(found) if found == *expected => {}
                    Ok(_) => return Err(format!("{path} is wrong")),
                    Err(error) if Some(release.name) == name => {
                        return Err(format!("{path} of the active release: {error:?}"));
                    }
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Lets a board finish, and looks at what that cost.
    fn finish(&self, card: Card, mut seen: Seen, whole: &Seen) -> Result<(), String> {
        let mut board = Board::with(card);
        self.live(&mut board, &mut seen).map_err(|error| format!("does not go on: {error:?}"))?;
        for (came, whole) in seen.came.iter().zip(whole.came) {
            // The blocks that were under way in a session's memory come again as well.
            let again = came.saturating_sub(whole) + BLOCKS;
            if again > AGAIN {
                return Err(format!("{again} bytes came again"));
            }
        }
        self.examine(Card::of(board.card.bytes()), &seen)
    }

    /// A whole life without a cut: what is seen, and how many sectors are written.
    fn reference(&self) -> (Seen, u64) {
        let mut board = Board::with(Card::of(self.empty.clone()));
        let mut seen = Seen::default();
        self.live(&mut board, &mut seen).unwrap();
        assert_eq!(self.examine(Card::of(board.card.bytes()), &seen), Ok(()));
        (seen, board.card.counts().0)
    }

    /// The power fails at one write, then the board goes on; what went wrong, if anything.
    fn try_cut(
        &self,
        prepare: &dyn Fn(&Card),
        cut: Cut,
        survivors: Survivors,
        whole: &Seen,
    ) -> Result<(), String> {
        let card = Card::of(self.empty.clone());
        prepare(&card);
        let mut seen = Seen::default();
        let card = self.cut(card, cut, survivors, &mut seen);
        self.examine(Card::of(card.bytes()), &seen)?;
        self.finish(card, seen, whole)
    }
}

fn survivors(seed: u64) -> [Survivors; 3] {
    [Survivors::All, Survivors::Last, Survivors::Some(seed)]
}

#[test]
fn at_every_write_a_power_cut_costs_at_most_64_kib_and_shows_no_wrong_byte() {
    let world = World::new();
    let (whole, writes) = world.reference();
    assert!(writes > 200, "{writes}");
    for write in 0..writes {
        for kind in CutKind::ALL {
            for survivors in survivors(write) {
                let tried = world.try_cut(&|_| {}, Cut { write, kind }, survivors, &whole);
                assert_eq!(tried, Ok(()), "write {write} of {writes}, {kind:?}, {survivors:?}");
            }
        }
    }
}

#[test]
fn of_a_large_release_at_most_64_kib_come_again() {
    let world = World::large();
    let (whole, writes) = world.reference();
    assert!(whole.came[0] > 300_000);
    for write in (0..writes).step_by(3) {
        let cut = Cut { write, kind: CutKind::Before };
        let tried = world.try_cut(&|_| {}, cut, Survivors::Nothing, &whole);
        assert_eq!(tried, Ok(()), "write {write} of {writes}");
    }
}

#[test]
fn a_second_cut_soon_after_the_first_does_no_more() {
    let world = World::new();
    let (whole, writes) = world.reference();
    for write in (0..writes).step_by(5) {
        let first = Cut { write, kind: CutKind::ALL[write as usize % 4] };
        let mut seen = Seen::default();
        let card = Card::of(world.empty.clone());
        let once = world.cut(card, first, Survivors::Some(write), &mut seen).bytes();
        for second in 0..24 {
            let kind = CutKind::ALL[second as usize % 4];
            let mut seen = seen;
            let cut = Cut { write: second, kind };
            let kept = Survivors::Some(second);
            let twice = world.cut(Card::of(once.clone()), cut, kept, &mut seen);
            let context = format!("write {write}, then {second}, {kind:?}");
            assert_eq!(world.examine(Card::of(twice.bytes()), &seen), Ok(()), "{context}");
            // Each of the two cuts may cost its share.
            let allowed = Seen { came: whole.came.map(|bytes| bytes + AGAIN / 2), ..whole };
            assert_eq!(world.finish(twice, seen, &allowed), Ok(()), "{context}");
        }
    }
}

#[test]
fn a_card_that_ignores_the_barrier_would_be_noticed() {
    // The test of the tests above: without barriers some cut does show.
    let world = World::new();
    let (whole, writes) = world.reference();
    let noticed = (0..writes).step_by(11).filter(|&write| {
        let cut = Cut { write, kind: CutKind::Before };
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.try_cut(&Card::be_careless, cut, Survivors::Some(write), &whole)
        }));
        !matches!(tried, Ok(Ok(())))
    });
    assert!(noticed.count() > 3);
}

#[test]
fn a_record_of_several_sectors_is_the_old_one_or_the_new_one_at_every_cut() {
    let (old, new) = ([0x0A; 1_600], [0xBB; 1_603]);
    let mut board = Board::formatted(SECTORS);
    board.open().unwrap().put_authority(&old).unwrap();
    let before = board.card.bytes();
    // Two copies of four sectors.
    for write in 0..8 {
        for kind in CutKind::ALL {
            for seed in 0..12 {
                let mut board = Board::with(Card::of(before.clone()));
                board.card.cut_at(Cut { write, kind });
                assert!(board.open().unwrap().put_authority(&new).is_err());
                let mut board = Board::with(board.card.reboot(Survivors::Some(seed)));
                let mut store = board.open().unwrap();
                let mut out = [0; 1_700];
                let found = store.authority(&mut out).unwrap();
                assert!(found == old || (found == new && write > 2), "{write} {kind:?} {seed}");
                // And it can be written again.
                store.put_authority(&new).unwrap();
                assert_eq!(store.authority(&mut out), Ok(&new[..]));
            }
        }
    }
}
