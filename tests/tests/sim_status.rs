//! What the status tells is fixed once it is known, and outlives the server.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::Cell;

use fleetcast::health::{Condition, HealthItem};
use fleetcast::model::Terms;
use fleetcast::server::releases::SendOptions;
use fleetcast::status::{ReceiverState, TotalsItem};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::{EPOCH, Tree};
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

const RECEIVERS: usize = 3;
const SIZE: usize = 1_000_000;

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
    assert!(reached, "not within {seconds} s");
}

fn pass(world: &mut World, seconds: u64) {
    let end = world.now + Duration::from_secs(seconds);
    wait(world, seconds + 1, |world| world.now >= end);
}

/// Sends noise, of which receivers take nothing from what they have, in five seconds.
fn send(world: &mut World, content: u64) {
    let mut bytes = vec![0; SIZE];
    Random::new(content).fill(&mut bytes);
    let terms = Terms { rate: Some(200_000), full: true, ..Terms::default() };
    world.script.options = SendOptions { terms, queue: false };
    let tree = Tree::from([("file".to_owned(), Node::File(false, 1, bytes))]);
    world.script.planned.push(Planned { at: world.now, group: 0, tree });
    let sent = world.script.planned.len();
    wait(world, 10, |world| world.script.sent == sent);
}

fn totals(world: &World) -> Option<TotalsItem> {
    Some(world.server.node.as_ref()?.status(world.now).totals)
}

fn time(world: &World) -> u64 {
    EPOCH + world.now.as_micros() / 1_000_000
}

#[test]
fn what_was_saved_never_shrinks_and_is_what_copies_for_all_would_have_cost_more() {
    let mut world = gathered(90);
    let most = Cell::new(0);
    for content in 1..=2_u64 {
        send(&mut world, content);
        let grows = |world: &World| {
            let saved = totals(world).unwrap().saved_bytes;
            assert!(saved >= most.replace(saved), "{saved}");
            world.tick_is_due() && world.behind().is_none()
        };
        wait(&mut world, 60, grows);
        pass(&mut world, 10);
        let totals = totals(&world).unwrap();
        let copies = content * RECEIVERS as u64 * SIZE as u64;
        assert_eq!(totals.saved_bytes, copies - totals.wire_bytes, "{totals:?}");
    }
}

#[test]
fn a_server_that_was_killed_knows_to_a_minute_when_receivers_were_here() {
    let mut world = gathered(91);
    pass(&mut world, 600);
    let died = time(&world);
    for receiver in &mut world.receivers {
        receiver.agent = None;
        receiver.boots_at = None;
    }
    world.crash_server();
    wait(&mut world, 60, |world| world.server.node.is_some());
    pass(&mut world, 5);
    for item in world.server.node.as_ref().unwrap().receiver_items() {
        assert_eq!(item.state, ReceiverState::Away);
        assert!((died - 62..=died).contains(&item.last_seen), "{item:?} {died}");
    }
}

#[test]
fn that_receivers_are_here_costs_one_batch_a_minute_whatever_their_number() {
    let mut world = gathered(92);
    pass(&mut world, 5);
    let batch = |world: &World| world.server.node.as_ref().unwrap().batch_of_changes();
    let before = batch(&world);
    pass(&mut world, 600);
    let batches = batch(&world) - before;
    assert!((9..=11).contains(&batches), "{batches} in ten minutes");
}

fn shown(world: &World, condition: Condition) -> Option<HealthItem> {
    let status = world.server.node.as_ref()?.status(world.now);
    status.health.into_iter().find(|item| item.code == condition.code())
}

#[test]
fn a_condition_of_the_network_is_shown_since_it_came_up() {
    let mut world = gathered(93);
    world.faults.deaf[0] = true;
    world.apply_weather();
    let before = time(&world);
    send(&mut world, 1);
    wait(&mut world, 60, |world| shown(world, Condition::MulticastBlocked).is_some());
    let after = time(&world);
    pass(&mut world, 300);
    let item = shown(&world, Condition::MulticastBlocked).unwrap();
    assert!((before..=after + 10).contains(&item.since), "{item:?}, {before} to {after}");
}
