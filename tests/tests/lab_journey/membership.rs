//! Who is in a group gets its releases; who is not, does not.

use std::fs;
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, SLOW};
use serde_json::{Value, json};

#[test]
fn who_was_removed_gets_nothing_more_and_keeps_what_it_has() {
    let fleet = Fleet::start();
    let [stays, goes] = ["stays", "goes"].map(|name| fleet.receiver(name));
    let file = fleet.path("file");
    fs::write(&file, "first").unwrap();
    fleet.send(&file, &[]);
    fleet.run(["groups", "remove", "g", "goes"]).done();
    assert_eq!(fleet.listed("goes")["groups"], json!([]));
    fs::write(&file, "second").unwrap();
    let item = fleet.send(&file, &[]);
    assert_eq!(item["deliveries"].as_array().unwrap().len(), 1, "{item}");
    assert_eq!(fs::read(stays.file("file")).unwrap(), b"second");
    // Time enough for what must not happen.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs::read(goes.file("file")).unwrap(), b"first");
    fleet.run(["groups", "add", "g", "goes"]).done();
    fs::write(&file, "third").unwrap();
    fleet.send(&file, &[]);
    assert_eq!(fs::read(goes.file("file")).unwrap(), b"third");
}

#[test]
fn a_deleted_group_is_gone_and_its_files_stay() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
    fleet.run(["groups", "delete", "g", "--yes"]).done();
    assert_eq!(fleet.run(["groups", "list"]).done()["items"], json!([]));
    assert_eq!(fleet.listed("r")["groups"], json!([]));
    let path = file.to_str().unwrap();
    fleet.run(["send", path, "--to", "g"]).refused(1, "group-unknown");
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"x");
}

#[test]
fn a_removed_receiver_is_told_and_must_enrol_anew() {
    let fleet = Fleet::start();
    let _stays = fleet.receiver("stays");
    let mut goes = fleet.receiver("goes");
    fleet.run(["receivers", "remove", "goes", "--yes"]).done();
    goes.process().wait_for("removed");
    goes.process().wait(SLOW).refused(1, "receiver-removed");
    assert_eq!(fleet.listed("goes"), Value::Null);
    // What it has kept lets it wait for somebody's word, and no more.
    goes.start(&["--name", "goes"]);
    goes.process().wait_for("waiting");
    assert_eq!(fleet.listed("goes")["state"], "waiting");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let item = fleet.send(&file, &[]);
    assert_eq!(item["deliveries"].as_array().unwrap().len(), 1, "{item}");
    std::thread::sleep(Duration::from_secs(1));
    assert!(!goes.file("file").exists());
    goes.kill();
    let code = fleet.invite(&["--group", "g"]);
    goes.start(&["--enrol", &code, "--name", "goes"]);
    goes.process().wait_for("installed");
    assert_eq!(fs::read(goes.file("file")).unwrap(), b"x");
}
