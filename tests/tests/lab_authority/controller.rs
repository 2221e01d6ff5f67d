//! The server's own key: replaced while all is well, and when it is lost.

use std::fs;
use std::time::Duration;

use fleetcast::code::EnrolmentCode;
use fleetcast_tests::processes::{Child, Fleet, SLOW};
use rustix::process::Signal;
use serde_json::json;

use crate::office::{file, health, send, shows, text};

/// The server at its old address, with a controller key that nobody knows yet.
fn with_new_controller(fleet: &Fleet) -> Child {
    let mut command = fleet.serve_command(&fleet.state());
    let first = fleet.multicast()[0];
    let pool = format!("{}/30:{}", first.ip(), first.port());
    command.args(["--listen", &fleet.address, "--multicast", &pool, "--new-controller"]);
    let mut server = Child::start("server", command);
    server.wait_for("ready");
    server
}

#[test]
fn receivers_follow_a_server_whose_key_was_lost() {
    let mut fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let mut away = fleet.receiver("away");
    // A code from before, of somebody who has not used it yet.
    let code = fleet.invite(&["--group", "g"]);
    send(&fleet, &file(&fleet, "file", "before"));
    for receiver in receivers.iter().chain([&away]) {
        shows(receiver, "file", "before");
    }
    away.kill();
    fleet.stop_server(Signal::TERM);
    let key = fleet.state().join("keys/controller.key");
    let lost = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();

    let mut refused = fleet.serve_command(&fleet.state());
    refused.args(["--listen", "127.0.0.1:0"]);
    let refused = Child::start("serve", refused).wait(SLOW);
    refused.refused(1, "controller-key-missing");
    assert!(text(&refused.failure()["hint"]).contains("--new-controller"));

    let server = with_new_controller(&fleet);
    assert!(health(&fleet).contains(&"controller-unannounced".to_owned()));
    let rotated = fleet.run(["authority", "rotate-controller"]).done()["item"].clone();
    assert_eq!((&rotated["state"], &rotated["version"]), (&json!("in-force"), &json!(2)));
    assert!(!health(&fleet).contains(&"controller-unannounced".to_owned()));
    assert!(fs::read(&key).is_ok_and(|new| new != lost), "a key of its own, in the usual place");
    assert!(!fleet.state().join("keys/controller-next.key").exists());

    // Nobody enrols again: they find the document by themselves.
    for receiver in &mut receivers {
        receiver.process().wait_within("connected", Duration::from_secs(60));
    }
    away.start(&[]);
    away.process().wait_within("connected", Duration::from_secs(60));
    send(&fleet, &file(&fleet, "file", "after"));
    for receiver in receivers.iter().chain([&away]) {
        shows(receiver, "file", "after");
    }
    // Nor is a new code needed, within the time that enrolling may take.
    let mut late = fleet.absent("late");
    late.start(&["--enrol", &code, "--name", "late"]);
    late.process().wait_within("connected", Duration::from_secs(15));
    shows(&late, "file", "after");
    // All of it holds after a restart of both sides.
    server.kill();
    fleet.start_server();
    late.kill();
    late.start(&[]);
    late.process().wait_for("connected");
    let controller = |code: &str| code.parse::<EnrolmentCode>().unwrap().controller;
    assert_ne!(controller(&fleet.invite(&[])), controller(&code));
    fleet.run(["log", "verify"]).done();
}

#[test]
fn a_key_is_replaced_while_a_release_is_on_its_way() {
    let fleet = Fleet::start();
    let mut receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let path = fleet.path("file");
    fs::write(&path, fleetcast_tests::processes::noise(9, 6 << 20)).unwrap();
    fleet.run(["send", path.to_str().unwrap(), "--to", "g", "--rate", "2MB/s"]).done();
    receivers[0].process().wait_for("progress");
    let rotated = fleet.run(["authority", "rotate-controller"]).done();
    assert_eq!(rotated["item"]["state"], "in-force", "{rotated}");
    for receiver in &mut receivers {
        let reason = receiver.process().wait_for("disconnected")["reason"].clone();
        assert_eq!(reason, "authority-changed");
        receiver.process().wait_for("connected");
        receiver.process().wait_for("installed");
        assert!(fs::read(receiver.file("file")).unwrap() == fs::read(&path).unwrap());
        // Memberships that the old key made by voucher count on: they were signed anew.
        fleet.settle(&receiver.name, SLOW);
    }
    send(&fleet, &file(&fleet, "next", "x"));
    for receiver in &receivers {
        shows(receiver, "next", "x");
    }
}
