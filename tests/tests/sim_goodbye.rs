//! A server that stops in order says goodbye, and its receivers come back when it does;
//! one that dies is noticed by its silence.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::world::World;

/// How long a restart takes.
const DOWN: Duration = Duration::from_millis(500);

/// A fleet that is all here.
fn gathered(seed: u64, receivers: usize, tree: Tree) -> World {
    let shape = fair_shape(receivers, tree, Instant::FAR_FUTURE);
    let mut world = world(&mut Random::new(seed), shape, Faults::none(receivers));
    world.deep = false;
    seconds_until(&mut world, 60.0, |world| world.tick_is_due() && world.all_are_here());
    world
}

/// Goes on until `done`; how long that took.
fn seconds_until(world: &mut World, most: f64, done: impl Fn(&World) -> bool) -> f64 {
    let begin = world.now;
    let reached = world.run(begin + Duration::from_micros((most * 1e6) as u64), done);
    assert_eq!(world.oracle.violations, [] as [&str; 0]);
    assert!(reached, "not within {most} s");
    world.now.since(begin).as_micros() as f64 / 1e6
}

fn here(world: &World) -> usize {
    let Some(node) = &world.server.node else { return 0 };
    world.receivers.iter().filter(|receiver| node.is_here(&receiver.id())).count()
}

// PROTOCOL C7
#[test]
fn a_crowd_that_is_told_goodbye_comes_back_bit_by_bit() {
    const CROWD: usize = 1_500;
    let mut world = gathered(61, CROWD, Tree::new());
    world.stop_server(DOWN);
    let begin = world.now;
    let mut counts = vec![0];
    while here(&world) < CROWD {
        let before = world.now;
        seconds_until(&mut world, 1.0, |world| world.now > before && world.tick_is_due());
        counts.push(here(&world));
    }
    // One second in which nobody comes, three for 1,500 at 500 a second, half a second for
    // who has to try again (HANDSHAKE_RETRY), and a quarter until somebody looks.
    let seconds = world.now.since(begin).as_micros() as f64 / 1e6;
    assert!((3.5..=4.75).contains(&seconds), "{seconds}");
    // Five deviations of a binomial number (1,500 at a third) above 500 in any second.
    let most = counts.windows(5).map(|second| second[4] - second[0]).max().unwrap();
    println!("{CROWD} came back within {seconds:.2} s, at most {most} in one");
    assert!(most <= 500 + 5 * 19, "{most} in a second: {counts:?}");
}

// PROTOCOL C7, PROTOCOL C5
#[test]
fn who_was_receiving_goes_on_at_once_after_a_goodbye_and_after_a_silence_where_there_was_none() {
    let seconds = |goodbye: bool| {
        let mut noise = vec![0; 6_000_000];
        Random::new(63).fill(&mut noise);
        let tree = Tree::from([("noise".to_owned(), Node::File(false, 1, noise))]);
        let mut world = gathered(62, 4, tree);
        world.script.planned[0].at = world.now;
        let sending = |world: &World| {
            let digest = world.script.newest[0].map(|name| name.digest);
            let node = world.server.node.as_ref().unwrap();
            node.traffic(digest.as_slice()).payload > 100_000
        };
        seconds_until(&mut world, 20.0, sending);
        if goodbye {
            world.stop_server(DOWN);
        } else {
            world.crash_server();
            world.server.boots_at = Some(world.now + DOWN);
        }
        let all = |world: &World| world.tick_is_due() && world.behind().is_none();
        seconds_until(&mut world, 90.0, all)
    };
    // A second, one more for the lot, the rest of 6 MB at 12 MB/s, and what a session
    // takes to begin.
    let (told, silent) = (seconds(true), seconds(false));
    println!("complete {told:.2} s after a goodbye, {silent:.2} s after a crash");
    assert!(told < 5.0, "{told}");
    // PEER_TIMEOUT is 25 s, and the last sign of life was moments ago.
    assert!(silent > 20.0, "{silent}");
}
