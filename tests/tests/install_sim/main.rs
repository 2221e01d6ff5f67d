//! The real staging and install code on the simulated disk: power cut at every
//! operation, faults, local changes, hostile records.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod local;

use std::collections::{BTreeMap, BTreeSet};

use fleetcast::disk::{Disk, DiskError};
use fleetcast::install::{InstallError, install, recover};
use fleetcast::staging::StepOutcome;
use fleetcast::staging::area::Area;
use fleetcast_core::ids::{GroupId, Ordinal};
use fleetcast_core::session::intake::{Intake, Taken};
use fleetcast_core::wire::control::{FailCode, Object, WantRun};
use fleetcast_tests::disk::{Abilities, Fault, Node, SimDisk, read_tree};
use fleetcast_tests::release::{TestRelease, deliver, kiosks, receive, resume};

const GROUP: GroupId = GroupId([7; 16]);
const ALL: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };
const SEEDS: u64 = 16;

type Tree = BTreeMap<String, Node>;

fn file(mtime: i64, bytes: &[u8]) -> Node {
    Node::File(false, mtime, bytes.to_vec())
}

fn old_tree() -> Tree {
    let mut tree = Tree::new();
    tree.insert("app".into(), Node::Directory(10));
    tree.insert("app/run".into(), Node::File(true, 11, b"#!/bin/sh old".to_vec()));
    tree.insert("app/same".into(), file(12, b"the same in both, twice over"));
    tree.insert("big".into(), file(13, &[3; 100]));
    tree.insert("gone".into(), file(14, b"not in the next one"));
    tree
}

fn new_tree() -> Tree {
    let mut tree = old_tree();
    tree.remove("gone");
    tree.insert("app/run".into(), Node::File(true, 21, b"#!/bin/sh new".to_vec()));
    tree.insert("big".into(), file(23, &[[3; 60], [4; 60]].concat()));
    tree.insert("empty".into(), file(24, b""));
    tree.insert("lib".into(), Node::Directory(25));
    tree.insert("lib/twin".into(), file(26, &[4; 30]));
    tree
}

fn release(sequence: u64, tree: &Tree) -> TestRelease {
    TestRelease::new(GROUP, sequence, tree, (10, 72))
}

fn visible(disk: &SimDisk) -> Option<Tree> {
    let root = disk.root().unwrap();
    match read_tree(disk, &root, "kiosks") {
        Ok(tree) => Some(tree),
        Err(DiskError::NotFound) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A disk with the old release installed, durable.
fn with_old(abilities: Abilities) -> SimDisk {
    let disk = SimDisk::new(abilities);
    deliver(&disk, &release(1, &old_tree())).unwrap();
    // Safety S4: what was reported survives an immediate power cut.
    disk.reboot(0);
    assert_eq!(visible(&disk), Some(old_tree()));
    disk
}

fn cuts(calls: u64) -> impl Iterator<Item = Fault> {
    (0..calls).flat_map(|at| [Fault::cut(at, false), Fault::cut(at, true)])
}

#[test]
fn a_release_is_seen_exactly_as_it_was_signed() {
    let disk = with_old(ALL);
    let (installed, received) = deliver(&disk, &release(2, &new_tree())).unwrap();
    assert_eq!(visible(&disk), Some(new_tree()));
    assert!(installed.atomic && installed.conflicts.is_empty());
    // `app/same` is linked, the threes of `big` and the first ten bytes of `run`
    // are the old files'; new are `new` and one chunk of fours.
    assert_eq!(received, 3 + 10);
    let area = Area::open(&disk).unwrap();
    let held = area.held().unwrap();
    assert_eq!(held.iter().map(|h| h.release.order.sequence).collect::<Vec<_>>(), [2]);
    let old = format!("old-{GROUP}");
    let predecessor = read_tree(&disk, &ours(&disk), &old).unwrap();
    assert_eq!(predecessor, old_tree());
}

fn ours(disk: &SimDisk) -> <SimDisk as Disk>::Dir {
    disk.open_dir(&disk.root().unwrap(), b".fleetcast").unwrap()
}

/// Safety S1, S2: a cut anywhere leaves the old or the new release, whole.
fn survive_every_cut(abilities: Abilities, first: Option<&Tree>, may_be_missing: bool) {
    let base = if first.is_some() { with_old(abilities) } else { SimDisk::new(abilities) };
    let (old, new) = (first.cloned(), new_tree());
    let next = release(2, &new);
    let run = base.fork();
    run.set_fault(None);
    deliver(&run, &next).unwrap();
    let calls = run.calls();
    assert!(calls > 40, "the installation became suspiciously short: {calls} calls");
    let (mut saw_old, mut saw_new) = (0, 0);
    for fault in cuts(calls) {
        for seed in 0..SEEDS {
            let disk = base.fork();
            disk.set_fault(Some(fault));
            let done = deliver(&disk, &next).is_ok();
            assert!(disk.is_dead() || done);
            disk.reboot(seed);
            let seen = visible(&disk);
            let is_new = seen.as_ref() == Some(&new);
            let is_gap = may_be_missing && seen.is_none();
            assert!(is_new || is_gap || seen == old, "{fault:?} seed {seed}: {seen:?}");
            assert!(is_new || !done, "reported, then lost: {fault:?} seed {seed}");
            saw_new += u32::from(is_new);
            saw_old += u32::from(seen == old);
            deliver_after(&disk, &next, is_new);
            assert_eq!(visible(&disk), Some(new.clone()), "{fault:?} seed {seed}");
            let predecessor = read_tree(&disk, &ours(&disk), &format!("old-{GROUP}")).ok();
            assert_eq!(predecessor, old, "the predecessor, {fault:?} seed {seed}");
        }
    }
    assert!(saw_old > 100 && saw_new > 10, "old {saw_old}, new {saw_new}");
}

/// Recovery, and delivery again unless the release is installed by then.
fn deliver_after(disk: &SimDisk, next: &TestRelease, was_new: bool) {
    let area = Area::open(disk).unwrap();
    let recovered = recover(&area).unwrap();
    let held = area.held().unwrap().iter().any(|held| held.release == next.name);
    assert!(held || !was_new, "visible but not on record");
    assert!(held || recovered.finished.is_empty());
    if !held {
        deliver(disk, next).unwrap();
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_the_old_or_the_new_release() {
    survive_every_cut(ALL, Some(&old_tree()), false);
}

#[test]
fn a_power_cut_in_a_first_installation_leaves_nothing_or_the_release() {
    survive_every_cut(ALL, None, false);
}

#[test]
fn a_power_cut_is_survived_with_clones_in_place_of_links() {
    survive_every_cut(Abilities { clones: true, ..ALL }, Some(&old_tree()), false);
}

#[test]
fn without_exchange_recovery_closes_the_gap_between_two_renames() {
    survive_every_cut(Abilities { exchange: false, ..ALL }, Some(&old_tree()), true);
}

#[test]
fn a_second_power_cut_inside_recovery_changes_nothing() {
    for abilities in [ALL, Abilities { exchange: false, ..ALL }] {
        let base = with_old(abilities);
        let next = release(2, &new_tree());
        let run = base.fork();
        run.set_fault(None);
        deliver(&run, &next).unwrap();
        let calls = run.calls();
        // The activation and what follows is the last part of the run.
        for first in cuts(calls).skip(calls as usize) {
            let disk = base.fork();
            disk.set_fault(Some(first));
            let _ = deliver(&disk, &next);
            for seed in [0, 1, 5] {
                let broken = disk.fork();
                broken.reboot(seed);
                let again = broken.fork();
                recover(&Area::open(&again).unwrap()).unwrap();
                for second in cuts(again.calls()) {
                    let twice = broken.fork();
                    twice.set_fault(Some(second));
                    let _ = Area::open(&twice).and_then(|area| recover(&area));
                    twice.reboot(seed + 7);
                    let seen = visible(&twice);
                    let whole = seen == Some(new_tree()) || seen == Some(old_tree());
                    let gap = seen.is_none() && !abilities.exchange;
                    assert!(whole || gap, "{first:?} {second:?} seed {seed}: {seen:?}");
                    deliver_after(&twice, &next, seen == Some(new_tree()));
                    assert_eq!(visible(&twice), Some(new_tree()));
                }
            }
        }
    }
}

#[test]
fn verified_work_is_lost_at_most_back_to_the_last_batch() {
    // Safety S9: 12 MiB in chunks of 64 KiB that differ.
    let bytes: Vec<u8> = (0..3 << 20_u32).flat_map(|n: u32| n.to_le_bytes()).collect();
    let tree = Tree::from([("big".into(), file(5, &bytes))]);
    let next = TestRelease::new(GROUP, 1, &tree, (64 * 1024, 2_048));
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    let mut stored = 0;
    for object in [Object::Root, Object::Index] {
        let count = if object == Object::Root { 1 } else { next.index.len() };
        for ordinal in 0..count as u32 {
            let chunk = next.chunk(object, ordinal);
            staging.record(object, Ordinal(ordinal), 0, chunk.len(), chunk);
        }
    }
    while staging.step(1 << 20) == StepOutcome::More {}
    for ordinal in 0..150 {
        let chunk = next.chunk(Object::Content, ordinal);
        let taken = staging.record(Object::Content, Ordinal(ordinal), 0, chunk.len(), chunk);
        assert_eq!(taken, Taken::Stored);
        stored += chunk.len() as u64;
    }
    disk.reboot(0);
    let mut staging = resume(&disk, &next).unwrap();
    while staging.step(1 << 20) == StepOutcome::More {}
    let (held, total) = staging.progress();
    let index: u64 = next.index.iter().map(|chunk| chunk.len() as u64).sum();
    assert_eq!(total, index + (12 << 20));
    assert!(held - index + (4 << 20) >= stored, "held {held} of {stored}");
    assert!(held - index < stored, "the cut must have cost something");
    receive(&mut staging, &next).unwrap();
    install(&mut staging, kiosks(), &mut |_| Ok(())).unwrap();
    assert_eq!(visible(&disk), Some(tree));
}

#[test]
fn a_record_of_other_bytes_is_refused_and_stays_lacking() {
    // PROTOCOL R2
    let next = release(1, &new_tree());
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    let mut record = |object, ordinal, bytes: &[u8]| {
        staging.record(object, Ordinal(ordinal), 0, bytes.len(), bytes)
    };
    assert_eq!(record(Object::Root, 0, b"a forged root"), Taken::Poisoned);
    // Before the root nothing can be judged: it is kept, and dropped later.
    assert_eq!(record(Object::Content, 0, b"0123456789"), Taken::Stored);
    assert_eq!(record(Object::Index, 0, b"not an index chunk"), Taken::Stored);
    assert_eq!(record(Object::Root, 0, &next.root), Taken::Stored);
    assert_eq!(record(Object::Root, 0, &next.root), Taken::Unneeded);
    assert_eq!(record(Object::Index, 9_999, b"no such chunk"), Taken::Unneeded);
    receive(&mut staging, &next).unwrap();
    let wrong = staging.record(Object::Content, Ordinal(0), 0, 10, b"0123456789");
    assert_eq!(wrong, Taken::Unneeded);
    install(&mut staging, kiosks(), &mut |_| Ok(())).unwrap();
    assert_eq!(visible(&disk), Some(new_tree()));
}

#[test]
fn a_poisoned_content_record_never_reaches_the_tree() {
    // PROTOCOL R2, safety S1
    let next = release(1, &new_tree());
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    staging.record(Object::Root, Ordinal(0), 0, next.root.len(), &next.root);
    for (ordinal, chunk) in next.index.iter().enumerate() {
        staging.record(Object::Index, Ordinal(ordinal as u32), 0, chunk.len(), chunk);
    }
    while staging.step(1 << 20) == StepOutcome::More {}
    for (ordinal, chunk) in next.content.iter().enumerate() {
        let ordinal = Ordinal(ordinal as u32);
        let mut wrong = chunk.clone();
        wrong[0] ^= 1;
        let taken = staging.record(Object::Content, ordinal, 0, wrong.len(), &wrong);
        assert_eq!(taken, Taken::Poisoned);
        let longer = [chunk.as_slice(), &[0]].concat();
        let taken = staging.record(Object::Content, ordinal, 0, longer.len(), &longer);
        assert_eq!(taken, Taken::Poisoned);
        assert!(staging.wants(Object::Content, ordinal, 1));
    }
    assert_eq!(install(&mut staging, kiosks(), &mut |_| Ok(())), Err(InstallError::Incomplete));
}

#[test]
fn an_index_chunk_that_comes_once_fills_all_its_places() {
    let zeros = Tree::from([("zeros".into(), file(5, &[0; 9_000]))]);
    let next = TestRelease::new(GROUP, 1, &zeros, (10, 720));
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    staging.record(Object::Root, Ordinal(0), 0, next.root.len(), &next.root);
    let mut sent = BTreeSet::new();
    for (ordinal, chunk) in next.index.iter().enumerate() {
        if sent.insert(chunk) {
            staging.record(Object::Index, Ordinal(ordinal as u32), 0, chunk.len(), chunk);
        }
    }
    while staging.step(1 << 20) == StepOutcome::More {}
    let mut lacking = Vec::new();
    staging.missing(&mut |run| lacking.push(run));
    assert!(next.index.len() > 5 * sent.len(), "{} of {}", sent.len(), next.index.len());
    assert_eq!(lacking, [WantRun { object: Object::Content, first: 0, count: 1 }]);
}

#[test]
fn what_a_failed_sync_dropped_is_never_taken_for_written() {
    for clones in [false, true] {
        let next = release(2, &new_tree());
        let base = with_old(Abilities { clones, ..ALL });
        let run = base.fork();
        run.set_fault(None);
        deliver(&run, &next).unwrap();
        let mut failed = 0;
        for at in 0..run.calls() {
            let disk = base.fork();
            disk.set_fault(Some(Fault::sync(at)));
            let first = deliver(&disk, &next);
            failed += u32::from(first.is_err());
            disk.set_fault(None);
            if first.is_err() {
                deliver_after(&disk, &next, false);
            }
            disk.reboot(0);
            recover(&Area::open(&disk).unwrap()).unwrap();
            assert_eq!(visible(&disk), Some(new_tree()), "sync {at}, clones: {clones}");
        }
        assert!(failed > 3, "the faults were not met: {failed}");
    }
}

#[test]
fn an_error_at_any_operation_leaves_the_old_or_the_new_release() {
    let next = release(2, &new_tree());
    let base = with_old(ALL);
    let run = base.fork();
    run.set_fault(None);
    deliver(&run, &next).unwrap();
    for error in [DiskError::NoSpace, DiskError::Io(5), DiskError::ReadOnly] {
        for at in 0..run.calls() {
            for forever in [false, true] {
                let disk = base.fork();
                disk.set_fault(Some(Fault::error(at, error, forever)));
                let _ = deliver(&disk, &next);
                let seen = visible(&disk).unwrap();
                assert!(seen == new_tree() || seen == old_tree(), "{error} at {at}");
                disk.set_fault(None);
                deliver_after(&disk, &next, false);
                assert_eq!(visible(&disk), Some(new_tree()));
            }
        }
    }
}

#[test]
fn a_disk_without_room_is_told_before_the_first_content_byte() {
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let tree = Tree::from([("big".into(), file(5, &bytes))]);
    let next = TestRelease::new(GROUP, 1, &tree, (4_096, 2_048));
    let disk = SimDisk::new(Abilities { capacity: 300_000, ..ALL });
    let mut staging = resume(&disk, &next).unwrap();
    assert_eq!(receive(&mut staging, &next), Err(StepOutcome::Failed));
    let failure = staging.failure().unwrap();
    assert_eq!(failure.code, FailCode::NoSpace);
    // 400,000 bytes are 98 units of 4,096, and one for the file itself.
    assert!(failure.reason.starts_with("405504 bytes needed, "), "{}", failure.reason);
    assert_eq!(staging.progress().0, next.index.iter().map(|c| c.len() as u64).sum::<u64>());
}

#[test]
fn an_old_file_that_rotted_unnoticed_is_not_taken_over() {
    // Safety S1: same size, same time, other bytes; linked, cloned, or by chunks.
    for clones in [false, true] {
        let disk = with_old(Abilities { clones, ..ALL });
        disk.rot("kiosks/app/same", 3);
        disk.rot("kiosks/big", 15);
        let (_, received) = deliver(&disk, &release(2, &new_tree())).unwrap();
        assert!(received >= 10, "what rotted was received");
        assert_eq!(visible(&disk), Some(new_tree()), "clones: {clones}");
    }
}

#[test]
fn what_rots_in_staging_before_a_restart_is_found_and_received_again() {
    let next = release(1, &new_tree());
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    receive(&mut staging, &next).unwrap();
    drop(staging);
    let stage = format!(".fleetcast/stage-{}", &next.name.digest.to_string()[..16]);
    disk.rot(&format!("{stage}/tree/big"), 5);
    disk.rot(&format!("{stage}/tree/app/run"), 12);
    disk.rot(&format!("{stage}/index"), 40);
    let (_, received) = deliver(&disk, &next).unwrap();
    // The tens of threes stand in `big` many times: healed from the next place.
    // The last three bytes of `run` stand nowhere else.
    assert_eq!(received, 3);
    assert_eq!(visible(&disk), Some(new_tree()));
}

#[test]
fn a_torn_journal_is_read_up_to_its_last_whole_batch() {
    let next = release(1, &new_tree());
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &next).unwrap();
    receive(&mut staging, &next).unwrap();
    drop(staging);
    let name = next.name.digest.to_string();
    let journal = format!(".fleetcast/stage-{}/journal", &name[..16]);
    let stage = disk.open_dir(&ours(&disk), format!("stage-{}", &name[..16]).as_bytes()).unwrap();
    let whole = fleetcast::disk::read_small(&disk, &stage, b"journal", 4_096).unwrap();
    let all: u64 = next.content.iter().map(|chunk| chunk.len() as u64).sum();
    for len in 0..whole.len() {
        let torn = disk.fork();
        torn.tamper(&journal, &whole[..len]);
        assert_eq!(deliver(&torn, &next).unwrap().1, all, "cut at {len}");
        // A tail of garbage behind the whole batch costs nothing.
        let longer = disk.fork();
        longer.tamper(&journal, &[&whole[..], &whole[..len]].concat());
        assert_eq!(deliver(&longer, &next).unwrap().1, 0);
        assert_eq!(visible(&longer), Some(new_tree()));
    }
}

#[test]
fn a_stage_that_was_given_up_leaves_nothing_behind() {
    let disk = with_old(ALL);
    let next = release(2, &new_tree());
    let mut staging = resume(&disk, &next).unwrap();
    receive(&mut staging, &next).unwrap();
    drop(staging);
    let area = Area::open(&disk).unwrap();
    area.abandon(&next.name).unwrap();
    assert_eq!(area.empty_trash(2), Ok(false), "it has more than two names");
    assert_eq!(area.empty_trash(u32::MAX), Ok(true));
    assert_eq!(disk.list(&ours(&disk)).unwrap(), [format!("held-{GROUP}").into_bytes()]);
    assert_eq!(visible(&disk), Some(old_tree()));
}

#[test]
fn the_order_is_persisted_before_anything_visible_changes() {
    // PROTOCOL T4
    let disk = with_old(ALL);
    let next = release(2, &new_tree());
    let mut staging = resume(&disk, &next).unwrap();
    receive(&mut staging, &next).unwrap();
    let refused = install(&mut staging, kiosks(), &mut |name| {
        assert_eq!(name, next.name);
        assert_eq!(visible(&disk), Some(old_tree()));
        Err(fleetcast::install::NotPersisted)
    });
    assert_eq!(refused, Err(InstallError::NotPersisted));
    assert_eq!(visible(&disk), Some(old_tree()));
    install(&mut staging, kiosks(), &mut |_| Ok(())).unwrap();
    assert_eq!(visible(&disk), Some(new_tree()));
}
