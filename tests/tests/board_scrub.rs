//! What rots on a board's card is found while the board has nothing else to do, and had
//! again: the receiver of the firmware against a server, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_board::appliance::Event;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::Up;
use fleetcast_tests::board::{Board, BoardRelease, Trust, check, file, sample_tree};
use fleetcast_tests::card::Card;
use fleetcast_tests::pair::Pair;
use fleetcast_tests::processes::noise;

/// Sectors of a card of 1 MiB.
const SECTORS: usize = 2_048;
const SOON: Duration = Duration::from_secs(20);
/// No chunk comes sooner after the one before it.
const PAUSE: Duration = Duration::from_millis(200);

fn release(trust: &Trust, sequence: u64) -> BoardRelease {
    let mut tree = sample_tree();
    tree.insert("large".to_owned(), file(&noise(sequence, 60_000)));
    trust.release(sequence, &tree, 4_096, true)
}

/// A board that has installed a release.
fn installed() -> (Pair, BoardRelease) {
    let mut pair = Pair::connected(Card::new(SECTORS));
    let release = release(&pair.trust, 1);
    pair.offer(&release);
    pair.run_until(SOON, |pair| installs(pair) == 1);
    (pair, release)
}

fn installs(pair: &Pair) -> usize {
    pair.told.iter().filter(|(_, event)| matches!(event, Event::Installed(_))).count()
}

/// When damage was told.
fn damaged(pair: &Pair) -> Vec<Instant> {
    let damage = pair.told.iter().filter(|(_, event)| matches!(event, Event::Damaged(_)));
    damage.map(|(at, _)| *at).collect()
}

/// Where the last bytes of the chunks lie on the card, of those that are long enough to be
/// told from others.
fn places(card: &Card, records: &[Vec<u8>]) -> Vec<usize> {
    let bytes = card.bytes();
    let long = records.iter().filter(|record| record.len() > 100);
    let ends = long.map(|record| &record[record.len() - 48..]);
    ends.map(|end| bytes.windows(48).position(|window| window == end).unwrap()).collect()
}

// PROTOCOL M7
#[test]
fn a_chunk_that_rots_is_found_asked_for_and_had_again() {
    let (mut pair, release) = installed();
    // Content and index: what is mended first does not hide the rest.
    let content = places(&pair.card, &release.content);
    let index = places(&pair.card, &release.index);
    let places = [content[0], content[content.len() - 1], index[0]];
    let (asked, sound) = (pair.times_said(|up| matches!(up, Up::Want { .. })), pair.card.bytes());
    for at in places {
        pair.card.rot(at);
        assert_ne!(pair.card.bytes(), sound);
    }
    pair.run_until(Duration::from_secs(90), |pair| installs(pair) == 1 + places.len());
    assert_eq!(damaged(&pair).len(), places.len());
    let wants = pair.times_said(|up| matches!(up, Up::Want { .. })) - asked;
    assert!(wants >= places.len(), "{wants}");
    assert!(pair.failures().is_empty());
    let mut reader = Board::with(Card::of(pair.card.bytes()));
    check(&mut reader.open().unwrap(), &release);
}

#[test]
fn a_board_that_was_off_while_its_card_rotted_finds_that_too() {
    let (mut pair, release) = installed();
    pair.card.rot(places(&pair.card, &release.content)[1]);
    pair.restart().unwrap();
    pair.run_until(Duration::from_secs(60), |pair| installs(pair) == 1);
    assert_eq!(damaged(&pair).len(), 1);
    let mut reader = Board::with(Card::of(pair.card.bytes()));
    check(&mut reader.open().unwrap(), &release);
}

#[test]
fn a_board_looks_at_few_chunks_a_second_and_at_none_while_a_release_comes() {
    let (mut pair, first) = installed();
    pair.card.rot(*places(&pair.card, &first.content).last().unwrap());
    // A release begins to come, and its server goes away in the midst of it.
    let second = release(&pair.trust, 2);
    pair.offer(&second);
    pair.run_until(SOON, |pair| pair.told.iter().any(|(_, event)| is_second(event)));
    pair.server_is_there = false;
    pair.run_for(Duration::from_secs(120));
    assert_eq!(damaged(&pair), []);
    pair.server_is_there = true;
    let connects = |pair: &Pair| pair.told.iter().filter(|(_, e)| *e == Event::Connected).count();
    pair.run_until(SOON, |pair| connects(pair) == 2);
    pair.delivery = None;
    pair.offer(&second);
    pair.run_until(Duration::from_secs(300), |pair| !damaged(pair).is_empty());
    assert_eq!(installs(&pair), 2, "the release on its way goes first");
    let chunks = (first.index.len() + first.content.len()) as u64;
    let since = pair.told.iter().rev().find(|(_, event)| matches!(event, Event::Installed(_)));
    let took = damaged(&pair)[0].since(since.unwrap().0);
    assert!(took >= PAUSE.saturating_mul(chunks), "{took:?} for {chunks} chunks");
}

fn is_second(event: &Event) -> bool {
    matches!(event, Event::Offered { release, .. } if release.order.sequence == 2)
}
