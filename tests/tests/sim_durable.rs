//! Nothing is said that a crash of the server could make untrue: while its
//! catalog stands still nobody hears of what it has not written, and what is
//! then lost was never known to anybody.

use fleetcast::model::DeliveryState;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::world::World;

const RECEIVERS: usize = 3;
/// The catalog stands still: a batch takes some part of this.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

fn tree(content: u8) -> Tree {
    Tree::from([("file".to_owned(), Node::File(false, 1, vec![content; 50_000]))])
}

/// A fleet in which everybody is connected, and one release that is not sent yet.
fn fleet(seed: u64) -> World {
    let shape = fair_shape(RECEIVERS, tree(1), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(seed), shape, Faults::none(RECEIVERS));
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(within(&mut world, 60, here), "all connect");
    // What connecting has changed becomes durable.
    pass(&mut world, 2);
    world
}

fn within(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now + Duration::from_secs(seconds);
    let reached = world.run(end, done);
    assert_eq!(world.oracle.violations, [] as [&str; 0]);
    reached
}

fn pass(world: &mut World, seconds: u64) {
    within(world, seconds, |_| false);
}

/// The server stops dead and starts again, with a catalog that works.
fn crash(world: &mut World) {
    world.crash_server();
    world.faults.persist = Duration::from_millis(1);
}

fn all_have_it(world: &World) -> bool {
    world.tick_is_due() && world.behind().is_none()
}

fn group(world: &World) -> GroupId {
    world.groups[0].0
}

#[test]
fn a_release_lost_by_a_crash_was_offered_to_nobody_and_its_number_is_free() {
    for seed in 0..5 {
        let mut world = fleet(seed);
        world.faults.persist = FOR_EVER;
        world.script.planned[0].at = world.now;
        pass(&mut world, 20);
        let node = world.server.node.as_ref().unwrap();
        let states: Vec<_> = node.registry().deliveries().map(|d| d.state).collect();
        assert_eq!(states, [DeliveryState::Queued; RECEIVERS], "taken, and told to nobody");
        crash(&mut world);
        // The admin got no answer, has changed the files since, and sends again.
        world.script.planned[0].tree = tree(2);
        assert!(within(&mut world, 120, all_have_it), "{:?}", world.behind());
        let group = group(&world);
        for receiver in 0..RECEIVERS {
            let shown = world.oracle.shown(receiver, &group).unwrap();
            assert_eq!(shown.order.sequence, 1);
            let signed = world.admin.signed.iter().find(|s| s.name == shown).unwrap();
            assert_eq!(signed.tree, tree(2));
        }
    }
}

#[test]
fn a_removal_that_is_not_durable_is_told_to_nobody() {
    let mut world = fleet(10);
    let (group, victim) = (group(&world), world.receivers[0].id());
    world.faults.persist = FOR_EVER;
    let (now, name) = (world.now, world.groups[0].1.clone());
    let node = world.server.node.as_mut().unwrap();
    node.remove_member(now, "admin", &name, &victim.to_string()).unwrap();
    // The admin puts nobody back.
    world.script.members[0].clear();
    pass(&mut world, 10);
    let memberships =
        |world: &World| world.receivers[0].agent.as_ref().unwrap().state().memberships.len();
    assert_eq!(memberships(&world), 1);
    crash(&mut world);
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(within(&mut world, 60, here));
    assert!(world.server.node.as_ref().unwrap().registry().is_member(victim, group));
    // Once more, and now it is written.
    let now = world.now;
    let node = world.server.node.as_mut().unwrap();
    node.remove_member(now, "admin", &name, &victim.to_string()).unwrap();
    pass(&mut world, 2);
    assert_eq!(memberships(&world), 0);
}

#[test]
fn an_enrolment_that_is_not_durable_is_told_to_nobody_and_its_token_is_not_spent() {
    let shape = fair_shape(1, tree(1), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(20), shape, Faults::none(1));
    // Groups and invitations are written, and then nothing more.
    while world.server.catalog.poll_timeout().is_some() {
        let end = world.now + Duration::from_micros(100);
        world.run(end, |_| false);
    }
    world.faults.persist = FOR_EVER;
    pass(&mut world, 10);
    let enrolled = |world: &World| {
        world.receivers[0].agent.as_ref().is_some_and(|agent| agent.state().identity.is_some())
    };
    assert!(!enrolled(&world));
    crash(&mut world);
    assert!(within(&mut world, 60, enrolled), "the token is as good as it was");
    let node = world.server.node.as_ref().unwrap();
    assert_eq!(node.registry().vouchers().map(|voucher| voucher.used).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_receipt_that_a_crash_took_is_given_again() {
    let mut world = fleet(30);
    let group = group(&world);
    world.script.planned[0].at = world.now;
    // The release is written, what is said of it from now on is not.
    let written = |world: &World| !world.server.catalog.snapshot().releases.is_empty();
    assert!(within(&mut world, 10, written));
    world.faults.persist = FOR_EVER;
    pass(&mut world, 10);
    let id = world.receivers[0].id();
    let held = |world: &World| {
        let snapshot = world.server.catalog.snapshot();
        snapshot.held.into_iter().find(|held| held.receiver == id && held.release.group == group)
    };
    assert_eq!(held(&world), None);
    assert!(world.oracle.shown(0, &group).is_some(), "installed");
    crash(&mut world);
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(within(&mut world, 60, here));
    pass(&mut world, 2);
    let held = held(&world).expect("told again");
    assert_eq!(held.receipt.len(), 64, "with the receipt");
}
