//! Runs of a simulated fleet: by seed for the oracles, or in fair weather for
//! the figures.

use fleetcast::agent::Enrolment;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};

use crate::admin::{Admin, Tree, evolve, random_tree};
use crate::chaos::Chaos;
use crate::disk::Node;
use crate::faults::Faults;
use crate::link::{Link, Weather};
use crate::node::{Receiver, Server, receiver_address, server_address};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::script::{Planned, Script};
use crate::world::{Parts, World};

/// In a faultless time everybody must be up to date after this (L1): a receiver
/// is down for 20 s at most, a channel counts as dead after 25 s, a handshake is
/// tried every 10 s, a rest is asked for every 20 s; the transfers need seconds.
const BOUND: Duration = Duration::from_secs(150);
/// Rate cap of the server in bytes per second.
const RATE: u64 = 12_000_000;

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold.
    pub violations: Vec<String>,
    /// Faults that happened.
    pub faults: u64,
    /// Bytes that the nodes sent.
    pub bytes: u64,
    /// Hash of all that arrived.
    pub trace: u64,
    /// Virtual microseconds until the end.
    pub time: u64,
}

/// What a fleet is like.
pub struct Shape {
    /// Receivers.
    pub receivers: usize,
    /// Per group: the trees of its releases, with their times.
    pub releases: Vec<Vec<(Instant, Tree)>>,
    /// Per receiver: places of its groups.
    pub members: Vec<Vec<usize>>,
    /// Per receiver: whether its code has a token.
    pub tokens: Vec<bool>,
    /// How many one code is good for that all with a token share; else each has its own.
    pub shared: Option<u32>,
}

/// One seed: a time of arbitrary faults, then a faultless one.
#[must_use]
pub fn run_seed(seed: u64) -> Outcome {
    run_stormy(seed, false)
}

/// The same, telling on stderr what the receivers tell.
#[must_use]
pub fn run_seed_aloud(seed: u64) -> Outcome {
    run_stormy(seed, true)
}

fn run_stormy(seed: u64, verbose: bool) -> Outcome {
    let mut random = Random::new(seed);
    let mut shape = wild_shape(&mut random);
    let faults = Faults::wild(&mut random, shape.receivers);
    let stormy = Duration::from_micros((random.wild(2.0, 60.0) * 1e6) as u64);
    shape.spread(&mut random, stormy);
    let mut world = world(&mut random, shape, faults);
    world.verbose = verbose;
    world.run(Instant::ZERO + stormy, |_| false);
    world.calm();
    world.script.retries = true;
    let end = world.now + BOUND;
    let converged = world.run(end, |world| world.behind().is_none());
    if !converged && world.oracle.violations.is_empty() {
        let behind = world.behind().unwrap_or_default();
        let sessions = world.server.node.as_ref().map(|node| node.status(world.now).sessions);
        world.oracle.violate(format!("L1: {behind}; sessions: {sessions:?}"));
    }
    outcome(&world)
}

/// What a run has come to.
#[must_use]
pub fn outcome(world: &World) -> Outcome {
    Outcome {
        violations: world.oracle.violations.clone(),
        faults: world.losses + world.chaos.count,
        bytes: world.bytes,
        trace: world.trace,
        time: world.now.as_micros(),
    }
}

/// A fleet in which everybody gets the same release at the same time.
#[must_use]
pub fn fair_shape(receivers: usize, tree: Tree, at: Instant) -> Shape {
    Shape {
        receivers,
        releases: vec![vec![(at, tree)]],
        members: vec![vec![0]; receivers],
        tokens: vec![true; receivers],
        shared: None,
    }
}

fn wild_shape(random: &mut Random) -> Shape {
    let receivers = random.within(2, 5) as usize;
    let groups = random.within(1, 2) as usize;
    let releases = (0..groups).map(|_| {
        let most = random.wild(2_000.0, 300_000.0) as u64;
        let mut tree = random_tree(random, most);
        let count = random.within(1, 3);
        let versions = (0..count).map(|_| {
            let version = (Instant::ZERO, tree.clone());
            evolve(random, &mut tree, most);
            version
        });
        versions.collect()
    });
    let releases = releases.collect();
    let members = (0..receivers).map(|_| match random.below(3) {
        0 => (0..groups).collect(),
        _ => vec![random.below(groups as u64) as usize],
    });
    let members = members.collect();
    let tokens = (0..receivers).map(|_| random.below(3) > 0).collect();
    Shape { receivers, releases, members, tokens, shared: None }
}

impl Shape {
    /// Spreads the releases over a time.
    fn spread(&mut self, random: &mut Random, time: Duration) {
        for releases in &mut self.releases {
            let mut at = 0;
            for release in releases {
                at += random.below(time.as_micros() / 2);
                release.0 = Instant::from_micros(at);
            }
        }
    }
}

/// A world with a server that knows its groups and invitations durably.
///
/// # Panics
/// When the server refuses what every fleet begins with.
#[must_use]
pub fn world(random: &mut Random, shape: Shape, faults: Faults) -> World {
    let mut admin = Admin::new(random.split());
    let mut server = Server::new(random.split(), shape.receivers, RATE);
    server.boot(Instant::ZERO, &admin);
    let node = server.node.as_mut().expect("just booted");
    let groups: Vec<(GroupId, String)> = (0..shape.releases.len())
        .map(|n| {
            let name = format!("group{n}");
            let id = node.create_group("admin", &name, false).expect("a new name");
            (id, name)
        })
        .collect();
    let (server_key, authority) = (admin.server_key(), admin.authority.1.digest());
    let mut invite = |groups: &[GroupId], uses| {
        let (document, token) = admin.voucher(groups, uses);
        node.add_voucher("admin", document, token).expect("signed by the admin");
        token
    };
    let shared = shape.shared.map(|uses| invite(&[groups[0].0], uses));
    let enrolments: Vec<Enrolment> = (0..shape.receivers)
        .map(|at| {
            let of: Vec<GroupId> = shape.members[at].iter().map(|&place| groups[place].0).collect();
            let token = shape.tokens[at].then(|| shared.unwrap_or_else(|| invite(&of, 1)));
            Enrolment { server: server_address(), server_key, authority, token }
        })
        .collect();
    server.write_facts(Instant::ZERO, Duration::ZERO, &mut Oracle::default());
    let receivers = enrolments
        .into_iter()
        .enumerate()
        .map(|(at, enrolment)| {
            Receiver::new(random.split(), format!("r{at}"), enrolment, faults.abilities)
        })
        .collect();
    let addresses = (0..shape.receivers).map(receiver_address).collect();
    let mut planned: Vec<Planned> = Vec::new();
    for (group, releases) in shape.releases.into_iter().enumerate() {
        planned.extend(releases.into_iter().map(|(at, tree)| Planned { at, group, tree }));
    }
    planned.sort_by_key(|planned| (planned.at, planned.group));
    let newest = vec![None; groups.len()];
    let script = Script { planned, members: shape.members, newest, ..Script::default() };
    let link = Link::new(random.split(), server_address(), addresses);
    let chaos = Chaos::new(random.split(), &faults);
    World::new(Parts { server, receivers, link, admin, script, groups, faults, chaos })
}

/// What a release in fair weather, but for losses, has cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Bytes of the release's files.
    pub size: u64,
    /// Bytes that the sessions sent, with IP and UDP headers (28 each).
    pub wire: u64,
    /// The part of them that went to receivers one by one.
    pub unicast: u64,
    /// NACK datagrams that reached the server.
    pub nacks: u64,
    /// Multicast datagrams that were lost for all.
    pub common: u64,
    /// Virtual seconds from the sending to the first symbol.
    pub begun: f64,
    /// Virtual seconds from the sending to the last receipt.
    pub seconds: f64,
}

/// Sends one release of noise to a fleet of which every receiver loses `own` of
/// its datagrams, beside the share `common` that all lose together.
///
/// # Panics
/// When not everybody has it in ten virtual minutes, or a promise is broken.
#[must_use]
pub fn measure(seed: u64, receivers: usize, size: usize, own: f64, common: f64) -> Cost {
    let mut random = Random::new(seed);
    let mut noise = vec![0; size];
    random.fill(&mut noise);
    let tree = Tree::from([("noise".to_owned(), Node::File(false, 1, noise))]);
    let shape = fair_shape(receivers, tree, Instant::FAR_FUTURE);
    let mut world = world(&mut random, shape, Faults::none(receivers));
    world.deep = receivers <= 16;
    // Everybody connects in peace: the figures are those of the sessions.
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    assert!(world.run(Instant::ZERO + Duration::from_secs(120), here), "some did not connect");
    let sent = world.now;
    world.script.planned[0].at = sent;
    let down = Weather { loss: own, ..Weather::CALM };
    world.faults.weather = vec![(Weather::CALM, down); receivers];
    world.faults.common_loss = common;
    world.apply_weather();
    let end = sent + Duration::from_secs(600);
    world.run(end, |world| world.script.under_way.is_some());
    let sent = world.now;
    let first = |world: &World| {
        let digests = world.script.under_way.or(world.script.newest[0].map(|name| name.digest));
        let node = world.server.node.as_ref();
        node.is_some_and(|node| node.traffic(digests.as_slice()).payload > 0)
    };
    world.run(end, first);
    let begun = world.now;
    let done = world.run(end, |world| world.tick_is_due() && world.behind().is_none());
    assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
    assert!(done, "{:?}", world.behind());
    let digest = world.script.newest[0].map(|name| name.digest).expect("sent");
    let traffic = world.server.node.as_ref().expect("up").traffic(&[digest]);
    Cost {
        size: size as u64,
        wire: traffic.multicast + traffic.unicast,
        unicast: traffic.unicast,
        nacks: traffic.nacks,
        common: world.lost_for_all,
        begun: begun.since(sent).as_micros() as f64 / 1e6,
        seconds: world.now.since(sent).as_micros() as f64 / 1e6,
    }
}

/// Seconds until a fleet that begins all at once, each receiver unknown and with a
/// token, has a channel each.
///
/// # Panics
/// When that takes more than two virtual minutes, or a promise is broken.
#[must_use]
pub fn joining(seed: u64, receivers: usize) -> f64 {
    let mut random = Random::new(seed);
    let shape = fair_shape(receivers, Tree::new(), Instant::FAR_FUTURE);
    let mut world = world(&mut random, shape, Faults::none(receivers));
    world.deep = false;
    // All at the same instant, as after a power cut: nothing is harder.
    let here = |world: &World| world.tick_is_due() && world.all_are_here();
    let done = world.run(Instant::ZERO + Duration::from_secs(120), here);
    assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
    assert!(done, "some did not connect");
    world.now.as_micros() as f64 / 1e6
}
