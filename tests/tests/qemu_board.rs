//! Firmware under QEMU, on the same switch as a real server and a real receiver.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleetcast_lab::card::{Settings, prepare};
use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::processes::{Fleet, noise, skip, workspace};
use serde_json::Value;

const BOARD: &str = "lm3s6965evb";
/// Longer than a board takes to start and to connect, under QEMU on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A board under QEMU; killed when dropped.
struct Board {
    qemu: Child,
    log: PathBuf,
}

impl Board {
    /// Connects a board with this card to the switch of `lan`.
    fn start(lan: &Lan, tap: &str, card: &std::path::Path, log: PathBuf) -> Self {
        let number = tap.bytes().last().unwrap();
        let mut qemu = lan.switch().mortal("qemu-system-arm");
        qemu.args(["-M", BOARD, "-display", "none", "-monitor", "none"]);
        qemu.arg("-kernel").arg(firmware());
        qemu.arg("-drive").arg(format!("if=sd,format=raw,file={}", card.display()));
        let mac = format!("52:54:00:77:00:{number:02x}");
        qemu.arg("-nic").arg(format!("tap,ifname={tap},script=no,downscript=no,mac={mac}"));
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        let qemu = qemu.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { qemu, log }
    }

    /// Waits for a line of its log that begins so.
    fn wait_for(&self, beginning: &str) -> String {
        let end = Instant::now() + SOON;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.starts_with(beginning)) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "no {beginning:?} in its log:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Cuts its power; notes how deep its stack was, for `cargo xtask size`.
    fn kill(mut self) {
        self.end();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let stacks = log.lines().filter_map(|line| line.split("stack=").nth(1)?.parse().ok());
        let note = workspace().join(format!("target/bare-metal/{BOARD}.stack"));
        // What an earlier firmware took says nothing of this one.
        let changed = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
        let noted =
            fs::read_to_string(&note).ok().filter(|_| changed(&note) > changed(&firmware()));
        let noted = noted.and_then(|text| text.trim().parse().ok());
        let deepest: Option<u64> = stacks.chain(noted).max();
        fs::write(note, deepest.unwrap_or(0).to_string()).unwrap();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- the board said:\n{log}");
        }
    }
}

fn firmware() -> PathBuf {
    workspace().join("target/bare-metal/thumbv7m-none-eabi/firmware").join(BOARD)
}

/// A LAN whose switch has places for boards; `None`, and counted as skipped, where there
/// can be none.
fn lan(test: &str, taps: &[&str]) -> Option<Lan> {
    let made = Lan::new(&Plan::gigabit(2)).and_then(|lan| {
        if !firmware().exists() {
            return Err(format!("there is no firmware; help: cargo xtask build {BOARD}"));
        }
        for tap in taps {
            lan.switch().run("ip", &["tuntap", "add", tap, "mode", "tap"], "")?;
            lan.switch().run("ip", &["link", "set", tap, "master", "br0", "up"], "")?;
        }
        Ok(lan)
    });
    made.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
}

/// What the receiver of that name is listed with, once `is` holds.
fn listed(fleet: &Fleet, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let list = fleet.run(["receivers", "list"]).done();
        let items = list["items"].as_array().unwrap();
        if let Some(found) = items.iter().find(|item| item["name"] == name && is(item)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "{list}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A file as it lies on a card.
fn on_card(fleet: &Fleet, card: &std::path::Path, path: &str) -> Vec<u8> {
    let mut cat: Command = fleet.command(["store", "cat"]);
    let output = cat.arg(card).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_board_enrols_receives_beside_a_host_and_goes_on_after_power_cuts() {
    let test = "a_board_enrols_receives_beside_a_host_and_goes_on_after_power_cuts";
    let Some(lan) = lan(test, &["board0"]) else { return };
    let fleet = Fleet::between(lan.host(0), lan.host(1));
    let host = fleet.receiver("host");
    let card = fleet.path("card.img");
    let code = fleet.invite(&["--group", "g"]);
    let (name, address) = (Some("till-7".to_owned()), Some("10.77.0.200/16".to_owned()));
    prepare(&card, &Settings { code, name, address }).unwrap();
    let board = Board::start(&lan, "board0", &card, fleet.path("first.log"));
    board.wait_for("connected");
    let item = listed(&fleet, "till-7", |item| item["state"] == "active");
    assert_eq!((&item["profile"], &item["groups"][0]), (&"constrained".into(), &"g".into()));

    let folder = fleet.path("folder");
    fs::create_dir(&folder).unwrap();
    let (random, text) = (noise(7, 200_000), "the same line again\n".repeat(5_000));
    fs::write(folder.join("random"), &random).unwrap();
    fs::write(folder.join("text"), &text).unwrap();
    let sent = fleet.send(&folder, &[]);
    let deliveries = sent["deliveries"].as_array().unwrap();
    assert!(deliveries.iter().all(|d| d["path"] == "multicast"), "{sent}");
    board.wait_for("installed");
    board.kill();
    assert_eq!(on_card(&fleet, &card, "g/folder/random"), random);
    assert_eq!(on_card(&fleet, &card, "g/folder/text"), text.as_bytes());
    assert_eq!(fs::read(host.file("folder/random")).unwrap(), random);

    // Without its token, and with what it holds.
    let board = Board::start(&lan, "board0", &card, fleet.path("second.log"));
    board.wait_for("connected");
    let item = listed(&fleet, "till-7", |item| item["state"] == "active");
    assert_eq!(item["installed"][0]["sequence"], 1, "{item}");
    // Cut in the middle of a release, it takes up where it was.
    let more = noise(8, 400_000);
    fs::write(folder.join("random"), &more).unwrap();
    fleet.run(["send", folder.to_str().unwrap(), "--to", "g"]).done();
    board.wait_for("offered");
    std::thread::sleep(Duration::from_millis(300));
    board.kill();
    let board = Board::start(&lan, "board0", &card, fleet.path("third.log"));
    board.wait_for("installed sequence=2");
    board.kill();
    assert_eq!(on_card(&fleet, &card, "g/folder/random"), more);
}
