//! Insiders that inject symbols, and what the others are left with (PROTOCOL S17 to S20).

use std::collections::BTreeSet;
use std::println;
use std::vec::Vec;

use sha2::{Digest as _, Sha256};

use super::harness::{Member, SALT, World};
use super::insider::Forgery;
use super::link::{Link, Sent, Wire};
use crate::ids::BlockIndex;
use crate::session::receiver::ReceiverEvent;
use crate::wire::session::kind;

/// Gigabit Ethernet, ten times the sender's cap and a little more, before receivers
/// whose switch keeps half a megabyte for them.
const GIGABIT: u64 = 125_000_000;
const QUEUE: u64 = 512 * 1_024;
const PAYLOAD: usize = 10_000_000;

/// A session over a gigabit wire among insiders; seconds from its first datagram of
/// data until the last receiver has everything.
fn session(loss: f64, attack: Option<(Forgery, u64)>) -> (World, f64) {
    let mut world = World::new(40, 3, PAYLOAD);
    world.shared = Some(Wire::new(GIGABIT, QUEUE));
    world.link = Link { loss, ..Link::PERFECT };
    if let Some((forgery, times)) = attack {
        world.begin_forging(forgery, times);
    }
    world.run();
    world.everyone_has_everything();
    let first = world.wire.iter().find(|sent| sent.body[0] == kind::SEGMENT).unwrap().at;
    let last = world.receivers.iter().map(|member| member.complete_at.unwrap()).max().unwrap();
    let took = last.since(first).as_micros() as f64 / 1e6;
    (world, took)
}

/// The share of the goodput that an attack leaves, and the session under attack.
fn share_left(loss: f64, forgery: Forgery, times: u64) -> (World, f64) {
    let (calm, undisturbed) = session(loss, None);
    assert_eq!(calm.sender.stats().digests, 0);
    let (world, took) = session(loss, Some((forgery, times)));
    let share = undisturbed / took;
    println!(
        "{forgery:?} at {times} times the rate, loss {loss}: {undisturbed:.3} s become \
         {took:.3} s, {:.0} % of the goodput; {} forged, {} lost in the queue, {} digests, \
         {} parity, {} resent of {} sources",
        share * 100.0,
        world.insider.as_ref().unwrap().sent,
        world.shared.as_ref().unwrap().overflowed,
        world.sender.stats().digests,
        world.sender.stats().parity,
        world.sender.stats().resent,
        world.sender.stats().sources,
    );
    (world, share)
}

// PROTOCOL S18
#[test]
fn an_insider_at_the_senders_rate_leaves_four_fifths_of_the_goodput() {
    for (loss, forgery) in [(0.0, Forgery::Sources), (0.0, Forgery::Parity), (0.02, Forgery::Both)]
    {
        let (_, share) = share_left(loss, forgery, 1);
        // The promise of safety.md.
        assert!(share >= 0.8, "{forgery:?}: {share}");
    }
}

#[test]
fn an_insider_at_ten_times_the_senders_rate_leaves_three_tenths() {
    for (loss, forgery) in [(0.0, Forgery::Sources), (0.0, Forgery::Parity), (0.02, Forgery::Both)]
    {
        let (_, share) = share_left(loss, forgery, 10);
        // The promise of safety.md.
        assert!(share >= 0.3, "{forgery:?}: {share}");
    }
}

// A measure of this machine, told in tests/README.md:
// `cargo test -p fleetcast-core what_strict_mode_costs -- --ignored --nocapture`
// nightly
#[ignore = "nightly: measures this machine"]
#[test]
fn what_strict_mode_costs_per_byte() {
    let nanoseconds = |strict: bool| {
        let mut world = World::new(46, 1, PAYLOAD);
        world.forge_symbol_of = strict.then_some(BlockIndex(9));
        world.run();
        world.everyone_has_everything();
        assert_eq!(world.sender.is_strict(), strict);
        world.spent.map(|spent| spent.as_secs_f64() * 1e9 / PAYLOAD as f64)
    };
    // In turns, so that what else the machine does is the same for both.
    let (mut calm, mut strict) = ([f64::MAX; 2], [f64::MAX; 2]);
    for _ in 0..7 {
        for (mode, least) in [(false, &mut calm), (true, &mut strict)] {
            let took = nanoseconds(mode);
            *least = [0, 1].map(|side: usize| took[side].min(least[side]));
        }
    }
    for (name, side) in [("sender", 0), ("receiver", 1)] {
        let (calm, strict) = (calm[side], strict[side]);
        let ratio = strict / calm;
        println!("{name}: {calm:.2} ns per byte, in strict mode {strict:.2}: {ratio:.2} times");
    }
}

// Counted in instructions, as told in tests/README.md: each of these under callgrind.
// nightly
#[ignore = "nightly: to be run under callgrind"]
#[test]
fn a_calm_session_to_be_counted() {
    let mut world = World::new(46, 1, PAYLOAD);
    world.run();
    assert!(!world.sender.is_strict());
}

// nightly
#[ignore = "nightly: to be run under callgrind"]
#[test]
fn a_strict_session_to_be_counted() {
    let mut world = World::new(46, 1, PAYLOAD);
    world.forge_symbol_of = Some(BlockIndex(9));
    world.run();
    assert!(world.sender.is_strict());
}

/// Bytes of datagrams with IP and UDP headers since strict mode began: those of digests, and
/// all others.
fn since_strict(world: &World) -> (usize, usize) {
    // 20 and 8 bytes, the session's header and the tag of the AEAD.
    let on_wire = |sent: &Sent| sent.body.len() + 28 + 16 + 16;
    let first = world.wire.iter().position(|sent| sent.body[0] == kind::DIGESTS).unwrap();
    let of = |digests: bool| {
        let sent = world.wire[first..].iter();
        sent.filter(|sent| (sent.body[0] == kind::DIGESTS) == digests).map(on_wire).sum()
    };
    (of(true), of(false))
}

// PROTOCOL S17
#[test]
fn digests_are_less_than_a_fiftieth_of_the_bytes_on_the_wire() {
    for (loss, most) in [(0.0, 0.0085), (0.05, 0.02)] {
        let mut world = World::new(47, 3, PAYLOAD);
        world.link = Link { loss, ..Link::PERFECT };
        world.forge_symbol_of = Some(BlockIndex(9));
        world.run();
        world.everyone_has_everything();
        let (digests, others) = since_strict(&world);
        let share = digests as f64 / others as f64;
        println!("loss {loss}: {digests} bytes of digests beside {others}: {share:.4}");
        // A digest is 8 bytes, a symbol 1,500 on the wire: 0.0053. A datagram of digests has
        // 136 bytes besides, and a block of 184 sources needs two: 0.0010. Where one of the
        // two gets lost at one of three receivers, a quarter of all blocks at 5 %, they go
        // again, with those of parity in datagrams of their own.
        assert!((0.0063..=most).contains(&share), "{share}");
    }
}

/// What was told of symbols, by the diagrams of PROTOCOL.md: block, number and digest
/// of each, or the symbol itself.
fn told(body: &[u8]) -> Vec<(u32, u16, [u8; 8])> {
    let wide = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
    match body[0] {
        kind::DIGESTS => {
            let number = u16::from_le_bytes([body[2], body[3]]);
            let first = u16::from(body[1]) + if number & 0x8000 != 0 { 192 } else { 0 };
            let digests = body[12..body.len() - 64].chunks_exact(8);
            assert_eq!(digests.len(), usize::from(number & 0x7FFF));
            digests.zip(first..).map(|(d, n)| (wide(4), n, d.try_into().unwrap())).collect()
        }
        kind::SYMBOL | kind::FURTHER => {
            let base = if body[0] == kind::FURTHER { 192 } else { 0 };
            let number = base + u16::from(body[1]);
            let text = [&SALT[..], &body[2..6], &number.to_le_bytes(), &body[6..]].concat();
            let whole: [u8; 32] = Sha256::digest(text).into();
            Vec::from([(wide(2), number, whole[..8].try_into().unwrap())])
        }
        _ => Vec::new(),
    }
}

// PROTOCOL S17, S16
#[test]
fn after_the_first_forgery_every_symbol_goes_after_its_digest_and_before_it_none_has_one() {
    // So lossy that parity of the second kind is needed too; the forgery gets through.
    let mut world = World::new(44, 3, 8_000_000);
    world.link = Link { loss: 0.4, ..Link::PERFECT };
    world.forge_symbol_of = Some(BlockIndex(9));
    world.run();
    world.everyone_has_everything();
    let first = world.wire.iter().position(|sent| sent.body[0] == kind::DIGESTS).unwrap();
    let (mut known, mut further) = (BTreeSet::new(), 0);
    let (before, after) = world.wire.split_at(first);
    assert!(before.iter().any(|sent| sent.body[0] == kind::SYMBOL));
    // Blocks of the segment under way when it began, and later ones.
    for sent in after {
        for symbol in told(&sent.body) {
            if sent.body[0] == kind::DIGESTS {
                known.insert(symbol);
            } else if symbol.0 >= 16 || symbol.1 >= 192 {
                assert!(known.contains(&symbol), "{symbol:?}");
                further += usize::from(sent.body[0] == kind::FURTHER);
            }
        }
    }
    assert!(further > 0);
    let poisoned = ReceiverEvent::Poisoned(BlockIndex(9));
    assert!(world.told(0, poisoned) && !world.told(1, poisoned));
}

// PROTOCOL S17
#[test]
fn losses_alone_bring_no_digests() {
    let mut world = World::new(42, 3, 3_000_000);
    world.link = Link { loss: 0.05, duplicate: 0.1, reorder: 0.1, corrupt: 0.02 };
    world.run();
    world.everyone_has_everything();
    assert!(world.wire.iter().all(|sent| sent.body[0] != kind::DIGESTS));
    assert_eq!(world.sender.stats().digests, 0);
}

// PROTOCOL S19
#[test]
fn digests_that_were_lost_are_asked_for() {
    let mut world = World::new(43, 2, 8_000_000);
    world.forge_symbol_of = Some(BlockIndex(3));
    world.lose_digests = 12;
    world.run();
    world.everyone_has_everything();
    let asked = |event: &ReceiverEvent| matches!(event, ReceiverEvent::HeaderRequest(_));
    assert!(world.receivers.iter().any(|member| member.told.iter().any(asked)));
}

// PROTOCOL S20
#[test]
fn who_cannot_keep_digests_leaves_and_lacks_no_more_than_that() {
    let mut world = World::new(44, 2, 8_000_000);
    world.forge_symbol_of = Some(BlockIndex(9));
    world.take_digests_from(1);
    world.run();
    world.receivers[0].has_everything();
    let other = &world.receivers[1];
    assert!(!other.is_complete() && other.held() > 0);
    assert_eq!(other.told.last(), Some(&ReceiverEvent::Finished { poisoned: 0 }));
}

// PROTOCOL S20
#[test]
fn what_the_sender_itself_has_spoiled_is_given_up_although_its_digests_are_right() {
    let mut world = World::new(45, 2, 3_000_000);
    world.plan.rotten = Some(40);
    world.run();
    for member in &world.receivers {
        assert_eq!(member.held() as u32, world.plan.chunks - 1);
        // Once before digests, once with them.
        assert_eq!(member.told.last(), Some(&ReceiverEvent::Finished { poisoned: 2 }));
    }
}

// PROTOCOL S22
#[test]
fn a_block_that_was_given_up_is_not_repaired_and_nothing_else_is_lacking() {
    let session = |given_up: &[(usize, BlockIndex)]| {
        let mut world = World::new(47, 4, 3_000_000);
        world.forge_symbol_of = Some(BlockIndex(9));
        world.given_up = given_up.to_vec();
        world.run();
        assert!(world.told(0, ReceiverEvent::Poisoned(BlockIndex(9))));
        world.receivers[1..].iter().for_each(Member::has_everything);
        let stats = *world.sender.stats();
        (world, stats.parity + stats.resent)
    };
    let (world, repairs) = session(&[]);
    world.everyone_has_everything();
    assert!(repairs > 0);
    let (world, repairs) = session(&[(0, BlockIndex(9))]);
    // Sixteen chunks a block.
    assert_eq!((world.receivers[0].held() as u32, repairs), (world.plan.chunks - 16, 0));
    let finished = ReceiverEvent::Finished { poisoned: 1 };
    assert_eq!(world.receivers[0].told.last(), Some(&finished));
}
