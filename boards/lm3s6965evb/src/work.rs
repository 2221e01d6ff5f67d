//! What the time of a release goes to: a line of the log, from which `boards/README.md` has
//! its figures.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::chip;

/// Microseconds of the clock when it began; the low 32 bits last for an hour.
static BEGUN: AtomicU32 = AtomicU32::new(0);
static TOLD: AtomicU32 = AtomicU32::new(0);
static IDLE: AtomicU32 = AtomicU32::new(0);
static FRAMES: AtomicU32 = AtomicU32::new(0);
static IGNORED: AtomicU32 = AtomicU32::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);
/// Cycles that interrupts took at the end of this sleep.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// Counts anew.
pub(crate) fn begin() {
    BEGUN.store(micros(), Ordering::Relaxed);
    [&IDLE, &FRAMES, &IGNORED].map(|count| count.store(0, Ordering::Relaxed));
}

/// Whether a second has passed since this was last so.
pub(crate) fn is_time_to_tell() -> bool {
    let (now, last) = (micros(), TOLD.load(Ordering::Relaxed));
    let is_time = now.wrapping_sub(last) >= 1_000_000;
    if is_time {
        TOLD.store(now, Ordering::Relaxed);
    }
    is_time
}

/// Sleeps unless there is work, and counts the time.
pub(crate) fn sleep_unless(has_work: impl FnOnce() -> bool) {
    let before = micros();
    ASLEEP.store(true, Ordering::Relaxed);
    chip::sleep_unless(has_work);
    ASLEEP.store(false, Ordering::Relaxed);
    let slept = micros().wrapping_sub(before);
    let worked = CALLED.swap(0, Ordering::Relaxed) / chip::CYCLES_PER_MICRO;
    IDLE.fetch_add(slept.saturating_sub(worked), Ordering::Relaxed);
}

/// Counts the time of an interrupt that began with so many cycles left of a millisecond:
/// what ends a sleep is not part of it.
pub(crate) fn count_interrupt(before: u32) {
    if ASLEEP.load(Ordering::Relaxed) {
        let took = chip::cycles_between(before, chip::cycles_left());
        CALLED.fetch_add(took, Ordering::Relaxed);
    }
}

/// Counts a frame that came: for us, or not.
pub(crate) fn count_frame(wanted: bool) {
    let count = if wanted { &FRAMES } else { &IGNORED };
    count.fetch_add(1, Ordering::Relaxed);
}

/// What was counted since it began, as a line of the log.
pub(crate) struct Since;

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = micros().wrapping_sub(BEGUN.load(Ordering::Relaxed));
        let count = |count: &AtomicU32| count.load(Ordering::Relaxed);
        let (idle, frames, ignored) = (count(&IDLE), count(&FRAMES), count(&IGNORED));
        write!(f, "work micros={took} idle={idle} frames={frames} ignored={ignored}")
    }
}

fn micros() -> u32 {
    chip::now().as_micros() as u32
}
