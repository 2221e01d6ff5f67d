//! Storage that loses what it had: a destination that is replaced or emptied is filled
//! again, a copy that rotted is durable again before it counts, and an activation that
//! cannot be ended leaves what was visible.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;

use fleetcast::disk::{Disk as _, DiskError, remove_tree};
use fleetcast::model::DeliveryState;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::disk::{Abilities, Fault, Node, SimDisk, read_tree};
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::release::{TestRelease, deliver, receive, resume};
use fleetcast_tests::world::World;

type Tree = BTreeMap<String, Node>;

const ALL: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 30 };

fn tree(content: u8) -> Tree {
    Tree::from([("file".to_owned(), Node::File(false, 1, vec![content; 50_000]))])
}

fn within(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now + Duration::from_secs(seconds);
    let reached = world.run(end, done);
    assert_eq!(world.oracle.violations, [] as [&str; 0]);
    reached
}

fn all_have_it(world: &World) -> bool {
    world.tick_is_due() && world.behind().is_none()
}

/// Sequences that the server shows as installed at the first receiver, once it is here.
fn installed(world: &World) -> Option<Vec<u64>> {
    let node = world.server.node.as_ref()?;
    let record = node.registry().receiver(&world.receivers[0].id())?;
    let item = node.receiver_item(record);
    let here = node.is_here(&world.receivers[0].id());
    here.then(|| item.installed.iter().map(|installed| installed.sequence).collect())
}

/// The first of two receivers loses what it had while it is off.
fn loses(seed: u64, lose: impl FnOnce(&mut World)) {
    let shape = fair_shape(2, tree(1), Instant::ZERO);
    let mut world = world(&mut Random::new(seed), shape, Faults::none(2));
    assert!(within(&mut world, 60, all_have_it), "{:?}", world.behind());
    world.crash_receiver(0);
    lose(&mut world);
    world.oracle.emptied(0);
    // PROTOCOL M1: its inventory is all that it has.
    let truth = |world: &World| installed(world).is_some_and(|installed| installed.is_empty());
    assert!(within(&mut world, 60, truth), "the server still says that it is installed");
    assert!(within(&mut world, 60, all_have_it), "{:?}", world.behind());
    assert_eq!(installed(&world), Some(vec![1]));
    let node = world.server.node.as_ref().unwrap();
    let lost = node.registry().recent_log().filter(|line| line.action == "release-lost");
    assert_eq!(lost.map(|line| line.subject.as_str()).collect::<Vec<_>>(), ["group0#1"]);
    // What was delivered first stays told, and the other receiver got nothing again.
    let deliveries = node.registry().deliveries();
    let mut of: Vec<_> = deliveries.map(|d| (d.receiver, d.state)).collect();
    of.sort_unstable_by_key(|(receiver, _)| *receiver != world.receivers[0].id());
    let ids = [0, 0, 1].map(|at: usize| world.receivers[at].id());
    assert_eq!(of, ids.map(|id| (id, DeliveryState::Installed)));
}

#[test]
fn a_destination_that_was_replaced_is_filled_again() {
    loses(1, |world| world.receivers[0].destination = SimDisk::new(ALL));
}

#[test]
fn a_group_whose_directory_was_deleted_gets_its_release_again() {
    loses(2, |world| {
        let disk = &world.receivers[0].destination;
        remove_tree(disk, &disk.root().unwrap(), b"group0").unwrap();
        disk.sync_all().unwrap();
    });
}

#[test]
fn that_a_release_was_lost_outlives_a_crash_of_the_server() {
    let shape = fair_shape(1, tree(1), Instant::ZERO);
    let mut world = world(&mut Random::new(3), shape, Faults::none(1));
    assert!(within(&mut world, 60, all_have_it), "{:?}", world.behind());
    world.crash_receiver(0);
    world.receivers[0].destination = SimDisk::new(ALL);
    world.oracle.emptied(0);
    let durable = |world: &World| world.server.catalog.snapshot().held.is_empty();
    assert!(within(&mut world, 60, durable), "the catalog still says that it is held");
    world.crash_server();
    assert!(within(&mut world, 120, all_have_it), "{:?}", world.behind());
}

#[test]
fn a_copy_that_rotted_is_durable_again_when_the_release_is_complete() {
    let whole = vec![9; 30];
    let files = Tree::from(
        ["left", "right"].map(|name| (name.to_owned(), Node::File(false, 1, whole.clone()))),
    );
    let release = TestRelease::new(GroupId([7; 16]), 1, &files, (10, 72));
    let disk = SimDisk::new(ALL);
    let mut staging = resume(&disk, &release).unwrap();
    receive(&mut staging, &release).unwrap();
    drop(staging);
    let stage = format!("stage-{}", &release.name.digest.to_string()[..16]);
    disk.rot(&format!(".fleetcast/{stage}/tree/right"), 5);
    let mut staging = resume(&disk, &release).unwrap();
    assert_eq!(receive(&mut staging, &release), Ok(0), "the other copy heals it");
    // What is told to be staged survives a power cut (safety S4).
    let after = disk.fork();
    after.reboot(0);
    let ours = after.open_dir(&after.root().unwrap(), b".fleetcast").unwrap();
    let staged = read_tree(&after, &ours, &stage).unwrap();
    for name in ["tree/left", "tree/right"] {
        let Node::File(_, _, bytes) = &staged[name] else { panic!("{name} is a file") };
        assert_eq!(*bytes, whole, "{name}");
    }
}

#[test]
fn without_exchange_an_error_at_any_operation_leaves_a_release_visible() {
    let group = GroupId([7; 16]);
    let disk = SimDisk::new(Abilities { exchange: false, ..ALL });
    deliver(&disk, &TestRelease::new(group, 1, &tree(1), (10_000, 72))).unwrap();
    let next = TestRelease::new(group, 2, &tree(2), (10_000, 72));
    let run = disk.fork();
    run.set_fault(None);
    deliver(&run, &next).unwrap();
    for at in 0..run.calls() {
        let disk = disk.fork();
        disk.set_fault(Some(Fault::error(at, DiskError::Io(5), false)));
        let _ = deliver(&disk, &next);
        let seen = read_tree(&disk, &disk.root().unwrap(), "kiosks");
        assert!(seen == Ok(tree(1)) || seen == Ok(tree(2)), "call {at}: {:?}", seen.is_ok());
        disk.set_fault(None);
        deliver(&disk, &next).unwrap();
        assert_eq!(read_tree(&disk, &disk.root().unwrap(), "kiosks"), Ok(tree(2)), "call {at}");
    }
}
