//! Two admins who do the same at the same moment, or the opposite.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Answer, Child, Fleet, Receiver, SLOW, noise};
use serde_json::json;

/// Two commands that begin at the same moment, with this on their standard input; how
/// each ended.
fn both(fleet: &Fleet, commands: [&[&str]; 2], input: &str) -> [Answer; 2] {
    let start = |words: &[&str]| Child::start_with("an admin", fleet.command(words), input);
    let mut running = commands.map(start);
    [running[0].wait(SLOW), running[1].wait(SLOW)]
}

#[test]
fn of_two_who_make_the_same_one_is_told_that_it_is_there() {
    let fleet = Fleet::start();
    for round in 0..5 {
        let name = format!("name{round}");
        let create = ["groups", "create", &name];
        let add = ["users", "add", &name];
        for (words, code) in [(create, "group-exists"), (add, "user-exists")] {
            let [done, refused] = both(&fleet, [&words, &words], "correct horse\n");
            let (done, refused) = if done.code == 0 { (done, refused) } else { (refused, done) };
            let _ = done.done();
            refused.refused(1, code);
        }
    }
    assert_eq!(fleet.run(["groups", "list"]).done()["items"].as_array().unwrap().len(), 6);
    assert_eq!(fleet.run(["users", "list"]).done()["items"].as_array().unwrap().len(), 5);
}

#[test]
fn who_is_approved_by_two_at_once_is_approved_once() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let code = fleet.invite(&["--no-token"]);
    let mut waits = fleet.absent("w");
    waits.start(&["--name", "w", "--enrol", &code]);
    waits.process().wait_for("waiting");
    let approve = ["receivers", "approve", "w"];
    both(&fleet, [&approve, &approve], "").iter().for_each(|answer| drop(answer.done()));
    fleet.run(["groups", "create", "nord"]).done();
    receiver.my(["join", "nord"]).done();
    let approve = ["groups", "approve", "nord", "r"];
    both(&fleet, [&approve, &approve], "").iter().for_each(|answer| drop(answer.done()));
    let log = fleet.run(["log"]).done();
    let about = |action: &str| {
        log["items"].as_array().unwrap().iter().filter(|line| line["action"] == action).count()
    };
    assert_eq!((about("receiver-approved"), about("request-approved")), (1, 1), "{log}");
    // One says yes and one says no: one of them counts, and both may know which.
    fleet.run(["groups", "create", "west"]).done();
    receiver.my(["join", "west"]).done();
    let no = ["groups", "deny", "west", "r", "--reason", "no"];
    let [yes, no] = both(&fleet, [&["groups", "approve", "west", "r"], &no], "");
    let is_member = fleet.listed("r")["groups"].as_array().unwrap().contains(&json!("west"));
    assert_eq!(is_member, yes.code == 0, "{yes:?} {no:?}");
    assert!(yes.code == 0 || no.code == 0, "{yes:?} {no:?}");
    assert_eq!(fleet.run(["groups", "requests", "west"]).done()["items"], json!([]));
    fleet.run(["log", "verify"]).done();
}

#[test]
fn two_who_send_to_one_group_at_once_lose_nothing_that_was_taken() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let mut taken = BTreeSet::new();
    for round in 0..4 {
        let files = ["a", "b"].map(|admin| {
            let path = fleet.path(&format!("{admin}{round}"));
            fs::write(&path, noise(round, 10_000)).unwrap();
            path
        });
        let [first, second] = [&files[0], &files[1]].map(|path| path.to_str().unwrap());
        let send = [["send", first, "--to", "g"], ["send", second, "--to", "g"]];
        let answers = both(&fleet, [&send[0], &send[1]], "");
        assert!(answers.iter().any(|answer| answer.code == 0), "{answers:?}");
        for (answer, path) in answers.iter().zip(&files) {
            if answer.code == 0 {
                taken.insert(path.file_name().unwrap().to_owned());
            } else {
                // Both began from the same release: who comes second is told so.
                answer.refused(1, "out-of-order");
            }
        }
    }
    fleet.settle("r", SLOW);
    let shown = fs::read_dir(receiver.into.join("g")).unwrap();
    let shown: BTreeSet<_> = shown.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(shown, taken);
    let releases = fleet.run(["releases", "list", "g"]).done();
    let numbers: Vec<u64> = releases["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|release| release["sequence"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=taken.len() as u64).rev().collect();
    assert_eq!(numbers, expected, "each number once, and none left out");
}

/// Waits until a receiver has told some progress.
fn under_way(receiver: &mut Receiver) {
    while receiver.process().wait_for("progress")["bytes"].as_u64().unwrap() == 0 {}
}

#[test]
fn a_group_that_is_deleted_during_a_session_ends_it_and_leaves_nothing() {
    let fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let file = fleet.path("file");
    fs::write(&file, noise(1, 16 << 20)).unwrap();
    let path = file.to_str().unwrap();
    let slow = ["send", path, "--to", "g", "--rate", "2MB/s", "--wait"];
    let mut send = Child::start("send", fleet.command(slow));
    receivers.iter_mut().for_each(under_way);
    fleet.run(["groups", "delete", "g", "--yes"]).done();
    let begin = Instant::now();
    // Whoever waits for it is told, and does not wait for ever.
    let answer = send.wait(SLOW);
    assert_eq!(answer.code, 3, "nobody has it: {answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let status = || fleet.run(["status"]).done()["item"].clone();
    while status()["sessions"] != json!([]) {
        assert!(begin.elapsed() < Duration::from_secs(5), "{}", status());
    }
    assert_eq!(fleet.run(["pending", "list"]).done()["items"], json!([]));
    assert_eq!(fleet.run(["releases", "list"]).done()["items"], json!([]));
    // A group of the same name is another one, and its receivers are as good as ever.
    fleet.run(["groups", "create", "g"]).done();
    fleet.run(["groups", "add", "g", "a", "b"]).done();
    fs::write(&file, "small").unwrap();
    fleet.send(&file, &[]);
    for receiver in &receivers {
        assert_eq!(fs::read(receiver.file("file")).unwrap(), b"small", "{}", receiver.name);
    }
    fleet.run(["log", "verify"]).done();
}
