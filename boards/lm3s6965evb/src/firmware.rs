//! What runs on the board.

use core::fmt::Write as _;
use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, entry, exception};
use fleetcast_board::appliance::{Appliance, Event, Memory};
use fleetcast_board::card::look;
use fleetcast_board::drive::Driver;
use fleetcast_board::net::{Net, NetMemory, Sockets};
use fleetcast_board::partition::Partition;
use fleetcast_board::recovery::Recovery;
use fleetcast_board::sd::SdCard;
use fleetcast_board::settings::Settings;

use crate::chip;
use crate::ethernet::{Ethernet, Frames};
use crate::log;
use crate::receiving;
use crate::spi::Ssi;
use crate::stack;
use crate::uart::Uart;
use crate::work;

/// Milliseconds that a board which cannot start waits before it tries again.
const PAUSE: u64 = 5_000;

/// The board's disk.
type Disk = Partition<SdCard<Ssi>>;

/// All that is static and zero in the beginning: memory to be lent.
struct Statics {
    memory: Memory,
    net: NetMemory,
    frames: Frames,
}

#[entry]
fn main() -> ! {
    static mut STATICS: Statics =
        Statics { memory: Memory::new(), net: NetMemory::new(), frames: Frames::new() };
    static mut SOCKETS: Sockets<'static> = Sockets::new();
    static mut NET: Option<Net<'static, Ethernet<'static>>> = None;
    static mut APPLIANCE: Option<Appliance<'static, Disk>> = None;
    chip::start();
    Uart::start();
    chip::start_watchdog();
    // Nobody has told it the time, so it cannot see whether a release has expired.
    let (version, cause) = (env!("CARGO_PKG_VERSION"), chip::cause());
    log::say(format_args!("start version={version} clock=none reset={cause}"));
    let why = run(STATICS, SOCKETS, NET, APPLIANCE);
    log::say(format_args!("cannot-start {why}"));
    let until = chip::now().as_micros() + PAUSE * 1_000;
    while chip::now().as_micros() < until {
        chip::feed_watchdog();
        chip::sleep();
    }
    chip::reset()
}

/// Runs the receiver; returns why it cannot.
fn run(
    statics: &'static mut Statics,
    sockets: &'static mut Sockets<'static>,
    net: &'static mut Option<Net<'static, Ethernet<'static>>>,
    appliance: &'static mut Option<Appliance<'static, Disk>>,
) -> &'static str {
    let Ok(mut card) = SdCard::new(Ssi::start()) else { return "no-card" };
    // There are no frames yet: their room is free for the file.
    let file = statics.frames.room_for_file();
    let Ok(found) = look(&mut card, file) else { return "card-failed" };
    let Some(place) = found.store else { return "no-store-partition" };
    let settings = Settings::parse(file.get(..found.settings).unwrap_or(&[]));
    if let Err(bad) = &settings {
        log::say(format_args!("unwell settings {bad:?}"));
    }
    // A file that cannot be read hinders nobody who is enrolled already.
    let settings = settings.unwrap_or(Settings::NONE);
    let (addressing, mac) = (settings.addressing, chip::mac());
    let mut name = heapless::String::<16>::new();
    let _ = write!(name, "board-{:02x}{:02x}{:02x}", mac[3], mac[4], mac[5]);
    let disk = Partition::new(card, place.base, place.len);
    let (memory, now) = (&mut statics.memory, chip::now());
    let opened = Appliance::open(appliance, disk, memory, &settings, &name, now);
    let opened = opened.and_then(|(appliance, datagram)| {
        appliance.recall()?;
        Ok((appliance, datagram))
    });
    let (appliance, datagram) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            log::say(format_args!("unwell {why:?}"));
            return "store";
        }
    };
    log::say(format_args!("opened id={}", appliance.id()));
    let device = Ethernet::start(mac, &mut statics.frames);
    let seed = u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 1]);
    let (memory, now) = (&mut statics.net, chip::now());
    let net = Net::open(net, device, mac, addressing, seed, memory, sockets, now);
    serve(&mut Driver { net, appliance, datagram })
}

/// Runs until the card has failed.
#[inline(never)]
fn serve(driver: &mut Driver<'_, '_, Ethernet<'_>, Disk>) -> ! {
    let mut recovery = Recovery::new();
    while !recovery.is_due(chip::now()) {
        chip::feed_watchdog();
        let mut hear = |event: &Event| {
            tell(event);
            recovery.note(chip::now(), event);
        };
        if !driver.round(&chip::now, &mut hear) {
            work::sleep_unless(receiving::is_waiting);
        }
    }
    log::say(format_args!("restart why=card-failed"));
    chip::reset()
}

fn tell(event: &Event) {
    // A line takes four milliseconds at this rate, and progress is told twenty times a second.
    if matches!(event, Event::Progress(..)) && !work::is_time_to_tell() {
        return;
    }
    log::tell(event);
    match event {
        Event::Offered { .. } => work::begin(),
        Event::Installed(_) => log::say(format_args!("{}", work::Since)),
        _ => {}
    }
    if matches!(event, Event::Connected | Event::Installed(_)) {
        let (high, fixed) = (stack::high_water(), stack::static_bytes());
        log::say(format_args!("memory static={fixed} stack={high}"));
    }
}

#[exception]
fn SysTick() {
    chip::tick();
    receiving::tick();
}

/// All that has no handler of its own: the Ethernet controller's interrupt, and what does
/// not occur, such as an interrupt that nobody has enabled.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    if number == chip::ETHERNET {
        receiving::take();
    } else {
        log::say(format_args!("fault interrupt={number}"));
        chip::reset()
    }
}

/// A fault of the core, such as an access to memory that is not there: what a panic is to
/// what the compiler could see coming.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    log::say(format_args!("fault at={:08x}", frame.pc()));
    chip::reset()
}

// A symbol of its own, so that a debugger finds it.
#[inline(never)]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let place = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    log::say(format_args!("panic at={}:{}", place.0, place.1));
    chip::reset()
}
