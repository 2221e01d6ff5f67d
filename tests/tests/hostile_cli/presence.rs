//! Who is here and who is not, as the contract times it.

use std::fs;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::Fleet;
use serde_json::json;

/// What the contract gives a receiver that connects to be shown as active.
const ACTIVE: Duration = Duration::from_secs(5);
/// The same for one that vanishes, to be shown as away.
const AWAY: Duration = Duration::from_secs(30);

/// How long it takes until a receiver is shown in this state; none beyond `limit`.
fn shown_as(fleet: &Fleet, state: &str, limit: Duration) -> Option<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if fleet.listed("r")["state"] == state {
            return Some(begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

#[test]
fn a_receiver_that_is_killed_is_away_in_time_and_active_when_it_comes_back() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    assert_eq!(fleet.listed("r")["state"], "active");
    let file = fleet.path("file");
    fs::write(&file, "one").unwrap();
    fleet.send(&file, &[]);
    receiver.kill();
    let away = shown_as(&fleet, "away", AWAY);
    println!("away after {away:?}");
    assert!(away.is_some(), "still active after {AWAY:?}: {}", fleet.listed("r"));
    let status = fleet.run(["status"]).done();
    let expected = json!({ "active": 0, "away": 1, "waiting": 0 });
    assert_eq!(status["item"]["receivers"], expected);
    fs::write(&file, "two").unwrap();
    fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    receiver.start(&[]);
    let active = shown_as(&fleet, "active", ACTIVE);
    println!("active after {active:?}");
    assert!(active.is_some(), "not active after {ACTIVE:?}: {}", fleet.listed("r"));
    // Who resumes tells its server's address, as who enrols does.
    let connected = receiver.process().wait_for("connected");
    assert_eq!(connected["server"], fleet.address);
    // It says what it has missed, and gets it.
    let behind = receiver.process().wait_for("behind");
    let told = [&behind["group"], &behind["installed"], &behind["newest"]];
    assert_eq!(told, [&json!("g"), &json!(1), &json!(2)]);
    let offered = receiver.process().wait_for("offered");
    assert_eq!((&offered["group"], &offered["sequence"]), (&json!("g"), &json!(2)));
    receiver.process().wait_for("installed");
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"two");
}

#[test]
fn a_receiver_that_ends_in_order_is_away_at_once() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let _ = receiver.process.take().unwrap().end_by(rustix::process::Signal::TERM);
    let away = shown_as(&fleet, "away", ACTIVE);
    assert!(away.is_some(), "{}", fleet.listed("r"));
}
