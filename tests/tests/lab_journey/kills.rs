//! A server that is killed again and again, at any moment: what it has acknowledged
//! is there afterwards, and nothing is there or sent twice.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, Receiver, SLOW, signal};
use fleetcast_tests::random::Random;
use rustix::process::Signal;
use serde_json::Value;

/// What the server has said that it did.
#[derive(Default)]
struct Acknowledged {
    /// Groups that were created.
    groups: Vec<String>,
    /// Those of them that the receiver was put into: an admin has approved that.
    approvals: Vec<String>,
    /// Deliveries that were queued, by number: sequence and name of their releases.
    deliveries: BTreeMap<u64, (u64, String)>,
}

/// Creates groups, approves the receiver there and queues files until `stop`; whatever
/// fails was not acknowledged.
fn work(fleet: &Fleet, round: usize, stop: &AtomicBool, told: &mut Acknowledged) {
    let file = fleet.path("file");
    let path = file.to_str().unwrap().to_owned();
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let group = format!("g{round}-{step}");
        if fleet.run(["groups", "create", &group]).code == 0 {
            told.groups.push(group.clone());
        }
        if fleet.run(["groups", "add", &group, "r"]).code == 0 {
            told.approvals.push(group);
        }
        fs::write(&file, format!("{round} {step}")).unwrap();
        let queued = fleet.run(["pending", "add", &path, "--to", "g"]);
        if queued.code == 0 {
            for item in queued.document()["items"].as_array().unwrap() {
                let release = item["release"].as_str().unwrap().to_owned();
                let sequence = item["sequence"].as_u64().unwrap();
                let id = item["id"].as_u64().unwrap();
                let again = told.deliveries.insert(id, (sequence, release));
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
    let mut about: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let what = format!("{} {} {};", line["action"], line["subject"], line["result"]);
        *about.entry(what.replace('"', "")).or_default() += 1;
    }
    let once = |what: &str| {
        let found = about.iter().filter(|(line, _)| line.starts_with(what));
        assert_eq!(found.map(|(_, times)| times).sum::<usize>(), 1, "{what:?} in the log");
    };
    let groups = fleet.run(["groups", "list"]).done();
    let groups: Vec<&Value> =
        groups["items"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
    for group in &told.groups {
        assert!(groups.iter().any(|name| *name == group), "{group} is lost");
        once(&format!("group-created {group} "));
    }
    let listed = fleet.listed("r");
    let member = listed["groups"].as_array().unwrap();
    for group in &told.approvals {
        assert!(member.iter().any(|name| name == group), "the approval for {group} is lost");
        once(&format!("member-added r {group};"));
    }
    // The newest acknowledged delivery waits, or one that came after it, or it was taken.
    let Some((newest, (sequence, _))) = told.deliveries.last_key_value() else { return };
    let pending = fleet.run(["pending", "list"]).done();
    let waits = pending["items"].as_array().unwrap().iter();
    let waits: Vec<u64> = waits.filter_map(|item| item["id"].as_u64()).collect();
    let installed = listed["installed"][0]["sequence"].as_u64().unwrap_or(0);
    let is_waiting = waits.iter().any(|id| id >= newest);
    assert!(is_waiting || installed >= *sequence, "{newest} is lost: {pending}, {listed}");
    let releases = fleet.run(["releases", "list", "g"]).done().to_string();
    for (sequence, release) in told.deliveries.values() {
        assert!(releases.contains(release.as_str()), "{release} is lost");
        once(&format!("release-sent g#{sequence} "));
    }
}

/// What a receiver was offered comes in order, and nothing that it has comes again.
fn taken(receiver: &mut Receiver, newest: &mut u64) {
    for line in receiver.process().seen() {
        let sequence = line["sequence"].as_u64().unwrap_or(0);
        match line["event"].as_str() {
            Some("offered") => assert!(sequence > *newest, "{newest} is there: {line}"),
            Some("installed") => *newest = sequence,
            _ => {}
        }
    }
    receiver.kill();
}

fn killed(times: usize, seed: u64) {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    receiver.process.take().unwrap().end_by(Signal::TERM);
    let mut random = Random::new(seed);
    let mut told = Acknowledged::default();
    let mut newest = 0;
    for round in 0..times {
        let stop = AtomicBool::new(false);
        let after = Duration::from_secs_f64(1.5 * random.unit());
        let server = fleet.server_id();
        // Every second time somebody takes what is queued, and is killed too.
        let is_here = round % 2 == 1;
        if is_here {
            receiver.start(&[]);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(after);
                signal(server, Signal::KILL);
                stop.store(true, Ordering::Relaxed);
            });
            work(&fleet, round, &stop, &mut told);
        });
        if is_here {
            taken(&mut receiver, &mut newest);
        }
        fleet.kill_server();
        fleet.start_server();
        check(&fleet, &told);
        // Now and then it has the time to take what it is owed.
        let owed = fleet.run(["pending", "list"]).done()["items"] != Value::Array(Vec::new());
        if round % 5 == 2 && owed {
            receiver.start(&[]);
            receiver.process().wait_for("installed");
            taken(&mut receiver, &mut newest);
        }
    }
    let (approvals, deliveries) = (told.approvals.len(), told.deliveries.len());
    println!(
        "killed {times} times: {} groups, {approvals} approvals and {deliveries} deliveries \
         were acknowledged; the receiver had taken {newest} when it was killed last",
        told.groups.len()
    );
    assert!(told.groups.len().min(approvals).min(deliveries) >= times / 4, "of each kind some");
    // All of it goes to its receiver in the end, as one release.
    let file = fleet.path("file");
    fs::write(&file, "last").unwrap();
    let sent = fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    receiver.start(&[]);
    let installed = receiver.process().wait_within("installed", SLOW);
    assert_eq!(installed["sequence"], sent["item"]["releases"][0]["sequence"]);
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"last");
}

#[test]
fn a_server_killed_at_any_moment_loses_nothing_that_it_acknowledged() {
    killed(6, 1);
}

// nightly
#[ignore = "nightly: minutes"]
#[test]
fn a_server_killed_two_hundred_times_loses_nothing_that_it_acknowledged() {
    killed(200, 2);
}
