//! What the status shows while it is so, and no longer.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast::health::{Condition, HealthItem};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::{EPOCH, Tree};
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

const DAY: u64 = 86_400;

fn gathered(receivers: usize) -> World {
    let shape = fair_shape(receivers, Tree::new(), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(70), shape, Faults::none(receivers));
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

/// Lets some seconds pass: the server looks at its clock when it has something to do.
fn pass(world: &mut World, seconds: u64) {
    let end = world.now + Duration::from_secs(seconds);
    wait(world, seconds + 1, |world| world.now >= end);
}

fn send(world: &mut World, content: u8) {
    let tree = Tree::from([("file".to_owned(), Node::File(false, 1, vec![content; 9_000]))]);
    world.script.planned.push(Planned { at: world.now, group: 0, tree });
    let sent = world.script.planned.len();
    wait(world, 10, |world| world.script.sent == sent);
}

fn shown(world: &World, condition: Condition) -> Option<HealthItem> {
    let status = world.server.node.as_ref().unwrap().status(world.now);
    status.health.into_iter().find(|item| item.code == condition.code())
}

fn subject(world: &World, condition: Condition) -> Option<String> {
    shown(world, condition).map(|item| item.subject)
}

fn switch_off(world: &mut World, receiver: usize) {
    world.receivers[receiver].agent = None;
    world.receivers[receiver].boots_at = None;
    pass(world, 30);
}

#[test]
fn who_is_away_is_shown_as_behind_while_something_waits_for_it() {
    let mut world = gathered(3);
    send(&mut world, 1);
    wait(&mut world, 20, |world| world.behind().is_none());
    switch_off(&mut world, 2);
    assert_eq!(shown(&world, Condition::ReceiverBehind), None, "nothing waits for it");
    let before = world.now;
    send(&mut world, 2);
    let item = shown(&world, Condition::ReceiverBehind).unwrap();
    let time = |at: Instant| EPOCH + at.as_micros() / 1_000_000;
    // The server looked at its clock with the last sign of life, 8 s before at most.
    assert!((time(before) - 8..=time(world.now)).contains(&item.since), "{item:?}");
    assert_eq!(item.subject, "r2");
    switch_off(&mut world, 1);
    send(&mut world, 3);
    assert_eq!(subject(&world, Condition::ReceiverBehind).as_deref(), Some("r2 and 1 more"));
    for receiver in [1, 2] {
        world.start_receiver(receiver);
    }
    wait(&mut world, 20, |world| world.tick_is_due() && world.behind().is_none());
    assert_eq!(shown(&world, Condition::ReceiverBehind), None);
}

#[test]
fn a_release_near_its_expiry_is_shown_until_a_newer_one_takes_its_place() {
    let mut world = gathered(1);
    world.admin.expires = EPOCH + 365 * DAY;
    send(&mut world, 1);
    // 30 days before the end of a year, to the hour.
    for (hours, is_near) in [(335 * 24 - 1, false), (335 * 24 + 1, true), (400 * 24, true)] {
        world.server.clock = hours * 3_600;
        pass(&mut world, 15);
        let near = subject(&world, Condition::ReleaseExpiring);
        assert_eq!(near.as_deref(), is_near.then_some("group0#1"), "{hours}");
    }
    world.admin.expires = EPOCH + 800 * DAY;
    send(&mut world, 2);
    assert_eq!(shown(&world, Condition::ReleaseExpiring), None);
    // One that never expires is never near that.
    world.admin.expires = 0;
    send(&mut world, 3);
    world.server.clock = 5_000 * DAY as i64;
    pass(&mut world, 15);
    assert_eq!(shown(&world, Condition::ReleaseExpiring), None);
}

#[test]
fn a_release_that_lives_for_days_only_is_near_its_expiry_in_the_last_quarter() {
    let mut world = gathered(1);
    world.admin.expires = EPOCH + 8 * DAY;
    send(&mut world, 1);
    for (days, is_near) in [(5, false), (7, true)] {
        world.server.clock = days * DAY as i64;
        pass(&mut world, 15);
        assert_eq!(shown(&world, Condition::ReleaseExpiring).is_some(), is_near, "{days}");
    }
}

#[test]
fn what_was_put_right_at_the_start_is_shown_for_a_day_and_a_full_disk_while_it_is_full() {
    let mut world = gathered(1);
    let noted = |world: &World| {
        [Condition::StoreRepaired, Condition::DiskNearlyFull].map(|c| subject(world, c))
    };
    assert_eq!(noted(&world), [None, None]);
    let node = world.server.node.as_mut().unwrap();
    node.note_condition(Condition::StoreRepaired, "9 torn bytes cut off");
    node.note_room("/state", true);
    node.note_room("/state", true);
    let repaired = Some("9 torn bytes cut off".to_owned());
    assert_eq!(noted(&world), [repaired.clone(), Some("/state".to_owned())]);
    world.server.node.as_mut().unwrap().note_room("/state", false);
    assert_eq!(noted(&world), [repaired.clone(), None]);
    for (days, still) in [(1, repaired), (2, None)] {
        world.server.clock = days * DAY as i64 - 3_600;
        pass(&mut world, 15);
        assert_eq!(noted(&world), [still, None], "{days}");
    }
}

#[test]
fn that_there_is_no_spare_key_is_news_once_there_is_a_receiver() {
    let shape = fair_shape(1, Tree::new(), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(71), shape, Faults::none(1));
    world.script.planned.clear();
    world.receivers[0].boots_at = None;
    pass(&mut world, 2);
    assert_eq!(shown(&world, Condition::NoSpareKey), None);
    world.start_receiver(0);
    wait(&mut world, 20, |world| world.tick_is_due() && world.all_are_here());
    assert!(shown(&world, Condition::NoSpareKey).is_some());
}
