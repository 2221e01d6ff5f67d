//! Two admins who must sign together.

use std::time::Duration;

use fleetcast_tests::processes::Fleet;
use serde_json::{Value, json};

use crate::office::{Office, file, health, send, shows, text, trusted_by};

/// A fleet with two admins of whom both must sign.
fn two_of_two(fleet: &Fleet) -> Office {
    let bea = Office::new(fleet, "bea");
    let added = fleet.run(["authority", "add-admin", &bea.key, "--name", "bea"]).done();
    assert_eq!(added["item"]["state"], "in-force", "one admin of one has signed: {added}");
    let proposed = fleet.run(["authority", "threshold", "2"]).done()["item"].clone();
    // Enough of the present ones, and one of two that it demands itself.
    assert_eq!(proposed["state"], "waiting", "{proposed}");
    assert_eq!((&proposed["before"], &proposed["after"]), (&json!([1, 1]), &json!([1, 2])));
    assert!(health(fleet).contains(&"authority-unsigned".to_owned()));
    let list = bea.run(["authority", "list"]).done();
    assert_eq!(list["items"][0]["changes"], json!(["threshold 1 -> 2"]), "{list}");
    let id = text(&proposed["id"]);
    // Signed once more by the same admin it is no further.
    let again = fleet.run(["authority", "sign", &id]).done();
    assert_eq!(again["item"]["state"], "waiting", "{again}");
    let signed = bea.run(["authority", "sign", &id[..12]]).done();
    assert_eq!(
        (&signed["item"]["state"], &signed["item"]["version"]),
        (&json!("in-force"), &json!(3))
    );
    assert_eq!(fleet.run(["authority", "list"]).done()["items"], json!([]));
    bea
}

fn release(fleet: &Fleet, title: &str) -> Value {
    fleet.run(["releases", "show", title]).done()["item"].clone()
}

#[test]
fn two_admins_send_what_neither_can_send_alone() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let bea = two_of_two(&fleet);
    // PROTOCOL A4: it was told both new versions at once.
    let shown = trusted_by(&fleet, 1);
    assert_eq!((&shown["version"], &shown["threshold"]), (&json!(3), &json!(2)));
    let names: Vec<&str> =
        shown["admins"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["", "bea"]);

    let path = file(&fleet, "file", "first");
    let sent = send(&fleet, &path);
    assert_eq!(sent["deliveries"], json!([]), "{sent}");
    let waits = &sent["unsigned"][0];
    assert_eq!((&waits["signatures"], &waits["threshold"]), (&json!(1), &json!(2)), "{sent}");
    assert_eq!(release(&fleet, "g#1")["state"], "unsigned");
    assert!(health(&fleet).contains(&"release-unsigned".to_owned()));
    // Waiting for it is no use before it is signed.
    let behind = fleet.run(["send", path.to_str().unwrap(), "--to", "g", "--wait"]);
    assert_eq!(behind.code, 3, "{behind:?}");
    fleet.run(["releases", "cancel", "g#2", "--yes"]).done();
    // The same admin twice is one admin.
    fleet.run(["releases", "sign", "g#1"]).done();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!receiver.file("file").exists(), "nothing is offered that lacks signatures");
    let signed = bea.run(["releases", "sign", "g#1"]);
    // What is signed is shown before, from the signed bytes.
    assert!(
        signed.stderr.contains("g#1 file: 1 file,") && signed.stderr.contains("+"),
        "{signed:?}"
    );
    let signed = signed.done()["item"].clone();
    assert_eq!((&signed["state"], &signed["signatures"]), (&json!("current"), &json!(2)));
    shows(&receiver, "file", "first");
    // One admin is enough to let a receiver into a group (PROTOCOL T7).
    fleet.run(["groups", "create", "nord"]).done();
    bea.run(["groups", "add", "nord", "r"]).done();
    fleet.run(["log", "verify"]).done();
}

#[test]
fn what_was_overtaken_while_it_waited_is_made_anew() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let bea = two_of_two(&fleet);
    send(&fleet, &file(&fleet, "slow", "slow"));
    send(&fleet, &file(&fleet, "quick", "quick"));
    bea.run(["releases", "sign", "g#2"]).done();
    shows(&receiver, "quick", "quick");
    bea.run(["releases", "sign", "g#1"]).refused(1, "release-overtaken");
    let anew = bea.run(["releases", "sign", "g#1", "--anew"]).done()["item"].clone();
    assert_eq!(anew["unsigned"][0]["sequence"], 3, "{anew}");
    assert_eq!(release(&fleet, "g#1")["state"], "cancelled");
    fleet.run(["releases", "sign", "g#3"]).done();
    shows(&receiver, "slow", "slow");
    bea.run(["releases", "sign", "g#1"]).refused(1, "release-cancelled");
    bea.run(["releases", "sign", "g#9"]).refused(1, "release-unknown");
    bea.run(["releases", "sign", "g#3", "--anew"]).refused(2, "release-signed");
}

#[test]
fn what_waits_survives_a_crash_of_the_server_and_what_was_queued_stays_queued() {
    let mut fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let bea = two_of_two(&fleet);
    let path = file(&fleet, "file", "queued");
    fleet.run(["pending", "add", path.to_str().unwrap(), "--to", "g"]).done();
    let proposed = fleet.run(["authority", "threshold", "1"]).done()["item"].clone();
    fleet.kill_server();
    fleet.start_server();
    bea.run(["releases", "sign", "g#1"]).done();
    let pending = fleet.run(["pending", "list"]).done();
    assert_eq!(pending["items"][0]["waits"], "send", "{pending}");
    fleet.run(["pending", "send"]).done();
    shows(&receiver, "file", "queued");
    let signed = bea.run(["authority", "sign", &text(&proposed["id"])]).done();
    assert_eq!(signed["item"]["state"], "in-force", "{signed}");
    let sent = send(&fleet, &file(&fleet, "alone", "again"));
    assert_eq!(sent["unsigned"], Value::Null, "{sent}");
    shows(&receiver, "alone", "again");
}

#[test]
fn changes_that_cannot_be_are_refused_with_their_cure() {
    let fleet = Fleet::start();
    let bea = Office::new(&fleet, "bea");
    // Nobody whom the fleet does not know changes anything.
    bea.run(["authority", "add-admin", &bea.key]).refused(1, "not-trusted");
    fleet.run(["authority", "threshold", "2"]).refused(1, "authority-unusable");
    fleet.run(["authority", "threshold", "0"]).refused(2, "usage");
    fleet.run(["authority", "threshold", "1"]).refused(1, "authority-unchanged");
    fleet.run(["authority", "add-admin", "nonsense"]).refused(1, "io");
    fleet.run(["authority", "remove-admin", "nobody", "--yes"]).refused(1, "admin-unknown");
    fleet.run(["authority", "sign", "abcdef"]).refused(1, "proposal-unknown");
    fleet.run(["authority", "drop", "abcdef"]).refused(1, "proposal-unknown");
    let own = fleet.run(["authority", "show"]).done()["item"]["admins"][0]["id"].clone();
    let own = text(&own);
    fleet.run(["authority", "remove-admin", &own]).refused(2, "not-confirmed");
    fleet.run(["authority", "remove-admin", &own, "--yes"]).refused(1, "authority-unusable");
    bea.run(["admin", "create"]).refused(1, "admin-key-exists");
    // A key that was made elsewhere is added by its file, or by that of its public half.
    let carried = fleet.path("carried.key");
    let made = bea.run(["admin", "create", "--out", carried.to_str().unwrap(), "--seal", "file"]);
    let made = made.done()["item"]["key"].clone();
    let public = format!("{}.pub", carried.display());
    assert_eq!(std::fs::read_to_string(&public).unwrap().trim(), made);
    bea.run(["admin", "create", "--out", carried.to_str().unwrap()]).refused(1, "io");
    fleet.run(["authority", "add-admin", &public, "--name", "carried"]).done();
    let again = ["authority", "add-admin", carried.to_str().unwrap()];
    fleet.run(again).refused(1, "authority-unchanged");
    fleet.run(["authority", "remove-admin", "carried", "--yes"]).done();
    // A change that waits is taken back; one that was overtaken is gone.
    fleet.run(["authority", "add-admin", &bea.key]).done();
    let waits = fleet.run(["authority", "threshold", "2"]).done()["item"].clone();
    fleet.run(["authority", "drop", &text(&waits["id"])[..10]]).done();
    fleet.run(["authority", "threshold", "2"]).done();
    fleet.run(["authority", "revoke", "0123456789abcdef", "--yes"]).done();
    assert_eq!(fleet.run(["authority", "list"]).done()["items"], json!([]));
    let shown = fleet.run(["authority", "show"]).done()["item"].clone();
    assert_eq!((&shown["version"], &shown["threshold"]), (&json!(5), &json!(1)), "{shown}");
    fleet.run(["authority", "unrevoke", "0123456789abcdef"]).done();
    fleet.run(["authority", "unrevoke", "0123456789abcdef"]).refused(1, "key-unknown");
}
