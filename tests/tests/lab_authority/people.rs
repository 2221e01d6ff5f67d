//! Admins who come and go, and devices that are turned away.

use std::fs;

use fleetcast_tests::processes::{Fleet, SLOW};
use serde_json::json;

use crate::office::{Office, file, send, shows, text, trusted_by};

fn add(fleet: &Fleet, office: &Office, name: &str) {
    fleet.run(["authority", "add-admin", &office.key, "--name", name]).done();
}

#[test]
fn an_admin_who_goes_leaves_the_fleet_as_it_is_and_signs_nothing_more() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let bea = Office::new(&fleet, "bea");
    add(&fleet, &bea, "bea");
    // By bea alone: a membership, an open group, a code, a release.
    fleet.run(["groups", "create", "nord"]).done();
    bea.run(["groups", "add", "nord", "r"]).done();
    bea.run(["groups", "create", "lobby", "--open"]).done();
    let code = text(&bea.run(["invite", "--group", "g"]).done()["item"]["code"]);
    let path = file(&fleet, "file", "by bea");
    bea.run(["send", path.to_str().unwrap(), "--to", "nord"]).done();
    let gone = fleet.run(["authority", "remove-admin", "bea", "--yes"]);
    assert!(gone.stderr.contains("1 memberships, 1 open groups, 1 releases"), "{gone:?}");
    assert_eq!(gone.done()["item"]["state"], "in-force");
    let shown = trusted_by(&fleet, 1);
    assert_eq!(shown["doubtful_memberships"], 0, "{shown}");
    // What was in force stays so.
    fleet.settle("r", SLOW);
    assert_eq!(fs::read_to_string(receiver.into.join("nord/file")).unwrap(), "by bea");
    let path = file(&fleet, "file", "by the one who stays");
    fleet.run(["send", path.to_str().unwrap(), "--to", "nord", "--wait"]).done();
    receiver.my(["join", "lobby"]).done();
    let path = file(&fleet, "news", "in the lobby");
    fleet.run(["send", path.to_str().unwrap(), "--to", "lobby", "--wait"]).done();
    // And bea signs nothing that counts.
    bea.run(["send", path.to_str().unwrap(), "--to", "nord"]).refused(1, "not-trusted");
    bea.run(["invite", "--group", "g"]).refused(1, "not-trusted");
    bea.run(["authority", "add-admin", &bea.key]).refused(1, "not-trusted");
    let mut late = fleet.absent("late");
    late.start(&["--enrol", &code]);
    late.process().wait(SLOW).refused(1, "invite-revoked");
    fleet.run(["log", "verify"]).done();
}

#[test]
fn what_only_a_distrusted_admin_has_signed_counts_no_more_until_it_is_signed_anew() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let bea = Office::new(&fleet, "bea");
    add(&fleet, &bea, "bea");
    fleet.run(["groups", "create", "nord"]).done();
    bea.run(["groups", "add", "nord", "r"]).done();
    let path = file(&fleet, "file", "by bea");
    bea.run(["send", path.to_str().unwrap(), "--to", "g"]).done();
    shows(&receiver, "file", "by bea");
    fleet.run(["authority", "remove-admin", "bea", "--distrust", "--yes"]).done();
    let shown = trusted_by(&fleet, 1);
    assert_eq!(shown["doubtful_memberships"], 1, "{shown}");
    let release = fleet.run(["releases", "show", "g#1"]).done()["item"].clone();
    assert_eq!((&release["state"], &release["signatures"]), (&json!("unsigned"), &json!(0)));
    // The receiver does not believe that it is in that group any more.
    let path = file(&fleet, "other", "x");
    let sent = fleet.run(["send", path.to_str().unwrap(), "--to", "nord", "--wait=20s"]);
    assert_eq!(sent.code, 3, "{sent:?}");
    assert_eq!(sent.document()["item"]["deliveries"][0]["code"], "not-trusted", "{sent:?}");
    fleet.run(["authority", "renew"]).done();
    assert_eq!(trusted_by(&fleet, 1)["doubtful_memberships"], 0);
    fleet.run(["send", path.to_str().unwrap(), "--to", "nord", "--wait"]).done();
    let signed = fleet.run(["releases", "sign", "g#1"]).done();
    assert_eq!(signed["item"]["state"], "current", "{signed}");
    // Releases go on, and what was installed is not sent again.
    let sent = send(&fleet, &file(&fleet, "file", "newer"));
    assert_eq!(sent["releases"][0]["sequence"], 2, "{sent}");
    shows(&receiver, "file", "newer");
}

#[test]
fn a_server_that_shows_another_chain_gets_nothing_signed() {
    let mut fleet = Fleet::start();
    let bea = Office::new(&fleet, "bea");
    add(&fleet, &bea, "bea");
    bea.run(["authority", "show"]).done();
    let kept = bea.state.join("authority.trusted");
    let before = fs::read(&kept).unwrap();
    // The catalog is set back to the time before bea.
    let backup = fleet.path("backup.tar");
    let other = Fleet::start();
    other.run(["backup", backup.to_str().unwrap()]).done();
    drop(other);
    fleet.stop_server(rustix::process::Signal::TERM);
    let state = fleet.state();
    fs::rename(&state, fleet.path("aside")).unwrap();
    let restore = ["restore", backup.to_str().unwrap()];
    fleet.run(restore).done();
    fleet.start_server();
    fleet.run(["restore", "--confirm", "--yes"]).done();
    for arguments in [&["authority", "show"][..], &["authority", "threshold", "2"]] {
        bea.run(arguments.iter().copied()).refused(1, "authority-rolled-back");
    }
    assert_eq!(fs::read(&kept).unwrap(), before);
}

#[test]
fn a_revoked_device_is_out_and_cannot_come_back() {
    let fleet = Fleet::start();
    let mut stolen = fleet.receiver("stolen");
    let mut other = fleet.receiver("other");
    fleet.run(["authority", "revoke", "stolen", "--yes"]).done();
    let (answer, seen) = {
        let process = stolen.process();
        process.wait_for("removed");
        let answer = process.wait(SLOW);
        (answer, process.seen().to_vec())
    };
    answer.refused(1, "receiver-removed");
    assert!(seen.iter().any(|line| line["event"] == "removed" && line["hint"].is_string()));
    // Not by waiting for approval, nor with a code.
    stolen.start(&[]);
    stolen.process().wait(SLOW).refused(1, "invite-revoked");
    let code = fleet.invite(&["--group", "g"]);
    stolen.start(&["--enrol", &code]);
    stolen.process().wait(SLOW).refused(1, "invite-revoked");
    assert_eq!(fleet.listed("stolen"), serde_json::Value::Null);
    // The others go on, under the newer document.
    trusted_by(&fleet, 1);
    send(&fleet, &file(&fleet, "file", "for the others"));
    other.process().wait_for("installed");
    let shown = fleet.run(["authority", "show"]).done()["item"].clone();
    let id = text(&shown["revoked"][0]);
    fleet.run(["authority", "unrevoke", &id]).done();
    let code = fleet.invite(&["--group", "g"]);
    stolen.start(&["--enrol", &code]);
    stolen.process().wait_for("connected");
}

#[test]
fn a_receiver_that_was_removed_while_it_was_away_says_so_and_waits() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    receiver.kill();
    fleet.run(["receivers", "remove", "r", "--yes"]).done();
    receiver.start(&[]);
    let removed = receiver.process().wait_for("removed");
    assert!(text(&removed["hint"]).contains("receivers approve"), "{removed}");
    receiver.process().wait_for("waiting");
    fleet.run(["receivers", "approve", "r"]).done();
    receiver.process().wait_for("enrolled");
    // Told once: a receiver that waits is nothing but a receiver that waits.
    receiver.kill();
    receiver.start(&[]);
    receiver.process().wait_for("connected");
    assert!(!receiver.process().seen().iter().any(|line| line["event"] == "removed"));
}
