//! What the time of a release goes to: a line of the log, from which `boards/README.md` has
//! its figures.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::chip;

/// Microseconds of the clock when it began; the low 32 bits last for an hour.
static BEGUN: AtomicU32 = AtomicU32::new(0);
static TOLD: AtomicU32 = AtomicU32::new(0);
static IDLE: AtomicU32 = AtomicU32::new(0);
static FRAMES: AtomicU32 = AtomicU32::new(0);
static IGNORED: AtomicU32 = AtomicU32::new(0);

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

/// Sleeps, and counts the time.
pub(crate) fn sleep() {
    let before = micros();
    chip::sleep();
    IDLE.fetch_add(micros().wrapping_sub(before), Ordering::Relaxed);
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
