//! Firmware that hangs, panics or faults. What runs is the image that is shipped: a
//! debugger makes it go wrong.

use std::fs;
use std::time::{Duration, Instant};

use fleetcast_tests::emulated::{Board, SOON, firmware, lan, symbol};

use crate::stand::{Stand, TAP};

/// An address that nothing answers at.
const NOWHERE: u32 = 0xF000_0000;
/// Bytes of static data at most, and of the stack behind them at most: what is between
/// is free.
const FREE: u32 = 0x2000_A800;

/// Has the core run for ever where nobody feeds the watchdog: `b .`.
fn hang(board: &Board) {
    let mut debugger = board.debug();
    debugger.write(FREE, &[0xFE, 0xE7]);
    debugger.jump(FREE);
    debugger.run();
}

/// Calls the panic handler with a place that is in no file.
///
/// The compiler may have made its argument, a `PanicInfo`, into the `Location` in it:
/// both are laid out so that either is read, and ends.
fn panic(board: &Board) {
    let image = fs::read(firmware()).unwrap();
    let handler = symbol(&image, "rust_begin_unwind").expect("a panic handler");
    let (place, text) = (FREE + 64, FREE + 128);
    let mut debugger = board.debug();
    debugger.write(text, &[b'x'; 32]);
    // `Location`: its file (address, length), line, column; none of them ends a line.
    debugger.write(place, &[text, 32, 42, 7].map(u32::to_le_bytes).concat());
    debugger.write(FREE, &[place, 16, 42, 7].map(u32::to_le_bytes).concat());
    debugger.set_register(0, FREE);
    debugger.jump(handler);
    debugger.run();
}

fn fault(board: &Board) {
    let mut debugger = board.debug();
    debugger.jump(NOWHERE);
    debugger.run();
}

/// The line that says why it has started for the `nth` time.
fn nth_start(board: &Board, nth: usize) -> String {
    board.wait_for_nth("start ", nth, SOON)
}

#[test]
fn a_board_that_hangs_panics_or_faults_starts_anew_and_goes_on_with_its_release() {
    let test = "a_board_that_hangs_panics_or_faults_starts_anew_and_goes_on_with_its_release";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("crashing");
    let (path, bytes) = stand.file(5, 400_000);
    stand.send(&path);
    board.wait_for_progress(40_000);
    panic(&board);
    let panicked = board.wait_for("panic at=");
    assert!(panicked.ends_with(":42"), "{panicked}");
    board.wait_for_start(2);
    assert!(nth_start(&board, 2).ends_with("reset=own"), "{}", board.log());
    board.wait_for_progress(120_000);
    fault(&board);
    board.wait_for("fault at=f0000000");
    board.wait_for_start(3);
    board.wait_for_progress(200_000);
    let begin = Instant::now();
    hang(&board);
    board.wait_for_start(4);
    // The watchdog barks after four seconds, and bites after eight.
    assert!(begin.elapsed() > Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(nth_start(&board, 1).ends_with("reset=power"), "{}", board.log());
    assert!(nth_start(&board, 3).ends_with("reset=own"), "{}", board.log());
    assert!(nth_start(&board, 4).ends_with("reset=watchdog"), "{}", board.log());
    board.wait_for("installed sequence=1");
    assert_eq!(board.count("start "), 4, "{}", board.log());
    assert_eq!(board.count("installed "), 1, "{}", board.log());
    drop(board);
    assert_eq!(stand.check(&stand.card), Some(1));
    assert!(stand.on(&stand.card, "g/file") == bytes);
}
