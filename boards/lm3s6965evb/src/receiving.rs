//! Takes frames out of the controller as they come, in its interrupt.
//!
//! The controller has room for three of our frames. Whoever looked only between two steps
//! of the program, which may verify a signature or write to the card, would find it full of
//! what belongs to others. So the interrupt looks at once, reads away what is for
//! nobody here, and leaves the rest in a queue. Only interrupts of one priority touch the
//! controller's receiving side, and queue and filter are made to be shared, so nothing is
//! locked.

use core::sync::atomic::{AtomicU32, Ordering};

use fleetcast_board::filter::{Filter, HEAD, HEAD_WORDS, Listening};
use fleetcast_board::net::FRAME;
use fleetcast_board::queue::{FrameQueue, words_of};

use crate::chip;
use crate::registers::Peripheral;
use crate::work;

const STATUS: u16 = 0x00;
const DATA: u16 = 0x10;
const PACKETS: u16 = 0x34;
/// Status: a frame has come.
const CAME: u32 = 1;
/// Length and check of a received frame.
const EXTRA: usize = 6;
/// Bytes of RAM for frames that wait: two of a session, or the longest.
const QUEUE: usize = 1_280;
/// Words that are read in a millisecond at most while the program is at work: half again as
/// many as a line of 100 Mbit/s brings. Whoever sends more must not stop the program.
const BUDGET: u32 = 5_000;
/// What a frame takes besides its words.
const EACH: u32 = 30;

static WAITING: FrameQueue<{ QUEUE / 4 }> = FrameQueue::new();
static FILTER: Filter = Filter::new();
static LEFT: AtomicU32 = AtomicU32::new(0);
/// The first two words of a frame for us that there is no room for yet; the first of them
/// is its length, so it is not zero.
static HELD: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

const _: () = assert!(words_of(FRAME) < QUEUE / 4);

/// Changes what is listened to.
pub(crate) fn listen(listening: &Listening) {
    FILTER.set(listening);
}

/// The next frame, behind two bytes at the front of `out`; its length.
pub(crate) fn next(out: &mut [u8]) -> Option<usize> {
    let frame = WAITING.pop(out);
    if is_more() {
        // Whoever asks has time, and there is room now.
        LEFT.store(BUDGET, Ordering::Relaxed);
        chip::pend_ethernet();
    }
    frame.or_else(|| WAITING.pop(out))
}

/// Whether there are frames to be looked at.
pub(crate) fn is_waiting() -> bool {
    !WAITING.is_empty() || is_more()
}

/// Whether the controller has frames; called by interrupts too.
fn is_more() -> bool {
    HELD[0].load(Ordering::Relaxed) != 0 || Peripheral::Ethernet.read(PACKETS) & 0x3F != 0
}

/// Takes what has come; called by the controller's interrupt alone, and by [`tick`].
pub(crate) fn take() {
    let begun = chip::cycles_left();
    Peripheral::Ethernet.write(STATUS, CAME);
    while LEFT.load(Ordering::Relaxed) > 0 && is_more() && take_one() {}
    work::count_interrupt(begun);
}

/// Goes on where a flood had taken too much of the last millisecond.
pub(crate) fn tick() {
    LEFT.store(BUDGET, Ordering::Relaxed);
    if is_more() {
        take();
    }
}

/// Takes a frame out of the FIFO; false if it is for us and has no room.
///
/// What is for others is read away: the controller has no other way to be rid of a
/// single frame.
fn take_one() -> bool {
    let read = || Peripheral::Ethernet.read(DATA);
    let held = HELD[0].swap(0, Ordering::Relaxed);
    let first = if held == 0 { read() } else { held };
    let [low, high, a, b] = first.to_le_bytes();
    let whole = usize::from(u16::from_le_bytes([low, high]));
    // Behind the first two.
    let Some(words) = whole.div_ceil(4).checked_sub(2) else { return true };
    let second = if held == 0 { read() } else { HELD[1].load(Ordering::Relaxed) };
    let [c, d, e, f] = second.to_le_bytes();
    let len = whole.saturating_sub(EXTRA);
    if len < HEAD || len > FRAME || !FILTER.takes_address([a, b, c, d, e, f]) {
        leave(words, words);
        return true;
    }
    let kept = words_of(len);
    if !WAITING.has_room(kept) {
        HELD[1].store(second, Ordering::Relaxed);
        HELD[0].store(first, Ordering::Relaxed);
        return false;
    }
    let head = [first, second, read(), read(), read(), read(), read(), read(), read(), read()];
    let rest = words.saturating_sub(HEAD_WORDS - 2);
    if !FILTER.takes(&head) {
        leave(words, rest);
        return true;
    }
    WAITING.push(len as u16, head, read);
    // The check.
    skip((words + 2).saturating_sub(kept));
    spend(words);
    work::count_frame(true);
    true
}

/// Reads away what is left of a frame of so many words: it is not for us.
fn leave(words: usize, left: usize) {
    skip(left);
    spend(words);
    work::count_frame(false);
}

/// Counts a frame's words as read in this millisecond.
fn spend(words: usize) {
    let left = LEFT.load(Ordering::Relaxed);
    LEFT.store(left.saturating_sub(words as u32 + EACH), Ordering::Relaxed);
}

/// Reads words away, four at a time: a loop takes longer than the words.
fn skip(words: usize) {
    let next = || {
        Peripheral::Ethernet.read(DATA);
    };
    for _ in 0..words / 4 {
        next();
        next();
        next();
        next();
    }
    (0..words % 4).for_each(|_| next());
}
