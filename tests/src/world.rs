//! A whole fleet on a virtual clock: the real server and the real receivers,
//! a network, an admin, and chance.
//!
//! The loop is the one of `core/README.md`: go to the earliest time that anybody
//! waits for, hand over what arrives, call who is due, and drain whoever was
//! called. Nothing reads a clock or entropy: a seed is a run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::net::SocketAddr;

use fleetcast::agent::AgentEvent;
use fleetcast_core::erasure::Lanes;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};

use crate::admin::Admin;
use crate::audit;
use crate::chaos::Chaos;
use crate::doorway::Doorway;
use crate::faults::Faults;
use crate::link::{Link, LinkEvent};
use crate::node::{Receiver, Server, receiver_address, server_address};
use crate::oracle::Oracle;
use crate::random::hash;
use crate::script::Script;

/// What a driver needs from a call that is due to the next.
const TURN: Duration = Duration::from_micros(10);
/// Time between two looks of the admin.
const TICK: Duration = Duration::from_millis(250);
/// Room for a batch of datagrams.
const BATCH: usize = 64 * 1_024;
/// Every so many calls of a receiver its destination is compared whole.
const LOOK_EVERY: u64 = 256;

/// Who waits for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Server,
    Receiver(usize),
}

/// A fleet and its surroundings.
pub struct World {
    /// The virtual clock.
    pub now: Instant,
    /// The server.
    pub server: Server,
    /// The receivers.
    pub receivers: Vec<Receiver>,
    /// The network.
    pub link: Link,
    /// The admin.
    pub admin: Admin,
    /// What the admin does.
    pub script: Script,
    /// The groups by name.
    pub groups: Vec<(GroupId, String)>,
    /// What must hold.
    pub oracle: Oracle,
    /// What goes wrong.
    pub faults: Faults,
    /// What goes wrong at a time.
    pub chaos: Chaos,
    /// Hash of all that has arrived, and when.
    pub trace: u64,
    /// Bytes that the nodes have sent.
    pub bytes: u64,
    /// NACKs, losses and the like, by the link.
    pub losses: u64,
    /// Multicast datagrams that nobody got.
    pub lost_for_all: u64,
    /// Handshakes, as seen at the server's door.
    pub doorway: Doorway,
    /// Why receivers were turned away, where some are meant to be; they end by that.
    pub refusals: Option<BTreeMap<&'static str, usize>>,
    /// Large worlds compare only what has changed.
    pub deep: bool,
    /// Tells on stderr what receivers tell.
    pub verbose: bool,
    wakes: BinaryHeap<Reverse<(Instant, Who, u64)>>,
    generations: Vec<u64>,
    tick_at: Instant,
    known: HashSet<SocketAddr>,
    /// Hashes of what has arrived at the server since it started.
    arrived: HashSet<u64>,
    buffer: Vec<u8>,
}

/// What a world is made of.
pub struct Parts {
    /// The server, booted.
    pub server: Server,
    /// The receivers, not booted.
    pub receivers: Vec<Receiver>,
    /// The network.
    pub link: Link,
    /// The admin.
    pub admin: Admin,
    /// What it does.
    pub script: Script,
    /// The groups.
    pub groups: Vec<(GroupId, String)>,
    /// What goes wrong.
    pub faults: Faults,
    /// What goes wrong at a time.
    pub chaos: Chaos,
}

impl World {
    /// A fleet at the beginning of time; a new book of nonces begins with it.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { server, receivers, link, admin, script, groups, faults, chaos } = parts;
        audit::begin();
        let count = receivers.len();
        let mut world = Self {
            now: Instant::ZERO,
            server,
            receivers,
            link,
            admin,
            script,
            groups,
            oracle: Oracle::new(count),
            faults,
            chaos,
            trace: 0,
            bytes: 0,
            losses: 0,
            lost_for_all: 0,
            doorway: Doorway::default(),
            refusals: None,
            deep: true,
            verbose: false,
            wakes: BinaryHeap::new(),
            generations: vec![0; count + 1],
            tick_at: Instant::ZERO,
            known: (0..count).map(receiver_address).collect(),
            arrived: HashSet::new(),
            buffer: vec![0; BATCH],
        };
        world.apply_weather();
        (0..count).for_each(|receiver| world.wake_receiver(receiver));
        world.wake_server();
        world
    }

    /// The weather and the losses of the faults, as they are now.
    pub fn apply_weather(&mut self) {
        for receiver in 0..self.receivers.len() {
            let (up, down) = self.faults.weather[receiver];
            self.link.set_weather(receiver, up, down);
            self.link.block_multicast(receiver, self.faults.deaf[receiver]);
            self.link.cut(receiver, false, false);
        }
        self.link.set_common_loss(self.faults.common_loss);
    }

    /// Ends all faults: who is down comes up, who is armed is disarmed.
    pub fn calm(&mut self) {
        self.chaos.stop();
        self.faults = Faults::none(self.receivers.len());
        self.apply_weather();
        for receiver in 0..self.receivers.len() {
            let node = &mut self.receivers[receiver];
            node.destination.set_fault(None);
            node.state.set_fault(None);
            node.clock = Some(0);
            node.tell_time(self.now);
        }
    }

    /// Goes on until `done`, or until `end`, whichever comes first; whether it was `done`.
    pub fn run(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        while self.oracle.violations.is_empty() {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return false;
            }
        }
        false
    }

    /// Whether the admin has just looked: a good time for what costs much.
    #[must_use]
    pub fn tick_is_due(&self) -> bool {
        self.tick_at == self.now + TICK
    }

    /// Goes to the next time that anything happens, if it is not after `end`.
    fn step(&mut self, end: Instant) -> bool {
        let wake = self.wakes.peek().map(|wake| wake.0.0);
        let times = [
            wake,
            self.link.poll_timeout(),
            self.server.catalog.poll_timeout(),
            self.chaos.poll_timeout(),
            Some(self.tick_at),
        ];
        let next = times.into_iter().flatten().min().unwrap_or(end).max(self.now);
        if next > end {
            self.now = end;
            return false;
        }
        self.now = next;
        self.persisted();
        self.arrivals();
        self.wakes_due();
        self.chaos_timeout();
        if self.tick_at <= self.now {
            self.tick_at = self.now + TICK;
            self.tick();
            self.server_turn();
        }
        while let Some(event) = self.link.poll_event() {
            self.losses += 1;
            self.lost_for_all += u64::from(event == LinkEvent::LostForAll);
        }
        if let Some(reused) = audit::reused() {
            self.oracle.violate(reused);
        }
        true
    }

    // --- what is due ---

    fn persisted(&mut self) {
        while let Some(batch) = self.server.catalog.persisted(self.now) {
            if let Some(node) = &mut self.server.node {
                node.persisted(self.now, batch);
                self.server_turn();
            }
        }
    }

    fn arrivals(&mut self) {
        let mut buffer = [0; 2_048];
        while let Some((from, transmit)) = self.link.poll_transmit(self.now, &mut buffer) {
            let datagram = &mut buffer[..transmit.len];
            let place = u64::from(transmit.to.port()) ^ u64::from(from.port()) << 16;
            self.trace = hash(self.trace ^ self.now.as_micros() ^ place << 32, datagram);
            if transmit.to == server_address() {
                let genuine = self.known.contains(&from);
                self.oracle.server_received(from, datagram, genuine);
                self.doorway.enters(from, datagram);
                // PROTOCOL C1: what the server has had changes nothing again.
                let again = !self.arrived.insert(hash(1, datagram));
                let before = if again { self.addresses_at_server() } else { 0 };
                if let Some(node) = &mut self.server.node {
                    node.handle_datagram(self.now, from, datagram);
                    self.server_turn();
                }
                if again && before != self.addresses_at_server() {
                    self.oracle.violate(format!("C1: a packet from {from} counted twice"));
                }
            } else if let Some(receiver) = self.link.owner(&transmit.to)
                && let Some(agent) = &mut self.receivers[receiver].agent
            {
                agent.handle_datagram(self.now, from, datagram);
                self.receiver_turn(receiver);
            }
        }
    }

    /// A hash of where the server believes its receivers to be.
    fn addresses_at_server(&self) -> u64 {
        let Some(node) = &self.server.node else { return 0 };
        let mut addresses: Vec<_> =
            node.registry().receivers().map(|r| (r.id, r.address)).collect();
        addresses.sort_unstable();
        hash(0, format!("{addresses:?}").as_bytes())
    }

    fn wakes_due(&mut self) {
        while let Some(Reverse((at, who, generation))) = self.wakes.peek().copied() {
            if at > self.now {
                return;
            }
            self.wakes.pop();
            match who {
                Who::Server if generation == self.generations[0] => self.server_due(),
                Who::Receiver(receiver) if generation == self.generations[receiver + 1] => {
                    self.receiver_due(receiver);
                }
                _ => {}
            }
        }
    }

    fn server_due(&mut self) {
        let now = self.now;
        if self.server.boots_at.is_some_and(|at| at <= now) {
            self.server.boot(now, &self.admin);
        }
        self.server.tell_time(now);
        self.server.handle_timeout(now);
        self.server_turn();
    }

    fn receiver_due(&mut self, receiver: usize) {
        let (now, node) = (self.now, &mut self.receivers[receiver]);
        if node.boots_at.is_some_and(|at| at <= now) {
            node.boot(now);
            // What it has read is what was durable.
            for accepted in node.agent.iter().flat_map(|agent| &agent.state().accepted) {
                self.oracle.accepted(receiver, accepted.group, accepted.order);
            }
        }
        node.tell_time(now);
        if let Some(agent) = &mut node.agent {
            agent.handle_timeout(now);
        }
        self.receiver_turn(receiver);
    }

    // --- draining ---

    /// Drains the server and asks when it is due again.
    pub(crate) fn server_turn(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(node) = &mut self.server.node
            && let Some(transmit) = node.poll_transmit(self.now, &mut buffer, &Lanes)
        {
            let size = transmit.segment_size.unwrap_or(transmit.len).max(1);
            for datagram in buffer[..transmit.len].chunks_mut(size) {
                self.bytes += datagram.len() as u64;
                self.oracle.server_sent(transmit.to, datagram);
                self.doorway.leaves(self.now, transmit.to, datagram);
                self.chaos.hear(datagram);
                self.link.handle_datagram(self.now, server_address(), datagram, transmit.to);
            }
        }
        self.buffer = buffer;
        self.server.write_facts(self.now, self.faults.persist, &mut self.oracle);
        self.wake_server();
    }

    /// Drains a receiver, looks at what it shows, and asks when it is due again.
    fn receiver_turn(&mut self, receiver: usize) {
        let mut buffer = [0; 2_048];
        let address = self.link.address(receiver);
        while let Some(agent) = &mut self.receivers[receiver].agent
            && let Some(transmit) = agent.poll_transmit(self.now, &mut buffer)
        {
            let datagram = &mut buffer[..transmit.len];
            self.bytes += datagram.len() as u64;
            self.chaos.hear(datagram);
            self.link.handle_datagram(self.now, address, datagram, transmit.to);
        }
        while let Some(event) = self.receivers[receiver].poll_event() {
            self.on_event(receiver, &event);
        }
        if self.receivers[receiver].has_lost_power() {
            self.crash_receiver(receiver);
        } else {
            self.look(receiver, false);
            self.wake_receiver(receiver);
        }
    }

    fn on_event(&mut self, receiver: usize, event: &AgentEvent) {
        if self.verbose && !matches!(event, AgentEvent::Progress { .. }) {
            eprintln!("{:>12} receiver {receiver}: {event:?}", self.now.as_micros());
        }
        match event {
            AgentEvent::Listen(group) => {
                self.link.listen(receiver, *group, true);
                self.link.announce(self.now, receiver, *group);
            }
            AgentEvent::Announce(group) => self.link.announce(self.now, receiver, *group),
            AgentEvent::Unlisten(group) => self.link.listen(receiver, *group, false),
            AgentEvent::Installed { release, .. } if self.deep => {
                let release = self.admin.signed.iter().find(|s| s.name.digest == *release);
                let disk = &self.receivers[receiver].destination;
                if !disk.is_dead() {
                    self.oracle.installed(receiver, disk, &self.groups, release);
                }
            }
            AgentEvent::Offered { release, .. }
                if self.server.catalog.release(&release.digest).is_none() =>
            {
                let sequence = release.order.sequence;
                let what =
                    format!("receiver {receiver} was offered {sequence} before it is durable");
                self.oracle.violate(format!("S12: {what}"));
            }
            AgentEvent::Unwell { condition, subject } => {
                let code = condition.code();
                self.oracle.violate(format!("L2: receiver {receiver}: {code}: {subject}"));
            }
            AgentEvent::Refused { code } => match &mut self.refusals {
                Some(refusals) => {
                    *refusals.entry(*code).or_default() += 1;
                    // As its process does.
                    self.receivers[receiver].agent = None;
                }
                None => self.oracle.violate(format!("receiver {receiver} was refused: {code}")),
            },
            _ => {}
        }
    }

    /// Lets the oracles look at what a receiver shows.
    fn look(&mut self, receiver: usize, always: bool) {
        let calls = self.generations[receiver + 1];
        let always = always || (self.deep && calls.is_multiple_of(LOOK_EVERY));
        let disk = &self.receivers[receiver].destination;
        let gap = !self.faults.abilities.exchange || self.receivers[receiver].agent.is_none();
        self.oracle.look(receiver, disk, &self.groups, &self.admin.signed, (always, gap));
    }

    fn wake_server(&mut self) {
        self.generations[0] += 1;
        if let Some(at) = self.server.poll_timeout() {
            let at = at.max(self.now + TURN);
            self.wakes.push(Reverse((at, Who::Server, self.generations[0])));
        }
    }

    fn wake_receiver(&mut self, receiver: usize) {
        let generation = &mut self.generations[receiver + 1];
        *generation += 1;
        if let Some(at) = self.receivers[receiver].poll_timeout() {
            let at = at.max(self.now + TURN);
            self.wakes.push(Reverse((at, Who::Receiver(receiver), *generation)));
        }
    }

    // --- what happens to nodes ---

    /// Somebody switches a receiver on.
    pub fn start_receiver(&mut self, receiver: usize) {
        self.receivers[receiver].boots_at = Some(self.now);
        self.wake_receiver(receiver);
    }

    /// The power of a receiver fails.
    pub fn crash_receiver(&mut self, receiver: usize) {
        if self.receivers[receiver].boots_at.is_some() && !self.receivers[receiver].has_lost_power()
        {
            return;
        }
        self.receivers[receiver].crash(self.now);
        self.link.forget_listener(receiver);
        self.look(receiver, true);
        self.wake_receiver(receiver);
    }

    /// The server stops dead.
    pub fn crash_server(&mut self) {
        if self.server.node.is_some() {
            self.server.crash(self.now);
            self.arrived.clear();
            self.wake_server();
        }
    }

    /// The server is stopped in order, as its driver does it, and is down for a time.
    pub fn stop_server(&mut self, down: Duration) {
        let Some(node) = &mut self.server.node else { return };
        node.say_goodbye(self.now);
        self.server_turn();
        self.server.stop(self.now, down);
        self.arrived.clear();
        self.wake_server();
    }

    /// A receiver gets another address.
    pub fn readdress(&mut self, receiver: usize, address: SocketAddr) {
        self.known.insert(address);
        self.link.readdress(receiver, address);
    }
}
