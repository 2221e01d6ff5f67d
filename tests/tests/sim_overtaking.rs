//! Which release takes the place of which: what waits for a word or for its time takes
//! none before it is let go, and nobody ever goes back.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast::model::{DeliveryState, Hold, Terms};
use fleetcast::server::releases::SendOptions;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::{EPOCH, Tree};
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{Shape, fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

const RECEIVERS: usize = 2;
const SIZE: usize = 1_000_000;
/// What the first release needs five seconds for.
const SLOW: u64 = 200_000;

const QUEUED: SendOptions = SendOptions { queue: true, terms: AT_ONCE };
const AT_ONCE: Terms = Terms { rate: None, full: false, priority: 0, at: None, ready: None };

fn gathered(seed: u64) -> World {
    let shape = fair_shape(RECEIVERS, Tree::new(), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(seed), shape, Faults::none(RECEIVERS));
    world.script.planned.clear();
    wait(&mut world, 60, |world| world.tick_is_due() && world.all_are_here());
    world
}

fn wait(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) {
    let end = world.now + Duration::from_secs(seconds);
    let reached = world.run(end, done);
    assert_eq!(world.oracle.violations, [] as [&str; 0]);
    assert!(reached, "not within {seconds} s: {:?}", states(world));
}

fn pass(world: &mut World, seconds: u64) {
    let end = world.now + Duration::from_secs(seconds);
    wait(world, seconds + 1, |world| world.now >= end);
}

fn noise(seed: u64) -> Tree {
    let mut bytes = vec![0; SIZE];
    Random::new(seed).fill(&mut bytes);
    Tree::from([("file".to_owned(), Node::File(false, 1, bytes))])
}

fn send(world: &mut World, content: u64, options: SendOptions) {
    world.script.options = options;
    let tree = noise(content);
    world.script.planned.push(Planned { at: world.now, group: 0, tree });
    let sent = world.script.planned.len();
    wait(world, 10, |world| world.script.sent == sent);
}

fn slowly() -> SendOptions {
    SendOptions { terms: Terms { rate: Some(SLOW), ..AT_ONCE }, queue: false }
}

/// To be switched to in so many seconds.
fn later(world: &World, seconds: u64) -> SendOptions {
    let at = Some(time(world) + seconds);
    SendOptions { terms: Terms { at, ..AT_ONCE }, queue: false }
}

fn time(world: &World) -> u64 {
    EPOCH + world.now.as_micros() / 1_000_000
}

/// Sequence, state and hold of all deliveries, in their order.
fn states(world: &World) -> Vec<(u64, DeliveryState, Hold)> {
    let node = world.server.node.as_ref().unwrap();
    let deliveries = node.registry().deliveries();
    deliveries.map(|d| (d.release.order.sequence, d.state, d.hold)).collect()
}

/// Whether all deliveries of a release are in this state.
fn all(world: &World, sequence: u64, state: DeliveryState) -> bool {
    let mut states = states(world);
    states.retain(|(of, ..)| *of == sequence);
    !states.is_empty() && states.iter().all(|(_, is, _)| *is == state)
}

/// Words for the states of the group's releases, the newest first.
fn releases(world: &World) -> Vec<String> {
    let node = world.server.node.as_ref().unwrap();
    node.release_items(None).into_iter().map(|item| item.state).collect()
}

/// What a receiver shows: the sequence of the release, 0 for none.
fn shows(world: &World, receiver: usize) -> u64 {
    let shown = world.oracle.shown(receiver, &world.group(0));
    shown.map_or(0, |release| release.order.sequence)
}

fn all_show(world: &World, sequence: u64) -> bool {
    (0..RECEIVERS).all(|receiver| shows(world, receiver) == sequence)
}

fn let_go(world: &mut World) {
    let now = world.now;
    world.server.node.as_mut().unwrap().send_pending(now, "admin", &[]).unwrap();
    pass(world, 1);
}

fn switch_off(world: &mut World, receiver: usize) {
    world.receivers[receiver].agent = None;
    world.receivers[receiver].boots_at = None;
    pass(world, 30);
}

#[test]
fn what_is_only_queued_leaves_what_is_on_its_way_alone() {
    let mut world = gathered(80);
    send(&mut world, 1, slowly());
    wait(&mut world, 20, |world| all(world, 1, DeliveryState::Transferring));
    send(&mut world, 2, QUEUED);
    assert!(all(&world, 1, DeliveryState::Transferring), "{:?}", states(&world));
    assert_eq!(releases(&world), ["waiting", "current"]);
    wait(&mut world, 30, |world| all_show(world, 1));
    pass(&mut world, 10);
    assert!(all_show(&world, 1) && all(&world, 1, DeliveryState::Installed));
    let_go(&mut world);
    assert_eq!(releases(&world), ["current", "superseded"]);
    wait(&mut world, 30, |world| all_show(world, 2));
}

#[test]
fn it_takes_the_place_of_what_is_on_its_way_when_it_is_let_go_to_each_by_itself() {
    let mut world = gathered(81);
    send(&mut world, 1, slowly());
    send(&mut world, 2, QUEUED);
    wait(&mut world, 20, |world| all(world, 1, DeliveryState::Transferring));
    let now = world.now;
    let node = world.server.node.as_mut().unwrap();
    let first = node.registry().deliveries().find(|d| d.release.order.sequence == 2).unwrap();
    let (id, receiver) = (first.id, first.receiver);
    node.send_pending(now, "admin", &[id]).unwrap();
    let of_first = |world: &World| {
        let node = world.server.node.as_ref().unwrap();
        let mut open = node.registry().open_deliveries(receiver);
        open.next().map(|d| d.release.order.sequence)
    };
    assert_eq!(of_first(&world), Some(2), "at once, and only there");
    assert_eq!(releases(&world), ["waiting", "current"]);
    let ended = |world: &World, sequence| {
        let mut states = states(world).into_iter();
        states.any(|(of, state, _)| of == sequence && state == DeliveryState::Installed)
    };
    wait(&mut world, 30, |world| ended(world, 1) && ended(world, 2));
    let_go(&mut world);
    wait(&mut world, 30, |world| all_show(world, 2));
    let ends: Vec<_> = states(&world).into_iter().map(|(of, state, _)| (of, state)).collect();
    let (installed, superseded) = (DeliveryState::Installed, DeliveryState::Superseded);
    let mut expected = [(1, installed), (1, superseded), (2, installed), (2, installed)];
    if ends[0] != expected[0] {
        expected.swap(0, 1);
    }
    assert_eq!(ends, expected);
    assert_eq!(releases(&world), ["current", "superseded"]);
}

#[test]
fn until_its_time_comes_receivers_get_what_is_older_also_those_that_come_late() {
    let mut world = gathered(82);
    switch_off(&mut world, 1);
    send(&mut world, 1, slowly());
    let options = later(&world, 120);
    let at = options.terms.at.unwrap();
    send(&mut world, 2, options);
    wait(&mut world, 30, |world| shows(world, 0) == 1);
    world.crash_server();
    world.start_receiver(1);
    wait(&mut world, 60, |world| all_show(world, 1));
    let staged = |world: &World| {
        let mut states = states(world);
        states.retain(|(of, ..)| *of == 2);
        states.iter().all(|(.., hold)| *hold == Hold::Staged)
    };
    wait(&mut world, 30, staged);
    assert_eq!(releases(&world), ["waiting", "current"]);
    // Who is put into the group now gets both too: the one at once, the other before its time.
    let (now, receiver) = (world.now, world.receivers[0].id().to_string());
    let node = world.server.node.as_mut().unwrap();
    node.remove_member(now, "admin", "group0", &receiver).unwrap();
    pass(&mut world, 5);
    assert!(time(&world) < at - 20, "it is too late for what is tested");
    wait(&mut world, 15, staged);
    assert!(all_show(&world, 1));
    wait(&mut world, 100, |world| all_show(world, 2));
    assert!((at..at + 3).contains(&time(&world)), "{} {at}", time(&world));
    assert_eq!(releases(&world), ["current", "superseded"]);
}

#[test]
fn what_is_still_on_its_way_when_the_time_comes_is_over() {
    let mut world = gathered(83);
    let slower = SendOptions { terms: Terms { rate: Some(20_000), ..AT_ONCE }, queue: false };
    send(&mut world, 1, slower);
    let options = later(&world, 5);
    send(&mut world, 2, options);
    pass(&mut world, 2);
    assert!(all(&world, 1, DeliveryState::Transferring), "{:?}", states(&world));
    wait(&mut world, 20, |world| all_show(world, 2));
    assert!(all(&world, 1, DeliveryState::Superseded));
    let node = world.server.node.as_ref().unwrap();
    let first = node.registry().deliveries().next().unwrap();
    assert_eq!(node.delivery_item(first).reason, "group0#2 took its place");
}

#[test]
fn of_two_that_wait_for_their_times_one_is_staged_after_the_other() {
    let mut world = gathered(84);
    for (content, seconds) in [(1, 40), (2, 60)] {
        let options = later(&world, seconds);
        send(&mut world, content, options);
    }
    pass(&mut world, 20);
    let holds: Vec<Hold> = states(&world).into_iter().map(|(.., hold)| hold).collect();
    assert_eq!(holds, [Hold::Staged, Hold::Staged, Hold::Activation, Hold::Activation]);
    // PROTOCOL M4: only one is held back, and is installed first.
    wait(&mut world, 30, |world| all_show(world, 1));
    wait(&mut world, 30, |world| all_show(world, 2));
}

#[test]
fn what_would_be_switched_to_no_earlier_than_something_newer_is_over_at_once() {
    let mut world = gathered(85);
    for (content, seconds) in [(1, 60), (2, 30)] {
        let options = later(&world, seconds);
        send(&mut world, content, options);
    }
    assert!(all(&world, 1, DeliveryState::Superseded), "{:?}", states(&world));
    wait(&mut world, 40, |world| all_show(world, 2));
    pass(&mut world, 60);
    assert!(all_show(&world, 2));
}

#[test]
fn a_time_that_is_over_by_the_servers_clock_is_refused() {
    let mut world = gathered(88);
    let (group, name) = world.groups[0].clone();
    let clock = time(&world);
    let mut submit = |seconds: u64| {
        let node = world.server.node.as_mut().unwrap();
        let order = node.next_order(&name).unwrap();
        let chunks = &world.server.chunks;
        let signed = world.admin.release(group, &name, order, &noise(1), chunks);
        let terms = Terms { at: Some(clock - seconds), ..AT_ONCE };
        let options = SendOptions { terms, queue: false };
        node.submit_release(world.now, "admin", signed.document.clone(), options)
    };
    let refused = submit(100).unwrap_err();
    assert_eq!(refused.code, "time-over");
    let times = [clock - 100, clock].map(fleetcast::units::format_time);
    assert!(times.iter().all(|time| refused.message.contains(time)), "{refused:?}");
    // Clocks differ a little: what is just over is due now.
    submit(40).unwrap();
    wait(&mut world, 20, |world| all_show(world, 1));
}

#[test]
fn what_failed_is_tried_again_while_what_is_newer_waits() {
    let mut world = gathered(86);
    send(&mut world, 1, slowly());
    let id = world.server.node.as_ref().unwrap().registry().deliveries().next().unwrap().id;
    let cancel = |world: &mut World, id| {
        let now = world.now;
        world.server.node.as_mut().unwrap().cancel_delivery(now, "admin", id).unwrap();
    };
    cancel(&mut world, id);
    send(&mut world, 2, QUEUED);
    // Whoever joins now needs the first one, and it stays.
    cancel(&mut world, id + 1);
    let removable = world.server.node.as_ref().unwrap().removable(1);
    assert_eq!(removable, []);
    let now = world.now;
    let node = world.server.node.as_mut().unwrap();
    node.retry_delivery(now, "admin", id).unwrap();
    node.retry_delivery(now, "admin", id + 1).unwrap();
    wait(&mut world, 30, |world| all_show(world, 1));
    let_go(&mut world);
    let now = world.now;
    let node = world.server.node.as_mut().unwrap();
    assert_eq!(node.retry_delivery(now, "admin", id).unwrap_err().code, "release-superseded");
    wait(&mut world, 30, |world| all_show(world, 2));
}

#[test]
fn what_is_taken_back_gives_its_place_back() {
    let mut world = gathered(87);
    send(&mut world, 1, SendOptions::default());
    wait(&mut world, 20, |world| all_show(world, 1));
    let options = later(&world, 60);
    send(&mut world, 2, options);
    send(&mut world, 3, slowly());
    assert_eq!(releases(&world), ["current", "superseded", "superseded"]);
    let (now, newest) = (world.now, world.script.newest[0].unwrap());
    world.server.node.as_mut().unwrap().cancel_release(now, "admin", &newest.digest).unwrap();
    assert_eq!(releases(&world), ["cancelled", "waiting", "current"]);
    pass(&mut world, 30);
    assert!(all_show(&world, 1));
    wait(&mut world, 60, |world| all_show(world, 2));
}

#[test]
fn whatever_goes_wrong_all_end_with_the_newest_and_nobody_goes_back() {
    for seed in 0..6 {
        let mut random = Random::new(900 + seed);
        let shape =
            Shape { releases: vec![vec![]], ..fair_shape(3, Tree::new(), Instant::FAR_FUTURE) };
        let faults = Faults::wild(&mut random, 3);
        let mut world = world(&mut random, shape, faults);
        for content in 1..=4 {
            let terms = if random.below(2) == 0 {
                later(&world, random.below(60)).terms
            } else {
                Terms { rate: Some(SLOW), ..AT_ONCE }
            };
            world.script.options = SendOptions { terms, queue: random.below(2) == 0 };
            world.script.planned.push(Planned { at: world.now, group: 0, tree: noise(content) });
            let end = world.now + Duration::from_secs(2 + random.below(15));
            world.run(end, |_| false);
        }
        world.calm();
        world.script.retries = true;
        for _ in 0..30 {
            let end = world.now + Duration::from_secs(10);
            world.run(end, |world| world.behind().is_none());
            let now = world.now;
            if let Some(node) = &mut world.server.node {
                node.send_pending(now, "admin", &[]).unwrap();
            }
        }
        assert_eq!(world.oracle.violations, [] as [&str; 0], "seed {seed}");
        assert_eq!(world.behind(), None, "seed {seed}: {:?}", states(&world));
    }
}
