//! A server, a card that is enrolled there, and what is asked of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fleetcast_lab::Lan;
use fleetcast_lab::card::{Settings, prepare};
use fleetcast_tests::emulated::{Board, SOON, Slot};
use fleetcast_tests::processes::{Fleet, noise};
use serde_json::Value;

/// The place of the first board on the switch.
pub(crate) const TAP: &str = "board0";

/// A fleet with a group `g`, and the card of a board that is to be in it.
pub(crate) struct Stand<'l> {
    pub(crate) lan: &'l Lan,
    pub(crate) fleet: Fleet,
    pub(crate) card: PathBuf,
}

impl<'l> Stand<'l> {
    /// A server on host 0; receivers are on host 1 unless they are told otherwise.
    pub(crate) fn new(lan: &'l Lan) -> Self {
        let fleet = Fleet::between(lan.host(0), lan.host(1));
        let card = fleet.path("card.img");
        let code = fleet.invite(&["--group", "g"]);
        let (name, address) = (Some("till-7".to_owned()), Some("10.77.0.200/16".to_owned()));
        prepare(&card, &Settings { code, name, address }).unwrap();
        Self { lan, fleet, card }
    }

    /// A board with its card, connected; `name` is its log's.
    pub(crate) fn board(&self, name: &str) -> Board {
        self.board_with(name, Slot::Card(&self.card), &[])
    }

    /// The same, with something else in its slot, and more options for QEMU.
    pub(crate) fn board_with(&self, name: &str, slot: Slot<'_>, more: &[&str]) -> Board {
        let home = self.home();
        let board = Board::start_with(self.lan, TAP, slot, &home, name, more);
        board.wait_for("connected");
        board
    }

    /// Where files of the test are.
    pub(crate) fn home(&self) -> PathBuf {
        self.fleet.path("")
    }

    /// A file of so many bytes that do not compress.
    pub(crate) fn file(&self, seed: u64, len: usize) -> (PathBuf, Vec<u8>) {
        let (path, bytes) = (self.fleet.path("file"), noise(seed, len));
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    /// Sends a file to the group, so slowly that there is time to disturb it, and waits
    /// for nobody.
    pub(crate) fn send(&self, path: &Path) {
        self.send_with(path, &["--rate", "100KB/s"]);
    }

    /// The same as these options have it.
    pub(crate) fn send_with(&self, path: &Path, options: &[&str]) {
        let send = ["send", path.to_str().unwrap(), "--to", "g"];
        self.fleet.run([&send[..], options].concat()).done();
    }

    /// What the board's delivery came to, once it is final: state, code, reason.
    pub(crate) fn ending(&self, path: &Path) -> (String, String, String) {
        let arguments = ["send", path.to_str().unwrap(), "--to", "g", "--wait=60s"];
        let answer = self.fleet.run_within(2 * SOON, arguments);
        let item = &answer.document()["item"];
        let deliveries = item["deliveries"].as_array().unwrap();
        let own = deliveries.iter().find(|delivery| delivery["receiver"] == "till-7").unwrap();
        let text = |key: &str| own[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("code"), text("reason"))
    }

    /// What the board is listed with, once `is` holds.
    pub(crate) fn listed(&self, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + SOON;
        loop {
            let item = self.fleet.listed("till-7");
            if is(&item) {
                return item;
            }
            assert!(Instant::now() < end, "{item}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// A file as it lies on a card; empty where it is not there.
    pub(crate) fn on(&self, card: &Path, path: &str) -> Vec<u8> {
        self.fleet.command(["store", "cat"]).arg(card).arg(path).output().unwrap().stdout
    }

    /// Checks all that a card promises, and returns the number of the release in use.
    pub(crate) fn check(&self, card: &Path) -> Option<u64> {
        let output = self.fleet.command(["store", "check"]).arg(card).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}{errors}");
        let checked: Value = serde_json::from_str(&said).unwrap();
        let releases = checked["item"]["releases"].as_array().unwrap();
        let active = releases.iter().find(|release| release["state"] == "active");
        active.map(|release| {
            assert_eq!(release["signed"], true, "{checked}");
            release["sequence"].as_u64().unwrap()
        })
    }
}
