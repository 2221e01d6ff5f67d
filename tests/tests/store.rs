//! The boards' chunk store: receiving, sharing, reading, repairing, refusing.

use std::collections::BTreeMap;

use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::session::intake::Taken;
use fleetcast_core::store::{
    Fault, KeptAs, Scrub, ScrubStep, Step, Store, StoreError, StoreMemory,
};
use fleetcast_core::tree::entry::TreeEvent;
use fleetcast_core::wire::control::Object;
use fleetcast_tests::admin::{Tree, evolve, random_tree};
use fleetcast_tests::board::{Board, GROUP, Trust, check, hand, lacking, read, receive, settle};
use fleetcast_tests::card::{Card, SECTOR};
use fleetcast_tests::disk::Node;
use fleetcast_tests::random::Random;

const SECTORS: usize = 2_048;

fn file(bytes: &[u8]) -> Node {
    Node::File(false, 1_000, bytes.to_vec())
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

fn tree() -> Tree {
    let text = b"a board keeps what it was sent. ".repeat(400);
    BTreeMap::from([
        ("app".to_owned(), Node::Directory(5)),
        ("app/deep".to_owned(), Node::Directory(6)),
        ("app/deep/data".to_owned(), file(&noise(1, 9_000))),
        ("app/same".to_owned(), file(&noise(1, 9_000))),
        ("app/text".to_owned(), file(&text)),
        ("app0".to_owned(), file(b"")),
        ("tiny".to_owned(), file(b"x")),
    ])
}

#[test]
fn a_release_is_received_activated_and_read_by_path() {
    let trust = Trust::new();
    for lz4 in [false, true] {
        let release = trust.release(1, &tree(), 2_048, lz4);
        let mut board = Board::formatted(SECTORS);
        let mut store = board.open().unwrap();
        receive(&mut store, &trust, &release).unwrap();
        assert_eq!(read(&mut store, &release.name, "tiny"), Err(StoreError::Incomplete));
        assert_eq!(store.active(GROUP), None);
        assert_eq!(store.activate(), Ok(release.name));
        check(&mut store, &release);
        assert_eq!(read(&mut store, &release.name, "app/none"), Err(StoreError::Unknown));
        assert_eq!(read(&mut store, &release.name, "app"), Err(StoreError::Unknown));
        drop(store);
        // After a restart too.
        let mut store = board.open().unwrap();
        assert_eq!(store.active(GROUP), Some(release.name));
        check(&mut store, &release);
        let highest = store.highest(GROUP).unwrap();
        assert_eq!(highest, Some((release.name.order, release.name.digest)));
        let mut document = [0; 5_000];
        assert_eq!(store.root(&release.name, &mut document), Ok(&release.document[..]));
        assert_eq!(store.directory(&release.name, &mut [0; 64]), Ok(&b"boards"[..]));
    }
}

#[test]
fn a_walk_tells_every_directory_and_file_in_order() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, true);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    let (mut walk, mut told) = (store.walk(&release.name).unwrap(), Vec::new());
    while let Some(event) = store.next_entry(&mut walk).unwrap() {
        told.push(match event {
            TreeEvent::Directory { depth, name, .. } => format!("{depth} {name}/"),
            TreeEvent::File { depth, name, size, .. } => format!("{depth} {name} {size}"),
            TreeEvent::Chunk(_) => panic!("chunks are not entries"),
        });
    }
    let expected =
        ["0 app/", "1 deep/", "2 data 9000", "1 same 9000", "1 text 12800", "0 app0 0", "0 tiny 1"];
    assert_eq!(told, expected);
}

#[test]
fn records_that_come_before_their_index_are_kept_and_checked_later() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, true);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    settle(&mut store).unwrap();
    assert_eq!(hand(&mut store, &trust, &release, (Object::Content, 0)), Taken::Deferred);
    assert_eq!(hand(&mut store, &trust, &release, (Object::Root, 0)), Taken::Stored);
    for ordinal in (0..release.content.len() as u32).rev() {
        let taken = hand(&mut store, &trust, &release, (Object::Content, ordinal));
        assert_eq!(taken, Taken::Stored);
    }
    // One of them is another's, which nobody can know yet.
    let mut board2 = Board::with(Card::of(board.card.bytes()));
    let mut store = board2.open().unwrap();
    for ordinal in (0..release.index.len() as u32).rev() {
        store.expect(release.name).unwrap();
        settle(&mut store).unwrap();
        hand(&mut store, &trust, &release, (Object::Index, ordinal));
    }
    let came = receive(&mut store, &trust, &release).unwrap();
    assert!(came < 20_000, "{came} bytes came again");
    store.activate().unwrap();
    check(&mut store, &release);
}

#[test]
fn what_is_not_the_chunk_of_its_ordinal_is_never_taken() {
    // PROTOCOL R2
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, false);
    let mut wrong = release.clone();
    wrong.content[1] = release.content[0].clone();
    wrong.content[2][20] ^= 1;
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    settle(&mut store).unwrap();
    hand(&mut store, &trust, &release, (Object::Root, 0));
    // Before their names are known they only claim.
    assert_eq!(hand(&mut store, &trust, &wrong, (Object::Content, 1)), Taken::Stored);
    for ordinal in 0..release.index.len() as u32 {
        hand(&mut store, &trust, &release, (Object::Index, ordinal));
        settle(&mut store).unwrap();
    }
    let missing: Vec<u32> = lacking(&mut store).unwrap().iter().map(|run| run.first).collect();
    assert_eq!(missing, [0], "all of the content, the wrong one too");
    assert_eq!(hand(&mut store, &trust, &wrong, (Object::Content, 1)), Taken::Poisoned);
    assert_eq!(hand(&mut store, &trust, &wrong, (Object::Content, 2)), Taken::Poisoned);
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    check(&mut store, &release);
}

#[test]
fn only_what_is_new_comes_and_the_old_release_stays_until_the_new_one_is_active() {
    let trust = Trust::new();
    let (mut first, mut second) = (tree(), tree());
    first.insert("big".to_owned(), file(&noise(3, 200_000)));
    let mut changed = noise(3, 200_000);
    changed[100_000] ^= 1;
    second.insert("big".to_owned(), file(&changed));
    let (first, second) =
        (trust.release(1, &first, 4_096, true), trust.release(2, &second, 4_096, true));
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    let all = receive(&mut store, &trust, &first).unwrap();
    store.activate().unwrap();
    let some = receive(&mut store, &trust, &second).unwrap();
    assert!(all > 200_000 && some < 12_000, "{all}, then {some}");
    check(&mut store, &first);
    store.activate().unwrap();
    check(&mut store, &first);
    check(&mut store, &second);
    // The predecessor can be had back, and the order does not fall by that.
    assert_eq!(store.fall_back(GROUP), Ok(first.name));
    assert_eq!(store.active(GROUP), Some(first.name));
    assert_eq!(store.highest(GROUP).unwrap().unwrap().0.sequence, 2);
    let old = trust.release(1, &tree(), 4_096, true);
    assert!(matches!(store.expect(old.name), Err(StoreError::Order(_))));
}

#[test]
fn many_releases_in_turn_never_fill_the_card() {
    let trust = Trust::new();
    let mut random = Random::new(11);
    let mut tree = random_tree(&mut random, 150_000);
    let mut board = Board::formatted(SECTORS);
    for sequence in 1..=25 {
        let release = trust.release(sequence, &tree, 2_048, sequence % 2 == 0);
        let mut store = board.open().unwrap();
        receive(&mut store, &trust, &release).unwrap();
        store.activate().unwrap();
        check(&mut store, &release);
        tree = random_tree(&mut random, 150_000);
        evolve(&mut random, &mut tree, 40_000);
    }
}

#[test]
fn a_release_that_the_card_could_never_hold_is_refused_before_its_first_chunk() {
    let trust = Trust::new();
    let large = BTreeMap::from([("large".to_owned(), file(&noise(1, 1_100_000)))]);
    let release = trust.release(1, &large, 4_096, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    settle(&mut store).unwrap();
    assert_eq!(hand(&mut store, &trust, &release, (Object::Root, 0)), Taken::Failed);
    let Some(StoreError::TooLarge { needed, fits }) = store.failure() else {
        panic!("{:?}", store.failure());
    };
    assert!(needed > 1_100_000 && fits < 1_048_576, "{needed} {fits}");
    assert_eq!(store.failure().unwrap().fault(), Fault::Full);
    // One that fits is taken after it.
    let mut smaller = tree();
    smaller.insert("kept".to_owned(), file(&noise(9, 100_000)));
    let release = trust.release(2, &smaller, 4_096, false);
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    // And one that would fit alone is refused with what is free, and leaves all as it is.
    let beside = BTreeMap::from([("large".to_owned(), file(&noise(2, 880_000)))]);
    let beside = trust.release(3, &beside, 4_096, false);
    let refused = receive(&mut store, &trust, &beside);
    let full = matches!(refused, Err(StoreError::Full { needed, free }) if needed > free);
    assert!(full, "{refused:?}");
    check(&mut store, &release);
}

#[test]
fn damage_is_found_named_and_repaired_by_asking_again() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let chunk = &noise(1, 9_000)[2_048..2_148];
    let bytes = board.card.bytes();
    let at = bytes.windows(100).position(|window| window == chunk).unwrap();
    board.card.rot(at + 50);
    let mut store = board.open().unwrap();
    let lost = read(&mut store, &release.name, "app/same");
    assert!(matches!(lost, Err(StoreError::Lost { object: Object::Content, .. })), "{lost:?}");
    assert_eq!(read(&mut store, &release.name, "tiny").unwrap(), b"x");
    let (mut scrub, mut damaged) = (Scrub::new(), Vec::new());
    loop {
        match store.scrub(&mut scrub).unwrap() {
            ScrubStep::Sound => {}
            ScrubStep::Damaged { object, ordinal, .. } => damaged.push((object, ordinal.0)),
            ScrubStep::Done => break,
        }
    }
    assert_eq!(damaged, [(Object::Content, 1)]);
    assert_eq!(receive(&mut store, &trust, &release).unwrap(), 2_048 + 7);
    assert_eq!(store.activate(), Ok(release.name));
    check(&mut store, &release);
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_is_in_it_and_nothing_else() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.put_note(3, b"name").unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let whole = board.card.bytes();
    for sector in
        (0..SECTORS as u32).filter(|&s| whole[s as usize * SECTOR..][..SECTOR] != [0; SECTOR])
    {
        let mut board = Board::with(Card::of(whole.clone()));
        board.card.spoil_reading(sector);
        let mut store = match board.open() {
            Ok(store) => store,
            // The map of a release lies in twins; no single sector hides it.
            Err(error) => panic!("sector {sector}: {error:?}"),
        };
        assert_eq!(store.note(3, &mut [0; 9]), Ok(&b"name"[..]), "sector {sector}");
        assert_eq!(store.highest(GROUP).unwrap().unwrap().0, release.name.order);
        fleetcast_tests::board::check_readable(&mut store, &release);
    }
}

#[test]
fn a_failed_write_or_flush_stops_the_store_until_it_is_opened_again() {
    let trust = Trust::new();
    let release = trust.release(1, &tree(), 2_048, false);
    let (_, flushes, _) = Board::formatted(SECTORS).card.counts();
    for flush in flushes..flushes + 12 {
        let mut board = Board::formatted(SECTORS);
        board.card.spoil_flush(flush);
        let mut store = board.open().unwrap();
        match receive(&mut store, &trust, &release).and_then(|_| store.activate()) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.fault(), Fault::Storage, "{error:?}");
                assert_eq!(store.put_note(0, b"x"), Err(StoreError::Failed));
            }
        }
        drop(store);
        let mut again = Board::with(board.card.reboot(fleetcast_tests::card::Survivors::Last));
        let mut store = again.open().unwrap();
        receive(&mut store, &trust, &release).unwrap();
        store.activate().unwrap();
        check(&mut store, &release);
    }
}

#[test]
fn small_records_are_what_was_written_last() {
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    assert_eq!(store.seed(), Ok(None));
    store.put_seed(&[9; 32]).unwrap();
    assert_eq!((store.next_boot(), store.next_boot()), (Ok(1), Ok(2)));
    let group = |n: u8| GroupId([n; 16]);
    let mut out = [0; 2_016];
    for n in 0..4 {
        store.put_membership(group(n), &[n; 200], &[n; 150]).unwrap();
    }
    let refused = store.put_membership(group(9), b"c", b"v");
    assert_eq!(refused, Err(StoreError::NoPlace { most: 4 }));
    store.put_membership(group(2), &[], &[]).unwrap();
    store.put_membership(group(9), b"certificate", b"").unwrap();
    let authority = noise(4, 1_603);
    store.put_authority(&authority).unwrap();
    let long = store.put_note(7, &[0; 2_017]);
    assert_eq!(long, Err(StoreError::Length { bound: 2_016, found: 2_017 }));
    assert_eq!(store.put_note(8, b"x"), Err(StoreError::Unknown));
    drop(store);
    let mut store = board.open().unwrap();
    assert_eq!(store.seed(), Ok(Some([9; 32])));
    assert_eq!(store.next_boot(), Ok(3));
    assert_eq!(store.authority(&mut out), Ok(&authority[..]));
    let mut nine = [0; 9];
    assert_eq!(store.authority(&mut nine), Err(StoreError::Length { bound: 1_603, found: 9 }));
    let expected = (&[1; 200][..], &[1; 150][..]);
    assert_eq!(store.membership(group(1), &mut out), Ok(Some(expected)));
    assert_eq!(store.membership(group(2), &mut out), Ok(None));
    let (certificate, voucher) = store.membership(group(9), &mut out).unwrap().unwrap();
    assert_eq!((certificate, voucher), (&b"certificate"[..], &b""[..]));
}

#[test]
fn cards_that_are_not_ours_are_named_and_not_touched() {
    let open = |card: &Card| {
        let mut memory = StoreMemory::new();
        let opened = Store::open(card.clone(), memory.lend());
        opened.err().map(|(_, error)| error)
    };
    assert_eq!(open(&Card::new(SECTORS)), Some(StoreError::Blank));
    let mut fat = vec![0; SECTORS * SECTOR];
    fat[..11].copy_from_slice(b"\xeb\x3c\x90MSDOS5.0");
    let card = Card::of(fat.clone());
    assert_eq!(open(&card), Some(StoreError::Foreign));
    assert_eq!(card.bytes(), fat);
    assert!(matches!(open(&Card::new(20)), Some(StoreError::Truncated { found: 20, .. })));
    let board = Board::formatted(SECTORS);
    let bytes = board.card.bytes();
    let shorter = Card::of(bytes[..1_000 * SECTOR].to_vec());
    let truncated = StoreError::Truncated { needed: 2_048, found: 1_000 };
    assert_eq!(open(&shorter), Some(truncated));
    // Both superblocks spoiled: it was ours.
    let mut spoiled = bytes.clone();
    spoiled[100] ^= 1;
    assert_eq!(open(&Card::of(spoiled.clone())), None, "there is a second one");
    spoiled[8 * SECTOR + 100] ^= 1;
    assert_eq!(open(&Card::of(spoiled)), Some(StoreError::Damaged));
}

#[test]
fn a_store_of_a_newer_version_is_refused_by_its_number() {
    let mut bytes = Board::formatted(SECTORS).card.bytes();
    for start in [0, 8 * SECTOR] {
        bytes[start + 8] = 2;
        // CRC-32 by its definition, bit by bit.
        let mut crc = u32::MAX;
        for &byte in &bytes[start..start + 508] {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        bytes[start + 508..start + 512].copy_from_slice(&(!crc).to_le_bytes());
    }
    let mut memory = StoreMemory::new();
    let opened = Store::open(Card::of(bytes), memory.lend());
    assert_eq!(opened.err().map(|(_, error)| error), Some(StoreError::Newer { found: 2 }));
}

#[test]
fn another_release_takes_the_place_of_one_that_was_not_finished() {
    let trust = Trust::new();
    let (first, second) =
        (trust.release(1, &tree(), 2_048, true), trust.release(2, &tree(), 1_024, true));
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.expect(first.name).unwrap();
    settle(&mut store).unwrap();
    hand(&mut store, &trust, &first, (Object::Root, 0));
    assert_eq!(store.releases().map(|r| r.kept_as).collect::<Vec<_>>(), [KeptAs::Incoming]);
    receive(&mut store, &trust, &second).unwrap();
    assert_eq!(store.activate(), Ok(second.name));
    assert_eq!(store.releases().count(), 1);
    assert_eq!(store.discard(&second.name), Ok(()));
    assert_eq!(settle(&mut store), Ok(Step::Waiting));
    assert_eq!(store.free(), Some(store.capacity()));
    let order = ReleaseOrder { reset_epoch: 0, sequence: 2 };
    assert_eq!(store.highest(GROUP).unwrap().unwrap().0, order, "even of what is forgotten");
}
