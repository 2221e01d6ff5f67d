//! The schedule of faults that happen at a time: power cuts, partitions, attacks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

use fleetcast::disk::DiskError;
use fleetcast_core::time::{Duration, Instant};

use crate::disk::{Fault, FaultKind};
use crate::faults::Faults;
use crate::node::{receiver_address, server_address};
use crate::random::Random;
use crate::world::World;

/// Datagrams that an attacker remembers.
const REMEMBERED: usize = 128;
/// Longest partition.
const PARTITION_MS: f64 = 40_000.0;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Partition,
    Heal(usize),
    Flap,
    ReceiverCrash,
    StorageCut,
    StorageError,
    ServerCrash,
    Readdress,
    Clock,
    Attack,
}

/// What happens when.
pub struct Chaos {
    random: Random,
    due: BinaryHeap<Reverse<(Instant, Happening)>>,
    heard: VecDeque<Vec<u8>>,
    addresses: u16,
    /// How much has happened.
    pub count: u64,
}

impl Chaos {
    /// The schedule for these faults.
    #[must_use]
    pub fn new(random: Random, faults: &Faults) -> Self {
        let due = BinaryHeap::new();
        let mut chaos = Self { random, due, heard: VecDeque::new(), addresses: 0, count: 0 };
        let kinds = [
            Happening::Partition,
            Happening::Flap,
            Happening::ReceiverCrash,
            Happening::StorageCut,
            Happening::StorageError,
            Happening::ServerCrash,
            Happening::Readdress,
            Happening::Clock,
            Happening::Attack,
        ];
        for kind in kinds {
            chaos.again(Instant::ZERO, kind, faults);
        }
        chaos
    }

    /// When the next thing happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.peek().map(|due| due.0.0)
    }

    /// Nothing happens any more.
    pub fn stop(&mut self) {
        self.due.clear();
    }

    /// An attacker hears a datagram.
    pub fn hear(&mut self, datagram: &[u8]) {
        if self.random.below(4) == 0 {
            if self.heard.len() == REMEMBERED {
                self.heard.pop_front();
            }
            self.heard.push_back(datagram.to_vec());
        }
    }

    fn again(&mut self, now: Instant, kind: Happening, faults: &Faults) {
        let mean = match kind {
            Happening::Partition => faults.partition,
            Happening::Heal(_) => None,
            Happening::Flap => faults.flapping,
            Happening::ReceiverCrash => faults.receiver_crash,
            Happening::StorageCut => faults.storage_cut,
            Happening::StorageError => faults.storage_error,
            Happening::ServerCrash => faults.server_crash,
            Happening::Readdress => faults.readdress,
            Happening::Clock => faults.clock,
            Happening::Attack => faults.attack,
        };
        if let Some(mean) = mean {
            // Exponential, as what happens by chance is.
            let factor = -(1.0 - self.random.unit()).ln();
            let pause = Duration::from_micros((mean.as_micros() as f64 * factor) as u64 + 1);
            self.due.push(Reverse((now + pause, kind)));
        }
    }
}

impl World {
    /// Lets happen what is due.
    pub(crate) fn chaos_timeout(&mut self) {
        while self.chaos.poll_timeout().is_some_and(|at| at <= self.now) {
            let Some(Reverse((_, kind))) = self.chaos.due.pop() else { return };
            self.chaos.count += 1;
            let receiver = self.chaos.random.below(self.receivers.len() as u64) as usize;
            self.happen(kind, receiver);
            self.chaos.again(self.now, kind, &self.faults);
        }
    }

    fn happen(&mut self, kind: Happening, receiver: usize) {
        let now = self.now;
        let random = &mut self.chaos.random;
        match kind {
            Happening::Partition => {
                let (up, down) =
                    [(true, true), (true, false), (false, true)][random.below(3) as usize];
                let lasts = Duration::from_millis(random.wild(10.0, PARTITION_MS) as u64);
                self.link.cut(receiver, up, down);
                self.chaos.due.push(Reverse((now + lasts, Happening::Heal(receiver))));
            }
            Happening::Heal(healed) => self.link.cut(healed, false, false),
            Happening::Flap => self.link.block_multicast(receiver, random.below(2) == 0),
            Happening::ReceiverCrash => self.crash_receiver(receiver),
            Happening::StorageCut => {
                let at = random.below(60);
                let fault = Fault::cut(at, random.below(2) == 0);
                self.arm(receiver, fault);
            }
            Happening::StorageError => {
                let at = random.below(60);
                let fault = match random.below(3) {
                    0 => Fault::sync(random.below(10)),
                    1 => Fault::error(at, DiskError::NoSpace, false),
                    _ => Fault::error(at, DiskError::Io(5), false),
                };
                self.arm(receiver, fault);
            }
            Happening::ServerCrash => self.crash_server(),
            Happening::Readdress => {
                self.chaos.addresses += 1;
                let mut address = receiver_address(receiver);
                address.set_port(40_000 + self.chaos.addresses);
                self.readdress(receiver, address);
            }
            Happening::Clock => {
                let off = random.wild(1.0, 1e9) as i64;
                let clocks = [None, Some(0), Some(off), Some(-off)];
                self.receivers[receiver].clock = clocks[random.below(4) as usize];
                self.receivers[receiver].tell_time(now);
            }
            Happening::Attack => self.attack(receiver),
        }
    }

    /// A fault at one of the next storage operations, at the destination mostly.
    fn arm(&mut self, receiver: usize, fault: Fault) {
        let in_state = self.chaos.random.below(4) == 0;
        let receiver = &self.receivers[receiver];
        let state_fault = Fault { at: fault.at % 4, ..fault };
        match (receiver.agent.is_some(), in_state, fault.kind) {
            (false, ..) => {}
            (_, true, FaultKind::CutBefore | FaultKind::CutAfter | FaultKind::Error(_)) => {
                receiver.state.set_fault(Some(state_fault));
            }
            (_, false, _) => receiver.destination.set_fault(Some(fault)),
        }
    }

    /// What was heard, again or changed, or noise; to the server or a receiver,
    /// from a stranger or in somebody's name.
    fn attack(&mut self, receiver: usize) {
        let random = &mut self.chaos.random;
        let victim = self.link.address(receiver);
        let stranger = SocketAddr::from(([10, 66, 0, random.below(8) as u8], 666));
        let mut bytes = match random.below(5) {
            0 => {
                let mut noise = vec![0; random.below(1_472) as usize];
                random.fill(&mut noise);
                if let Some(kind) = noise.first_mut() {
                    *kind = random.below(7) as u8;
                }
                noise
            }
            _ if self.chaos.heard.is_empty() => return,
            _ => {
                // The newest is the most interesting.
                let last = self.chaos.heard.len() as u64 - 1;
                let back = if random.below(3) == 0 { 0 } else { random.below(last + 1) };
                self.chaos.heard[(last - back) as usize].clone()
            }
        };
        if random.below(3) == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let (from, to) = match random.below(4) {
            0 => (server_address(), victim),
            1 => (stranger, victim),
            2 => (victim, server_address()),
            _ => (stranger, server_address()),
        };
        self.link.inject(self.now, from, to, &bytes);
    }
}
