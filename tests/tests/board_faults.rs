//! What a board does when its card, its server or a member of its session fails: the
//! receiver of the firmware against a server, on a virtual clock. Emulation would add
//! nothing to these; `qemu_board` has the rest.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_board::appliance::Event;
use fleetcast_board::recovery::{PATIENCE, Recovery};
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::{Epoch, SessionId};
use fleetcast_core::store::Gate as _;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::release::ReleaseRefused;
use fleetcast_core::wire::control::{Down, FailCode, Object, Up};
use fleetcast_tests::admin::EPOCH;
use fleetcast_tests::board::{
    Board, BoardRelease, Trust, check, check_readable, file, sample_tree,
};
use fleetcast_tests::card::{Card, SECTOR};
use fleetcast_tests::node::receiver_address;
use fleetcast_tests::pair::Pair;
use fleetcast_tests::processes::noise;
use fleetcast_tests::voice::Voice;

/// Sectors of a card of 1 MiB.
const SECTORS: usize = 2_048;
/// Sectors in front of the first chunk (core/STORE.md).
const FIRST_CHUNK: usize = 144;
const SOON: Duration = Duration::from_secs(20);

/// A release of the sample tree and a file of so many bytes that do not compress.
fn release(trust: &Trust, sequence: u64, bytes: usize) -> BoardRelease {
    let mut tree = sample_tree();
    tree.insert("large".to_owned(), file(&noise(sequence, bytes)));
    trust.release(sequence, &tree, 4_096, true)
}

fn has_installed(pair: &Pair) -> bool {
    pair.told.iter().any(|(_, event)| matches!(event, Event::Installed(_)))
}

/// What the card holds, by another reader than the board's own life.
fn assert_holds(card: &Card, release: &BoardRelease) {
    let mut reader = Board::with(Card::of(card.bytes()));
    check(&mut reader.open().unwrap(), release);
}

#[test]
fn a_release_is_installed_and_its_receipt_reaches_the_server() {
    // What the others are measured by.
    let mut pair = Pair::connected(Card::new(SECTORS));
    let release = release(&pair.trust, 1, 100_000);
    pair.offer(&release);
    pair.run_until(SOON, has_installed);
    pair.run_until(SOON, |pair| pair.times_said(|up| matches!(up, Up::Installed { .. })) > 0);
    assert!(pair.failures().is_empty());
    assert_holds(&pair.card, &release);
}

#[test]
fn a_sector_that_cannot_be_written_fails_the_release_and_the_next_life_goes_on() {
    for bad in [FIRST_CHUNK, FIRST_CHUNK + 7, FIRST_CHUNK + 100] {
        let mut pair = Pair::connected(Card::new(SECTORS));
        let release = release(&pair.trust, 1, 100_000);
        pair.card.spoil_writing(bad as u32);
        pair.offer(&release);
        pair.run_until(SOON, |pair| !pair.failures().is_empty());
        assert_eq!(pair.failures(), [FailCode::Storage], "sector {bad}");
        // The store writes nothing more in this life: whoever drives the board is told to
        // begin another one, after what has to be said has been said.
        let mut recovery = Recovery::new();
        pair.told.iter().for_each(|(at, event)| recovery.note(*at, event));
        assert!(!recovery.is_due(pair.now));
        assert!(recovery.is_due(pair.now + PATIENCE));
        // A sector that was spared heals nothing by itself; one that has been replaced does.
        pair.card = Card::of(pair.card.bytes());
        pair.restart().unwrap();
        pair.run_until(SOON, |pair| pair.has_told(&Event::Connected));
        pair.offer(&release);
        pair.run_until(SOON, has_installed);
        assert_holds(&pair.card, &release);
    }
}

#[test]
fn a_board_without_trouble_is_never_told_to_begin_anew() {
    let mut recovery = Recovery::new();
    let at = Instant::from_millis(1_000);
    for event in [
        Event::Connected,
        Event::Disconnected,
        Event::Progress(1, 2),
        Event::Failed(FailCode::TooLarge),
        Event::Failed(FailCode::NotTrusted),
    ] {
        recovery.note(at, &event);
    }
    assert!(!recovery.is_due(at + Duration::from_secs(86_400)));
}

#[test]
fn a_sector_that_cannot_be_read_never_shows_a_wrong_byte_and_never_stops_the_board() {
    // Here and there on the whole card, and wherever the second release comes to lie.
    let second = sectors_of_the_second();
    assert!(second.len() > 100, "{second:?}");
    let (mut installed, mut failed) = (0, 0);
    for bad in (0..SECTORS).step_by(61).chain(second.into_iter().step_by(4)) {
        let mut pair = Pair::connected(Card::new(SECTORS));
        let first = release(&pair.trust, 1, 60_000);
        pair.offer(&first);
        pair.run_until(SOON, has_installed);
        pair.card.spoil_reading(bad as u32);
        pair.told.clear();
        let second = release(&pair.trust, 2, 60_000);
        pair.offer(&second);
        let ended = |pair: &Pair| has_installed(pair) || !pair.failures().is_empty();
        pair.run_until(Duration::from_secs(60), ended);
        pair.ping(bad as u64);
        let mut reader = Board::with(Card::of(pair.card.bytes()));
        let mut store = reader.open().unwrap();
        check_readable(&mut store, &first);
        if has_installed(&pair) {
            installed += 1;
            check(&mut store, &second);
        } else {
            failed += 1;
            assert_eq!(pair.failures(), [FailCode::Storage], "sector {bad}");
        }
    }
    println!("{installed} installed, {failed} failed");
    // Most sectors are not needed any more, or have a twin; some hold what the second
    // release is made from.
    assert!(installed > 20 && failed > 0, "{installed} installed, {failed} failed");
}

/// The sectors that the second release changes on a card that holds the first.
fn sectors_of_the_second() -> Vec<usize> {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let before = [1, 2].map(|sequence| {
        let before = pair.card.bytes();
        pair.told.clear();
        pair.offer(&release(&pair.trust, sequence, 60_000));
        pair.run_until(SOON, has_installed);
        before
    });
    let after = pair.card.bytes();
    let at = |sector: usize| sector * SECTOR..(sector + 1) * SECTOR;
    (0..SECTORS).filter(|&sector| before[1][at(sector)] != after[at(sector)]).collect()
}

#[test]
fn a_release_larger_than_the_card_is_refused_before_its_first_byte() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let large = release(&pair.trust, 1, 1_100_000);
    let before = pair.card.bytes();
    pair.offer(&large);
    pair.run_until(SOON, |pair| !pair.failures().is_empty());
    assert_eq!(pair.failures(), [FailCode::TooLarge]);
    assert!(pair.card.bytes()[FIRST_CHUNK * SECTOR..] == before[FIRST_CHUNK * SECTOR..]);
    // What it would have taken: of 1.1 MB only what was under way was sent for nothing.
    assert_eq!(pair.times_said(|up| matches!(up, Up::Want { .. })), 0);
    pair.run_until(SOON, |pair| pair.delivery.is_none());
    let fits = release(&pair.trust, 2, 100_000);
    pair.offer(&fits);
    pair.run_until(SOON, has_installed);
    assert_holds(&pair.card, &fits);
}

#[test]
fn a_release_that_fits_only_without_the_one_in_use_is_refused_and_that_stays() {
    let mut pair = Pair::connected(Card::new(640));
    let kept = release(&pair.trust, 1, 100_000);
    pair.offer(&kept);
    pair.run_until(SOON, has_installed);
    let beside = release(&pair.trust, 2, 160_000);
    pair.offer(&beside);
    pair.run_until(SOON, |pair| !pair.failures().is_empty());
    assert_eq!(pair.failures(), [FailCode::NoSpace]);
    assert_holds(&pair.card, &kept);
}

#[test]
fn a_server_that_is_gone_for_an_hour_is_found_again_within_seconds() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let release = release(&pair.trust, 1, 100_000);
    pair.offer(&release);
    pair.run_for(Duration::from_millis(150));
    pair.server_is_there = false;
    pair.delivery = None;
    let (gone, writes) = (pair.now, pair.card.counts().0);
    pair.initiations = 0;
    pair.run_for(Duration::from_secs(3_600));
    assert!(pair.has_told(&Event::Disconnected));
    // PROTOCOL H7: at most ten seconds apart, and less than one each second.
    assert!((350..1_000).contains(&pair.initiations), "{}", pair.initiations);
    // Waiting wears no card.
    assert!(pair.card.counts().0 - writes < 200, "{}", pair.card.counts().0 - writes);
    pair.server_is_there = true;
    pair.told.clear();
    pair.run_until(Duration::from_secs(12), |pair| pair.has_told(&Event::Connected));
    assert!(pair.now.since(gone) >= Duration::from_secs(3_600));
    pair.offer(&release);
    pair.run_until(SOON, has_installed);
    assert_holds(&pair.card, &release);
}

// PROTOCOL C7
#[test]
fn a_server_that_says_goodbye_is_left_at_once_and_found_again_within_its_spread() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    pair.say(&Down::Bye { spread_ms: 4_000 });
    pair.run_for(Duration::from_millis(100));
    assert!(pair.has_told(&Event::Disconnected));
    pair.told.clear();
    // Nothing for a second, four more at most, and a moment to shake hands.
    pair.run_for(Duration::from_millis(850));
    assert!(!pair.has_told(&Event::Connected));
    pair.run_until(Duration::from_secs(5), |pair| pair.has_told(&Event::Connected));
}

// PROTOCOL T6
#[test]
fn what_has_expired_is_installed_only_where_no_clock_is_trusted() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    // It expired a year before the server's time; a host's clock says so.
    let expired = pair.trust.release_until(EPOCH - 31_536_000, 1, &sample_tree(), 4_096, true);
    let refused = pair.trust.gate().admit(&expired.document).err();
    assert_eq!(refused, Some(ReleaseRefused::Expired { expires: EPOCH - 31_536_000 }));
    pair.offer(&expired);
    pair.run_until(SOON, has_installed);
    // Its receipt names no time: a board has none that anybody should believe.
    pair.run_until(SOON, |pair| pair.times_said(|up| matches!(up, Up::Installed { .. })) > 0);
    assert_eq!(pair.times_said(|up| matches!(up, Up::Installed { at: 0, .. })), 1);
}

// PROTOCOL S5
#[test]
fn a_flood_of_forged_headers_ends_the_session_and_nothing_else() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let release = release(&pair.trust, 1, 100_000);
    pair.offer(&release);
    pair.run_for(Duration::from_millis(100));
    // The sender falls silent, and a member that holds the key goes on in its place.
    pair.delivery = None;
    let mut voice = Voice {
        fleet: pair.trust.admin().authority.1.document().fleet,
        session: SessionId(1),
        epoch: Epoch(1),
        key: [1; 32],
        signing: SigningKey::from_seed(&[0x1A; 32]),
        counter: 1 << 20,
    };
    let finished = |pair: &Pair| pair.times_said(|up| matches!(up, Up::Finished { .. })) > 0;
    let begin = pair.now;
    let mut said = 0;
    while !finished(&pair) {
        assert!(pair.now.since(begin) < Duration::from_secs(6), "it listens to forgeries");
        let segment = 100 + said % 50;
        let forged = voice.segment((segment, segment * 16, true), &[(Object::Content, 900, 0, 1)]);
        pair.hand(receiver_address(9), &forged);
        pair.run_for(Duration::from_millis(2));
        said += 1;
    }
    // Three seconds whose verifications were used up (core/PROTOCOL.md, S5).
    assert!(pair.now.since(begin) > Duration::from_secs(2), "{:?}", pair.now.since(begin));
    pair.ping(77);
    // What it lacks comes under a key that no other has.
    pair.offer(&release);
    pair.run_until(SOON, has_installed);
    assert_holds(&pair.card, &release);
}

#[test]
fn a_card_that_was_taken_back_in_time_locks_its_board_out_of_nothing() {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let old = pair.card.bytes();
    let release = release(&pair.trust, 1, 60_000);
    pair.offer(&release);
    pair.run_until(SOON, has_installed);
    // A copy from before: its boot counter has been used already.
    pair.card = Card::of(old);
    pair.restart().unwrap();
    pair.run_until(SOON, |pair| pair.has_told(&Event::Connected));
    pair.offer(&release);
    pair.run_until(SOON, has_installed);
    assert_holds(&pair.card, &release);
}
