//! The receiver of boards as a process, on the same switch as a real server.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::processes::{Fleet, noise, skip, workspace};

/// Longer than anything takes that works, also on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

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
    // A card without partitions is all store.
    File::create(&card).unwrap().set_len(16 << 20).unwrap();
    let code = fleet.invite(&["--group", "g"]);
    let mut board = lan.switch().mortal(linux_tap());
    board.args(["--tap", "board0", "--enrol", &code, "--name", "tapper", "--card"]);
    board.arg(&card).args(["--address", "10.77.0.200/16"]);
    let log = File::create(fleet.path("board.log")).unwrap();
    let mut board = board.stdin(Stdio::null()).stdout(log).spawn().unwrap();
    let said = || fs::read_to_string(fleet.path("board.log")).unwrap();
    let wait_for = |word: &str| {
        let end = Instant::now() + SLOW;
        while !said().lines().any(|line| line.starts_with(word)) {
            assert!(Instant::now() < end, "no {word:?}:\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("connected");
    assert_eq!(fleet.listed("tapper")["profile"], "constrained");
    let rules = "table netdev loss { chain out { type filter hook egress device \"board0\" \
        priority 0; ip protocol udp numgen random mod 100 < 2 drop; }; }";
    lan.switch().run("nft", &["-f", "-"], rules).unwrap();
    let file = fleet.path("file");
    let bytes = noise(9, 300_000);
    fs::write(&file, &bytes).unwrap();
    let sent = fleet.send(&file, &[]);
    assert_eq!(sent["deliveries"][0]["path"], "multicast", "{sent}");
    wait_for("installed");
    board.kill().unwrap();
    board.wait().unwrap();
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
