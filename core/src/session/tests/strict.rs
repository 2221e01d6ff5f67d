//! Insiders that inject symbols, and what the others are left with (PROTOCOL S17 to S20).

use std::println;

use super::harness::World;
use super::insider::Forgery;
use super::link::{Link, Wire};
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
