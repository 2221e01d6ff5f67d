//! What waits: for its receiver, for a word of the admin, for its time, for what is
//! more urgent. Real processes, and a server that is killed in between.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use fleetcast_tests::processes::{Fleet, Receiver, SLOW, noise};
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// A receiver that appears gets what waits for it within this time.
const APPEARS: Duration = Duration::from_secs(5);

fn write(fleet: &Fleet, name: &str, bytes: &[u8]) -> PathBuf {
    let path = fleet.path(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn stop(receiver: &mut Receiver) {
    receiver.process.take().unwrap().end_by(Signal::TERM);
}

/// The open delivery of a receiver.
fn delivery(fleet: &Fleet, receiver: &str) -> Value {
    let list = fleet.run(["pending", "list"]).done();
    let mut items = list["items"].as_array().into_iter().flatten();
    items.find(|item| item["receiver"] == receiver).cloned().unwrap_or_default()
}

fn wire_bytes(fleet: &Fleet) -> u64 {
    fleet.run(["status"]).done()["item"]["totals"]["wire_bytes"].as_u64().unwrap()
}

/// Waits until the receiver holds at least `least` bytes.
fn progress(receiver: &mut Receiver, least: u64) {
    while receiver.process().wait_for("progress")["bytes"].as_u64().unwrap() < least {}
}

#[test]
fn who_left_its_group_and_is_put_back_gets_what_is_current() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let _other = fleet.receiver("other");
    stop(&mut receiver);
    let file = write(&fleet, "file", b"content");
    fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    let id = delivery(&fleet, "r")["id"].to_string();
    fleet.run(["pending", "retry", &id]).refused(1, "delivery-not-failed");
    fleet.run(["groups", "remove", "g", "r"]).done();
    fleet.run(["pending", "retry", &id]).refused(1, "receiver-not-member");
    fleet.run(["groups", "add", "g", "r"]).done();
    receiver.start(&[]);
    receiver.process().wait_for("installed");
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"content");
}

#[test]
fn what_is_queued_goes_when_its_receiver_appears_or_somebody_says_so() {
    let mut fleet = Fleet::start();
    let mut here = fleet.receiver("here");
    let mut away = fleet.receiver("away");
    stop(&mut away);
    let file = write(&fleet, "file", &noise(1, 1 << 20));
    let queued = fleet.run(["pending", "add", file.to_str().unwrap(), "--to", "g"]).done();
    assert_eq!(queued["items"].as_array().unwrap().len(), 2, "{queued}");
    assert_eq!(delivery(&fleet, "here")["waits"], "send");
    fleet.kill_server();
    fleet.start_server();
    here.restart();
    // Both have appeared, one after the other.
    here.process().wait_within("installed", APPEARS);
    away.start(&[]);
    away.process().wait_for("connected");
    away.process().wait_within("installed", APPEARS);
    let second = write(&fleet, "second", b"second");
    fleet.run(["pending", "add", second.to_str().unwrap(), "--to", "g"]).done();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!here.file("second").exists() && !away.file("second").exists(), "nobody said so");
    let id = delivery(&fleet, "away")["id"].to_string();
    assert_eq!(fleet.run(["pending", "send", &id]).done()["items"][0]["receiver"], "away");
    away.process().wait_for("installed");
    assert_eq!(delivery(&fleet, "here")["state"], "queued");
    let sent = fleet.run(["pending", "send"]).done();
    assert_eq!(sent["items"].as_array().unwrap().len(), 1, "{sent}");
    here.process().wait_for("installed");
    for receiver in [&here, &away] {
        assert_eq!(fs::read(receiver.file("second")).unwrap(), b"second");
        assert!(fs::read(receiver.file("file")).unwrap() == noise(1, 1 << 20), "identical");
    }
    fleet.run(["log", "verify"]).done();
}

#[test]
fn receivers_that_come_back_late_share_one_multicast() {
    let fleet = Fleet::start();
    let mut late: Vec<Receiver> = ["a", "b", "c"].map(|name| fleet.receiver(name)).into();
    late.iter_mut().for_each(stop);
    let file = write(&fleet, "file", &noise(2, 4 << 20));
    fleet.run(["pending", "add", file.to_str().unwrap(), "--to", "g"]).done();
    let before = wire_bytes(&fleet);
    late.iter_mut().for_each(|receiver| receiver.start(&[]));
    for receiver in &mut late {
        receiver.process().wait_for("installed");
    }
    let sent = wire_bytes(&fleet) - before;
    // One copy and its headers, not three.
    assert!(sent < 6 * MIB, "{sent} bytes for three times 4 MiB");
}

#[test]
fn a_paused_delivery_goes_on_where_it_was_also_after_the_server_was_killed() {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = write(&fleet, "file", &noise(3, 8 << 20));
    fleet.run(["send", file.to_str().unwrap(), "--to", "g", "--rate", "2MB/s"]).done();
    progress(&mut receiver, 4 * MIB);
    let id = delivery(&fleet, "r")["id"].to_string();
    let paused = fleet.run(["pending", "pause", &id]).done();
    assert_eq!(paused["items"][0]["waits"], "resume", "{paused}");
    // Again is fine.
    fleet.run(["pending", "pause", &id]).done();
    fleet.kill_server();
    fleet.start_server();
    receiver.process().wait_for("connected");
    std::thread::sleep(Duration::from_secs(2));
    assert!(wire_bytes(&fleet) < MIB / 4, "nothing is sent");
    assert_eq!(delivery(&fleet, "r")["state"], "queued");
    fleet.run(["pending", "resume", &id]).done();
    receiver.process().wait_for("installed");
    assert!(fs::read(receiver.file("file")).unwrap() == noise(3, 8 << 20), "identical");
    // The half that it had is not sent again.
    let sent = wire_bytes(&fleet);
    assert!(sent < 6 * MIB, "{sent} bytes after the resumption");
}

#[test]
fn a_release_for_later_is_there_before_and_all_switch_to_it_together() {
    let mut fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let file = write(&fleet, "file", b"old");
    fleet.send(&file, &[]);
    receivers.iter_mut().for_each(|r| drop(r.process().wait_for("installed")));
    fs::write(&file, noise(4, 2 << 20)).unwrap();
    let path = file.to_str().unwrap();
    let begin = UNIX_EPOCH.elapsed().unwrap().as_secs();
    fleet.run(["send", path, "--to", "g", "--at", "45s"]).done();
    // PROTOCOL M4: told to hold it back, and invited.
    // PROTOCOL M5: received, said so, and not installed.
    for receiver in &mut receivers {
        receiver.process().wait_for("staged");
        assert!(fs::read(receiver.file("file")).unwrap() == b"old", "{}", receiver.name);
    }
    let waiting = delivery(&fleet, "a");
    assert_eq!((&waiting["state"], &waiting["waits"]), (&"verifying".into(), &"staged".into()));
    // Neither end needs to live until then.
    fleet.kill_server();
    receivers[1].kill();
    fleet.start_server();
    receivers[1].start(&[]);
    receivers.iter_mut().for_each(|r| drop(r.process().wait_for("connected")));
    // PROTOCOL M5: also who was killed in between.
    for receiver in &receivers {
        let shown = fs::read(receiver.file("file")).unwrap();
        assert!(shown == b"old", "{}: not before its time", receiver.name);
    }
    let sent = wire_bytes(&fleet);
    let switched = receivers.each_mut().map(|receiver| {
        let installed = receiver.process().wait_for("installed");
        assert!(fs::read(receiver.file("file")).unwrap() == noise(4, 2 << 20), "identical");
        seconds_since(begin, installed["time"].as_str().unwrap())
    });
    assert!(switched.iter().all(|after| *after >= 44), "{switched:?}");
    assert!(switched[0].abs_diff(switched[1]) < 2, "together: {switched:?}");
    assert!(wire_bytes(&fleet) - sent < MIB / 4, "nothing is sent again");
}

/// Seconds from a time, counted from 1970, to that of an event less than a day later, as
/// the event tells it: `2023-11-14T22:13:20Z`.
fn seconds_since(begin: u64, time: &str) -> u64 {
    const DAY: u64 = 86_400;
    let part = |at: usize| time[at..at + 2].parse::<u64>().unwrap();
    let of_day = part(11) * 3_600 + part(14) * 60 + part(17);
    (of_day + DAY - begin % DAY) % DAY
}

#[test]
fn a_release_is_activated_when_enough_receivers_have_it() {
    let fleet = Fleet::start();
    let mut here = fleet.receiver("here");
    let mut away = fleet.receiver("away");
    stop(&mut away);
    let file = write(&fleet, "file", b"new");
    fleet.run(["send", file.to_str().unwrap(), "--to", "g", "--ready", "100"]).done();
    here.process().wait_for("staged");
    std::thread::sleep(Duration::from_secs(1));
    assert!(!here.file("file").exists(), "half of them have it");
    away.start(&[]);
    away.process().wait_for("installed");
    here.process().wait_for("installed");
    let log = fleet.run(["log"]).done().to_string();
    assert!(log.contains("release-activated"), "{log}");
}

#[test]
fn what_is_urgent_goes_first_and_the_rest_of_the_other_after_it() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "urgent"]).done();
    fleet.run(["groups", "add", "urgent", "r"]).done();
    let large = write(&fleet, "large", &noise(5, 12 << 20));
    fleet.run(["send", large.to_str().unwrap(), "--to", "g", "--rate", "2MB/s"]).done();
    progress(&mut receiver, 3 * MIB);
    let small = write(&fleet, "small", &noise(6, 1 << 20));
    let path = small.to_str().unwrap();
    fleet.run(["send", path, "--to", "urgent", "--priority", "5"]).done();
    assert_eq!(receiver.process().wait_for("installed")["group"], "urgent");
    assert!(!receiver.file("large").exists());
    assert_eq!(receiver.process().wait_within("installed", SLOW)["group"], "g");
    assert!(fs::read(receiver.file("large")).unwrap() == noise(5, 12 << 20), "identical");
    let sent = wire_bytes(&fleet);
    assert!(sent < 16 * MIB, "{sent} bytes for 13 MiB: what was there is not sent again");
}

#[test]
fn a_plan_tells_who_needs_what_by_which_path_before_anything_is_sent() {
    let fleet = Fleet::start();
    let mut here = fleet.receiver("here");
    let mut away = fleet.receiver("away");
    let file = write(&fleet, "file", &noise(7, 1 << 20));
    fleet.send(&file, &[]);
    stop(&mut away);
    here.process().wait_for("installed");
    let more = write(&fleet, "more", &noise(8, 2 << 20));
    let plan = |path: &PathBuf| {
        let path = path.to_str().unwrap();
        let told = fleet.run(["send", path, "--to", "g", "--rate", "1MB/s", "--dry-run"]).done();
        told["item"]["groups"][0].clone()
    };
    let told = plan(&more);
    let (multicast, later) = (&told["multicast_bytes"], &told["later_bytes"]);
    // The new file and a new index; nothing of what both have.
    for bytes in [multicast, later] {
        let bytes = bytes.as_u64().unwrap();
        assert!((2 * MIB..2 * MIB + 20_000).contains(&bytes), "{told}");
    }
    assert!((2.0..2.2).contains(&told["seconds"].as_f64().unwrap()), "{told}");
    let paths = |told: &Value| -> Vec<String> {
        let plan = told["plan"].as_array().unwrap().iter();
        plan.map(|one| format!("{} {}", one["receiver"], one["path"]).replace('"', "")).collect()
    };
    assert_eq!(paths(&told), ["away later", "here multicast"]);
    assert_eq!(told["sequence"], 2);
    assert_eq!(fleet.run(["releases", "list"]).done()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_staged_and_taken_back_is_never_installed() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = write(&fleet, "file", b"never");
    fleet.run(["send", file.to_str().unwrap(), "--to", "g", "--at", "8s"]).done();
    receiver.process().wait_for("staged");
    fleet.run(["--yes", "releases", "cancel", "g#1"]).done();
    std::thread::sleep(Duration::from_secs(10));
    assert!(!receiver.file("file").exists());
    assert_eq!(fleet.run(["pending", "list"]).done()["items"], Value::Array(Vec::new()));
    // The next one is not held up by it.
    fs::write(&file, b"now").unwrap();
    fleet.send(&file, &[]);
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"now");
}
