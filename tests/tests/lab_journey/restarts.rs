//! Processes that end without warning in mid-transfer, and come back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, Receiver, SLOW, noise};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;
/// What may be lost at most: one batch that was not committed (S9).
const BATCH: u64 = 4 * MIB;

/// Sends 8 MiB slowly, without waiting.
fn send_slowly(fleet: &Fleet, seed: u64) -> (PathBuf, Vec<u8>) {
    let (file, bytes) = (fleet.path("file"), noise(seed, 8 << 20));
    fs::write(&file, &bytes).unwrap();
    let path = file.to_str().unwrap();
    fleet.run(["send", path, "--to", "g", "--rate", "2MB/s"]).done();
    (file, bytes)
}

/// Waits until the receiver holds at least `least` bytes; returns how many.
fn progress(receiver: &mut Receiver, least: u64) -> u64 {
    loop {
        let progress = receiver.process().wait_for("progress");
        let bytes = progress["bytes"].as_u64().unwrap();
        if bytes >= least {
            return bytes;
        }
    }
}

#[test]
fn a_killed_receiver_resumes_where_it_was() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let (_, bytes) = send_slowly(&fleet, 1);
    let held = progress(&mut receiver, BATCH + MIB);
    receiver.kill();
    assert!(!receiver.file("file").exists(), "nothing half is visible");
    receiver.start(&[]);
    let first = progress(&mut receiver, 0);
    assert!(first > 0 && first + BATCH >= held, "{held} before, {first} after");
    receiver.process().wait_for("installed");
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
}

#[test]
fn a_killed_server_goes_on_with_what_it_was_told() {
    let mut fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let (_, bytes) = send_slowly(&fleet, 2);
    progress(&mut receivers[0], MIB);
    fleet.kill_server();
    fleet.start_server();
    for receiver in &mut receivers {
        receiver.process().wait_for("installed");
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
        fleet.settle(&receiver.name, SLOW);
    }
    fleet.run(["log", "verify"]).done();
}

#[test]
fn who_was_away_gets_it_within_five_seconds_of_coming_back() {
    let fleet = Fleet::start();
    let mut here = fleet.receiver("here");
    let mut away = fleet.receiver("away");
    away.process.take().unwrap().end_by(Signal::TERM);
    let file = fleet.path("file");
    fs::write(&file, noise(3, 1 << 20)).unwrap();
    fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    here.process().wait_for("installed");
    let pending = fleet.run(["pending", "list"]).done();
    assert_eq!(pending["items"][0]["receiver"], "away", "{pending}");
    away.start(&[]);
    away.process().wait_for("connected");
    away.process().wait_within("installed", Duration::from_secs(5));
    assert_eq!(fs::read(away.file("file")).unwrap(), fs::read(&file).unwrap());
}

// PROTOCOL C7
#[test]
fn a_server_that_is_stopped_in_order_is_missed_at_once_and_found_again_soon() {
    let mut fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    fleet.stop_server(Signal::TERM);
    for receiver in &mut receivers {
        let told = receiver.process().wait_within("disconnected", Duration::from_secs(1));
        assert_eq!(told["reason"], "server-stopped", "{told}");
    }
    fleet.start_server();
    for receiver in &mut receivers {
        // Two seconds at most until the first try, and what a busy machine takes.
        receiver.process().wait_within("connected", Duration::from_secs(5));
    }
}
