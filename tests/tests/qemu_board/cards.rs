//! Cards that are missing, strange, too new, too small, or that fail.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fleetcast_lab::card::{Settings, prepare};
use fleetcast_tests::board::Board as StoreOfBoard;
use fleetcast_tests::card::{SECTOR, newer};
use fleetcast_tests::emulated::{Board, SOON, Slot, lan};

use crate::stand::{Stand, TAP};

/// First sector of the store of a card, and where the table of partitions tells its length.
pub(crate) const STORE: u64 = 18_432;
const STORE_LEN: u64 = 446 + 16 + 12;

/// Writes to a card from a sector on.
fn write(card: &Path, sector: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(card).unwrap();
    file.write_all_at(bytes, sector * SECTOR as u64).unwrap();
}

/// Makes the store of a card so many sectors long.
pub(crate) fn shorten(card: &Path, sectors: u32) {
    let file = File::options().write(true).open(card).unwrap();
    file.write_all_at(&sectors.to_le_bytes(), STORE_LEN).unwrap();
}

#[test]
fn a_card_that_is_missing_or_strange_is_named_not_touched_and_looked_at_again() {
    let test = "a_card_that_is_missing_or_strange_is_named_not_touched_and_looked_at_again";
    let taps = ["board0", "board1", "board2", "board3"];
    let Some(lan) = lan(test, 2, &taps) else { return };
    let home = tempfile::tempdir().unwrap();
    let card = |name: &str| home.path().join(format!("{name}.img"));
    for name in ["foreign", "newer"] {
        prepare(&card(name), &Settings::default()).unwrap();
    }
    write(&card("foreign"), STORE, &b"somebody else's ".repeat(4_096));
    let store = StoreOfBoard::formatted((131_072 - STORE) as usize).card.bytes();
    write(&card("newer"), STORE, &newer(store, 2));
    // As it comes from the shop.
    File::create(card("blank")).unwrap().set_len(64 << 20).unwrap();
    let images = ["foreign", "newer", "blank"].map(|name| (name, card(name)));
    let before: Vec<_> = images.iter().map(|(_, path)| fs::read(path).unwrap()).collect();
    let start = |tap: &str, slot, name: &str| Board::start(&lan, tap, slot, home.path(), name);
    let boards = [
        (start(taps[0], Slot::Empty, "none"), "cannot-start no-card", ""),
        (start(taps[1], Slot::Card(&images[0].1), "foreign"), "cannot-start store", "Foreign"),
        (start(taps[2], Slot::Card(&images[1].1), "newer"), "cannot-start store", "found: 2"),
        (start(taps[3], Slot::Card(&images[2].1), "blank"), "cannot-start no-store", ""),
    ];
    for (board, why, word) in &boards {
        board.wait_for(why);
        assert!(board.log().contains(word), "{}", board.log());
        // It tries again: somebody may have put another card in.
        board.wait_for_nth("start ", 2, SOON);
        board.wait_for_nth(why, 2, SOON);
    }
    drop(boards);
    for ((name, path), before) in images.iter().zip(before) {
        assert!(fs::read(path).unwrap() == before, "{name} was written to");
    }
}

#[test]
fn a_release_larger_than_the_card_or_than_what_is_free_is_refused_and_reported() {
    let test = "a_release_larger_than_the_card_or_than_what_is_free_is_refused_and_reported";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    // 512 KiB.
    shorten(&stand.card, 1_024);
    let board = stand.board("small");
    let (path, kept) = stand.file(1, 220_000);
    assert_eq!(stand.ending(&path).0, "installed");
    let before = fs::read(&stand.card).unwrap();
    let (path, _) = stand.file(2, 900_000);
    let (state, code, reason) = stand.ending(&path);
    assert_eq!((&*state, &*code, &*reason), ("failed", "too-large", "larger than the card"));
    // Behind superblocks and records nothing was written.
    let from = (STORE as usize + 144) * SECTOR;
    assert!(fs::read(&stand.card).unwrap()[from..] == before[from..]);
    let (path, _) = stand.file(3, 260_000);
    let (state, code, reason) = stand.ending(&path);
    assert_eq!((&*state, &*code, &*reason), ("failed", "no-space", "no room on the card"));
    let status = stand.fleet.run(["status"]).done();
    assert!(status.to_string().contains("delivery-failed"), "{status}");
    // What is in use stays, and what fits is taken as ever.
    assert!(stand.on(&stand.card, "g/file") == kept);
    let (path, small) = stand.file(4, 20_000);
    assert_eq!(stand.ending(&path).0, "installed");
    assert_eq!(board.count("start "), 1, "{}", board.log());
    board.kill();
    assert!(stand.on(&stand.card, "g/file") == small);
}

#[test]
fn a_card_that_loses_what_it_is_told_never_shows_a_wrong_byte() {
    // QEMU's card hides an error of the disk behind it: it says that all is well, keeps
    // the old sector when it was to be written, and hands out the last one when it was to
    // be read. Cards that report what fails are those of `board_faults`.
    let test = "a_card_that_loses_what_it_is_told_never_shows_a_wrong_byte";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("sound");
    let (path, first) = stand.file(1, 100_000);
    assert_eq!(stand.ending(&path).0, "installed");
    board.kill();
    let sound = fs::read(&stand.card).unwrap();
    let release = |n: u64| STORE + 144 + n;
    for (name, sectors, writes) in [
        // Among the chunks of the release that comes, and the second superblock.
        ("writes", vec![release(210), release(230), release(231), STORE + 8], true),
        // Among those of the release that is there, and the first superblock.
        ("reads", vec![release(3), release(50), release(51), STORE], false),
    ] {
        fs::write(&stand.card, &sound).unwrap();
        let slot = Slot::Failing { card: &stand.card, sectors: &sectors, writes };
        let board = stand.board_with(name, slot, &[]);
        let (path, second) = stand.file(2 + u64::from(writes), 100_000);
        let (state, code, _) = stand.ending(&path);
        println!("{name}: {state} {code}");
        assert!(board.errors().contains("error on host side"), "no sector has failed");
        let starts = board.count("start ");
        let item = stand.fleet.run(["receivers", "ping", "till-7"]).done();
        assert!(item.to_string().contains("till-7"), "{item}");
        board.kill();
        assert!(starts < 4, "it does not get anywhere");
        let found = stand.on(&stand.card, "g/file");
        let right = [&first, &second].into_iter().any(|whole| whole.starts_with(&found));
        assert!(right, "{name}: a wrong byte among {}", found.len());
    }
}

// PROTOCOL M7
#[test]
fn a_card_that_has_rotted_is_mended_by_a_board_that_has_nothing_else_to_do() {
    let test = "a_card_that_has_rotted_is_mended_by_a_board_that_has_nothing_else_to_do";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("sound");
    let (path, bytes) = stand.file(4, 60_000);
    assert_eq!(stand.ending(&path).0, "installed");
    board.kill();
    // One byte in the midst of the file; some piece of it lies in one chunk.
    let image = fs::read(&stand.card).unwrap();
    let begin = STORE as usize * SECTOR;
    let place = |piece: &[u8]| image[begin..].windows(piece.len()).position(|w| w == piece);
    let at = bytes[30_000..].chunks(32).find_map(place).unwrap() + begin;
    let file = File::options().write(true).open(&stand.card).unwrap();
    file.write_all_at(&[image[at] ^ 0x40], at as u64).unwrap();
    assert!(stand.on(&stand.card, "g/file") != bytes);
    let board = stand.board("rotten");
    board.wait_for("damaged sequence=1");
    board.wait_for("installed sequence=1");
    board.kill();
    assert_eq!(stand.check(&stand.card), Some(1));
    assert!(stand.on(&stand.card, "g/file") == bytes);
}
