//! Boards under QEMU: how one is started, what it says, and what is done to it.
//!
//! What runs is the firmware as it is shipped: faults come from outside, through its
//! card, its cable and its debug port.

mod debugger;
mod elf;
mod writes;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};

pub use self::debugger::Debugger;
pub use self::elf::symbol;
pub use self::writes::{LoggedWrite, logged_writes};
use crate::processes::{skip, workspace};

/// The board, as QEMU and our packages call it.
pub const BOARD: &str = "lm3s6965evb";
/// Longer than a board takes for anything that works, under QEMU on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);
/// How often to look at what it has said.
const LOOK: Duration = Duration::from_millis(30);

/// What is in a board's slot for cards.
#[derive(Clone, Copy, Debug)]
pub enum Slot<'p> {
    /// Nothing.
    Empty,
    /// This image.
    Card(&'p Path),
    /// This image, and every write to it is logged to another file (`blklogwrites`).
    Logged {
        /// The image.
        card: &'p Path,
        /// The log, which is made anew.
        log: &'p Path,
    },
    /// This image, with sectors that fail (`blkdebug`).
    Failing {
        /// The image.
        card: &'p Path,
        /// Which of them.
        sectors: &'p [u64],
        /// Whether they fail when they are written, or when they are read.
        writes: bool,
    },
}

/// A board under QEMU; killed when dropped.
#[derive(Debug)]
pub struct Board {
    qemu: Child,
    directory: PathBuf,
    name: String,
}

/// The firmware that is tested.
#[must_use]
pub fn firmware() -> PathBuf {
    workspace().join("target/bare-metal/thumbv7m-none-eabi/firmware").join(BOARD)
}

/// A LAN of so many hosts whose switch has places for boards; `None`, and counted as
/// skipped, where there can be none.
#[must_use]
pub fn lan(test: &str, hosts: usize, taps: &[&str]) -> Option<Lan> {
    let made = Lan::new(&Plan::gigabit(hosts)).and_then(|lan| {
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

/// Loses so many of a hundred of the UDP datagrams that the switch sends to a board.
///
/// # Panics
/// When nftables does not take it.
pub fn lose(lan: &Lan, tap: &str, percent: u32) {
    let rules = format!(
        "table netdev loss_{tap} {{ chain out {{ type filter hook egress device \"{tap}\" \
         priority 0; ip protocol udp numgen random mod 100 < {percent} drop; }}; }}"
    );
    lan.switch().run("nft", &["-f", "-"], &rules).expect("nftables");
}

impl Board {
    /// Starts a board on the switch of `lan`; its log and sockets are `NAME.…` in
    /// `directory`.
    #[must_use]
    pub fn start(lan: &Lan, tap: &str, slot: Slot<'_>, directory: &Path, name: &str) -> Self {
        Self::start_with(lan, tap, slot, directory, name, &[])
    }

    /// The same, with more options for QEMU.
    ///
    /// # Panics
    /// When there is no QEMU.
    #[must_use]
    pub fn start_with(
        lan: &Lan,
        tap: &str,
        slot: Slot<'_>,
        directory: &Path,
        name: &str,
        more: &[&str],
    ) -> Self {
        let path = |kind: &str| directory.join(format!("{name}.{kind}"));
        let number = tap.bytes().last().expect("a name");
        let mut qemu = lan.switch().mortal("qemu-system-arm");
        qemu.args(["-M", BOARD, "-display", "none"]).arg("-kernel").arg(firmware());
        let monitor = format!("unix:{},server=on,wait=off", path("monitor").display());
        qemu.arg("-monitor").arg(monitor);
        let debugger = path("debugger");
        let socket = format!("socket,id=gdb,server=on,wait=off,path={}", debugger.display());
        qemu.arg("-chardev").arg(socket).args(["-gdb", "chardev:gdb"]);
        if let Some(drive) = drive(slot) {
            qemu.arg("-drive").arg(drive);
        }
        let mac = format!("52:54:00:77:00:{number:02x}");
        let nic = format!("tap,id=cable,ifname={tap},script=no,downscript=no,mac={mac}");
        qemu.arg("-nic").arg(nic);
        qemu.arg("-serial").arg(format!("file:{}", path("log").display()));
        let errors = File::create(path("errors")).expect("a directory");
        let qemu = qemu.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let qemu = qemu.spawn().expect("qemu-system-arm");
        Self { qemu, directory: directory.to_owned(), name: name.to_owned() }
    }

    /// How long its threads have waited for a processor of this machine, all together.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.qemu.id())).expect("it runs");
        let waited = |task: PathBuf| -> Option<u64> {
            // Nanoseconds on a processor, and waiting for one (proc_pid_schedstat).
            let line = fs::read_to_string(task.join("schedstat")).ok()?;
            line.split(' ').nth(1)?.parse().ok()
        };
        tasks.flatten().filter_map(|task| waited(task.path())).map(Duration::from_nanos).sum()
    }

    /// All that it has said.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// What QEMU has said.
    #[must_use]
    pub fn errors(&self) -> String {
        fs::read_to_string(self.path("errors")).unwrap_or_default()
    }

    /// How many lines of its log begin so.
    #[must_use]
    pub fn count(&self, beginning: &str) -> usize {
        self.log().lines().filter(|line| line.starts_with(beginning)).count()
    }

    /// Waits for a line of its log that begins so.
    pub fn wait_for(&self, beginning: &str) -> String {
        self.wait_for_nth(beginning, 1, SOON)
    }

    /// Waits for the line number `nth` that begins so.
    ///
    /// # Panics
    /// When it does not come within `limit`.
    pub fn wait_for_nth(&self, beginning: &str, nth: usize, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let log = self.log();
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = lines.by_ref().filter(|l| l.starts_with(beginning)).nth(nth - 1) {
                return line.trim_end().to_owned();
            }
            assert!(Instant::now() < end, "no {beginning:?} in its log");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until it holds so many bytes of a release.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for_progress(&self, bytes: u64) {
        let end = Instant::now() + SOON;
        let held =
            |line: &str| line.strip_prefix("progress bytes=")?.split(' ').next()?.parse().ok();
        while !self.log().lines().filter_map(held).any(|held: u64| held >= bytes) {
            assert!(Instant::now() < end, "it has not got {bytes} bytes");
            std::thread::sleep(LOOK);
        }
    }

    /// How deep its stack has been, as it told last.
    #[must_use]
    pub fn stack(&self) -> Option<u64> {
        let log = self.log();
        log.lines().filter_map(|line| line.split("stack=").nth(1)?.parse().ok()).max()
    }

    /// Pulls its cable, or plugs it in.
    pub fn set_link(&self, up: bool) {
        self.tell_monitor(&format!("set_link cable {}", if up { "on" } else { "off" }));
    }

    /// Waits until it has started for the `nth` time, after a reset.
    ///
    /// QEMU's Ethernet asks for no more frames when it is reset while it is full; it does
    /// when the machine is stopped and goes on.
    pub fn wait_for_start(&self, nth: usize) {
        self.wait_for_nth("start ", nth, SOON);
        self.tell_monitor("stop");
        self.tell_monitor("cont");
    }

    /// Has QEMU's monitor do something.
    ///
    /// # Panics
    /// When there is no monitor.
    pub fn tell_monitor(&self, command: &str) {
        let mut socket = self.connect("monitor");
        let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
        let mut prompt = Vec::new();
        reader.read_until(b')', &mut prompt).expect("a prompt");
        socket.write_all(format!("{command}\n").as_bytes()).expect("a monitor");
        // It asks again when it has done so.
        reader.read_until(b')', &mut prompt).expect("a prompt");
    }

    /// Stops it and attaches to its debug port.
    #[must_use]
    pub fn debug(&self) -> Debugger {
        Debugger::attach(self.connect("debugger"))
    }

    /// Cuts its power; notes how deep its stack was, for `cargo xtask size`.
    ///
    /// # Panics
    /// When the note cannot be written.
    pub fn kill(mut self) {
        self.end();
        let note = workspace().join(format!("target/bare-metal/{BOARD}.stack"));
        // What an earlier firmware took says nothing of this one.
        let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
        let noted =
            fs::read_to_string(&note).ok().filter(|_| changed(&note) > changed(&firmware()));
        let noted = noted.and_then(|text| text.trim().parse().ok());
        let deepest = self.stack().into_iter().chain(noted).max();
        fs::write(note, deepest.unwrap_or(0).to_string()).expect("the target directory");
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    fn connect(&self, kind: &str) -> UnixStream {
        let end = Instant::now() + SOON;
        loop {
            match UnixStream::connect(self.path(kind)) {
                Ok(socket) => return socket,
                Err(error) => assert!(Instant::now() < end, "{kind}: {error}"),
            }
            std::thread::sleep(LOOK);
        }
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
            eprintln!("--- {} said:\n{}\n--- QEMU said:\n{}", self.name, self.log(), self.errors());
        }
    }
}

/// The drive of a slot, as QEMU's option.
fn drive(slot: Slot<'_>) -> Option<String> {
    let file =
        |name: &str, path: &Path| format!("{name}.driver=file,{name}.filename={}", path.display());
    Some(match slot {
        Slot::Empty => return None,
        Slot::Card(card) => format!("if=sd,format=raw,file={}", card.display()),
        Slot::Logged { card, log } => {
            File::create(log).expect("a directory");
            let (card, log) = (file("file", card), file("log", log));
            format!(
                "if=sd,driver=blklogwrites,{card},{log},log-sector-size=512,\
                 log-super-update-interval=1"
            )
        }
        Slot::Failing { card, sectors, writes } => {
            let event = if writes { "write_aio" } else { "read_aio" };
            let fault = |(n, sector): (usize, &u64)| {
                let name = format!("file.inject-error.{n}");
                format!(",{name}.event={event},{name}.sector={sector},{name}.errno=5")
            };
            let faults: String = sectors.iter().enumerate().map(fault).collect();
            let image = file("file.image", card);
            format!("if=sd,driver=raw,file.driver=blkdebug,{image}{faults}")
        }
    })
}
