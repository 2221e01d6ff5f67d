//! The receiver of boards as an ordinary Linux process: a TAP device for Ethernet, a
//! file for a card. What happens is printed, one line each.

mod disk;
mod tap;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant as Clock;

use clap::Parser;
use disk::FileDisk;
use embedded_io::{Seek as _, SeekFrom};
use fleetcast_board::appliance::{Appliance, CannotStart, Event, Memory};
use fleetcast_board::card::look;
use fleetcast_board::drive::Driver;
use fleetcast_board::net::{Net, NetMemory, Sockets};
use fleetcast_board::partition::Partition;
use fleetcast_board::recovery::Recovery;
use fleetcast_board::settings::{MAX_FILE, Settings};
use fleetcast_core::digest::Digest;
use fleetcast_core::time::{Duration, Instant};
use tap::Tap;

/// Longest sleep.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// A receiver with the memory of a board.
#[derive(Parser)]
#[command(name = "linux-tap")]
struct Options {
    /// The TAP device; made where there is none
    #[arg(long, value_name = "IF")]
    tap: String,
    /// The card: an image with partitions, or any file, which is the store then
    #[arg(long, value_name = "IMG")]
    card: PathBuf,
    /// The enrolment code, in place of the card's `ENROL.TXT`
    #[arg(long, value_name = "CODE")]
    enrol: Option<String>,
    /// How it wants to be called
    #[arg(long, value_name = "N", default_value = "linux-tap")]
    name: String,
    /// Its address, such as 10.77.0.9/16; else by DHCP
    #[arg(long, value_name = "A")]
    address: Option<String>,
    /// Ends after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let begin = Clock::now();
    let clock = || Instant::from_micros(begin.elapsed().as_micros() as u64);
    let open = File::options().read(true).write(true).open(&options.card);
    let mut disk = FileDisk(open.map_err(|e| format!("{}: {e}", options.card.display()))?);
    let mut file = [0; MAX_FILE];
    let found = look(&mut disk, &mut file).map_err(|e| format!("the card: {e:?}"))?;
    let told = told(options)?;
    let text = if options.enrol.is_some() { told.as_bytes() } else { &file[..found.settings] };
    let mut settings = Settings::parse(text).map_err(|e| format!("settings: {e:?}"))?;
    if settings.seed.is_none() {
        settings.seed = Some(Digest(random()?));
    }
    let len = disk.seek(SeekFrom::End(0)).map_err(|e| format!("the card: {e:?}"))?;
    let (base, len) = found.store.map_or((0, len), |store| (store.base, store.len));
    let tap = Tap::new(&options.tap).map_err(|e| format!("{}: {e}", options.tap))?;
    let waiter = tap.waiter();
    let mut memory = Memory::new();
    let disk = Partition::new(disk, base, len);
    let mut place = None;
    let opened = Appliance::open(&mut place, disk, &mut memory, &settings, &options.name, clock());
    let (appliance, datagram) = opened.map_err(|error| cannot_start(&error))?;
    appliance.recall().map_err(|error| cannot_start(&error))?;
    let (mut net_memory, mut places) = (NetMemory::new(), Sockets::new());
    let id = appliance.id().0;
    let mac = [0x02, 0xFC, id[0], id[1], id[2], id[3]];
    let seed = u64::from_le_bytes(random::<8>()?);
    let addressing = settings.addressing;
    let mut net = None;
    let (memory, places) = (&mut net_memory, &mut places);
    let net = Net::open(&mut net, tap, mac, addressing, seed, memory, places, clock());
    let mut driver = Driver { net, appliance, datagram };
    let mut recovery = Recovery::new();
    println!("started id={}", driver.appliance.id());
    let end = options.seconds.map(|seconds| clock() + Duration::from_secs(seconds));
    while end.is_none_or(|end| clock() < end) {
        let mut hear = |event: &Event| {
            println!("{event}");
            recovery.note(clock(), event);
        };
        if driver.round(&clock, &mut hear) {
            continue;
        }
        let now = clock();
        if recovery.is_due(now) {
            return Err("the card failed; help: see to it, and start again".to_owned());
        }
        let until = driver.poll_timeout(now).map_or(LONGEST_SLEEP, |at| at.since(now));
        waiter.wait(until.min(LONGEST_SLEEP)).map_err(|e| format!("{}: {e}", options.tap))?;
    }
    Ok(())
}

/// The options as a settings file.
fn told(options: &Options) -> Result<String, String> {
    let mut text = format!("name {}\n", options.name);
    if let Some(code) = &options.enrol {
        text += &format!("{code}\n");
    }
    if let Some(address) = &options.address {
        text += &format!("address {address}\n");
    }
    if text.len() > MAX_FILE { Err("the options are too long".to_owned()) } else { Ok(text) }
}

fn cannot_start(error: &CannotStart) -> String {
    match error {
        CannotStart::NotEnrolled => {
            "not enrolled; help: start it once with --enrol CODE".to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes)
}
