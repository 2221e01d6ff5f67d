//! Clock, time, watchdog and reset.

use core::sync::atomic::{AtomicU32, Ordering};

use fleetcast_core::time::Instant;

use crate::registers::Peripheral;

/// Cycles of a microsecond: the PLL's 200 MHz by four.
pub(crate) const CYCLES_PER_MICRO: u32 = 50;
/// SysTick comes so often.
const CYCLES_PER_MILLI: u32 = CYCLES_PER_MICRO * 1_000;
/// The watchdog barks after this time, and bites after it once more.
const WATCHDOG: u32 = 4_000 * CYCLES_PER_MILLI;

const RIS: u16 = 0x050;
const RESC: u16 = 0x05C;
const RCC: u16 = 0x060;
const RCGC0: u16 = 0x100;
const RCGC1: u16 = 0x104;
const RCGC2: u16 = 0x108;
const USER0: u16 = 0x1E0;
const USER1: u16 = 0x1E4;

/// What the program was doing when it ended: a word of memory that a reset leaves as it is
/// and nobody clears.
#[unsafe(link_section = ".uninit.STATE")]
static STATE: AtomicU32 = AtomicU32::new(0);
/// It was running.
const RUNNING: u32 = 0x52_55_4E_21;
/// It had asked for a reset.
const ENDED: u32 = 0x45_4E_44_21;

static MILLIS: AtomicU32 = AtomicU32::new(0);
/// How often `MILLIS` has overflowed, and its last value: for the one who reads time.
static EPOCHS: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicU32 = AtomicU32::new(0);

/// Runs at 50 MHz, powers what is used, and begins to count time.
pub(crate) fn start() {
    let system = Peripheral::System;
    // Data sheet 6.3: bypass the PLL, choose the crystal of 8 MHz, switch it on, divide
    // by four, and use it when it is stable.
    system.modify(RCC, 1 << 22, 1 << 11);
    system.modify(RCC, 0x1F << 6 | 3 << 4 | 1 << 13 | 1 << 12 | 1, 0xE << 6);
    system.modify(RCC, 0xF << 23, 3 << 23 | 1 << 22);
    for _ in 0..100_000 {
        if system.read(RIS) & 1 << 6 != 0 {
            break;
        }
    }
    system.modify(RCC, 1 << 11, 0);
    // Watchdog; SSI 0 and UART 0; Ethernet MAC and PHY, ports A, D and F.
    system.modify(RCGC0, 0, 1 << 3);
    system.modify(RCGC1, 0, 1 << 4 | 1);
    system.modify(RCGC2, 0, 1 << 30 | 1 << 28 | 1 << 5 | 1 << 3 | 1);
    // Three cycles until they can be used.
    (0..8).for_each(|_| drop_word(system.read(RCGC2)));
    Peripheral::Core.write(0x014, CYCLES_PER_MILLI - 1);
    Peripheral::Core.write(0x018, 0);
    Peripheral::Core.write(0x010, 7);
}

fn drop_word(_: u32) {}

/// Counts a millisecond; called by the exception SysTick alone.
pub(crate) fn tick() {
    MILLIS.fetch_add(1, Ordering::Relaxed);
}

/// Time since the start. Never runs backwards; one caller at a time.
pub(crate) fn now() -> Instant {
    let (millis, cycles) = loop {
        let before = MILLIS.load(Ordering::Relaxed);
        let left = Peripheral::Core.read(0x018);
        if MILLIS.load(Ordering::Relaxed) == before {
            break (before, CYCLES_PER_MILLI - 1 - left.min(CYCLES_PER_MILLI - 1));
        }
    };
    if millis < LAST.swap(millis, Ordering::Relaxed) {
        EPOCHS.fetch_add(1, Ordering::Relaxed);
    }
    let millis = u64::from(EPOCHS.load(Ordering::Relaxed)) << 32 | u64::from(millis);
    Instant::from_micros(millis * 1_000 + u64::from(cycles / CYCLES_PER_MICRO))
}

/// The Ethernet controller's interrupt (data sheet, table 2-9): number 42.
pub(crate) const ETHERNET: i16 = 42;
/// Its bit in the second word of all interrupts.
const ETHERNET_BIT: u32 = 1 << 10;

/// Lets the Ethernet controller interrupt the program.
pub(crate) fn enable_ethernet() {
    Peripheral::Core.write(0x104, ETHERNET_BIT);
}

/// Calls the Ethernet controller's interrupt.
pub(crate) fn pend_ethernet() {
    Peripheral::Core.write(0x204, ETHERNET_BIT);
}

/// Sleeps until an interrupt, unless there is work: what comes in between wakes it.
pub(crate) fn sleep_unless(has_work: impl FnOnce() -> bool) {
    // SAFETY: no interrupt is taken until the end: what nobody could rely on. One that
    // waits ends the sleep, and is taken then.
    unsafe { core::arch::asm!("cpsid i", options(nostack, preserves_flags)) }
    if !has_work() {
        sleep();
    }
    // SAFETY: as above.
    unsafe { core::arch::asm!("cpsie i", options(nostack, preserves_flags)) }
}

/// Cycles that SysTick has left of this millisecond.
pub(crate) fn cycles_left() -> u32 {
    Peripheral::Core.read(0x018)
}

/// Cycles from one [`cycles_left`] to the next, less than a millisecond apart.
pub(crate) fn cycles_between(before: u32, after: u32) -> u32 {
    let whole = if before < after { CYCLES_PER_MILLI } else { 0 };
    before + whole - after
}

/// Sleeps until something happens: SysTick at the latest.
pub(crate) fn sleep() {
    // SAFETY: an instruction that waits; it changes neither memory nor registers.
    unsafe { core::arch::asm!("wfi", options(nomem, nostack, preserves_flags)) }
}

/// Starts the watchdog: who does not feed it for eight seconds is reset.
pub(crate) fn start_watchdog() {
    Peripheral::Watchdog.write(0x000, WATCHDOG);
    Peripheral::Watchdog.write(0x008, 3);
}

/// Feeds the watchdog.
pub(crate) fn feed_watchdog() {
    Peripheral::Watchdog.write(0x00C, 1);
    Peripheral::Watchdog.write(0x000, WATCHDOG);
}

/// Why the program begins: as the controller tells, or else, where it does not (as under
/// QEMU), by what the program did before. Told once after each start.
pub(crate) fn cause() -> &'static str {
    let told = Peripheral::System.read(RESC);
    Peripheral::System.write(RESC, 0);
    let before = STATE.swap(RUNNING, Ordering::Relaxed);
    // Data sheet 6.5, RESC: external, power, brown-out, watchdog, software.
    match told {
        told if told & 1 << 1 != 0 => "power",
        told if told & 1 << 2 != 0 => "brown-out",
        told if told & 1 << 3 != 0 => "watchdog",
        told if told & 1 << 4 != 0 => "own",
        told if told & 1 != 0 => "pin",
        _ if before == ENDED => "own",
        // Nothing else ends a program that runs.
        _ if before == RUNNING => "watchdog",
        _ => "power",
    }
}

/// Starts anew.
pub(crate) fn reset() -> ! {
    STATE.store(ENDED, Ordering::Relaxed);
    Peripheral::Core.write(0xD0C, 0x05FA_0004);
    loop {
        sleep();
    }
}

/// The MAC address that the board was made with.
pub(crate) fn mac() -> [u8; 6] {
    let [a, b, c, _] = Peripheral::System.read(USER0).to_le_bytes();
    let [d, e, f, _] = Peripheral::System.read(USER1).to_le_bytes();
    [a, b, c, d, e, f]
}
