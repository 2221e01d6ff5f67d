//! The receiver of boards as a process, on the same switch as a real server.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::dhcp::DhcpServer;
use fleetcast_tests::processes::{Fleet, noise, skip, workspace};

/// Longer than anything takes that works, also on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// A board's receiver that runs; killed when dropped.
struct Tapper {
    process: Child,
    log: PathBuf,
}

impl Tapper {
    /// Starts one in the group `g`, on a card without partitions, which is all store.
    fn start(lan: &Lan, fleet: &Fleet, card: &Path, more: &[&str]) -> Self {
        File::create(card).unwrap().set_len(16 << 20).unwrap();
        let code = fleet.invite(&["--group", "g"]);
        let mut board = lan.switch().mortal(linux_tap());
        board.args(["--tap", "board0", "--enrol", &code, "--name", "tapper", "--card"]);
        let path = fleet.path("board.log");
        let log = File::create(&path).unwrap();
        let board = board.arg(card).args(more).stdin(Stdio::null()).stdout(log);
        Self { process: board.spawn().unwrap(), log: path }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn count(&self, word: &str) -> usize {
        self.said().lines().filter(|line| line.starts_with(word)).count()
    }

    /// Waits for the line number `nth` that begins so.
    fn wait_for(&self, word: &str, nth: usize) {
        let end = Instant::now() + SLOW;
        while self.count(word) < nth {
            assert!(Instant::now() < end, "no {word:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Tapper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the board said:\n{}", self.said());
        }
    }
}

/// The program, built beside this test's own.
fn linux_tap() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST-HASH
    let directory = test.ancestors().nth(2).unwrap();
    let profile = match directory.file_name().unwrap().to_str() {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet", "-p", "fleetcast-linux-tap"]);
    cargo.args(["--profile", profile]).arg("--target-dir").arg(directory.parent().unwrap());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory.join("linux-tap")
}

fn lan(test: &str) -> Option<Lan> {
    let made = Lan::new(&Plan::gigabit(2)).and_then(|lan| {
        lan.switch().run("ip", &["tuntap", "add", "board0", "mode", "tap"], "")?;
        lan.switch().run("ip", &["link", "set", "board0", "master", "br0", "up"], "")?;
        Ok(lan)
    });
    made.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
}

#[test]
fn the_memory_of_a_board_is_enough_to_receive_by_multicast_where_datagrams_are_lost() {
    let test = "the_memory_of_a_board_is_enough_to_receive_by_multicast_where_datagrams_are_lost";
    let Some(lan) = lan(test) else { return };
    let mut fleet = Fleet::between(lan.host(0), lan.host(1));
    let card = fleet.path("card.img");
    let board = Tapper::start(&lan, &fleet, &card, &["--address", "10.77.0.200/16"]);
    board.wait_for("connected", 1);
    assert_eq!(fleet.listed("tapper")["profile"], "constrained");
    let rules = "table netdev loss { chain out { type filter hook egress device \"board0\" \
        priority 0; ip protocol udp numgen random mod 100 < 2 drop; }; }";
    lan.switch().run("nft", &["-f", "-"], rules).unwrap();
    let file = fleet.path("file");
    let bytes = noise(9, 300_000);
    fs::write(&file, &bytes).unwrap();
    let sent = fleet.send(&file, &[]);
    assert_eq!(sent["deliveries"][0]["path"], "multicast", "{sent}");
    board.wait_for("installed", 1);
    drop(board);
    let cat = fleet.command(["store", "cat"]).arg(&card).arg("g/file").output().unwrap();
    assert!(cat.stdout == bytes, "{}", String::from_utf8_lossy(&cat.stderr));
    // Clearing keeps what boards need of a release: the next one is made from it. A server
    // that has just started spares nothing for recent uploads.
    fleet.kill_server();
    fleet.start_server();
    fleet.run(["--yes", "releases", "prune"]).done();
    let checked = fleet.run(["releases", "verify", "g#1"]).done();
    // Both trees: 300,000 bytes in chunks of 4 KiB at most are 74 chunks at least.
    assert!(checked["item"]["chunks"].as_u64().unwrap() > 74, "{checked}");
    assert_eq!(checked["item"]["bad"], 0, "{checked}");
    fs::write(&file, noise(10, 300_000)).unwrap();
    fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
}

#[test]
fn a_board_gets_renews_loses_and_changes_its_address_by_dhcp() {
    let test = "a_board_gets_renews_loses_and_changes_its_address_by_dhcp";
    let Some(lan) = lan(test) else { return };
    let fleet = Fleet::between(lan.host(0), lan.host(1));
    let (card, file) = (fleet.path("card.img"), fleet.path("file"));
    let (own, all) = (lan.address(1), Ipv4Addr::new(10, 77, 255, 255));
    let (first, second) = (Ipv4Addr::new(10, 77, 0, 201), Ipv4Addr::new(10, 77, 0, 202));
    // Leases of eight seconds: renewed after four, over after eight.
    let dhcp = DhcpServer::start(lan.host(1), own, all, first, 8);
    let board = Tapper::start(&lan, &fleet, &card, &[]);
    board.wait_for("connected", 1);
    let address = || fleet.listed("tapper")["address"].as_str().unwrap_or_default().to_owned();
    assert!(address().starts_with("10.77.0.201"), "{}", address());
    // Renewed, again and again: the channel stays.
    wait(|| dhcp.acknowledged() >= 4);
    assert_eq!((dhcp.discovers(), board.count("connected")), (1, 1), "{}", board.said());
    // Nobody renews it any more: it is given back, and asked for until somebody is there.
    dhcp.be_mute(true);
    wait(|| dhcp.discovers() >= 2);
    let bytes = noise(11, 100_000);
    fs::write(&file, &bytes).unwrap();
    fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(board.count("installed"), 0, "{}", board.said());
    // The address that it gets now is another one.
    dhcp.hand_out(second);
    dhcp.be_mute(false);
    board.wait_for("installed", 1);
    wait(|| address().starts_with("10.77.0.202"));
    // And it is taken away while it is in use.
    dhcp.hand_out(first);
    wait(|| address().starts_with("10.77.0.201"));
    drop(board);
    let cat = fleet.command(["store", "cat"]).arg(&card).arg("g/file").output().unwrap();
    assert!(cat.stdout == bytes, "{}", String::from_utf8_lossy(&cat.stderr));
}

fn wait(is: impl Fn() -> bool) {
    let end = Instant::now() + SLOW;
    while !is() {
        assert!(Instant::now() < end, "it does not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
