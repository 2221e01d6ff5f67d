//! Runs of a simulated fleet: by seed for the oracles, or in fair weather for
//! the figures.

use fleetcast::agent::Enrolment;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};

use crate::admin::{Admin, Tree, evolve, random_tree};
use crate::chaos::Chaos;
use crate::faults::Faults;
use crate::link::Link;
use crate::node::{Receiver, Server, receiver_address, server_address};
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
        world.oracle.violate(format!("L1: {behind}"));
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
    Shape { receivers, releases, members, tokens }
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
    let enrolments: Vec<Enrolment> = (0..shape.receivers)
        .map(|at| {
            let of: Vec<GroupId> = shape.members[at].iter().map(|&place| groups[place].0).collect();
            let token = shape.tokens[at].then(|| {
                let (document, token) = admin.voucher(&of, 1);
                node.add_voucher("admin", document, token).expect("signed by the admin");
                token
            });
            Enrolment {
                server: server_address(),
                server_key: admin.server_key(),
                authority: admin.authority.1.digest(),
                token,
            }
        })
        .collect();
    server.write_facts(Instant::ZERO, Duration::ZERO);
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
