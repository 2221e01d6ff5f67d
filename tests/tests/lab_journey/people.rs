//! People at receivers: they look which groups there are, ask, are let in or
//! not, come and go.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Child, Fleet, Receiver, SLOW, program, skip};
use serde_json::{Value, json};

/// How a person at the receiver sees a group.
fn seen(receiver: &Receiver, group: &str) -> Value {
    let list = receiver.my(["groups"]).done();
    let mut items = list["items"].as_array().into_iter().flatten();
    items.find(|item| item["name"] == group).cloned().unwrap_or_default()
}

/// Who asks to be in a group, as an admin sees it.
fn asking(fleet: &Fleet, group: &str) -> Vec<String> {
    let list = fleet.run(["groups", "requests", group]).done();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["receiver"].as_str().unwrap().to_owned()).collect()
}

fn state(answer: &Value) -> &str {
    answer["item"]["state"].as_str().unwrap()
}

#[test]
fn who_asks_is_approved_and_gets_what_the_group_gets() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    let file = fleet.path("file");
    fs::write(&file, "for all").unwrap();
    fleet.send(&file, &[]);
    let expected = json!({ "name": "nord", "open": false, "state": "none", "reason": "" });
    assert_eq!(seen(&receiver, "nord"), expected);
    assert_eq!(seen(&receiver, "g")["state"], "member");
    assert_eq!(state(&receiver.my(["join", "nord"]).done()), "asked");
    assert_eq!(receiver.process().wait_for("asked")["group"], "nord");
    // PROTOCOL G2: asked again, it is still one request.
    assert_eq!(state(&receiver.my(["join", "nord"]).done()), "asked");
    let listed = fleet.run(["groups", "requests"]).done();
    let requests = listed["items"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{listed}");
    let fingerprint = fleet.listed("r")["fingerprint"].clone();
    assert_eq!(
        (&requests[0]["receiver"], &requests[0]["fingerprint"]),
        (&json!("r"), &fingerprint)
    );
    assert_eq!(fleet.listed("r")["groups"], json!(["g"]), "asking lets nobody in");
    fleet.run(["groups", "approve", "nord", "r"]).done();
    assert_eq!(receiver.process().wait_for("joined")["group"], "nord");
    assert_eq!(seen(&receiver, "nord")["state"], "member");
    assert_eq!(asking(&fleet, "nord"), [""; 0]);
    // A second admin, or the same once more: fine.
    fleet.run(["groups", "approve", "nord", "r"]).done();
    let path = file.to_str().unwrap();
    fleet.run(["send", path, "--to", "nord", "--wait"]).done();
    assert_eq!(fs::read(receiver.into.join("nord/file")).unwrap(), b"for all");
    let status = receiver.my(["status"]).done()["item"].clone();
    assert_eq!(status["groups"], json!(["g", "nord"]), "{status}");
    assert_eq!((&status["connected"], &status["name"]), (&json!(true), &json!("r")));
    fleet.run(["log", "verify"]).done();
}

#[test]
fn who_was_denied_while_away_is_told_why_and_may_ask_again() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    receiver.my(["join", "nord"]).done();
    let _ = receiver.process.take().unwrap().end_by(rustix::process::Signal::TERM);
    receiver.my(["groups"]).refused(1, "agent-not-running");
    let reason = ["--reason", "not on this floor"];
    fleet.run([&["groups", "deny", "nord", "r"][..], &reason].concat()).done();
    // Again is fine, and the first word counts.
    fleet.run(["groups", "deny", "nord", "r", "--reason", "because"]).done();
    assert_eq!(asking(&fleet, "nord"), [""; 0]);
    receiver.start(&[]);
    // PROTOCOL G3
    let denied = receiver.process().wait_for("denied");
    let told = (&denied["group"], &denied["reason"]);
    assert_eq!(told, (&json!("nord"), &json!("not on this floor")));
    let seen = seen(&receiver, "nord");
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("denied"), &json!("not on this floor")));
    assert_eq!(fleet.listed("r")["groups"], json!(["g"]));
    assert_eq!(state(&receiver.my(["join", "nord"]).done()), "asked");
    assert_eq!(asking(&fleet, "nord"), ["r"]);
    // Taken back, nothing is left of it.
    assert_eq!(state(&receiver.my(["leave", "nord"]).done()), "none");
    assert_eq!(asking(&fleet, "nord"), [""; 0]);
    fleet.run(["groups", "approve", "nord", "r"]).refused(1, "request-unknown");
}

#[test]
fn an_open_group_is_joined_and_left_at_once() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let other = fleet.receiver("other");
    let group = fleet.run(["groups", "create", "offen", "--open"]).done();
    assert_eq!(group["item"]["open"], true);
    // PROTOCOL G4: the certificate is made from the voucher, and the receiver believes it.
    assert_eq!(state(&receiver.my(["join", "offen"]).done()), "member");
    receiver.process().wait_for("joined");
    other.my(["join", "offen"]).done();
    let file = fleet.path("file");
    fs::write(&file, "one").unwrap();
    let path = file.to_str().unwrap().to_owned();
    let send = || fleet.run(["send", &path, "--to", "offen", "--wait"]).done();
    send();
    let [here, there] = [&receiver, &other].map(|r| r.into.join("offen/file"));
    assert_eq!(fs::read(&here).unwrap(), b"one");
    assert_eq!(state(&receiver.my(["leave", "offen"]).done()), "none");
    assert_eq!(state(&receiver.my(["leave", "offen"]).done()), "none", "again is fine");
    assert_eq!(fleet.listed("r")["groups"], json!(["g"]));
    fs::write(&file, "two").unwrap();
    let sent = send();
    assert_eq!(sent["item"]["deliveries"].as_array().unwrap().len(), 1, "{sent}");
    assert_eq!(fs::read(&there).unwrap(), b"two");
    assert_eq!(fs::read(&here).unwrap(), b"one", "what was installed stays");
    // Closed, an admin decides; who is in stays in.
    fleet.run(["groups", "close", "offen"]).done();
    assert_eq!(state(&receiver.my(["join", "offen"]).done()), "asked");
    assert_eq!(seen(&other, "offen")["state"], "member");
    // Opened again, who has asked asks once more and is in.
    fleet.run(["groups", "open", "offen"]).done();
    assert_eq!(state(&receiver.my(["join", "offen"]).done()), "member");
    assert_eq!(asking(&fleet, "offen"), [""; 0]);
}

#[test]
fn what_a_person_was_told_survives_a_killed_server() {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    fleet.run(["groups", "create", "offen", "--open"]).done();
    // PROTOCOL G1: the answers come when what they say is durable.
    receiver.my(["join", "nord"]).done();
    receiver.my(["join", "offen"]).done();
    fleet.kill_server();
    receiver.my(["status"]).done();
    fleet.start_server();
    receiver.restart();
    assert_eq!(asking(&fleet, "nord"), ["r"]);
    assert_eq!(fleet.listed("r")["groups"], json!(["g", "offen"]));
    fleet.run(["log", "verify"]).done();
}

#[test]
fn a_renamed_group_keeps_its_people_and_a_deleted_one_its_nobody() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let mut asks = fleet.receiver("asks");
    fleet.run(["groups", "remove", "g", "asks"]).done();
    asks.process().wait_for("taken-out");
    asks.my(["join", "g"]).done();
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
    fleet.run(["groups", "rename", "g", "G"]).done();
    assert_eq!(asking(&fleet, "G"), ["asks"]);
    assert_eq!(fleet.listed("r")["groups"], json!(["G"]));
    let groups = fleet.run(["groups", "list"]).done();
    assert_eq!(
        (&groups["items"][0]["sequence"], &groups["items"][0]["receivers"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(seen(&receiver, "G")["state"], "member");
    fleet.run(["groups", "delete", "G", "--yes"]).done();
    assert_eq!(fleet.run(["groups", "requests"]).done()["items"], json!([]));
    assert_eq!(receiver.my(["groups"]).done()["items"], json!([]));
    asks.my(["join", "G"]).refused(1, "group-unknown");
    assert_eq!(asks.my(["status"]).done()["item"]["groups"], json!([]));
    // Who was in it is told; who only asked was never sent anything.
    receiver.process().wait_for("taken-out");
    let seen = asks.process().seen();
    assert!(seen.iter().all(|line| line["event"] != "offered"), "{seen:?}");
}

#[test]
fn all_groups_are_listed_however_many_pages_they_take() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let name = |n: u32| format!("group {n:02} {}", "x".repeat(50));
    for n in 0..30 {
        fleet.run(["groups", "create", &name(n)]).done();
    }
    let list = receiver.my(["groups"]).done();
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    let expected: Vec<String> = std::iter::once("g".to_owned()).chain((0..30).map(name)).collect();
    assert_eq!(names, expected);
}

#[test]
fn who_waits_for_approval_sees_nothing_and_asks_for_nothing() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--no-token"]);
    let mut receiver = fleet.absent("w");
    receiver.start(&["--enrol", &code, "--name", "w"]);
    receiver.process().wait_for("waiting");
    receiver.my(["groups"]).refused(1, "server-unreachable");
    receiver.my(["join", "g"]).refused(1, "server-unreachable");
    assert_eq!(receiver.my(["status"]).done()["item"]["connected"], false);
    fleet.run(["receivers", "approve", "w"]).done();
    receiver.process().wait_for("connected");
    assert_eq!(state(&receiver.my(["join", "g"]).done()), "asked");
}

#[test]
fn another_user_of_the_machine_may_ask_but_not_leave() {
    if !rustix::process::geteuid().is_root() {
        return skip("another_user_of_the_machine_may_ask_but_not_leave: needs root");
    }
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    // Others get as far as the directory of the tests, and have a program to run.
    let home = fleet.path("");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o711)).unwrap();
    let copy = fleet.path("fleetcast");
    fs::copy(program(), &copy).unwrap();
    let as_nobody = |receiver: &Receiver, arguments: &[&str]| {
        let ours = receiver.my_command(arguments);
        let mut command = std::process::Command::new(&copy);
        command.args(ours.get_args()).uid(65_534).gid(65_534);
        Child::start("my as nobody", command).wait(SLOW)
    };
    assert_eq!(as_nobody(&receiver, &["status"]).done()["item"]["name"], "r");
    assert_eq!(state(&as_nobody(&receiver, &["join", "nord"]).done()), "asked");
    as_nobody(&receiver, &["leave", "g"]).refused(1, "not-permitted");
    assert_eq!(fleet.listed("r")["groups"], json!(["g"]));
    // Its files are its own: only the socket lets anybody in.
    for name in ["receiver.json", "lock"] {
        let mode = fs::metadata(receiver.state.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    receiver.kill();
    receiver.start(&["--others", "none"]);
    receiver.process().wait_for("connected");
    as_nobody(&receiver, &["status"]).refused(1, "not-permitted");
    receiver.my(["leave", "g"]).done();
    let begin = Instant::now();
    while fleet.listed("r")["groups"] != json!([]) && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fleet.listed("r")["groups"], json!([]));
}
