//! `cargo xtask build|flash|run|size BOARD`.

mod elf;

mod frames;
mod log;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use fleetcast_lab::{Namespace, card, standing};

use crate::packages::{self, Package};
use crate::{bare_metal, shell};

const QEMU: [Package; 1] = [Package { name: "qemu-system-arm", brings: "qemu-system-arm" }];
const NETWORK: [Package; 1] = [Package { name: "iproute2", brings: "ip" }];

/// A board that there is firmware for.
#[derive(Debug)]
struct Board {
    /// Its name, which is that of its package.
    name: &'static str,
    /// What QEMU calls it.
    machine: &'static str,
    /// What probe-rs calls its chip.
    chip: &'static str,
    /// First address and bytes of its RAM.
    ram: (u64, u64),
    /// Most bytes of flash and of RAM that its firmware may take.
    budget: (u64, u64),
}

const BOARDS: [Board; 1] = [Board {
    name: "lm3s6965evb",
    machine: "lm3s6965evb",
    chip: "LM3S6965",
    ram: (0x2000_0000, 64 * 1_024),
    budget: (224 * 1_024, 48 * 1_024),
}];

/// Options of `run`.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// Which board
    board: String,
    /// The image of its card; made where there is none
    #[arg(long, value_name = "IMG")]
    card: PathBuf,
    /// Writes this code to the card's `ENROL.TXT`
    #[arg(long, value_name = "CODE")]
    enrol: Option<String>,
    /// How it wants to be called; with --enrol
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Its address, such as 10.77.0.200/16, else by DHCP; with --enrol
    #[arg(long, value_name = "A")]
    address: Option<String>,
    /// The TAP device that it is connected to; on the lab's switch where the lab is up
    #[arg(long, value_name = "IF", default_value = "board0")]
    tap: String,
    /// Ends after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Firmware that logs by defmt: less on the wire, and the time in front of each line
    #[arg(long)]
    defmt: bool,
}

/// Options of `size`.
#[derive(Args)]
pub(crate) struct SizeOptions {
    /// Which board
    board: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// Builds a board's firmware and tells where it is.
///
/// # Errors
/// What is missing, or the compiler's words.
pub(crate) fn build(board: &str) -> Result<bool, String> {
    if board == "linux-tap" {
        let outcome =
            shell::run("linux-tap", shell::cargo(&["build", "-p", "fleetcast-linux-tap"]));
        return finish(outcome, Path::new("target/debug/linux-tap"));
    }
    build_firmware(find(board)?, &[])
}

/// Builds firmware with these features besides its own.
fn build_firmware(board: &Board, features: &[&str]) -> Result<bool, String> {
    let mut command = bare_metal::build(board.name)?;
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
        // Without it defmt leaves out all but errors; for programs of a PC it is poison.
        command.env("DEFMT_LOG", "info");
    }
    finish(shell::run(board.name, command), &bare_metal::image(board.name))
}

fn finish(outcome: std::io::Result<shell::Outcome>, image: &Path) -> Result<bool, String> {
    let outcome = outcome.map_err(|error| error.to_string())?;
    if outcome.ok {
        println!("{}", image.display());
    } else {
        eprintln!("{}", outcome.output);
    }
    Ok(outcome.ok)
}

/// Writes a board's firmware to a real one, and starts it.
///
/// # Errors
/// When `probe-rs` is not there, or sees no probe.
pub(crate) fn flash(board: &str) -> Result<bool, String> {
    if board == "linux-tap" {
        return Err("linux-tap is a process; help: cargo xtask build linux-tap".to_owned());
    }
    let board = find(board)?;
    if !shell::has_program("probe-rs") {
        let cure = "help: cargo install probe-rs-tools, and connect the board's debug probe";
        return Err(format!("probe-rs is not installed; {cure}"));
    }
    // Before minutes go into building for a board that is not there.
    let mut list = Command::new("probe-rs");
    list.arg("list");
    let seen = shell::stdout(list).unwrap_or_default();
    if !has_probe(&seen) {
        let cure = "help: connect the board by USB; on Linux its udev rule may be missing \
            (https://probe.rs/docs/getting-started/probe-setup)";
        return Err(format!("probe-rs sees no debug probe; {cure}"));
    }
    if !build_firmware(board, &[])? {
        return Ok(false);
    }
    for step in [&["download", "--chip", board.chip][..], &["reset", "--chip", board.chip]] {
        let mut probe = Command::new("probe-rs");
        probe.args(step);
        if step[0] == "download" {
            probe.arg(shell::root().join(bare_metal::image(board.name)));
        }
        let status = probe.status().map_err(|error| format!("probe-rs: {error}"))?;
        if !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the answer of `probe-rs list` names a probe: `[0]: …`.
fn has_probe(seen: &str) -> bool {
    seen.lines().any(|line| line.trim_start().starts_with('['))
}

/// Runs a board's firmware under QEMU; its log is on stdout.
///
/// # Errors
/// What is missing, or does not work.
pub(crate) fn run(options: &RunOptions) -> Result<bool, String> {
    let board = find(&options.board)?;
    packages::ensure(&QEMU)?;
    packages::ensure(&NETWORK)?;
    if !build_firmware(board, if options.defmt { &["defmt"] } else { &[] })? {
        return Ok(false);
    }
    if options.enrol.is_some() || !options.card.exists() {
        let settings = card::Settings {
            code: options.enrol.clone().unwrap_or_default(),
            name: options.name.clone(),
            address: options.address.clone(),
        };
        let written = card::prepare(&options.card, &settings);
        written.map_err(|error| format!("{}: {error}", options.card.display()))?;
    }
    // On the lab's switch where there is one, else in our own network.
    let lab = standing::find(&shell::root().display().to_string()).ok();
    let program = |program: &str| match &lab {
        Some(lab) => lab.switch().command(program),
        None => Command::new(program),
    };
    connect(&program, &options.tap, lab.as_ref().map(fleetcast_lab::Lan::switch))?;
    let mut qemu = program("qemu-system-arm");
    qemu.args(arguments(board, &options.card, &options.tap));
    let child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = child.map_err(|error| format!("qemu-system-arm: {error}"))?;
    follow(board, child, options.seconds.map(Duration::from_secs))?;
    Ok(true)
}

/// Makes the TAP device, and puts it on the switch of the lab.
fn connect(
    program: &impl Fn(&str) -> Command,
    tap: &str,
    switch: Option<&Namespace>,
) -> Result<(), String> {
    let ip = |arguments: &[&str]| {
        let output = program("ip").args(arguments).output();
        let output = output.map_err(|error| format!("ip: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("ip: {said}")) }
    };
    if ip(&["link", "show", tap]).is_err() {
        ip(&["tuntap", "add", tap, "mode", "tap"])?;
    }
    if switch.is_some() {
        ip(&["link", "set", tap, "master", "br0"])?;
    }
    ip(&["link", "set", tap, "up"])
}

/// What QEMU is started with.
fn arguments(board: &Board, card: &Path, tap: &str) -> Vec<String> {
    // Boards on one switch differ by their cards.
    let [a, b, c, ..] = digest(&card.display().to_string());
    let mac = format!("52:54:00:{a:02x}:{b:02x}:{c:02x}");
    let nic = format!("tap,ifname={tap},script=no,downscript=no,mac={mac}");
    let drive = format!("if=sd,format=raw,file={}", card.display());
    let image = shell::root().join(bare_metal::image(board.name)).display().to_string();
    let plain = ["-M", board.machine, "-display", "none", "-monitor", "none", "-serial", "stdio"];
    let mut arguments: Vec<String> = plain.map(str::to_owned).to_vec();
    for (name, value) in [("-kernel", image), ("-drive", drive), ("-nic", nic)] {
        arguments.extend([name.to_owned(), value]);
    }
    arguments
}

/// FNV-1a (Fowler, Noll, Vo 1991): it tells cards apart, and guards nothing.
fn digest(text: &str) -> [u8; 8] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, step).to_le_bytes()
}

/// Prints the board's log until the time is over, and notes how deep its stack was.
fn follow(board: &Board, mut child: Child, limit: Option<Duration>) -> Result<(), String> {
    let image = read_image(board)?;
    let lines = child.stdout.take().map(|output| log::lines(output, &image));
    let end = limit.map(|limit| Instant::now() + limit);
    let mut deepest = 0;
    while let Some(lines) = &lines {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let Ok(line) = lines.recv_timeout(left.min(Duration::from_secs(3_600))) else { break };
        println!("{line}");
        if let Some(stack) = line.split("stack=").nth(1).and_then(|text| text.parse().ok()) {
            deepest = deepest.max(stack);
        }
    }
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    if deepest > 0 {
        // Only a note for `size`.
        let _ = std::fs::write(note(board), format!("{deepest}\n"));
    }
    Ok(())
}

fn read_image(board: &Board) -> Result<Vec<u8>, String> {
    let image = shell::root().join(bare_metal::image(board.name));
    std::fs::read(&image).map_err(|error| format!("{}: {error}", image.display()))
}

/// Where the deepest stack of the last run is noted.
fn note(board: &Board) -> PathBuf {
    shell::root().join(format!("target/bare-metal/{}.stack", board.name))
}

/// Prints what a board's firmware takes; false when it is over budget.
///
/// # Errors
/// When it cannot be built or read.
pub(crate) fn size(options: &SizeOptions) -> Result<bool, String> {
    let board = find(&options.board)?;
    let outcome = shell::run(board.name, bare_metal::build(board.name)?);
    if !outcome.map_err(|error| error.to_string())?.ok {
        return Err(format!("it does not build; help: cargo xtask build {}", board.name));
    }
    let bytes = read_image(board)?;
    let taken = elf::taken(&bytes, board.ram).ok_or("the image is no ELF file of 32 bits")?;
    let stack = measured(&note(board), &shell::root().join(bare_metal::image(board.name)));
    let (budget_flash, budget_ram) = board.budget;
    let ram = taken.ram + stack.unwrap_or(0);
    // What was not measured is not within its budget.
    let ok = taken.flash <= budget_flash && ram <= budget_ram && stack.is_some();
    if options.json {
        let item = serde_json::json!({
            "flash": taken.flash, "ram_static": taken.ram, "stack_high": stack,
            "budget_flash": budget_flash, "budget_ram": budget_ram, "ok": ok,
        });
        println!("{}", serde_json::json!({ "schema": 1, "kind": "size", "item": item }));
    } else {
        println!("flash\t{}\tof {budget_flash}", taken.flash);
        println!("RAM\t{ram}\tof {budget_ram}: static {} and stack {}", taken.ram, told(stack));
    }
    Ok(ok)
}

/// The stack that was noted since the image was built.
fn measured(note: &Path, image: &Path) -> Option<u64> {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let is_fresh = changed(note)? >= changed(image)?;
    let text = std::fs::read_to_string(note).ok().filter(|_| is_fresh)?;
    text.trim().parse().ok()
}

fn told(stack: Option<u64>) -> String {
    let unknown = || "not measured; help: cargo xtask run".to_owned();
    stack.map_or_else(unknown, |stack| stack.to_string())
}

fn find(name: &str) -> Result<&'static Board, String> {
    let known = || BOARDS.iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
    let found = BOARDS.iter().find(|board| board.name == name);
    found.ok_or_else(|| format!("no board {name}; there is {}", known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_seen_in_the_list_of_probe_rs() {
        let seen = "The following debug probes were found:\n\
            [0]: FTDI Dual RS232 -- 0403:6010 (FTDI)\n";
        assert!(has_probe(seen));
        assert!(!has_probe("No debug probes were found.\n"));
        assert!(!has_probe(""));
    }

    #[test]
    fn no_program_of_a_pc_has_defmt_in_it() {
        // With it they would not link where DEFMT_LOG is set.
        let mut arguments = vec!["tree", "--prefix", "none", "--edges", "normal,build"];
        for package in ["fleetcast", "fleetcast-linux-tap", "fleetcast-tests", "xtask"] {
            arguments.extend(["-p", package]);
        }
        let tree = shell::stdout(shell::cargo(&arguments)).expect("cargo tells what it builds");
        assert!(tree.contains("fleetcast-core"), "{tree}");
        assert!(!tree.lines().any(|line| line.starts_with("defmt ")), "{tree}");
    }
}
