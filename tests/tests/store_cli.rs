//! `fleetcast store` on images of cards: what it prints, and what it says of bad ones.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use fleetcast_tests::admin::Tree;
use fleetcast_tests::board::{Board, BoardRelease, Trust, receive};
use fleetcast_tests::card::SECTOR;
use fleetcast_tests::disk::Node;
use fleetcast_tests::processes::program;
use fleetcast_tests::random::Random;
use serde_json::Value;

/// A card with a release in it, and a directory for its image.
struct World {
    directory: tempfile::TempDir,
    release: BoardRelease,
    bytes: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let mut noise = vec![0; 9_000];
        Random::new(1).fill(&mut noise);
        let tree: Tree = BTreeMap::from([
            ("shown".to_owned(), Node::Directory(0)),
            ("shown/noise".to_owned(), Node::File(true, 1_000_000_000, noise)),
            ("text".to_owned(), Node::File(false, 0, b"words, ".repeat(900))),
        ]);
        let trust = Trust::new();
        let release = trust.release(7, &tree, 2_048, true);
        let mut board = Board::formatted(1_024);
        let mut store = board.open().unwrap();
        store.put_authority(trust.authority()).unwrap();
        receive(&mut store, &trust, &release).unwrap();
        store.activate().unwrap();
        drop(store);
        let bytes = board.card.bytes();
        Self { directory: tempfile::tempdir().unwrap(), release, bytes }
    }

    fn image(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("card.img");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, bytes: &[u8], verb: &str, more: &[&str]) -> Output {
        let image = self.image(bytes);
        let mut command = Command::new(program());
        command.env("FLEETCAST_STATE", self.directory.path());
        command.args(["store", verb]).arg(&image).args(more);
        let output = command.output().unwrap();
        assert_eq!(fs::read(&image).unwrap(), bytes, "an image is never written");
        output
    }

    fn json(&self, bytes: &[u8], verb: &str) -> (i32, Value, Value) {
        let output = self.run(bytes, verb, &["--json"]);
        let parse = |text: &[u8]| serde_json::from_slice(text).unwrap_or(Value::Null);
        (output.status.code().unwrap(), parse(&output.stdout), parse(&output.stderr))
    }
}

#[test]
fn files_are_listed_and_their_bytes_come_out() {
    let world = World::new();
    let (code, listed, _) = world.json(&world.bytes, "ls");
    assert_eq!((code, &listed["schema"], &listed["kind"]), (0, &1.into(), &"store-files".into()));
    let items = listed["items"].as_array().unwrap();
    let paths: Vec<&str> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["shown/noise", "text"]);
    assert_eq!(items[0]["bytes"], 9_000);
    assert_eq!(items[0]["executable"], true);
    assert_eq!(items[0]["modified"], "2001-09-09T01:46:40Z");
    assert_eq!((&items[1]["group"], &items[1]["sequence"]), (&"boards".into(), &7.into()));
    assert_eq!(items[1]["release"], world.release.name.digest.to_string());
    for (path, expected) in &world.release.files {
        let output = world.run(&world.bytes, "cat", &[&format!("boards/{path}")]);
        assert!(output.status.success() && output.stdout == *expected, "{path}");
    }
    let table = world.run(&world.bytes, "ls", &[]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("boards/shown/noise"));
    for path in ["boards/none", "other/text", "text", "boards/shown", "boards/../text"] {
        let output = world.run(&world.bytes, "cat", &[path]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{path}");
    }
}

#[test]
fn a_whole_card_is_verified_and_a_damaged_one_is_named() {
    let world = World::new();
    let (code, checked, _) = world.json(&world.bytes, "check");
    assert_eq!((code, &checked["kind"]), (0, &"store-check".into()));
    let item = &checked["item"];
    let release = &item["releases"][0];
    assert_eq!((&item["ok"], &release["state"]), (&true.into(), &"active".into()));
    assert_eq!((&release["files"], &release["signed"]), (&2.into(), &true.into()));
    let mut damaged = world.bytes.clone();
    let noise = &world.release.files["shown/noise"][..64];
    let at = damaged.windows(64).position(|window| window == noise).unwrap();
    damaged[at + 9] ^= 2;
    let (code, checked, error) = world.json(&damaged, "check");
    assert_eq!((code, &error["code"]), (1, &"store-damaged".into()));
    assert_eq!(checked["item"]["ok"], false);
    assert_eq!(checked["item"]["releases"][0]["problems"][0], "Content 0 is damaged");
    let output = world.run(&damaged, "cat", &["boards/shown/noise"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "no wrong byte");
}

#[test]
fn a_store_is_found_in_its_partition() {
    let world = World::new();
    let start = 63;
    let mut disk = vec![0; start * SECTOR];
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    // The first partition is no store, the second one is.
    for (n, first) in [(0, 2_u32), (1, start as u32)] {
        let entry = 446 + 16 * n;
        disk[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
        disk[entry + 12..entry + 16].copy_from_slice(&1_024_u32.to_le_bytes());
    }
    disk[2 * SECTOR..2 * SECTOR + 11].copy_from_slice(b"\xeb\x3c\x90MSDOS5.0");
    disk.extend(&world.bytes);
    let output = world.run(&disk, "cat", &["boards/text"]);
    assert_eq!(output.stdout, world.release.files["text"]);
}

#[test]
fn what_is_no_store_is_refused_by_what_it_is() {
    let world = World::new();
    let mut newer = world.bytes.clone();
    newer[8] = 9;
    newer[8 * SECTOR + 8] = 9;
    for (bytes, expected) in [
        (vec![0; 1_024 * SECTOR], "store-blank"),
        (b"#!/bin/sh\n".repeat(60_000), "store-foreign"),
        (world.bytes[..900 * SECTOR].to_vec(), "store-truncated"),
        (vec![], "store-truncated"),
        // Its checksum is not right any more, so its number means nothing.
        (newer, "store-damaged"),
    ] {
        let (code, _, error) = world.json(&bytes, "ls");
        assert_eq!((code, &error["code"]), (1, &expected.into()), "{error}");
    }
}
