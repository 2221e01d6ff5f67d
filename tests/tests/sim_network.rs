//! The network that misbehaves, on a virtual clock: the real server and the real
//! receivers, whose multicast, MTU or addresses are not what they should be.
//!
//! All bounds are the issue's: whoever is cut off from multicast is served
//! otherwise within ten seconds.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;

use fleetcast::model::Terms;
use fleetcast::model::{DeliveryPath, DeliveryRecord, DeliveryState};
use fleetcast::server::releases::SendOptions;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_tests::admin::Tree;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::random::Random;
use fleetcast_tests::script::Planned;
use fleetcast_tests::world::World;

/// Slow enough for minutes with few bytes.
const SLOW: u64 = 80_000;

/// A fleet that is connected, and sends `size` bytes of noise at `rate` from now on.
fn sending(seed: u64, receivers: usize, size: usize, rate: Option<u64>) -> World {
    let mut random = Random::new(seed);
    let mut noise = vec![0; size];
    random.fill(&mut noise);
    let tree = Tree::from([("noise".to_owned(), Node::File(false, 1, noise))]);
    let shape = fair_shape(receivers, tree, Instant::FAR_FUTURE);
    let mut world = world(&mut random, shape, Faults::none(receivers));
    world.deep = false;
    world.script.options = SendOptions { terms: Terms { rate, ..Terms::default() }, queue: false };
    assert!(until(&mut world, 60, World::all_are_here), "some did not connect");
    world.script.planned[0].at = world.now;
    world
}

/// Goes on until `done`, for so many virtual seconds at most.
fn until(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now + Duration::from_secs(seconds);
    let done = world.run(end, |world| world.tick_is_due() && done(world));
    assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
    done
}

fn pass(world: &mut World, seconds: u64) {
    until(world, seconds, |_| false);
}

/// The delivery of the only release to a receiver.
fn delivery(world: &World, receiver: usize) -> Option<DeliveryRecord> {
    let node = world.server.node.as_ref().unwrap();
    let id = world.receivers[receiver].id();
    node.registry().deliveries().find(|d| d.receiver == id).cloned()
}

fn path(world: &World, receiver: usize) -> Option<DeliveryPath> {
    delivery(world, receiver).map(|delivery| delivery.path)
}

fn is_installed(world: &World, receiver: usize) -> bool {
    delivery(world, receiver).is_some_and(|d| d.state == DeliveryState::Installed)
}

/// Where the server believes a receiver to be.
fn address(world: &World, receiver: usize) -> Option<SocketAddr> {
    let node = world.server.node.as_ref().unwrap();
    node.registry().receiver(&world.receivers[receiver].id())?.address
}

/// Bytes that a receiver has told of.
fn held(world: &World, receiver: usize) -> u64 {
    delivery(world, receiver).map_or(0, |delivery| delivery.bytes)
}

/// Codes and subjects of the health conditions.
fn health(world: &World) -> Vec<(String, String)> {
    let status = world.server.node.as_ref().unwrap().status(world.now);
    // One admin, and so one key, is all that this fleet has.
    let of_network = status.health.into_iter().filter(|item| item.code != "no-spare-key");
    of_network.map(|item| (item.code, item.subject)).collect()
}

/// Bytes sent for the only release: by multicast and by unicast.
fn sent(world: &World) -> (u64, u64) {
    let digest = world.script.under_way.or(world.script.newest[0].map(|name| name.digest));
    let traffic = world.server.node.as_ref().unwrap().traffic(digest.as_slice());
    (traffic.multicast, traffic.unicast)
}

fn all_done(world: &World) -> bool {
    world.behind().is_none()
}

#[test]
fn three_of_ten_without_multicast_are_served_by_catch_up_within_ten_seconds() {
    let mut world = sending(1, 10, 300_000, None);
    let deaf = [2, 5, 9];
    deaf.iter().for_each(|&receiver| world.link.block_multicast(receiver, true));
    assert!(until(&mut world, 10, all_done), "{:?}", world.behind());
    for receiver in 0..10 {
        let expected =
            if deaf.contains(&receiver) { DeliveryPath::Unicast } else { DeliveryPath::Multicast };
        assert_eq!(path(&world, receiver), Some(expected), "receiver {receiver}");
    }
    let told = ("multicast-blocked".to_owned(), "3 of 10 receivers".to_owned());
    assert_eq!(health(&world), [told]);
}

// PROTOCOL S21
#[test]
fn who_loses_multicast_after_260_seconds_is_served_by_catch_up_within_ten_seconds() {
    let mut world = sending(2, 4, 24_000_000, Some(SLOW));
    pass(&mut world, 260);
    assert!((0..4).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    let before = held(&world, 1);
    // 16 blocks of 275 kB are under way at a time.
    assert!(before > 15_000_000, "{before}");
    world.link.block_multicast(1, true);
    let noticed =
        |world: &World| path(world, 1) == Some(DeliveryPath::Unicast) && sent(world).1 > 100_000;
    assert!(until(&mut world, 10, noticed), "{:?}", delivery(&world, 1));
    let told = ("multicast-blocked".to_owned(), "1 of 4 receivers".to_owned());
    assert_eq!(health(&world), [told]);
    assert!(until(&mut world, 300, all_done), "{:?}", world.behind());
    assert!([0, 2, 3].iter().all(|&at| path(&world, at) == Some(DeliveryPath::Multicast)));
    // It kept what it had: the rest comes by catch-up, with 5.7 % of headers.
    let (_, unicast) = sent(&world);
    assert!(unicast < (24_000_000 - before) * 11 / 10, "{unicast} after {before}");
}

// PROTOCOL S21
#[test]
fn a_cut_of_all_links_in_mid_session_drives_nobody_from_multicast() {
    let mut world = sending(3, 4, 3_000_000, Some(SLOW * 5));
    pass(&mut world, 2);
    // Also for longer than the 2.5 s after which silence counts.
    for seconds in [2, 4, 6] {
        (0..4).for_each(|receiver| world.link.cut(receiver, true, true));
        pass(&mut world, seconds);
        (0..4).for_each(|receiver| world.link.cut(receiver, false, false));
        pass(&mut world, 1);
    }
    assert!(until(&mut world, 30, all_done), "{:?}", world.behind());
    assert!((0..4).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    assert_eq!(health(&world), []);
}

#[test]
fn without_a_querier_memberships_are_announced_before_a_switch_forgets_them() {
    let mut world = sending(4, 3, 24_000_000, Some(SLOW));
    // RFC 3376, §8.4: 2 × 125 s and 10 s more.
    world.link.forget_memberships(Duration::from_secs(260));
    assert!(until(&mut world, 400, all_done), "{:?}", world.behind());
    assert!((0..3).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    let (multicast, unicast) = sent(&world);
    assert_eq!(unicast, 0);
    assert!(multicast < 24_000_000 * 107 / 100, "{multicast}");
    // Nobody was forgotten: who is loses a second's worth until it announces itself again.
    let digest = world.script.newest[0].map(|name| name.digest);
    let repairs = world.server.node.as_ref().unwrap().traffic(digest.as_slice()).repairs;
    assert_eq!(repairs, 0);
}

#[test]
fn a_switch_that_forgets_too_early_is_told_again_and_multicast_goes_on() {
    let mut world = sending(5, 3, 2_000_000, Some(SLOW));
    world.link.forget_memberships(Duration::from_secs(12));
    // Forgotten for two seconds of fourteen at most: who loses more goes by itself.
    assert!(until(&mut world, 90, all_done), "{:?}", world.behind());
    assert!((0..3).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    assert_eq!(sent(&world).1, 0);
}

#[test]
fn one_that_gets_no_datagrams_of_full_size_gets_small_ones_by_catch_up() {
    let mut world = sending(6, 5, 1_000_000, None);
    // An MTU of 1,280 less 28 bytes of IP and UDP headers.
    world.link.limit_length(3, 1_252);
    assert!(until(&mut world, 10, all_done), "{:?}", world.behind());
    assert_eq!(path(&world, 3), Some(DeliveryPath::Unicast));
    assert_eq!(path(&world, 0), Some(DeliveryPath::Multicast));
    let told = ("multicast-blocked".to_owned(), "1 of 5 receivers".to_owned());
    assert_eq!(health(&world), [told]);
}

#[test]
fn many_that_get_no_datagrams_of_full_size_share_small_ones_by_multicast() {
    let mut world = sending(7, 8, 1_000_000, None);
    (0..6).for_each(|receiver| world.link.limit_length(receiver, 1_252));
    assert!(until(&mut world, 10, all_done), "{:?}", world.behind());
    assert!((0..8).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    let told = ("small-datagrams".to_owned(), "6 of 8 receivers".to_owned());
    assert_eq!(health(&world), [told]);
    let (multicast, unicast) = sent(&world);
    // Once at full size, once at small size: 66 bytes of headers to 1,434 and to 1,162.
    let twice = 1_000_000.0 * (1.046 + 1.057 + 2.0 * 0.025);
    assert!(unicast == 0 && (multicast as f64) < twice, "{multicast} {unicast}");
}

// PROTOCOL C6
#[test]
fn a_receiver_that_moves_in_mid_session_goes_on_by_multicast() {
    let mut world = sending(8, 3, 2_000_000, Some(SLOW * 5));
    assert!(until(&mut world, 5, |world| sent(world).0 > 500_000));
    assert!(!is_installed(&world, 1));
    let moved = SocketAddr::from(([10, 9, 9, 9], 50_000));
    world.readdress(1, moved);
    assert!(until(&mut world, 10, all_done), "{:?}", world.behind());
    assert!((0..3).all(|receiver| path(&world, receiver) == Some(DeliveryPath::Multicast)));
    // What is said to it goes there.
    let node = world.server.node.as_ref().unwrap();
    let record = node.registry().receiver(&world.receivers[1].id()).unwrap();
    assert_eq!(record.address, Some(moved));
    assert_eq!(sent(&world).1, 0);
    // Multicast finds it wherever it is; what is told to it alone must go there.
    assert_eq!(address(&world, 1), Some(moved));
    let tree = Tree::from([("more".to_owned(), Node::File(false, 2, vec![3; 1_000]))]);
    world.script.planned.push(Planned { at: world.now, group: 0, tree });
    assert!(until(&mut world, 5, all_done), "{:?}", world.behind());
}

// PROTOCOL C6
#[test]
fn a_receiver_that_moves_in_mid_catch_up_is_followed_once_it_has_proved_its_address() {
    let mut world = sending(9, 2, 2_000_000, Some(SLOW * 5));
    world.link.block_multicast(1, true);
    assert!(until(&mut world, 20, |world| sent(world).1 > 500_000));
    world.readdress(1, SocketAddr::from(([10, 9, 9, 9], 50_000)));
    // 1.5 MB at 400 kB/s; a session that is not followed falls silent for 15 s.
    assert!(until(&mut world, 10, all_done), "{:?}", world.behind());
    let (_, unicast) = sent(&world);
    // One session from end to end: 66 bytes of headers to 1,162, and what was lost on the way.
    assert!(unicast < 2_000_000 * 120 / 100, "{unicast}");
}
