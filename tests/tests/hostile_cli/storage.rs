//! A server whose disk fails in part, and copies that are made of it meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fleetcast_tests::processes::{Child, Fleet, SLOW, noise};
use rustix::process::Signal;

/// Turns one byte of a pack where these bytes stand.
fn rot(packs: &Path, bytes: &[u8]) {
    for pack in fs::read_dir(packs).unwrap() {
        let path = pack.unwrap().path();
        let held = fs::read(&path).unwrap();
        if let Some(at) = held.windows(bytes.len()).position(|window| window == bytes) {
            let file = File::options().write(true).open(&path).unwrap();
            return file.write_all_at(&[bytes[0] ^ 1], at as u64).unwrap();
        }
    }
    panic!("no pack holds it");
}

#[test]
fn a_release_that_cannot_be_read_holds_nothing_else_up() {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    for group in ["rotten", "sound"] {
        fleet.run(["groups", "create", group]).done();
        fleet.run(["groups", "add", group, "r"]).done();
    }
    receiver.process.take().unwrap().end_by(Signal::TERM);
    let send = |name: &str, group: &str, bytes: &[u8]| {
        let path = fleet.path(name);
        fs::write(&path, bytes).unwrap();
        fleet.run(["send", path.to_str().unwrap(), "--to", group]).done();
    };
    // Content that fails when it is read, and an index without which nobody knows what
    // to read.
    let lost = noise(1, 50_000);
    send("content", "rotten", &lost);
    send("unreadable-name", "g", b"x");
    send("good", "sound", b"good");
    fleet.stop_server(Signal::TERM);
    rot(&fleet.state().join("packs"), &lost[1_000..1_032]);
    rot(&fleet.state().join("packs"), b"unreadable-name");
    fleet.start_server();
    let status = fleet.run(["status"]).done();
    let health = status["item"]["health"].as_array().unwrap();
    let repaired = health.iter().find(|item| item["code"] == "store-repaired");
    assert_eq!(repaired.unwrap()["subject"], "2 damaged records left out", "{status}");
    receiver.start(&[]);
    let installed = receiver.process().wait_for("installed");
    assert_eq!(installed["group"], "sound");
    assert_eq!(fs::read(receiver.into.join("sound/good")).unwrap(), b"good");
    assert!(!receiver.into.join("rotten").exists() && !receiver.into.join("g").exists());
    // It is shown which ones fail, and why; what is sent anew in their place arrives.
    let failed = |group: &str| {
        let list = fleet.run(["pending", "list"]).done();
        let items = list["items"].as_array().unwrap().iter();
        let mut of_group = items.filter(|item| item["group"] == group && item["state"] == "failed");
        of_group.next().map(|item| item["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(failed("g").as_deref(), Some("server-storage"));
    for (name, group) in [("content", "rotten"), ("again", "g")] {
        let path = fleet.path(name);
        fs::write(&path, noise(2, 60_000)).unwrap();
        let path = path.to_str().unwrap();
        fleet.run(["send", path, "--to", group, "--mirror", "--wait"]).done();
    }
    assert_eq!(fs::read(receiver.into.join("g/again")).unwrap(), noise(2, 60_000));
}

/// The files of a directory, by name.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn backups_that_are_made_at_once_are_all_whole() {
    let mut fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, noise(3, 24 << 20)).unwrap();
    fleet.send(&file, &[]);
    let before = names(&fleet.state());
    let folder = fleet.path("backups");
    fs::create_dir(&folder).unwrap();
    let target = |name: &str| folder.join(name);
    let begin =
        |to: &PathBuf| Child::start("backup", fleet.command(["backup", to.to_str().unwrap()]));
    // Two of them to the same file: one is made, and the other one is told.
    let targets = ["one", "two", "same", "same"].map(target);
    let mut running: Vec<Child> = targets.iter().map(begin).collect();
    let answers: Vec<_> = running.iter_mut().map(|child| child.wait(SLOW)).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.code != 0).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    refused[0].refused(1, "file-exists");
    assert_eq!(names(&folder), ["one", "same", "two"], "nothing half made is left");
    assert_eq!(names(&fleet.state()), before, "nor anything beside the catalog");
    fleet.stop_server(Signal::TERM);
    for backup in ["one", "two", "same"] {
        fs::remove_dir_all(fleet.state()).unwrap();
        fleet.run(["restore", target(backup).to_str().unwrap()]).done();
        fleet.start_server();
        fleet.run(["releases", "verify", "g#1"]).done();
        fleet.run(["log", "verify"]).done();
        fleet.stop_server(Signal::TERM);
    }
}
