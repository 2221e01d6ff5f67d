//! In how many instructions a board takes a release, under QEMU: what else the machine does
//! changes the time that it takes, but not their number.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fleetcast_lab::card::{Settings, prepare};
use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::processes::{Fleet, noise, skip, workspace};

const BOARD: &str = "lm3s6965evb";
const TAP: &str = "board0";
/// Bytes of the release.
const BYTES: usize = 1 << 20;
/// Longer than any of it takes on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// QEMU's clock: 2 to the power of so many nanoseconds for each instruction, the nearest
/// to a processor of 50 MHz that takes one cycle for each.
const SHIFT: u32 = 4;
/// Instructions per frame that is taken at most, from the offer to the installed release:
/// what is lost on a busy machine comes again, so those per byte vary. 103,000 were measured,
/// and 120,000 where a board got so little of a processor that it mostly waited.
const MOST: f64 = 140_000.0;
/// Instructions of a second on the processor that is emulated, of one cycle each.
const PROCESSOR: f64 = 50e6;

/// A board under QEMU; killed when dropped.
struct Board {
    qemu: Child,
    log: PathBuf,
}

impl Board {
    fn start(lan: &Lan, card: &Path, log: PathBuf, more: &[&str]) -> Self {
        let mut qemu = lan.switch().mortal("qemu-system-arm");
        qemu.args(["-M", BOARD, "-display", "none", "-monitor", "none"]).args(more);
        qemu.arg("-kernel").arg(firmware());
        qemu.arg("-drive").arg(format!("if=sd,format=raw,file={}", card.display()));
        let mac = "52:54:00:77:00:31";
        qemu.arg("-nic").arg(format!("tap,ifname={TAP},script=no,downscript=no,mac={mac}"));
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        let qemu = qemu.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { qemu, log }
    }

    /// Waits for a line of its log that begins so; when it was seen.
    fn wait_for(&self, beginning: &str) -> (String, Instant) {
        let end = Instant::now() + SOON;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(line) = whole.lines().find(|line| line.starts_with(beginning)) {
                return (line.to_owned(), Instant::now());
            }
            assert!(Instant::now() < end, "no {beginning:?} in its log:\n{log}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if thread::panicking() {
            eprintln!("--- the board said:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn firmware() -> PathBuf {
    workspace().join("target/bare-metal/thumbv7m-none-eabi/firmware").join(BOARD)
}

fn lan(test: &str) -> Option<Lan> {
    let made = Lan::new(&Plan::gigabit(2)).and_then(|lan| {
        if !firmware().exists() {
            return Err(format!("there is no firmware; help: cargo xtask build {BOARD}"));
        }
        lan.switch().run("ip", &["tuntap", "add", TAP, "mode", "tap"], "")?;
        lan.switch().run("ip", &["link", "set", TAP, "master", "br0", "up"], "")?;
        Ok(lan)
    });
    made.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
}

/// The numbers of a line of the log.
fn numbers(line: &str) -> BTreeMap<&str, f64> {
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, number)| Some((name, number.parse().ok()?))).collect()
}

/// A fleet with a board under QEMU, whose clock is the number of its instructions.
struct Stand {
    board: Board,
    fleet: Fleet,
    card: PathBuf,
    /// It lasts as long as what is on it.
    _lan: Lan,
}

/// What a board tells of a release that it has taken.
struct Work {
    /// Instructions that it took.
    instructions: f64,
    /// Frames for it.
    frames: f64,
    /// Seconds by the clock on the wall.
    seconds: f64,
    /// Seconds that it had nothing to do, by its own.
    idle: f64,
}

impl Stand {
    fn new(test: &str) -> Option<Self> {
        let lan = lan(test)?;
        let fleet = Fleet::between(lan.host(0), lan.host(1));
        let card = fleet.path("card.img");
        let code = fleet.invite(&["--group", "g"]);
        let (name, address) = (Some("till-7".to_owned()), Some("10.77.0.200/16".to_owned()));
        prepare(&card, &Settings { code, name, address }).unwrap();
        let shift = format!("shift={SHIFT}");
        let board = Board::start(&lan, &card, fleet.path("board.log"), &["-icount", &shift]);
        board.wait_for("connected");
        Some(Self { board, fleet, card, _lan: lan })
    }

    /// Sends a release, and checks it on the card.
    fn send(&self) -> Work {
        let (file, content) = (self.fleet.path("content"), noise(7, BYTES));
        fs::write(&file, &content).unwrap();
        self.fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
        let (_, offered) = self.board.wait_for("offered");
        let (_, installed) = self.board.wait_for("installed");
        let (line, _) = self.board.wait_for("work");
        let mut cat = self.fleet.command(["store", "cat"]);
        let output = cat.arg(&self.card).arg("g/content").output().unwrap();
        assert!(output.stdout == content, "other bytes are on the card");
        let told = numbers(&line);
        let micros = told["micros"] - told["idle"];
        Work {
            instructions: micros * 1_000.0 / f64::from(1 << SHIFT),
            frames: told["frames"],
            seconds: (installed - offered).as_secs_f64(),
            idle: told["idle"] / 1e6,
        }
    }
}

#[test]
fn a_board_takes_a_release_in_a_bounded_number_of_instructions() {
    let test = "a_board_takes_a_release_in_a_bounded_number_of_instructions";
    let Some(stand) = Stand::new(test) else { return };
    let work = stand.send();
    let each = work.instructions / BYTES as f64;
    let (wall, real) = (BYTES as f64 / 1e3 / work.seconds, PROCESSOR / 1e3 / each);
    println!("{:.2} s, {wall:.0} KB/s by the clock on the wall", work.seconds);
    println!("{each:.0} instructions per byte: {real:.0} KB/s at 50 MHz; idle {:.2} s", work.idle);
    let of_frame = work.instructions / work.frames;
    println!("{of_frame:.0} instructions per frame");
    assert!(of_frame < MOST, "{of_frame}");
}
