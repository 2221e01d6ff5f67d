//! Cards that fail, rot, are somebody else's, or were tampered with.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_core::store::{Fault, Scrub, ScrubStep, Step, Store, StoreError, StoreMemory};
use fleetcast_core::wire::control::Object;
use fleetcast_tests::board::{
    Board, BoardRelease, GROUP, Trust, check, check_readable, hand, read, receive, sample_tree,
    settle,
};
use fleetcast_tests::card::{Card, SECTOR, Survivors, crc, newer};
use fleetcast_tests::processes::noise;
use fleetcast_tests::random::Random;

const SECTORS: usize = 2_048;

#[test]
fn damage_is_found_named_and_repaired_by_asking_again() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, false);
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

/// Spoils both copies of a page of the map of a card's only release.
fn lose_page(board: &Board, page: usize) {
    let bytes = board.card.bytes();
    let of_map = |sector: &usize| bytes[sector * SECTOR + 496..].starts_with(b"fcMP");
    let first = (0..SECTORS).find(of_map).unwrap() + 2 * page;
    for sector in [first, first + 1] {
        if of_map(&sector) {
            board.card.rot(sector * SECTOR + 40);
        }
    }
}

#[test]
fn a_page_of_the_map_that_is_lost_is_learnt_again_from_the_index() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 1_024, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    lose_page(&board, 1);
    let mut store = board.open().unwrap();
    check_readable(&mut store, &release);
    let lost = read(&mut store, &release.name, "tiny");
    assert!(matches!(lost, Err(StoreError::Lost { .. })), "{lost:?}");
    let came = receive(&mut store, &trust, &release).unwrap();
    assert!((1..=10 * 1_031).contains(&came), "ten chunks at most: {came}");
    assert_eq!(store.activate(), Ok(release.name));
    check(&mut store, &release);
}

#[test]
fn a_release_whose_first_page_is_lost_is_for_its_owner_to_discard_and_comes_again() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 1_024, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    lose_page(&board, 0);
    let mut store = board.open().unwrap();
    assert_eq!(receive(&mut store, &trust, &release), Err(StoreError::Damaged));
    store.discard(&release.name).unwrap();
    receive(&mut store, &trust, &release).unwrap();
    assert_eq!(store.activate(), Ok(release.name));
    check(&mut store, &release);
}

#[test]
fn an_unfinished_release_whose_first_page_is_lost_begins_again_with_its_root() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 1_024, false);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    store.expect(release.name).unwrap();
    settle(&mut store).unwrap();
    hand(&mut store, &trust, &release, (Object::Root, 0));
    hand(&mut store, &trust, &release, (Object::Index, 0));
    drop(store);
    lose_page(&board, 0);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    check(&mut store, &release);
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_is_in_it_and_nothing_else() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, false);
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
        check_readable(&mut store, &release);
    }
}

#[test]
fn a_failed_write_or_flush_stops_the_store_until_it_is_opened_again() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, false);
    let mut board = Board::formatted(SECTORS);
    let (blank, (_, first, _)) = (board.card.bytes(), board.card.counts());
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let (whole, (_, end, _)) = (board.card.bytes(), board.card.counts());
    assert!(end - first > 6, "{first} to {end}");
    for flush in first..end {
        assert!(fails_and_goes_on(&release, |card| card.spoil_flush(flush)), "flush {flush}");
    }
    let at = |sector: usize| sector * SECTOR..(sector + 1) * SECTOR;
    let written: Vec<usize> = (0..SECTORS).filter(|&s| blank[at(s)] != whole[at(s)]).collect();
    assert!(written.len() > 30, "{written:?}");
    for sector in written {
        let spoil = |card: &Card| card.spoil_writing(sector as u32);
        assert!(fails_and_goes_on(&release, spoil), "sector {sector}");
    }
}

/// Receives a release on a card that was spoiled, and once more after a restart, on a sound
/// one; whether the spoiled one failed.
fn fails_and_goes_on(release: &BoardRelease, spoil: impl Fn(&Card)) -> bool {
    let trust = Trust::new();
    let mut board = Board::formatted(SECTORS);
    spoil(&board.card);
    let mut store = board.open().unwrap();
    let ended = receive(&mut store, &trust, release).and_then(|_| store.activate());
    if let Err(error) = &ended {
        assert_eq!(error.fault(), Fault::Storage, "{error:?}");
        assert_eq!(store.put_note(0, b"x"), Err(StoreError::Failed));
    }
    drop(store);
    let mut again = Board::with(board.card.reboot(Survivors::Last));
    let mut store = again.open().unwrap();
    receive(&mut store, &trust, release).unwrap();
    store.activate().unwrap();
    check(&mut store, release);
    ended.is_err()
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
    let bytes = newer(Board::formatted(SECTORS).card.bytes(), 2);
    let mut memory = StoreMemory::new();
    let opened = Store::open(Card::of(bytes), memory.lend());
    assert_eq!(opened.err().map(|(_, error)| error), Some(StoreError::Newer { found: 2 }));
}

#[test]
fn no_byte_of_a_card_that_is_changed_makes_a_wrong_byte_readable_or_the_store_panic() {
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, true);
    let next = trust.release(2, &sample_tree(), 1_024, true);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let whole = board.card.bytes();
    let written: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut random = Random::new(23);
    let (mut opened, mut expected) = (0, 0);
    for _ in 0..600 {
        let card = Card::of(whole.clone());
        for _ in 0..random.within(1, 40) {
            card.rot(written[random.below(written.len() as u64) as usize]);
        }
        let mut board = Board::with(card);
        let Ok(mut store) = board.open() else { continue };
        opened += 1;
        check_readable(&mut store, &release);
        let _ = store.highest(GROUP);
        let mut scrub = Scrub::new();
        while !matches!(store.scrub(&mut scrub), Ok(ScrubStep::Done) | Err(_)) {}
        let Ok(()) = store.expect(next.name) else { continue };
        expected += 1;
        // It may fail; it may not take what is not the release.
        if let Ok(Step::Waiting) = settle(&mut store) {
            hand(&mut store, &trust, &next, (Object::Root, 0));
            for ordinal in 0..next.index.len() as u32 {
                hand(&mut store, &trust, &next, (Object::Index, ordinal));
                let _ = settle(&mut store);
            }
        }
    }
    println!("of 600 cards {opened} were opened, {expected} took another release");
    assert!(opened > 300 && expected > 300, "{opened}, {expected}");
}

#[test]
fn sealed_nonsense_in_a_map_or_superblock_is_survived() {
    // Whoever can write the card can make its checksums right.
    let trust = Trust::new();
    let release = trust.release(1, &sample_tree(), 2_048, true);
    let mut board = Board::formatted(SECTORS);
    let mut store = board.open().unwrap();
    receive(&mut store, &trust, &release).unwrap();
    store.activate().unwrap();
    drop(store);
    let whole = board.card.bytes();
    let mut random = Random::new(29);
    let (mut opened, mut shown) = (0, 0);
    for _ in 0..1_500 {
        let mut bytes = whole.clone();
        for page in bytes.chunks_mut(SECTOR) {
            if !page[496..].starts_with(b"fc") || random.chance(0.8) {
                continue;
            }
            for _ in 0..random.within(1, 4) {
                let at = random.below(496) as usize;
                page[at] = match random.below(3) {
                    0 => 0xFF,
                    1 => 0,
                    _ => random.below(256) as u8,
                };
            }
            let crc = crc(&page[..508]);
            page[508..].copy_from_slice(&crc.to_le_bytes());
        }
        let mut board = Board::with(Card::of(bytes));
        let Ok(mut store) = board.open() else { continue };
        opened += 1;
        check_readable(&mut store, &release);
        let mut walked = 0;
        if let Ok(mut walk) = store.walk(&release.name) {
            while let Ok(Some(_)) = store.next_entry(&mut walk) {
                walked += 1;
                assert!(walked < 1_000, "it ends");
            }
        }
        shown += u32::from(walked > 0);
        let mut scrub = Scrub::new();
        while !matches!(store.scrub(&mut scrub), Ok(ScrubStep::Done) | Err(_)) {}
    }
    println!("of 1,500 cards {opened} were opened, {shown} showed entries");
    assert!(opened > 750 && shown > 300, "{opened}, {shown}");
}
