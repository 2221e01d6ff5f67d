//! Power cuts at every write: what QEMU wrote to the card is replayed, and stops
//! somewhere. (A killed QEMU never tears a write; `power_cut` does that on a simulated
//! card.)

use std::fs;
use std::path::PathBuf;

use fleetcast_core::store::KeptAs;
use fleetcast_tests::board::{Board as StoreOfBoard, read};
use fleetcast_tests::card::{Card, SECTOR};
use fleetcast_tests::emulated::{LoggedWrite, Slot, lan, logged_writes};

use crate::cards::{STORE, shorten};
use crate::stand::{Stand, TAP};

/// Sectors of the store: small, because it is looked through again and again.
const SECTORS: u32 = 4_096;

/// What was written to a card in the course of a second release.
struct Recording {
    /// The card with the first release, before.
    base: Vec<u8>,
    writes: Vec<LoggedWrite>,
    /// Of them those before the board's power was really cut.
    early: usize,
    /// The file in either release.
    files: [Vec<u8>; 2],
}

/// Two lives of a board that receives a second release, the first of them cut.
fn record(stand: &Stand<'_>) -> Recording {
    shorten(&stand.card, SECTORS);
    let board = stand.board("first");
    let (path, old) = stand.file(1, 100_000);
    assert_eq!(stand.ending(&path).0, "installed");
    board.kill();
    let base = fs::read(&stand.card).unwrap();
    let (path, new) = stand.file(2, 200_000);
    let logs = ["early", "late"].map(|name| stand.fleet.path(&format!("{name}.writes")));
    let slot = |log| Slot::Logged { card: &stand.card, log };
    let board = stand.board_with("early", slot(&logs[0]), &[]);
    stand.send(&path);
    board.wait_for_progress(100_000);
    board.kill();
    let board = stand.board_with("late", slot(&logs[1]), &[]);
    board.wait_for("installed sequence=2");
    board.kill();
    let mut writes = logged_writes(&logs[0]);
    let early = writes.len();
    writes.extend(logged_writes(&logs[1]));
    // It is the whole of what was written: replayed to its end it is the card.
    let recording = Recording { base, writes, early, files: [old, new] };
    let whole = recording.after(recording.writes.len());
    assert!(whole == fs::read(&stand.card).unwrap(), "the log lacks something");
    recording
}

impl Recording {
    /// The card after so many writes.
    fn after(&self, count: usize) -> Vec<u8> {
        let mut card = self.base.clone();
        for write in &self.writes[..count] {
            card[write.at as usize..][..write.bytes.len()].copy_from_slice(&write.bytes);
        }
        card
    }

    /// Checks after every `step`-th write that the card holds one of the releases, whole;
    /// how often it was the second one.
    fn replay(&self, step: usize) -> usize {
        let (mut card, mut news) = (self.base.clone(), 0);
        let store = STORE as usize * SECTOR..(STORE as usize + SECTORS as usize) * SECTOR;
        for (n, write) in self.writes.iter().enumerate() {
            card[write.at as usize..][..write.bytes.len()].copy_from_slice(&write.bytes);
            if n % step > 0 {
                continue;
            }
            let mut board = StoreOfBoard::with(Card::of(card[store.clone()].to_vec()));
            let mut opened = board.open().unwrap_or_else(|e| panic!("after write {n}: {e:?}"));
            let kept: Vec<_> = opened.releases().collect();
            let active = kept.iter().find(|kept| kept.kept_as == KeptAs::Active).unwrap();
            let is_new = active.name.order.sequence == 2;
            let file = read(&mut opened, &active.name, "file").unwrap();
            assert!(file == self.files[usize::from(is_new)], "after write {n}");
            assert!(is_new || news == 0, "after write {n} it went back");
            news += usize::from(is_new);
        }
        news
    }

    /// The card after so many writes, as an image.
    fn image(&self, stand: &Stand<'_>, count: usize) -> PathBuf {
        let path = stand.fleet.path("replayed.img");
        fs::write(&path, self.after(count)).unwrap();
        path
    }
}

#[test]
fn after_every_write_of_a_release_the_card_is_sound_and_a_board_goes_on_with_it() {
    let test = "after_every_write_of_a_release_the_card_is_sound_and_a_board_goes_on_with_it";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let recording = record(&stand);
    let count = recording.writes.len();
    println!("{count} writes, {} of them before the cut", recording.early);
    assert!(count > 400, "{count} writes are less than the release");
    let news = recording.replay(1);
    assert!(news > 0 && news < count / 10, "{news} of {count} with the second release");
    for at in (0..count).step_by(count / 12) {
        let sequence = stand.check(&recording.image(&stand, at));
        assert!(matches!(sequence, Some(1 | 2)), "after write {at}: {sequence:?}");
    }
    // Its boot counter has been used before: that locks it out of nothing.
    for at in [recording.early / 2, recording.early] {
        go_on(&stand, &recording, at);
    }
}

#[test]
// nightly
#[ignore = "a start of the board for each of forty cuts"]
fn a_board_goes_on_after_each_of_forty_cuts() {
    let test = "a_board_goes_on_after_each_of_forty_cuts";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let recording = record(&stand);
    let count = recording.writes.len();
    (0..40).for_each(|n| go_on(&stand, &recording, count * n / 40));
}

/// Starts a board with the card after so many writes: it ends up with the second release.
fn go_on(stand: &Stand<'_>, recording: &Recording, at: usize) {
    let image = recording.image(stand, at);
    let had = stand.check(&image);
    let board = stand.board_with(&format!("after-{at}"), Slot::Card(&image), &[]);
    if had == Some(1) {
        board.wait_for("installed sequence=2");
    }
    board.kill();
    assert_eq!(stand.check(&image), Some(2), "after write {at}");
    assert!(stand.on(&image, "g/file") == recording.files[1], "after write {at}");
}
