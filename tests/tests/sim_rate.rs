//! Rate and lanes: what one slow receiver costs the others, and what it is told.
//!
//! The real machines on the simulated network, at the server's cap of 12 MB/s.

use fleetcast::localtime::Zone;
use fleetcast::model::DeliveryState;
use fleetcast::schedule::Schedule;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::link::{Bottleneck, Weather};
use fleetcast_tests::node::Receiver;
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

const RECEIVERS: usize = 10;
const SIZE: usize = 12 << 20;
/// Between two looks at who has the release.
const LOOK: Duration = Duration::from_millis(10);

/// What a release has come to.
struct Ending {
    /// Per receiver: from the sending to the receipt.
    took: Vec<Duration>,
    /// Codes and subjects of the conditions that the status told meanwhile.
    told: Vec<(String, String)>,
}

impl Ending {
    /// Median of all receivers but the first.
    fn median_of_the_others(&self) -> Duration {
        let mut others = self.took[1..].to_vec();
        others.sort_unstable();
        others[others.len() / 2]
    }

    fn was_told(&self, code: &str) -> Vec<&str> {
        let told = self.told.iter().filter(|(told, _)| told == code);
        told.map(|(_, subject)| subject.as_str()).collect()
    }
}

/// A fleet that is here, and a release of noise that is about to be sent to it.
fn fleet(seed: u64, receivers: usize, size: usize) -> World {
    let mut random = Random::new(seed);
    let mut noise = vec![0; size];
    random.fill(&mut noise);
    let tree = Tree::from([("noise".to_owned(), Node::File(false, 1, noise))]);
    let shape = fair_shape(receivers, tree, Instant::FAR_FUTURE);
    let mut world = world(&mut random, shape, Faults::none(receivers));
    world.deep = false;
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(world.run(Instant::ZERO + Duration::from_secs(60), here), "some did not connect");
    world
}

/// Sends it, and waits until everybody has it, `longest` at most.
fn send(world: &mut World, longest: Duration) -> Ending {
    world.script.planned[0].at = world.now;
    let end = world.now + longest;
    assert!(world.run(end, |world| world.script.under_way.is_some()), "not sent");
    let sent = world.now;
    let ids: Vec<_> = world.receivers.iter().map(|receiver| receiver.id()).collect();
    let mut took = vec![None; ids.len()];
    let mut told = Vec::new();
    while took.iter().any(Option::is_none) {
        assert!(world.now < end, "{took:?}");
        let until = world.now + LOOK;
        world.run(until, |_| false);
        assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        let node = world.server.node.as_ref().expect("up");
        for delivery in node.registry().deliveries() {
            if delivery.state == DeliveryState::Installed
                && let Some(at) = ids.iter().position(|id| *id == delivery.receiver)
            {
                took[at].get_or_insert(world.now.since(sent));
            }
        }
        let health = node.status(world.now).health;
        told.extend(health.into_iter().map(|item| (item.code, item.subject)));
        told.sort_unstable();
        told.dedup();
    }
    Ending { took: took.into_iter().flatten().collect(), told }
}

fn lossy(world: &mut World, receiver: usize, loss: f64) {
    world.faults.weather[receiver].1 = Weather { loss, ..Weather::CALM };
    world.apply_weather();
}

/// Median time of the others in units of that without the first one's slowness.
fn cost_to_the_others(size: usize, slow: impl Fn(&mut World)) -> Ending {
    let quiet = send(&mut fleet(3, RECEIVERS, size), Duration::from_secs(60));
    let mut world = fleet(3, RECEIVERS, size);
    slow(&mut world);
    let ending = send(&mut world, Duration::from_secs(600));
    let (without, with) = (quiet.median_of_the_others(), ending.median_of_the_others());
    let ratio = with.as_micros() as f64 / without.as_micros() as f64;
    println!("others {without:?} → {with:?}: {ratio:.3}; the slow one {:?}", ending.took[0]);
    println!("told: {:?}", ending.told);
    assert!(ratio <= 1.10, "{ratio}");
    assert!(quiet.was_told("slow-receiver").is_empty(), "{:?}", quiet.told);
    ending
}

#[test]
fn a_receiver_that_loses_half_costs_the_others_nearly_nothing() {
    // It costs 150 ms until it is told from a network that loses: of a release that is
    // sent in 1.25 s that would be 12 %.
    let ending = cost_to_the_others(2 * SIZE, |world| lossy(world, 0, 0.5));
    let told = ending.was_told("slow-receiver");
    assert!(told.iter().any(|subject| subject.starts_with("r0")), "{:?}", ending.told);
}

#[test]
fn a_receiver_of_a_hundredth_of_the_rate_costs_the_others_nearly_nothing() {
    let narrow = Bottleneck { rate: 120_000, queue: 64 << 10 };
    let ending = cost_to_the_others(SIZE, |world| world.link.narrow(0, Some(narrow)));
    let told = ending.was_told("slow-receiver");
    assert!(told.iter().any(|subject| subject.starts_with("r0")), "{:?}", ending.told);
    // 12 MiB at 120 kB/s are 105 s; it does not take twice as long.
    assert!(ending.took[0] < Duration::from_secs(210), "{:?}", ending.took[0]);
}

#[test]
fn sixty_receivers_get_it_at_the_rate_of_four() {
    // Their reports are rarer than those of few: nobody waits for them meanwhile.
    let took = |receivers| {
        send(&mut fleet(8, receivers, SIZE), Duration::from_secs(60)).median_of_the_others()
    };
    let (few, many) = (took(4), took(60));
    let ratio = many.as_micros() as f64 / few.as_micros() as f64;
    println!("4: {few:?}; 60: {many:?}: {ratio:.3}");
    assert!(ratio <= 1.15, "{ratio}");
}

#[test]
fn one_of_three_that_is_slow_does_not_set_the_pace() {
    let quiet = send(&mut fleet(4, 3, SIZE), Duration::from_secs(60));
    let mut world = fleet(4, 3, SIZE);
    let narrow = Bottleneck { rate: 600_000, queue: 256 << 10 };
    world.link.narrow(0, Some(narrow));
    let ending = send(&mut world, Duration::from_secs(600));
    let (without, with) = (quiet.median_of_the_others(), ending.median_of_the_others());
    let ratio = with.as_micros() as f64 / without.as_micros() as f64;
    println!("others {without:?} → {with:?}: {ratio:.3}; the slow one {:?}", ending.took[0]);
    assert!(ratio <= 1.10, "{ratio}");
}

/// The cap of the simulated server, in bytes per second.
const CAP: u64 = 12_000_000;
/// What a session's bucket, and the channels, may send beside the rate.
const BURST: u64 = 64 << 10;

#[test]
fn all_that_is_sent_together_keeps_to_the_cap_of_the_server_and_of_the_release() {
    for (rate, cap) in [(None, CAP), (Some(3_000_000), 3_000_000)] {
        let mut world = fleet(5, 6, SIZE);
        world.script.options.terms.rate = rate;
        // Two are served one by one, beside the multicast of the others.
        world.faults.deaf[..2].fill(true);
        world.apply_weather();
        let (begun, before) = (world.now, world.link.bytes_from_server());
        send(&mut world, Duration::from_secs(120));
        let sent = world.link.bytes_from_server() - before;
        let seconds = world.now.since(begun).as_micros() as f64 / 1e6;
        println!("{rate:?}: {sent} bytes in {seconds} s");
        // Three copies of the release, within the cap, and not far below it.
        assert!(sent > 3 * SIZE as u64, "{sent}");
        let most = cap as f64 * seconds + (3 * BURST) as f64;
        assert!((sent as f64) < most, "{sent} > {most}");
        assert!(seconds < 3.0 * (3 * SIZE) as f64 / cap as f64 + 5.0, "{seconds}");
    }
}

#[test]
fn all_catch_up_together_takes_a_fifth_beside_a_multicast_and_many_are_told_of() {
    let mut world = fleet(6, RECEIVERS, 2 * SIZE);
    // Deaf from before: a first release tells the server so.
    world.faults.deaf[..4].fill(true);
    world.apply_weather();
    let small = Tree::from([("small".to_owned(), Node::File(false, 1, vec![7; 1_000]))]);
    world.script.planned.insert(0, Planned { at: world.now, group: 0, tree: small });
    let first = |world: &World| world.script.sent == 1 && has_newest(world);
    let end = world.now + Duration::from_secs(60);
    assert!(world.run(end, |world| world.tick_is_due() && first(world)), "{:?}", world.behind());
    world.script.planned[1].at = world.now;
    let both = |world: &World| {
        let sessions = world.server.node.as_ref().expect("up").status(world.now).sessions;
        let of = |path: &str| sessions.iter().filter(|s| s.path == path).map(|s| s.rate).sum();
        (of("multicast"), of("unicast"))
    };
    let (mut beside, mut together) = (0_u64, 0_u64);
    let done = |world: &World| world.tick_is_due() && world.behind().is_none();
    let mut told = Vec::new();
    // When there was a multicast beside catch-up, and what both had sent: first and last.
    let mut looks: Vec<(Instant, u64)> = Vec::new();
    while !done(&world) {
        assert!(world.now < end, "{:?}", world.behind());
        let until = world.now + LOOK;
        world.run(until, done);
        assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        let (multicast, unicast): (u64, u64) = both(&world);
        if multicast > 0 && unicast > 0 {
            beside = beside.max(unicast);
            together = together.max(multicast + unicast);
            looks.push((world.now, bytes_by_catch_up(&world)));
        }
        let node = world.server.node.as_ref().expect("up");
        told.extend(node.status(world.now).health.into_iter().map(|item| item.code));
    }
    println!("catch-up beside multicast {beside} B/s, all together {together} B/s");
    assert!(beside > 0 && beside <= CAP / 5, "{beside}");
    assert!(together <= CAP && together > CAP * 9 / 10, "{together}");
    let [(begin, before), .., (end, after)] = looks[..] else { panic!("never both: {looks:?}") };
    let span = end.since(begin);
    let most = CAP / 5 * span.as_micros() / 1_000_000 + 4 * BURST;
    println!("{} bytes of catch-up in {span:?}, at most {most}", after - before);
    // 24 MiB at four fifths of the cap are 2.6 s.
    assert!(span > Duration::from_secs(2), "{span:?}");
    assert!((most / 2..=most).contains(&(after - before)), "{} of {most}", after - before);
    assert!(told.iter().any(|code| code == "multicast-blocked"), "{told:?}");
}

/// Whether everybody has what was sent last.
fn has_newest(world: &World) -> bool {
    let newest = world.script.newest[0].map(|name| name.digest);
    let node = world.server.node.as_ref().expect("up");
    let has = |receiver: &Receiver| {
        let delivery =
            newest.and_then(|newest| node.registry().delivery_of(receiver.id(), &newest));
        delivery.is_some_and(|delivery| delivery.state == DeliveryState::Installed)
    };
    world.receivers.iter().all(has)
}

/// Bytes that the newest release has cost by unicast.
fn bytes_by_catch_up(world: &World) -> u64 {
    let digest = world.script.under_way.or(world.script.newest[0].map(|name| name.digest));
    world.server.node.as_ref().expect("up").traffic(digest.as_slice()).unicast
}

/// What limits the multicast of a release to four, at each look.
fn limiters(slow: impl Fn(&mut World)) -> Vec<String> {
    let mut world = fleet(9, 4, 4 * SIZE);
    slow(&mut world);
    world.script.planned[0].at = world.now;
    let mut limiters = Vec::new();
    let end = world.now + Duration::from_secs(60);
    while world.now < end && world.behind().is_some() {
        let until = world.now + LOOK;
        world.run(until, |_| false);
        assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        let sessions = world.server.node.as_ref().expect("up").status(world.now).sessions;
        limiters.extend(sessions.into_iter().map(|session| session.limiter));
    }
    assert!(world.behind().is_none(), "{:?}", world.behind());
    limiters
}

fn share_of(name: &str, limiters: &[String]) -> f64 {
    limiters.iter().filter(|limiter| *limiter == name).count() as f64 / limiters.len() as f64
}

#[test]
fn who_limits_a_session_is_named() {
    let free = limiters(|_| {});
    assert!(share_of("cap", &free) > 0.9, "{free:?}");
    // They take half the cap. One of four would be set aside; for two the others wait.
    let half = Bottleneck { rate: 6_000_000, queue: 64 << 10 };
    let limited = limiters(|world| (2..4).for_each(|at| world.link.narrow(at, Some(half))));
    let named = |names: [&str; 2]| names.map(|name| share_of(name, &limited)).iter().sum::<f64>();
    println!("named {:.2}, others {:.2}", named(["r2", "r3"]), named(["r0", "r1"]));
    assert!(named(["r2", "r3"]) > 0.5, "{limited:?}");
    assert!(named(["r0", "r1"]) < 0.05, "{limited:?}");
}

#[test]
fn a_network_that_is_full_at_the_floor_gets_a_pause_and_goes_on_by_itself() {
    // The floor is 64 KiB/s: less than half of it comes through to anybody.
    let narrow = Bottleneck { rate: 28_000, queue: 16 << 10 };
    let mut world = fleet(7, 4, SIZE);
    (0..4).for_each(|receiver| world.link.narrow(receiver, Some(narrow)));
    world.script.planned[0].at = world.now;
    let end = world.now + Duration::from_secs(90);
    let told = |world: &World| {
        let health = world.server.node.as_ref().expect("up").status(world.now).health;
        health.iter().any(|item| item.code == "loss-too-high")
    };
    assert!(world.run(end, |world| world.tick_is_due() && told(world)), "not told");
    let (paused, before) = (world.now, world.link.bytes_from_server());
    world.run(paused + Duration::from_secs(8), |_| false);
    let meanwhile = world.link.bytes_from_server() - before;
    println!("told at {paused:?}; {meanwhile} bytes in the 8 s after it");
    // Who was found slow gets a lane of that pace, the session of the others is paused:
    // no more is sent than the network takes and a fourth. The floor alone would be
    // half a megabyte.
    let takes = narrow.rate * 8;
    assert!(meanwhile < takes + takes / 4, "{meanwhile}");
    (0..4).for_each(|receiver| world.link.narrow(receiver, None));
    let done = |world: &World| world.tick_is_due() && world.behind().is_none();
    assert!(world.run(paused + Duration::from_secs(60), done), "{:?}", world.behind());
    assert!(!told(&world));
    assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
}

#[test]
fn the_rate_of_an_hour_begins_and_ends_in_mid_session_within_five_seconds() {
    let mut world = fleet(51, 3, 64 << 20);
    // The simulated time begins at 08:00:00 UTC on a Friday.
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let windows = Schedule::parse(&["fri 08:01-08:30=1MB/s"]).unwrap();
    let node = world.server.node.as_mut().expect("up");
    node.set_schedule("admin", Some((windows, "UTC", Zone::UTC)));
    world.run(at(58), |_| false);
    world.script.planned[0].at = world.now;
    let mut sent = |second| {
        world.run(at(second), |_| false);
        assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        let status = world.server.node.as_ref().expect("up").status(world.now);
        (status.totals.wire_bytes, status.sessions.first().cloned())
    };
    let (before, _) = sent(60);
    assert!(before > 10_000_000, "{before} bytes in two seconds at 12 MB/s");
    // Five seconds after it began, and ten seconds on.
    let (from, session) = sent(65);
    let session = session.expect("it goes on");
    assert_eq!((session.limiter.as_str(), session.rate), ("cap", 1_000_000));
    assert_eq!(session.cause, "fri 08:01-08:30=1MB/s (UTC)");
    let (to, _) = sent(75);
    assert!((9_000_000..=10_500_000).contains(&(to - from)), "{} bytes in ten seconds", to - from);
    world.server.node.as_mut().expect("up").set_schedule("admin", None);
    world.run(at(80), |_| false);
    let status = world.server.node.as_ref().expect("up").status(world.now);
    let sent = status.totals.wire_bytes - to;
    assert!(sent > 15_000_000, "{sent} bytes in the five seconds after it was taken back");
}
