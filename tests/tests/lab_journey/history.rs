//! What was sent and what became of it: releases compared, checked, taken back and
//! forgotten; the log; receipts; copies of the whole and what they cannot know.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, noise, tree};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Sends a folder with these files in place of what was there.
fn mirror(fleet: &Fleet, files: &[(&str, &[u8])]) -> Value {
    let folder = fleet.path("content");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    fleet.send(&folder, &["--mirror"])
}

fn health(fleet: &Fleet) -> String {
    fleet.run(["status"]).done()["item"]["health"].to_string()
}

#[test]
fn releases_are_compared_checked_taken_back_and_brought_back() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    mirror(&fleet, &[("same", b"same"), ("old", b"old")]);
    let first = tree(&receiver.into.join("g"));
    mirror(&fleet, &[("same", b"changed"), ("new", b"brand new")]);
    let diff = fleet.run(["releases", "diff", "g#1", "g#2"]).done();
    let items = diff["items"].as_array().unwrap().iter();
    let told: Vec<String> =
        items.map(|item| format!("{} {}", item["change"], item["path"]).replace('"', "")).collect();
    let expected =
        ["added content/new", "removed content/old", "changed content/same"].map(String::from);
    assert_eq!(told, expected, "{diff}");
    assert_eq!(diff["items"][0]["new_bytes"], 9);
    let checked = fleet.run(["releases", "verify", "g#2"]).done();
    assert_eq!((&checked["item"]["ok"], &checked["item"]["signatures"]), (&json!(true), &json!(1)));
    // Back to the first: as a new release.
    let back = fleet.run(["releases", "rollback", "g", "1", "--wait"]).done();
    assert_eq!(back["item"]["releases"][0]["sequence"], 3, "{back}");
    assert!(tree(&receiver.into.join("g")) == first, "the old content");
    fleet.run(["releases", "rollback", "g", "g#9"]).refused(1, "release-unknown");
    // Taken back: nobody else gets it, and who has it stays as it is.
    fleet.run(["releases", "cancel", "g#3"]).refused(2, "not-confirmed");
    let cancelled = fleet.run(["--yes", "releases", "cancel", "g#3"]).done();
    assert_eq!(cancelled["item"]["state"], "cancelled");
    let mut late = fleet.receiver("late");
    let installed = late.process().wait_for("installed");
    assert_eq!(installed["sequence"], 2, "the newest that was not taken back");
    assert!(tree(&receiver.into.join("g")) == first, "it does not go back by itself");
    // The number of what was taken back is not given again.
    assert_eq!(mirror(&fleet, &[("x", b"x")])["releases"][0]["sequence"], 4);
    // Rot at the server.
    let pack = fleet.state().join("packs/000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(9).position(|window| window == b"brand new").unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let rotten = fleet.run(["releases", "verify", "g#2"]);
    assert_eq!((rotten.code, &rotten.document()["item"]["bad"]), (1, &json!(1)), "{rotten:?}");
}

#[test]
fn releases_that_nobody_needs_are_forgotten_and_their_room_is_freed() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    for seed in 0..4 {
        mirror(&fleet, &[("noise", &noise(seed, 2 << 20))]);
    }
    let size = || -> u64 {
        let packs = fs::read_dir(fleet.state().join("packs")).unwrap();
        packs.map(|pack| pack.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size();
    let plan = fleet.run(["releases", "prune", "--keep", "1", "--dry-run"]).done();
    assert_eq!(plan["item"]["releases"].as_array().unwrap().len(), 3, "{plan}");
    fleet.run(["releases", "prune", "--keep", "1"]).refused(2, "not-confirmed");
    assert_eq!(size(), before);
    let done = fleet.run(["--yes", "releases", "prune", "--keep", "1"]).done();
    assert!(done["item"]["freed_bytes"].as_u64().unwrap() > 5 << 20, "{done}");
    assert!(before - size() > 5 << 20, "{before} before, {} after", size());
    assert_eq!(fleet.run(["releases", "list"]).done()["items"].as_array().unwrap().len(), 1);
    fleet.run(["releases", "verify", "g#4"]).done();
    // What is left is enough for whoever comes, and for what comes next.
    let mut late = fleet.receiver("late");
    late.process().wait_for("installed");
    assert!(fs::read(late.file("content/noise")).unwrap() == noise(3, 2 << 20), "identical");
    assert_eq!(mirror(&fleet, &[("x", b"x")])["releases"][0]["sequence"], 5);
    assert_eq!(fs::read(receiver.file("content/x")).unwrap(), b"x");
    fleet.run(["log", "verify"]).done();
}

/// Fields of comma-separated values, by RFC 4180, section 2.
fn fields(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut rest) = (false, text.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted && rest.peek() == Some(&'\n') => {
                rest.next();
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    assert_eq!((field.as_str(), record.len()), ("", 0), "the last record ends like the others");
    records
}

fn csv_and_json_tell_the_same(fleet: &Fleet) {
    // A result that has all that must be quoted.
    let reason = "no, \"never\", says ann";
    fleet.run(["groups", "create", "quoted"]).done();
    fleet.run(["groups", "propose", "quoted", "a"]).done();
    fleet.run(["groups", "deny", "quoted", "a", "--reason", reason]).done();
    let csv = fleet.command_of_a_person(["log", "--csv"]).output().unwrap();
    let records = fields(&String::from_utf8(csv.stdout).unwrap());
    let (head, records) = records.split_first().unwrap();
    let log = fleet.run(["log"]).done();
    let items = log["items"].as_array().unwrap();
    assert_eq!(records.len(), items.len());
    for (record, item) in records.iter().zip(items) {
        assert_eq!(record.len(), head.len(), "{record:?}");
        for (name, value) in head.iter().zip(record) {
            let expected = match &item[name] {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(*value, expected, "{name}");
        }
    }
    let last = records.last().unwrap();
    assert!(last.iter().any(|field| field.contains(reason)), "{last:?}");
}

/// By name, by group, by who did it.
fn the_log_is_filtered(fleet: &Fleet) {
    let lines = |options: &[&str]| {
        let log = fleet.run([&["log"], options].concat()).done();
        log["items"].as_array().unwrap().len()
    };
    assert_eq!(lines(&["--actor", "a", "--group", "g"]), 2, "a installed two of g");
    // Nothing of it in an hour to come; whom nobody knows is a mistake.
    assert_eq!(lines(&["--actor", "a", "--group", "g", "--since", "2100-01-01T00:00:00Z"]), 0);
    for (option, code) in [
        ("--receiver", "receiver-unknown"),
        ("--group", "group-unknown"),
        ("--actor", "actor-unknown"),
    ] {
        fleet.run(["log", option, "nobody"]).refused(1, code);
    }
}

#[test]
fn receipts_are_taken_away_and_checked_without_a_server() {
    let mut fleet = Fleet::start();
    let _receivers = [fleet.receiver("a"), fleet.receiver("b")];
    mirror(&fleet, &[("x", b"1")]);
    mirror(&fleet, &[("x", b"2")]);
    let file = fleet.path("receipts.json");
    let path = file.to_str().unwrap();
    assert_eq!(fleet.run(["receipts", "export", "--to", path]).done()["item"]["receipts"], 4);
    let of_b = fleet.run(["receipts", "export", "--receiver", "b"]).done();
    assert_eq!(of_b["items"].as_array().unwrap().len(), 2, "{of_b}");
    the_log_is_filtered(&fleet);
    csv_and_json_tell_the_same(&fleet);
    fleet.stop_server(Signal::TERM);
    let verified = fleet.run(["receipts", "verify", path]).done();
    let authority = verified["item"]["authority"].as_str().unwrap();
    let expected = json!({ "ok": true, "receipts": 4, "bad": [], "unbound": [], "unproven": [],
        "authority": authority, "trusted": false });
    assert_eq!(verified["item"], expected);
    // The fleet's own authority document, and another one.
    fleet.run(["receipts", "verify", path, "--strict"]).refused(1, "receipts-unproved");
    let strict = ["receipts", "verify", path, "--strict", "--authority"];
    fleet.run([&strict[..], &[authority]].concat()).done();
    let other = "0".repeat(64);
    fleet.run([&strict[..], &[&other]].concat()).refused(1, "not-trusted");
    let text = fs::read_to_string(&file).unwrap();
    // Times are RFC 3339, also those that devices have signed as numbers.
    let written = text.matches("\"installed\":\"20").count();
    assert_eq!(written, 4, "{text}");
    // Who holds the server's keys makes no receipt of a device, nor a member of a stranger.
    let mut parts: serde_json::Value = serde_json::from_str(&text).unwrap();
    parts["items"][0]["certificate"] = json!("");
    let own = parts["items"][1]["id"].clone();
    let items = parts["items"].as_array().unwrap();
    let other = items.iter().find(|item| item["id"] != own).unwrap()["signing_key"].clone();
    parts["items"][1]["signing_key"] = other;
    fs::write(&file, parts.to_string()).unwrap();
    let found = fleet.run(["receipts", "verify", path]);
    found.refused(1, "receipts-bad");
    let found = found.document()["item"].clone();
    let count = |list: &str| found[list].as_array().unwrap().len();
    assert_eq!((count("unproven"), count("bad")), (1, 1), "{found}");
    // Nobody can say that something else was installed.
    fs::write(&file, text.replacen("\"sequence\":1", "\"sequence\":7", 1)).unwrap();
    let forged = fleet.run(["receipts", "verify", path]);
    assert_eq!((forged.code, &forged.document()["item"]["ok"]), (1, &json!(false)));
    fs::write(&file, "{}").unwrap();
    fleet.run(["receipts", "verify", path]).refused(1, "receipts-malformed");
}

#[test]
fn a_fleet_restored_from_an_old_backup_sends_nothing_before_somebody_has_looked() {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    mirror(&fleet, &[("x", b"1")]);
    let file = fleet.path("fleet.backup");
    let path = file.to_str().unwrap();
    let made = fleet.run(["backup", path]).done();
    assert!(made["item"]["files"].as_u64().unwrap() >= 4, "{made}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fleet.run(["backup", path]).refused(1, "file-exists");
    mirror(&fleet, &[("x", b"2")]);
    mirror(&fleet, &[("x", b"3")]);
    fleet.run(["restore", path]).refused(1, "state-locked");
    fleet.kill_server();
    fleet.run(["restore", path]).refused(1, "state-not-empty");
    fs::rename(fleet.state(), fleet.path("lost")).unwrap();
    // The log of the lost catalog would be played into the restored one.
    let log = fleet.state().join("catalog.db-wal");
    fs::create_dir_all(fleet.state()).unwrap();
    fs::write(&log, "left over").unwrap();
    fleet.run(["restore", path]).refused(1, "state-not-empty");
    fs::remove_file(&log).unwrap();
    let torn = fleet.path("torn.backup");
    let bytes = fs::read(&file).unwrap();
    fs::write(&torn, &bytes[..bytes.len() - 2_000]).unwrap();
    fleet.run(["restore", torn.to_str().unwrap()]).refused(1, "backup-damaged");
    fleet.run(["restore", path]).done();
    fleet.start_server();
    assert!(health(&fleet).contains("catalog-in-doubt"));
    fleet.run(["groups", "create", "h"]).refused(1, "catalog-in-doubt");
    fleet.run(["releases", "verify", "g#1"]).done();
    receiver.restart();
    let content = fleet.path("content");
    let content = content.to_str().unwrap();
    fleet.run(["send", content, "--to", "g"]).refused(1, "catalog-in-doubt");
    assert_eq!(fs::read(receiver.file("content/x")).unwrap(), b"3", "it is never set back");
    fleet.run(["restore", "--confirm"]).refused(2, "not-confirmed");
    fleet.run(["--yes", "restore", "--confirm"]).done();
    assert!(!health(&fleet).contains("catalog-in-doubt"));
    let sent = mirror(&fleet, &[("x", b"4")]);
    // 2 and 3 are somebody else's for ever.
    assert_eq!(sent["releases"][0]["sequence"], 1_004, "{sent}");
    assert_eq!(fs::read(receiver.file("content/x")).unwrap(), b"4");
    fleet.run(["log", "verify"]).done();
    fleet.run(["doctor", "--interface", "lo"]).done();
}

#[test]
fn a_catalog_that_was_secretly_set_back_is_noticed_by_what_receivers_hold() {
    let mut fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    mirror(&fleet, &[("x", b"1")]);
    fleet.stop_server(Signal::TERM);
    let (catalog, old) = (fleet.state().join("catalog.db"), fleet.path("old.db"));
    fs::copy(&catalog, &old).unwrap();
    fleet.start_server();
    receiver.restart();
    mirror(&fleet, &[("x", b"2")]);
    fleet.stop_server(Signal::TERM);
    set_back(&catalog, &old);
    fleet.start_server();
    receiver.restart();
    std::thread::sleep(Duration::from_secs(1));
    assert!(health(&fleet).contains("catalog-in-doubt"));
    let content = fleet.path("content");
    let refused = fleet.run(["send", content.to_str().unwrap(), "--to", "g"]);
    refused.refused(1, "catalog-in-doubt");
    assert_eq!(fs::read(receiver.file("content/x")).unwrap(), b"2");
    // The doubt outlives a restart.
    fleet.kill_server();
    fleet.start_server();
    assert!(health(&fleet).contains("catalog-in-doubt"));
    let found = fleet.run(["doctor", "--interface", "lo"]);
    assert_eq!(found.code, 1, "{found:?}");
}

fn set_back(catalog: &Path, old: &Path) {
    for suffix in ["-wal", "-shm"] {
        let mut name = catalog.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    fs::copy(old, catalog).unwrap();
}
