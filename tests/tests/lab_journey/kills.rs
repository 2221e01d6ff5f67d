//! A server that is killed again and again, at any moment: what it has acknowledged
//! is there afterwards, and nothing is there twice.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, SLOW, signal};
use fleetcast_tests::random::Random;
use rustix::process::Signal;
use serde_json::Value;

/// What the server has said that it did.
#[derive(Default)]
struct Acknowledged {
    /// Groups that were created.
    groups: Vec<String>,
    /// Deliveries that were queued: their releases by number.
    deliveries: BTreeMap<u64, String>,
}

/// Creates groups and queues files until `stop`; whatever fails was not acknowledged.
fn work(fleet: &Fleet, round: usize, stop: &AtomicBool, told: &mut Acknowledged) {
    let file = fleet.path("file");
    let path = file.to_str().unwrap().to_owned();
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let group = format!("g{round}-{step}");
        if fleet.run(["groups", "create", &group]).code == 0 {
            told.groups.push(group);
        }
        fs::write(&file, format!("{round} {step}")).unwrap();
        let queued = fleet.run(["pending", "add", &path, "--to", "g"]);
        if queued.code == 0 {
            for item in queued.document()["items"].as_array().unwrap() {
                let release = item["release"].as_str().unwrap().to_owned();
                let again = told.deliveries.insert(item["id"].as_u64().unwrap(), release);
                assert!(again.is_none(), "a number was given twice: {item}");
            }
        }
    }
}

fn check(fleet: &Fleet, told: &Acknowledged) {
    let verified = fleet.run(["log", "verify"]).done();
    let log = fleet.run(["log"]).done();
    let lines = log["items"].as_array().unwrap();
    assert_eq!(verified["item"]["lines"].as_u64().unwrap(), lines.len() as u64);
    let about = |action: &str, subject: &str| {
        lines.iter().filter(|l| l["action"] == action && l["subject"] == subject).count()
    };
    let groups = fleet.run(["groups", "list"]).done();
    let groups: Vec<&Value> =
        groups["items"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
    for group in &told.groups {
        assert!(groups.iter().any(|name| *name == group), "{group} is lost");
        assert_eq!(about("group-created", group), 1, "{group}");
    }
    // The newest acknowledged delivery waits, or one that took its place.
    let Some((newest, _)) = told.deliveries.last_key_value() else { return };
    let pending = fleet.run(["pending", "list"]).done();
    let waits = pending["items"].as_array().unwrap().iter();
    let waits: Vec<u64> = waits.filter_map(|item| item["id"].as_u64()).collect();
    assert_eq!(waits.len(), 1, "one receiver is owed one release: {pending}");
    assert!(waits[0] >= *newest, "{newest} is lost: {pending}");
    let releases = fleet.run(["releases", "list", "g"]).done().to_string();
    for release in told.deliveries.values() {
        assert!(releases.contains(release.as_str()), "{release} is lost");
    }
}

fn killed(times: usize, seed: u64) {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    receiver.process.take().unwrap().end_by(Signal::TERM);
    let mut random = Random::new(seed);
    let mut told = Acknowledged::default();
    for round in 0..times {
        let stop = AtomicBool::new(false);
        let after = Duration::from_secs_f64(1.5 * random.unit());
        let server = fleet.server_id();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(after);
                signal(server, Signal::KILL);
                stop.store(true, Ordering::Relaxed);
            });
            work(&fleet, round, &stop, &mut told);
        });
        fleet.kill_server();
        fleet.start_server();
        check(&fleet, &told);
    }
    assert!(told.groups.len() + told.deliveries.len() >= times / 4, "something was acknowledged");
    // All of it goes to its receiver in the end, as one release.
    let newest = fleet.run(["groups", "list"]).done();
    let newest = newest["items"].as_array().unwrap().iter().find(|g| g["name"] == "g").unwrap();
    if !told.deliveries.is_empty() {
        receiver.start(&[]);
        let installed = receiver.process().wait_within("installed", SLOW);
        assert_eq!(installed["sequence"], newest["sequence"]);
    }
}

#[test]
fn a_server_killed_at_any_moment_loses_nothing_that_it_acknowledged() {
    killed(6, 1);
}

#[test]
// nightly
#[ignore = "nightly: minutes"]
fn a_server_killed_two_hundred_times_loses_nothing_that_it_acknowledged() {
    killed(200, 2);
}
