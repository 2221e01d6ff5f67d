//! Members of a running session that lie. Each of them holds its key, so whatever
//! they say opens; but they have neither the controller's signing key nor the
//! admin's. The rest of the fleet runs on real machines, watched by the oracles
//! of the simulator: no wrong byte is ever shown, and everybody completes.

use std::net::SocketAddr;

use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::Object;
use fleetcast_tests::admin::Tree;
use fleetcast_tests::audit;
use fleetcast_tests::disk::Node;
use fleetcast_tests::faults::Faults;
use fleetcast_tests::fleet::{fair_shape, world};
use fleetcast_tests::link::Weather;
use fleetcast_tests::node::receiver_address;
use fleetcast_tests::random::Random;
use fleetcast_tests::voice::Voice;
use fleetcast_tests::world::World;

const RECEIVERS: usize = 4;
const SIZE: usize = 3 << 20;
/// Lies that a victim hears and nothing else.
const ALONE: u64 = 440;

/// What a release has come to among liars.
struct Ending {
    /// Payload bytes that catch-up sent, in datagrams.
    unicast: u64,
    /// Virtual time from the sending to the last receipt.
    took: Duration,
    /// What the insider has sent.
    lies: u64,
    /// Reports of poisoned blocks.
    poisoned: usize,
}

/// Sends a release to a fleet that loses `loss` of its multicast, while an insider
/// says by multicast every `pause` what `lie` makes up.
fn among_liars(
    seed: u64,
    loss: f64,
    pause: Duration,
    lie: impl FnMut(&mut Voice, &mut Random) -> Vec<u8>,
) -> Ending {
    with_liars(SIZE, seed, loss, pause, None, lie)
}

/// The same for a release of `size` bytes. Where there is a victim the lies reach only that
/// one, from the first data on, and nothing else reaches it before `ALONE` of them.
fn with_liars(
    size: usize,
    seed: u64,
    loss: f64,
    pause: Duration,
    victim: Option<usize>,
    mut lie: impl FnMut(&mut Voice, &mut Random) -> Vec<u8>,
) -> Ending {
    let mut random = Random::new(seed);
    let mut noise = vec![0; size];
    random.fill(&mut noise);
    let tree = Tree::from([("noise".to_owned(), Node::File(false, 1, noise))]);
    let shape = fair_shape(RECEIVERS, tree, Instant::FAR_FUTURE);
    let mut world = world(&mut random, shape, Faults::none(RECEIVERS));
    // An index of 55 KB for the victim's sake: of one block, and short.
    world.admin.cut = victim.map(|_| 16_384);
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(world.run(Instant::ZERO + Duration::from_secs(60), here), "some did not connect");
    let sent = world.now;
    world.script.planned[0].at = sent;
    world.faults.weather = vec![(Weather::CALM, Weather { loss, ..Weather::CALM }); RECEIVERS];
    world.apply_weather();
    let end = sent + Duration::from_secs(150);
    let mut insider: Option<(Voice, SocketAddr)> = None;
    let (mut lies, mut poisoned) = (0, 0);
    while world.behind().is_some() {
        assert!(world.now < end, "{:?}", world.behind());
        let until = world.now + pause;
        world.run(until, |_| false);
        // Among honest members a poisoned block is a bug, here it is the insider.
        let told = world.oracle.violations.len();
        world.oracle.violations.retain(|told| !told.starts_with("S15"));
        poisoned += told - world.oracle.violations.len();
        assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        if insider.is_none() && (victim.is_none() || has_begun(&world)) {
            insider = eavesdrop(&world);
        }
        if let Some((voice, group)) = &mut insider {
            let mut datagram = lie(voice, &mut random);
            let from = receiver_address(9);
            match victim.map(receiver_address) {
                Some(to) => {
                    world.link.inject(world.now, from, to, &datagram);
                    victim.iter().for_each(|&v| world.link.block_multicast(v, lies < ALONE));
                }
                None => world.link.handle_datagram(world.now, from, &mut datagram, *group),
            }
            lies += 1;
        }
    }
    let digest = world.script.newest[0].expect("sent").digest;
    let traffic = world.server.node.as_ref().expect("up").traffic(&[digest]);
    println!("{traffic:?}");
    let took = world.now.since(sent);
    Ending { unicast: traffic.unicast, took, lies, poisoned }
}

/// Whether data has been sent.
fn has_begun(world: &World) -> bool {
    let newest = world.script.under_way.or(world.script.newest[0].map(|name| name.digest));
    let node = world.server.node.as_ref().expect("up");
    node.traffic(newest.as_slice()).payload > 0
}

/// What every member of the first session is told: its key and its address.
fn eavesdrop(world: &World) -> Option<(Voice, SocketAddr)> {
    let group = world.link.groups().next()?;
    let (session, epoch, key) = audit::sessions().first().copied()?;
    let fleet = world.admin.authority.1.document().fleet;
    let signing = SigningKey::from_seed(&[0x1A; 32]);
    Some((Voice { fleet, session, epoch, key, signing, counter: 1 << 20 }, group.into()))
}

const SLOW: Duration = Duration::from_millis(40);
const FAST: Duration = Duration::from_millis(1);

#[test]
fn honest_members_need_no_catch_up() {
    // What the others are measured by.
    let ending = among_liars(1, 0.05, SLOW, |voice, _| voice.say(&[3, 0, 0]));
    assert!(ending.lies > 5, "{}", ending.lies);
    assert_eq!((ending.unicast, ending.poisoned), (0, 0));
    assert!(ending.took < Duration::from_secs(5), "{:?}", ending.took);
}

// PROTOCOL S5
#[test]
fn forged_segment_headers_change_no_layout() {
    let ending = among_liars(2, 0.05, SLOW, |voice, random| {
        let segment = random.below(3) as u32;
        let blocks = [(Object::Content, 1_000 + random.below(9_000) as usize, 0, 1); 16];
        voice.segment((segment, segment * 15, random.below(2) == 0), &blocks)
    });
    assert!(ending.lies > 5, "{}", ending.lies);
    assert_eq!((ending.unicast, ending.poisoned), (0, 0));
}

// PROTOCOL S5
#[test]
fn forged_ends_end_nothing() {
    let ending = among_liars(3, 0.05, SLOW, |voice, random| {
        voice.end(random.below(3) as u32, random.below(4) as u32)
    });
    assert!(ending.lies > 5, "{}", ending.lies);
    assert_eq!((ending.unicast, ending.poisoned), (0, 0));
}

// PROTOCOL S10
#[test]
fn promises_of_parity_that_never_comes_put_no_report_off_for_long() {
    let ending = among_liars(4, 0.05, SLOW, |voice, _| voice.echo(0..24, 64));
    assert!(ending.lies > 5, "{}", ending.lies);
    assert_eq!((ending.unicast, ending.poisoned), (0, 0));
}

#[test]
fn floods_of_bad_signatures_cost_time_and_no_byte() {
    let mut number = 0;
    let ending = among_liars(5, 0.05, FAST, |voice, random| {
        // Counters that the sender has used: they say nothing of losses.
        number += 1;
        voice.counter = number % 8;
        if random.below(2) == 0 {
            voice.end(1, 1)
        } else {
            voice.segment((random.below(4) as u32, 0, true), &[(Object::Content, 1_000, 0, 1)])
        }
    });
    // What could not be verified within the budget comes by catch-up, whose key no other has.
    assert!(ending.lies > 500, "{}", ending.lies);
}

// PROTOCOL S15, S20
#[test]
fn forged_sources_poison_blocks_which_come_again_by_multicast() {
    let ending = among_liars(6, 0.05, SLOW, |voice, random| {
        let mut payload = vec![0; 1_434];
        random.fill(&mut payload);
        voice.symbol(random.below(16) as u32, random.below(190) as u8, &payload)
    });
    assert!(ending.lies > 5, "{}", ending.lies);
    assert!(ending.poisoned > 0, "it has told no lie that counts");
    assert_eq!(ending.unicast, 0);
}

// PROTOCOL S22
#[test]
fn whose_block_alone_is_spoiled_gets_it_by_catch_up() {
    // Whoever sits on the last wire before a receiver takes what the sender says away for
    // the 80 ms in which it sends the index, and puts its own in place of it.
    let mut said = 0;
    let ending = with_liars(LONG, 12, 0.0, Duration::from_micros(200), Some(1), |voice, _| {
        voice.counter = 10;
        said += 1;
        if said > ALONE {
            return voice.say(&[3, 0, 0]);
        }
        voice.symbol(1, (said % 60) as u8, &[7; 1_434])
    });
    assert_eq!(ending.poisoned, 1);
    // The index comes to it alone; what else it has lost, a quarter of each of 14 blocks,
    // is repaired for all as ever.
    assert!((40_000..120_000).contains(&ending.unicast), "{}", ending.unicast);
    assert!(ending.took < Duration::from_secs(20), "{:?}", ending.took);
}

// PROTOCOL S16, S18
#[test]
fn a_flood_of_forged_sources_and_parity_of_both_kinds_needs_no_catch_up() {
    let ending = among_liars(8, 0.05, FAST, |voice, random| {
        let mut payload = vec![0; 1_434];
        random.fill(&mut payload);
        voice.counter = 10;
        let block = random.below(16) as u32;
        match random.below(3) {
            0 => voice.symbol(block, random.below(190) as u8, &payload),
            1 => voice.symbol(block, 192 + random.below(64) as u8, &payload),
            _ => voice.further(block, 64 + random.below(191) as u8, &payload),
        }
    });
    assert!(ending.lies > 100, "{}", ending.lies);
    assert!(ending.poisoned > 0, "it has told no lie that counts");
    assert_eq!(ending.unicast, 0);
}

// PROTOCOL S5
#[test]
fn forged_digests_speak_for_nothing_and_against_nothing() {
    let ending = among_liars(9, 0.05, SLOW, |voice, random| {
        voice.digests(random.below(16) as u32, random.below(40) as u8, 100)
    });
    assert!(ending.lies > 5, "{}", ending.lies);
    assert_eq!((ending.unicast, ending.poisoned), (0, 0));
}

#[test]
fn counters_that_no_sender_has_used_stop_nobody() {
    let ending = among_liars(7, 0.05, SLOW, |voice, random| {
        voice.counter = u64::MAX - 1 - random.below(1 << 40);
        voice.say(&[3, 0, 0])
    });
    assert!(ending.lies > 5, "{}", ending.lies);
}

/// Bytes of a release whose sending takes seconds at the server's cap of 12 MB/s.
const LONG: usize = 24 << 20;
/// The sender's own pause between two datagrams at that cap.
const AS_FAST_AS_THE_SENDER: Duration = Duration::from_micros(125);

/// The same of ten times as many datagrams as the sender's.
const TEN_TIMES: Duration = Duration::from_micros(12);

/// A flood of small datagrams, one each `pause`, against a liar that is hardly heard:
/// how much longer the honest take.
fn flooded_each(
    pause: Duration,
    seed: u64,
    mut flood: impl FnMut(&mut Voice, &mut Random) -> Vec<u8>,
) -> f64 {
    let quiet = with_liars(LONG, seed, 0.05, SLOW, None, |voice, _| {
        voice.counter = 0;
        voice.say(&[3, 0, 0])
    });
    let ending = with_liars(LONG, seed, 0.05, pause, None, &mut flood);
    let least = Duration::from_secs(1).as_micros() / pause.as_micros();
    assert!(ending.lies > least, "{}", ending.lies);
    let ratio = ending.took.as_micros() as f64 / quiet.took.as_micros() as f64;
    println!("quiet {:?}, flooded {:?}: {ratio:.2} times as long", quiet.took, ending.took);
    ratio
}

/// The same at the sender's rate.
fn flooded(seed: u64, flood: impl FnMut(&mut Voice, &mut Random) -> Vec<u8>) -> f64 {
    flooded_each(AS_FAST_AS_THE_SENDER, seed, flood)
}

#[test]
fn floods_with_counters_that_no_sender_has_used_slow_nobody_down() {
    // Goodput of at least four fifths. Without losses to be told of it would do nothing.
    let ratio = flooded(8, |voice, _| voice.say(&[3, 0, 0]));
    assert!(ratio <= 1.25, "{ratio}");
    let jumping = flooded(9, |voice, random| {
        voice.counter = (1 << 20) + random.below(1 << 40);
        voice.say(&[3, 0, 0])
    });
    assert!(jumping <= 1.25, "{jumping}");
}

// PROTOCOL S4
// PROTOCOL S9
// PROTOCOL S11
#[test]
fn counters_beyond_all_repairs_ask_for_little_parity_in_vain() {
    // Sources of about the segment that is being sent say that parity has passed, by
    // counters far ahead. They begin when the first invitation is heard, and go on as
    // fast as the sender does.
    let mut said = 0;
    let ratio = flooded(10, |voice, random| {
        said += 1;
        let block = (said / 200_u32).saturating_sub(20) + random.below(8) as u32;
        voice.symbol(block, 0, &[0; 8])
    });
    assert!(ratio <= 1.25, "{ratio}");
}

/// A flood of digests that nobody signed, so many that all verifications are used up by them,
/// and among sixteen of them a source, so that digests are needed: how much longer it takes.
/// Of the sender's digests a few are taken each second; who gets nowhere leaves.
fn flooded_with_digests(pause: Duration, seed: u64) -> f64 {
    let mut said = 0_u64;
    flooded_each(pause, seed, |voice, random| {
        voice.counter = 0;
        said += 1;
        // The sender takes 24 ms for a block.
        let sent = said * pause.as_micros() / 24_000;
        let block = sent as u32 + random.below(16) as u32;
        if said.is_multiple_of(16) {
            return voice.symbol(block, random.below(190) as u8, &[7; 1_434]);
        }
        voice.unsigned_digests(block, random.below(40) as u8, 100)
    })
}

// PROTOCOL S5, S20
#[test]
fn a_flood_of_forged_digests_at_the_senders_rate_leaves_four_fifths_of_the_goodput() {
    let ratio = flooded_with_digests(AS_FAST_AS_THE_SENDER, 11);
    // The promise of safety.md.
    assert!(ratio <= 1.0 / 0.8, "{ratio}");
}

// PROTOCOL S5, S20
#[test]
fn a_flood_of_forged_digests_at_ten_times_the_rate_leaves_three_tenths_of_the_goodput() {
    let ratio = flooded_with_digests(TEN_TIMES, 11);
    // The promise of safety.md.
    assert!(ratio <= 1.0 / 0.3, "{ratio}");
}
