//! A server whose clock is set back by a year: what was signed and counted before stays
//! so, and what comes after it goes on from there.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast::health::Condition;
use fleetcast::model::LogRecord;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

const YEAR: i64 = 365 * 86_400;
const RECEIVERS: usize = 4;

fn tree(content: u8) -> Tree {
    Tree::from([("file".to_owned(), Node::File(false, 1, vec![content; 50_000]))])
}

fn within(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now + Duration::from_secs(seconds);
    let reached = world.run(end, done);
    assert_eq!(world.oracle.violations, [] as [&str; 0]);
    reached
}

fn send(world: &mut World, content: u8) -> u64 {
    world.script.planned.push(Planned { at: world.now, group: 0, tree: tree(content) });
    let all = |world: &World| world.tick_is_due() && world.behind().is_none();
    assert!(within(world, 120, all), "{:?}", world.behind());
    world.script.newest[0].unwrap().order.sequence
}

fn shows(world: &World, condition: Condition) -> bool {
    let status = world.server.node.as_ref().unwrap().status(world.now);
    status.health.iter().any(|item| item.code == condition.code())
}

/// The lines that the server has written since it started.
fn log(world: &World) -> Vec<LogRecord> {
    world.server.node.as_ref().unwrap().registry().recent_log().cloned().collect()
}

#[test]
fn a_clock_that_is_set_back_a_year_is_shown_and_everything_goes_on() {
    let shape = fair_shape(RECEIVERS, tree(0), Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(40), shape, Faults::none(RECEIVERS));
    world.script.planned.clear();
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    // The last one is not there yet.
    world.receivers[3].boots_at = None;
    let three = |world: &World| {
        world.tick_is_due()
            && world
                .server
                .node
                .as_ref()
                .is_some_and(|node| world.receivers[..3].iter().all(|r| node.is_here(&r.id())))
    };
    assert!(within(&mut world, 60, three));
    world.script.members.truncate(3);
    assert_eq!((send(&mut world, 1), send(&mut world, 2)), (1, 2));
    assert!(!shows(&world, Condition::ClockWentBack));
    // While it runs, and it is still so after a restart.
    world.server.clock = -YEAR;
    // It looks at its clock when it has something to do: a sign of life, after 8 s.
    within(&mut world, 15, |_| false);
    assert!(shows(&world, Condition::ClockWentBack));
    assert_eq!(send(&mut world, 3), 3, "numbers go on");
    world.crash_server();
    assert!(within(&mut world, 60, three));
    // Who is taken out and put back by certificates of an older time is a member again.
    let (now, name, id) = (world.now, world.groups[0].1.clone(), world.receivers[0].id());
    let node = world.server.node.as_mut().unwrap();
    node.remove_member(now, "admin", &name, &id.to_string()).unwrap();
    let added = |world: &World| {
        world.server.node.as_ref().unwrap().registry().is_member(id, world.group(0))
    };
    assert!(within(&mut world, 10, added));
    // Who comes with a code of the time before comes in.
    world.script.members.push(vec![0]);
    world.start_receiver(3);
    assert!(within(&mut world, 60, here));
    assert_eq!(send(&mut world, 4), 4);
    let lines = log(&world);
    assert!(lines.len() > 8, "{lines:?}");
    for pair in lines.windows(2) {
        assert_eq!(pair[1].number, pair[0].number + 1, "no line is lost or out of order");
    }
}
