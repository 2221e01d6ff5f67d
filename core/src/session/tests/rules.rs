//! What PROTOCOL.md demands of a session, checked on what the sender sent.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::harness::{BACKOFF, CAP, DELAY, World};
use super::link::{Link, Sent};
use super::plan::{SOURCES, SYMBOL};
use crate::erasure::FIRST_PARITY;
use crate::ids::{BlockIndex, SymbolIndex};
use crate::limits::ALL_PARITY;
use crate::session::receiver::ReceiverEvent;
use crate::session::sender::SenderEvent;
use crate::session::source::BlockSource as _;
use crate::time::{Duration, Instant};
use crate::wire::nack::Nack;
use crate::wire::session::{Body, kind};

/// IPv4 and UDP headers.
const HEADERS: usize = 28;

fn symbol(sent: &Sent) -> Option<(BlockIndex, SymbolIndex)> {
    match Body::parse(&sent.body) {
        Ok(Body::Symbol { index, block, .. }) => Some((block, index)),
        _ => None,
    }
}

/// Number of the segment and whether it is said to be sent.
fn header(sent: &Sent) -> Option<(u32, bool)> {
    match Body::parse(&sent.body) {
        Ok(Body::Segment(view)) => Some((view.segment().0, view.is_sent())),
        _ => None,
    }
}

fn is_end(sent: &Sent) -> bool {
    sent.body.first() == Some(&kind::END)
}

/// Goes over the wire with the parity per block that is promised but not sent.
fn with_outstanding(world: &World, mut see: impl FnMut(&Sent, usize)) {
    let mut promised: BTreeMap<BlockIndex, u8> = BTreeMap::new();
    let mut parity: BTreeMap<BlockIndex, u8> = BTreeMap::new();
    for sent in &world.wire {
        if let Some((block, index)) = symbol(sent).filter(|(_, index)| index.0 >= FIRST_PARITY) {
            parity.insert(block, index.0 - FIRST_PARITY + 1);
        }
        let left = |(block, count): (&BlockIndex, &u8)| {
            usize::from(count.saturating_sub(parity.get(block).copied().unwrap_or(0)))
        };
        see(sent, promised.iter().map(left).sum());
        if let Ok(Body::Echo(view)) = Body::parse(&sent.body) {
            promised.extend(view.entries());
        }
    }
}

#[test]
fn a_segment_is_interleaved_between_its_two_headers() {
    let mut world = World::new(21, 1, 3_960_000);
    world.run();
    // 3,960,000 bytes are 242 chunks: 16 blocks, and the root's, in three segments of
    // eight, eight and one.
    assert_eq!((world.plan.segments(), world.plan.blocks()), (3, 17));
    let mut expected = Vec::new();
    for segment in 0..3_u32 {
        // PROTOCOL S6: its header before its blocks, and again after them.
        expected.push((None, Some((segment, false))));
        let blocks = (segment * 8)..(segment * 8 + 8).min(17);
        // PROTOCOL S7: symbol 0 of each block, then symbol 1 of each.
        for index in 0..SOURCES as u8 {
            for block in blocks.clone().map(BlockIndex) {
                if usize::from(index) * SYMBOL < world.plan.bytes(block).len() {
                    expected.push((Some((block, SymbolIndex(index))), None));
                }
            }
        }
        expected.push((None, Some((segment, true))));
    }
    let seen = world.wire.iter().map(|sent| (symbol(sent), header(sent)));
    let seen: Vec<_> =
        seen.filter(|(symbol, header)| symbol.is_some() || header.is_some()).collect();
    assert!(seen == expected);
}

/// When reports of a symbol that all of `receivers` lost were sent, since they
/// noticed, in microseconds; the first one first.
fn waits(seed: u64, receivers: usize) -> Vec<u64> {
    let mut world = World::new(seed, receivers, 100_000);
    world.lose_symbol = Some((BlockIndex(1), SymbolIndex(30)));
    world.run();
    world.everyone_has_everything();
    let closing = world.wire.iter().find(|sent| header(sent) == Some((0, true)));
    let noticed = closing.unwrap().at + DELAY;
    assert!(!world.reports.is_empty());
    assert!(world.reports.iter().all(|(at, _)| *at >= noticed), "before it was known");
    world.reports.iter().map(|(at, _)| at.since(noticed).as_micros()).collect()
}

#[test]
fn who_lacks_a_symbol_reports_within_the_back_off_at_a_random_time() {
    // PROTOCOL S9: with one receiver the span is one unit, with 256 it is
    // 1 + log2(256) / 2 = 5 units.
    for (receivers, units) in [(1, 1), (256, 5)] {
        let runs: Vec<Vec<u64>> = (1..=20).map(|seed| waits(seed, receivers)).collect();
        let first: BTreeSet<u64> = runs.iter().map(|waits| waits[0]).collect();
        let span = BACKOFF.saturating_mul(units).as_micros();
        assert!(first.iter().all(|&wait| wait <= span), "{first:?} of {span}");
        // A quarter of the draws is truncated to zero, so of 20 about 16 differ, and hardly
        // ever (three standard deviations) fewer than 10.
        assert!(first.len() >= 10, "not random: {first:?}");
        // Few draw an early time, so that the first one's echo comes before most report.
        let reports: usize = runs.iter().map(Vec::len).sum();
        assert!(receivers == 1 || reports < 20 * 256 / 20, "{reports} reports of 5,120");
    }
}

#[test]
fn promises_precede_parity_and_are_the_most_that_was_reported() {
    let mut world = World::new(23, 6, 3_000_000);
    world.link = Link { loss: 0.1, ..Link::PERFECT };
    world.run();
    world.everyone_has_everything();
    let mut promised: BTreeMap<BlockIndex, u8> = BTreeMap::new();
    let mut proactive = BTreeMap::new();
    let mut parity = BTreeSet::new();
    for sent in &world.wire {
        match Body::parse(&sent.body) {
            Ok(Body::Echo(view)) => promised.extend(view.entries()),
            Ok(Body::Segment(view)) => {
                let blocks = (view.first_block().0..).take(view.block_count()).map(BlockIndex);
                proactive.extend(blocks.map(|block| (block, view.proactive())));
            }
            Ok(Body::Symbol { index, block, .. }) if index.0 >= FIRST_PARITY => {
                // PROTOCOL S11: announced before, and not sent before.
                let of = |known: &BTreeMap<BlockIndex, u8>| known.get(&block).copied().unwrap_or(0);
                let announced = of(&promised).max(of(&proactive));
                assert!(index.0 - FIRST_PARITY < announced, "{block} {index} of {announced}");
                assert!(parity.insert((block, index)), "{block} {index} sent twice");
            }
            _ => {}
        }
    }
    // PROTOCOL S11: the maximum over all reports.
    let mut most: BTreeMap<BlockIndex, u8> = BTreeMap::new();
    for (_, report) in &world.reports {
        for entry in Nack::parse(report).unwrap().entries() {
            let wanted = entry.passed.saturating_add(entry.missing).min(ALL_PARITY as u8);
            let known = most.entry(entry.block).or_default();
            *known = (*known).max(wanted);
        }
    }
    assert!(most.len() >= 8);
    for (block, wanted) in most {
        assert_eq!(promised.get(&block).copied(), Some(wanted), "{block}");
    }
}

#[test]
fn sources_come_again_only_where_a_report_lists_them() {
    // Of the 183 sources and 255 parities of a block some 175 come.
    let mut world = World::new(31, 2, 1_000_000);
    world.link = Link { loss: 0.6, ..Link::PERFECT };
    world.run();
    world.everyone_has_everything();
    let mut listed = BTreeSet::new();
    for (_, report) in &world.reports {
        for entry in Nack::parse(report).unwrap().entries() {
            listed.extend(entry.sources.iter().map(|&index| (entry.block, SymbolIndex(index))));
        }
    }
    let (mut once, mut again) = (BTreeSet::new(), 0);
    for (block, index) in world.wire.iter().filter_map(symbol) {
        if index.0 < FIRST_PARITY && !once.insert((block, index)) {
            // PROTOCOL S11
            assert!(listed.contains(&(block, index)), "{block} {index}");
            again += 1;
        }
    }
    assert!(again > 0);
}

#[test]
fn nothing_new_goes_out_while_a_repair_waits() {
    let mut world = World::new(25, 4, 6_000_000);
    world.link = Link { loss: 0.05, ..Link::PERFECT };
    world.run();
    world.everyone_has_everything();
    let mut sources = BTreeSet::new();
    let mut repairs_in_between = 0;
    let last = world.wire.iter().rposition(|s| symbol(s).is_some_and(|(_, i)| i.0 < FIRST_PARITY));
    let last = world.wire[last.unwrap()].at;
    with_outstanding(&world, |sent, outstanding| {
        let fresh = symbol(sent).is_some_and(|s| s.1.0 < FIRST_PARITY && sources.insert(s));
        // PROTOCOL S12: repairs before new data.
        assert!(
            !(fresh || is_end(sent)) || outstanding == 0,
            "{outstanding} wait at {:?}",
            sent.at
        );
        repairs_in_between += usize::from(outstanding > 0 && sent.at < last);
    });
    assert!(repairs_in_between > 20, "{repairs_in_between}");
}

#[test]
fn a_second_never_carries_more_than_the_cap_and_a_burst() {
    let mut world = World::new(26, 3, 25_000_000);
    world.link = Link { loss: 0.05, ..Link::PERFECT };
    world.run();
    world.everyone_has_everything();
    let burst = 48 * 1_024 + 1_500;
    let (mut from, mut bytes, mut most) = (0, 0, 0);
    for sent in &world.wire {
        bytes += sent.len + HEADERS;
        while sent.at.since(world.wire[from].at) >= Duration::from_secs(1) {
            bytes -= world.wire[from].len + HEADERS;
            from += 1;
        }
        most = most.max(bytes);
    }
    assert!(from > 0, "all of it within {:?}", world.now);
    // PROTOCOL S12: repairs, headers, echoes and all under the one rate.
    assert!(most <= CAP as usize + burst, "{most}");
    assert!(most > CAP as usize / 2, "{most}: the test sees too little");
}

#[test]
fn the_end_is_repeated_until_all_have_finished() {
    let mut world = World::new(27, 3, 500_000);
    let until = Instant::from_millis(6_000);
    world.receivers[1].mute_until = Some(until);
    world.run();
    let ends: Vec<Instant> = world.wire.iter().filter(|s| is_end(s)).map(|s| s.at).collect();
    // PROTOCOL S13
    for pair in ends.windows(2) {
        assert!(pair[1].since(pair[0]) <= Duration::from_secs(1), "{pair:?}");
    }
    let last = *ends.last().unwrap();
    assert!(last + Duration::from_secs(1) >= until && last <= until + Duration::from_millis(200));
    assert!(world.sent.contains(&SenderEvent::Closed { unfinished: 0 }));
}

#[test]
fn a_member_that_never_finishes_is_given_up() {
    let mut world = World::new(28, 3, 500_000);
    world.receivers[1].mute_until = Some(Instant::FAR_FUTURE);
    world.run_until(Instant::from_millis(30_000));
    // PROTOCOL S13
    assert!(world.sent.contains(&SenderEvent::Closed { unfinished: 1 }));
    let last = world.wire.last().unwrap();
    assert!(is_end(last) && last.at > Instant::from_millis(19_000), "{:?}", last.at);
}

#[test]
fn everyone_says_once_that_it_has_finished() {
    let mut world = World::new(29, 4, 2_000_000);
    world.link = Link { loss: 0.05, ..Link::PERFECT };
    world.receivers[3].asleep_until = Some(BlockIndex(8));
    world.run();
    for (at, member) in world.receivers.iter().enumerate() {
        // PROTOCOL S14: also who lacks what this session will not give it any more.
        assert_eq!(member.is_complete(), at != 3);
        let finished = |event: &&ReceiverEvent| matches!(event, ReceiverEvent::Finished { .. });
        assert_eq!(member.told.iter().filter(finished).count(), 1, "receiver {at}");
        assert_eq!(member.told.last(), Some(&ReceiverEvent::Finished { poisoned: 0 }));
    }
}

// PROTOCOL S11
#[test]
fn parity_that_was_never_sent_has_passed_nobody() {
    let mut world = World::new(31, 2, 12_000_000);
    world.run_until(Instant::from_millis(600));
    // Two symbols of block 0 are missing, and a hundred that were never sent have passed:
    // forged counters made the member believe so. All its sources are listed too.
    let report = [3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 100, 4, 0, 1, 2, 3];
    let nack = Nack::parse(&report).unwrap();
    let before = world.wire.len();
    world.sender.handle_nack(world.now, &nack, &|_| true, &mut world.plan);
    world.run();
    let sent: Vec<_> = world.wire[before..].iter().filter_map(symbol).collect();
    let again = sent.iter().filter(|(block, _)| block.0 == 0).count();
    // The two that are missing come as parity, and nothing else.
    assert_eq!(again, 2);
}

#[test]
fn no_end_has_the_number_of_another() {
    let mut world = World::new(34, 3, 500_000);
    world.receivers[1].mute_until = Some(Instant::from_millis(2_000));
    world.run();
    let number = |sent: &Sent| match Body::parse(&sent.body) {
        Ok(Body::End(end)) => Some(end.sequence()),
        _ => None,
    };
    let numbers: Vec<u32> = world.wire.iter().filter_map(number).collect();
    // PROTOCOL S5: the first ends come after 20 ms, later ones every half second.
    assert!(numbers.len() > 5 && numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn a_member_that_says_for_ever_that_it_gets_on_is_given_up_too() {
    let mut world = World::new(35, 3, 500_000);
    world.receivers[1].mute_until = Some(Instant::FAR_FUTURE);
    for second in 1..90 {
        world.run_until(Instant::from_millis(second * 1_000));
        world.sender.handle_progress(world.now, None);
    }
    // PROTOCOL S13: sent within a second, and a minute long its end was said again.
    assert_eq!(world.sent.last(), Some(&SenderEvent::Closed { unfinished: 1 }));
    let last = world.wire.last().unwrap().at.as_micros() / 1_000;
    assert!((59_000..62_000).contains(&last), "{last} ms");
}

#[test]
fn what_took_long_to_send_may_take_as_long_to_end() {
    let mut world = World::new(36, 1, 500_000);
    world.receivers[0].mute_until = Some(Instant::FAR_FUTURE);
    world.run_until(Instant::from_millis(10));
    world.sender.hold(true);
    for second in 1..200 {
        world.run_until(Instant::from_millis(second * 1_000));
        world.sender.hold(second < 80);
        world.sender.handle_progress(world.now, None);
    }
    // Held back for 80 s: its end is over after 160 s.
    let last = world.wire.last().unwrap().at.as_micros() / 1_000;
    assert!((158_000..162_000).contains(&last), "{last} ms");
}

// PROTOCOL S26
#[test]
fn what_comes_is_the_senders_where_nobody_else_has_the_key_or_digests_say_so() {
    let mut alone = World::unicast(37, 500_000);
    alone.run();
    assert!(alone.receivers[0].proved().iter().all(|proved| *proved == Some(true)));
    let mut calm = World::new(38, 2, 2_000_000);
    calm.run();
    assert!(calm.receivers[0].proved().iter().all(|proved| *proved == Some(false)));
    // Block 9, in the second segment, has the chunks from the 129th to the 144th.
    let mut strict = World::new(39, 2, 4_000_000);
    strict.forge_symbol_of = Some(BlockIndex(9));
    strict.run();
    strict.everyone_has_everything();
    let proved = strict.receivers[0].proved();
    assert_eq!(proved[0], Some(false));
    assert!(proved[128..144].contains(&Some(true)), "{proved:?}");
}
