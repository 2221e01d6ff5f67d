//! What a session knows of its members together, beside a plain look at all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{BlockIndex, Epoch, FleetId, GroupId, ReleaseOrder, SessionId};
use fleetcast_core::limits::{MAX_MESSAGE, MAX_SLOTS, MAX_SYMBOL};
use fleetcast_core::session::rate::RateLimits;
use fleetcast_core::session::sender::Flow;
use fleetcast_core::session::tally::{Believed, Tally};
use fleetcast_core::tree::record::{NONE, encode_header};
use fleetcast_core::wire::control::{Object, ReleaseName};
use fleetcast_core::wire::nack::{Entry, Nack, NackWriter};

use super::*;
use crate::packs::{ChunkStore as _, MemoryChunks};
use crate::server::lanes::Follows;
use crate::server::live::{LiveConfig, LiveSession};
use crate::server::plan::{PlannedChunk, SessionPlan, Shape};
use crate::vectors::Vectors;

/// A member that receives and has reported nothing.
fn silent() -> Member {
    let (epoch, tally) = (Epoch(1), Tally::default());
    let mut member = Member::new(0, epoch, tally, false, &Flow::HOSTS, Instant::ZERO);
    member.joined = true;
    member
}

/// A member that has reported the loss of so many of 1,000 datagrams.
fn member(lost: u32) -> Member {
    let mut member = silent();
    let believed = Believed { received: 1_000 - lost, lost, behind: 0 };
    member.pace.report(Instant::from_millis(100), believed, 1_000);
    member
}

fn id(n: u32) -> ReceiverId {
    let mut id = ReceiverId([0; 16]);
    id.0[..4].copy_from_slice(&n.to_be_bytes());
    id
}

fn members(losses: impl Iterator<Item = u32>) -> BTreeMap<ReceiverId, Member> {
    (0..).map(id).zip(losses.map(member)).collect()
}

#[test]
fn a_report_of_one_of_ten_thousand_costs_a_look_at_a_few() {
    let members = members((0..10_000).map(|n| n % 100));
    let mut overview = Overview::default();
    for n in 0..10_000 {
        let seen = overview.others(&members, &id(n));
        let counts = (seen.receive, seen.known, seen.follow, seen.dear);
        assert_eq!((counts, seen.usual), ((9_999, 9_999, 9_999, 0), Some(49)));
        overview.looks(Instant::from_millis(100 + u64::from(n)), members.len());
    }
    // Eight each, once all in the beginning; and 10,000 ms are 100 times 100 ms.
    let looks = 100 * 10_000;
    assert!(overview.visits <= 8 * 10_000 + 10_000 + looks, "{}", overview.visits);
    assert!(overview.visits > looks);
}

#[test]
fn the_first_reports_of_a_large_session_count_at_once() {
    let mut members: BTreeMap<_, _> = (0..1_000).map(|n| (id(n), silent())).collect();
    let mut overview = Overview::default();
    assert_eq!(overview.others(&members, &id(0)).usual, None);
    for n in 0..100 {
        let before = members.insert(id(n), member(200)).unwrap();
        overview.changed(&before, &members[&id(n)]);
        let seen = overview.others(&members, &id(999));
        assert_eq!((seen.known, seen.usual), (n as usize + 1, Some(200)));
    }
    // All of them in the beginning, and at report 1, 3, 7, 15, 31 and 63.
    assert_eq!(overview.visits, 7_000);
}

#[test]
fn in_a_small_session_a_member_is_compared_with_the_others_as_they_are() {
    let mut members = members([100, 500, 900].into_iter());
    let mut overview = Overview::default();
    assert_eq!(overview.others(&members, &id(0)).usual, Some(500));
    assert_eq!(overview.others(&members, &id(2)).usual, Some(100));
    members.insert(id(0), member(990));
    assert_eq!(overview.others(&members, &id(2)).usual, Some(500));
    members.remove(&id(0));
    assert_eq!(overview.others(&members, &id(2)).receive, 1);
}

#[test]
fn who_is_set_aside_counts_at_once_in_a_large_session_too() {
    let mut members = members([10; 1_000].into_iter());
    let mut overview = Overview::default();
    for n in 0..100 {
        assert_eq!(overview.others(&members, &id(n)).dear, n as usize);
        let member = members.get_mut(&id(n)).unwrap();
        let before = *member;
        member.pace.note(Instant::from_millis(200), Follows::Dearly);
        overview.changed(&before, member);
    }
    let seen = overview.others(&members, &id(999));
    assert_eq!((seen.dear, seen.follow, seen.receive), (100, 899, 999));
}
/// 64 chunks of 64 KiB of noise are 3,000 datagrams.
const CHUNKS: u32 = 64;

/// A session of so many members, nobody of whom has joined.
fn session(count: u32, lots: &mut Lots) -> LiveSession<ChaCha> {
    let store = MemoryChunks::default();
    let chunks: Vec<Digest> = (0..CHUNKS)
        .map(|_| {
            let chunk: Vec<u8> = (0..65_536).map(|_| lots.below(256) as u8).collect();
            let head = encode_header(NONE, chunk.len(), chunk.len()).unwrap();
            let digest = Digest::of(&chunk);
            store.put(digest, &[&head[..], &chunk].concat()).unwrap();
            digest
        })
        .collect();
    let shape = Shape::standard(MAX_SYMBOL);
    let mut plan = SessionPlan::new(Arc::new(store), shape, 1);
    for (at, &id) in (0..).zip(&chunks) {
        let ordinals = [at; MAX_SLOTS];
        plan.push_chunk(Object::Content, &PlannedChunk { id, ordinals }).unwrap();
    }
    let order = ReleaseOrder { reset_epoch: 0, sequence: 1 };
    let release = ReleaseName { group: GroupId([1; 16]), order, digest: Digest([2; 32]) };
    let config = LiveConfig {
        session: SessionId(1),
        key: [3; 32],
        salt: [4; 8],
        fleet: FleetId([5; 16]),
        signing: SigningKey::from_seed(&[6; 32]),
        to: "239.77.0.1:7413".parse().unwrap(),
        slots: vec![release],
        root_lens: vec![100],
        members: (0..count).map(|n| (id(n), 0)).collect(),
        tardy: BTreeSet::new(),
        shape,
        limits: RateLimits { cap: 100_000_000, floor: 65_536, start: 50_000_000 },
        full: false,
        bases: Vec::new(),
        pace: None,
    };
    LiveSession::new(config, plan.finish(), Instant::ZERO)
}

/// SplitMix64.
struct Lots(u64);

impl Lots {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The plain way: all members but one, each looked at.
fn others<'s>(
    live: &'s LiveSession<ChaCha>,
    id: &ReceiverId,
) -> impl Iterator<Item = &'s Member> + Clone {
    let others = live.members.iter().filter(move |(other, _)| *other != id);
    others.map(|(_, member)| member).filter(|member| member.joined && !member.finished)
}

/// The lower one of the middle losses.
fn median<'m>(members: impl Iterator<Item = &'m Member>) -> Option<u32> {
    let mut losses: Vec<u32> = members.filter_map(|member| member.pace.loss()).collect();
    losses.sort_unstable();
    losses.get(losses.len().saturating_sub(1) / 2).copied()
}

/// What happens to a member, by lot.
fn happens(live: &mut LiveSession<ChaCha>, now: Instant, id: &ReceiverId, lots: &mut Lots) {
    match lots.below(100) {
        0 => drop(live.leave(id)),
        1 => live.finished(id),
        2..4 => live.add(now, *id, 0),
        4..10 => live.joined(now, id, Epoch(1)),
        10..12 => {
            let mut writer = NackWriter::new(vec![0; MAX_MESSAGE], SessionId(1), Epoch(1));
            let missing = 1 + lots.below(80) as u8;
            for block in (0..10).map(BlockIndex) {
                assert!(writer.push(Entry { block, missing, passed: 0, sources: &[] }));
            }
            let nack = Nack::parse(writer.message().unwrap()).unwrap();
            live.handle_nack(now, (id, false), &nack);
        }
        _ => {
            // Of ten members one loses much; and one stands still.
            let sent = live.sender.counter();
            let (loses, of) = (if id.0[3].is_multiple_of(10) { 400 } else { 50 }, 1_000);
            let taken = live.members.get(id).map_or(0, |member| member.taken.0.counter());
            let passed = sent.saturating_sub(taken);
            let lost = (passed * lots.below(loses) / of) as u32;
            let counter = if id.0[3] % 10 == 1 { taken } else { sent };
            live.handle_progress(now, id, (passed as u32 - lost, lost), counter);
        }
    }
}

/// Members of a session live through a second, by lot. What the session says of them
/// together is what a plain look at all of them says; in a large one only the median may be
/// that of one of the last reports, an eighth as many as the members send.
fn is_what_a_plain_look_says(count: u32, seed: u64) {
    let mut lots = Lots(seed);
    let mut live = session(count, &mut lots);
    (0..count).for_each(|n| live.joined(Instant::from_millis(1), &id(n), Epoch(1)));
    let large = |live: &LiveSession<ChaCha>| live.members.len() >= LARGE;
    let (mut medians, mut out) = (Vec::new(), vec![0; 65_536]);
    let (mut known, mut set_aside) = (0, 0);
    for step in 0..5_000_u64 {
        let now = Instant::from_micros(1_000 + step * 200);
        live.handle_timeout(now);
        while live.poll_transmit(now, &mut out, &Vectors::new()).is_some() {}
        let member = id(lots.below(u64::from(count) + 3) as u32);
        let was_large = large(&live);
        happens(&mut live, now, &member, &mut lots);
        // A small session that grows knows nothing of before.
        if was_large != large(&live) {
            medians.clear();
        }
        let expected: Vec<&Member> = others(&live, &member).collect();
        let seen = { live.overview }.others(&live.members, &member);
        let counted = |is: &dyn Fn(&Member) -> bool| expected.iter().filter(|m| is(m)).count();
        assert_eq!(seen.receive, expected.len(), "step {step}");
        assert_eq!(seen.known, counted(&|m| m.pace.loss().is_some()), "step {step}");
        assert_eq!(seen.follow, counted(&|m| m.pace.follows()), "step {step}");
        assert_eq!(seen.dear, counted(&|m| m.pace.is_dear()), "step {step}");
        let receiving = live.members.values().filter(|m| m.joined && !m.finished);
        medians.push(median(receiving));
        let exact = median(others(&live, &member));
        let recent = medians.len().saturating_sub(live.members.len() / EACH + 1);
        let stands = large(&live) && medians[recent..].contains(&seen.usual);
        assert!(seen.usual == exact || stands, "step {step}: {:?}, {exact:?}", seen.usual);
        known = known.max(seen.known);
        set_aside = set_aside.max(seen.receive - seen.follow);
        if let Some(itself) = live.members.get(&member) {
            let alone = expected.is_empty();
            let comparable = itself.pace.loss().is_some() && seen.known > 0;
            let expected = itself.pace.follows() && (alone || comparable);
            assert_eq!(live.steers(&member), expected, "step {step}");
        }
    }
    // It has been about something.
    assert!(known as u32 > count / 2 && set_aside > 0, "{known} known, {set_aside} set aside");
}

#[test]
fn a_small_session_says_what_a_plain_look_at_its_members_says() {
    (0..8).for_each(|seed| is_what_a_plain_look_says(3 + 5 * seed as u32, seed));
}

#[test]
fn a_large_session_says_what_a_plain_look_at_its_members_says() {
    [64, 70, 200].into_iter().zip(10..).for_each(|(count, seed)| {
        is_what_a_plain_look_says(count, seed);
    });
}

#[test]
fn a_report_of_one_of_a_thousand_costs_looks_at_seventy_members() {
    let mut lots = Lots(1);
    let mut live = session(1_000, &mut lots);
    (0..1_000).for_each(|n| live.joined(Instant::from_millis(1), &id(n), Epoch(1)));
    let mut out = vec![0; 65_536];
    // As often as a thousand report: one each millisecond.
    for n in 0..3_000_u32 {
        let now = Instant::from_millis(2 + u64::from(n));
        live.handle_timeout(now);
        while live.poll_transmit(now, &mut out, &Vectors::new()).is_some() {}
        let (sent, id) = (live.sender.counter(), id(n % 1_000));
        let passed = sent - live.members[&id].taken.0.counter();
        live.handle_progress(now, &id, (passed as u32, 0), sent);
    }
    let each = live.overview.visits / 3_000;
    println!("{each} members looked at per report");
    // 16 to compare them all an eighth of the times, twice per report; 50 for a look at
    // all each 20 ms; and all of them ten times in the beginning.
    assert!((50..75).contains(&each), "{each}");
}
