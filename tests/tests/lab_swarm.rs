//! Many receivers against one real server over loopback: how fast they join, what
//! that costs the server, and that all of them get a release.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Fleet, noise};
use fleetcast_tests::swarm::{Swarm, SwarmPlan, usage};

/// All must have joined within this.
const JOINED: Duration = Duration::from_secs(10);
const MIB: f64 = 1_048_576.0;

/// Starts so many receivers at once; how long it took until all were connected.
fn join(fleet: &Fleet, receivers: usize) -> (Swarm, Duration) {
    let code = fleet.invite(&["--group", "g", "--uses", &receivers.to_string()]);
    let plan = SwarmPlan { receivers, crews: 2, seed: 5 };
    let begin = Instant::now();
    let swarm = Swarm::start(&code, "lo", plan).unwrap();
    while swarm.connected() < receivers && begin.elapsed() < 6 * JOINED {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = begin.elapsed();
    let used = usage(fleet.server_id()).unwrap();
    println!(
        "{receivers} receivers: {} connected in {took:?}; server: {:.1} MiB, {:?} of CPU",
        swarm.connected(),
        used.resident as f64 / MIB,
        used.cpu
    );
    assert_eq!((swarm.connected(), swarm.failed()), (receivers, 0));
    (swarm, took)
}

/// Sends a file; all have it.
fn deliver(fleet: &Fleet, swarm: &Swarm, receivers: usize, len: usize) {
    let file = fleet.path("file");
    fs::write(&file, noise(3, len)).unwrap();
    let begin = Instant::now();
    let item = fleet.send(&file, &[]);
    println!("{receivers} receivers: {len} bytes installed by all in {:?}", begin.elapsed());
    assert_eq!((swarm.installed(), swarm.failed()), (receivers, 0));
    assert_eq!(item["deliveries"].as_array().unwrap().len(), receivers);
    let [multicast, unicast] =
        ["multicast_bytes", "unicast_bytes"].map(|key| item[key].as_u64().unwrap());
    // Once for all, and half as much again for what was lost on the way at most.
    let len = len as u64;
    assert!((len..len * 3 / 2).contains(&multicast), "{item}");
    // One in twenty may have been too late for it.
    assert!(unicast <= len * receivers as u64 / 20, "{item}");
}

#[test]
fn a_hundred_receivers_join_a_server_at_once_and_get_a_release() {
    let fleet = Fleet::start();
    let (swarm, took) = join(&fleet, 100);
    assert!(took < JOINED, "{took:?}");
    deliver(&fleet, &swarm, 100, 1 << 18);
}

// nightly
#[ignore = "nightly: minutes"]
#[test]
fn five_hundred_receivers_join_a_server_within_ten_seconds_and_get_a_release() {
    let fleet = Fleet::start();
    let (swarm, took) = join(&fleet, 500);
    assert!(took < JOINED, "{took:?}");
    deliver(&fleet, &swarm, 500, 1 << 20);
}

// nightly
#[ignore = "nightly: minutes"]
#[test]
fn two_thousand_connected_receivers_cost_little() {
    let fleet = Fleet::start();
    let (swarm, _) = join(&fleet, 2_000);
    // Signs of life are due every 8 s: three of each receiver.
    let (span, before) = (Duration::from_secs(24), usage(fleet.server_id()).unwrap());
    std::thread::sleep(span);
    let after = usage(fleet.server_id()).unwrap();
    let share = (after.cpu - before.cpu).as_secs_f64() / span.as_secs_f64();
    let resident = after.resident as f64 / MIB;
    println!("2000 connected: {resident:.1} MiB, {:.1} % of a core", share * 100.0);
    assert!(resident <= 256.0, "{resident} MiB");
    assert!(share <= 0.05, "{share} of a core");
    assert_eq!(swarm.failed(), 0, "all are still here");
}
