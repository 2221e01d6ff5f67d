//! The boards' chunk store: receiving, sharing, reading, repairing, refusing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::session::intake::Taken;
use fleetcast_core::store::{Fault, KeptAs, Step, StoreError};
use fleetcast_core::tree::entry::TreeEvent;
use fleetcast_core::wire::control::Object;
use fleetcast_tests::admin::{evolve, random_tree};
use fleetcast_tests::board::{
    Board, GROUP, Trust, check, file, hand, lacking, read, receive, sample_tree, settle,
};
use fleetcast_tests::card::{Card, SECTOR, Survivors};
use fleetcast_tests::processes::noise;
use fleetcast_tests::random::Random;

const SECTORS: usize = 2_048;

#[test]
fn a_release_is_received_activated_and_read_by_path() {
    let trust = Trust::new();
    for lz4 in [false, true] {
        let release = trust.release(1, &sample_tree(), 2_048, lz4);
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
    let release = trust.release(1, &sample_tree(), 2_048, true);
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
    let release = trust.release(1, &sample_tree(), 2_048, true);
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
    let release = trust.release(1, &sample_tree(), 2_048, false);
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
    let (mut first, mut second) = (sample_tree(), sample_tree());
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
    let old = trust.release(1, &sample_tree(), 4_096, true);
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
    let mut smaller = sample_tree();
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
fn complete_and_active_mean_durable_without_any_further_write() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, true);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    drop(store);
    let cut = board.card.reboot(Survivors::Nothing);
    let mut board = Board::with(cut);
    let mut store = board.open().unwrap();
    assert_eq!(receive(&mut store, &trust, &release), Ok(0), "nothing comes again");
    store.activate().unwrap();
    drop(store);
    let mut board = Board::with(board.card.reboot(Survivors::Nothing));
    let mut store = board.open().unwrap();
    assert_eq!(store.active(GROUP), Some(release.name));
    store.put_note(0, b"kept").unwrap();
    drop(store);
    let mut board = Board::with(board.card.reboot(Survivors::Nothing));
    let mut store = board.open().unwrap();
    assert_eq!(store.note(0, &mut [0; 9]), Ok(&b"kept"[..]));
    check(&mut store, &release);
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
fn another_release_takes_the_place_of_one_that_was_not_finished() {
    let trust = Trust::new();
    let (first, second) = (
        trust.release(1, &sample_tree(), 2_048, true),
        trust.release(2, &sample_tree(), 1_024, true),
    );
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

#[test]
fn the_card_holds_what_the_document_says_byte_by_byte() {
    let trust = Trust::new();
    let tree = BTreeMap::from([("one".to_owned(), file(b"a single chunk"))]);
    let release = trust.release(3, &tree, 2_048, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.next_boot().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let card = board.card.bytes();
    let number = |at: usize| u32::from_le_bytes(card[at..at + 4].try_into().unwrap()) as usize;
    // core/STORE.md, "Superblock": formatted twice, a number for
    // the book, then stages 1, 2 and 4.
    let newest = if number(504) > number(8 * SECTOR + 504) { 0 } else { 8 * SECTOR };
    assert_eq!((&card[newest..newest + 8], number(newest + 8)), (&b"fcstore\0"[..], 1));
    assert_eq!((number(newest + 12), &card[newest + 496..newest + 500]), (SECTORS, &b"fcSB"[..]));
    assert_eq!(number(newest + 504), 6);
    let slot = newest + 16;
    assert_eq!((card[slot], &card[slot + 4..slot + 20]), (4, &GROUP.0[..]));
    assert_eq!((number(slot + 20), number(slot + 24)), (0, 3));
    assert_eq!(card[slot + 32..slot + 64], release.name.digest.0);
    assert_eq!((number(slot + 72), number(slot + 76)), (1, 1));
    let (book, root) = (
        number(slot + 64) * SECTOR,
        usize::from(card[slot + 2]) + 256 * usize::from(card[slot + 3]),
    );
    // "Books": two heads, the root, then the map.
    assert_eq!(&card[book + 496..book + 500], b"fcBK");
    assert_eq!((card[book], card[book + 1], &card[book + 56..book + 62]), (1, 6, &b"boards"[..]));
    assert_eq!(card[book + 2 * SECTOR..][..root], release.document);
    let map = book + (2 + root.div_ceil(SECTOR)) * SECTOR;
    let twin = if number(map + 504) > number(map + SECTOR + 504) { map } else { map + SECTOR };
    assert_eq!(
        (&card[twin + 496..twin + 500], number(twin + 500)),
        (&b"fcMP"[..], number(slot + 68))
    );
    // The second line: the content, held, as it is.
    let line = twin + 48;
    let id = fleetcast_core::digest::Digest::of(b"a single chunk");
    assert_eq!((&card[line..line + 32], number(line + 32)), (&id.0[..], 14));
    assert_eq!(card[line + 40..line + 44], [14, 0, 0, 2]);
    let place = number(line + 36) * SECTOR;
    assert_eq!(&card[place..place + 15], b"a single chunk\0");
    // The finder: the bucket of the first four bytes, of two buckets.
    let finder = map + 2 * SECTOR + number(line) % 2 * SECTOR;
    assert_eq!(&card[finder + 496..finder + 500], b"fcFI");
    let hint = &card[line..line + 4];
    assert!(card[finder..finder + 496].chunks(8).any(|p| p[..4] == *hint && p[4] == 2));
    // "State": the order is record 1, the boot counter record 2.
    let orders = 24 * SECTOR;
    assert_eq!((&card[orders..orders + 4], number(orders + 12)), (&b"fcST"[..], 60));
    assert_eq!((card[orders + 20..orders + 36] == GROUP.0, number(orders + 40)), (true, 3));
    assert_eq!((number(32 * SECTOR + 20), number(36 * SECTOR + 20)), (1, 1));
}
