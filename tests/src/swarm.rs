//! Many receivers in one process, against a real server: each is the real receiver
//! machine with a disk in memory and a UDP socket of its own.
//!
//! A crew is a thread with its share of them. It hears each multicast group once
//! and hands what comes to every member that listens, so that what is measured is
//! the server and not the kernel's copying. Everything goes when the swarm is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast::code::EnrolmentCode;
use fleetcast::net::{BatchSocket, Interface, ReceiveBuffers, find_interface};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::limits::MAX_DATAGRAM;
use fleetcast_core::time::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::disk::SimDisk;
use crate::faults::PLENTY;
use crate::random::Random;

/// Longest sleep of a crew, so that a stop is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Ticks per second of the times in /proc: USER_HZ, the same on every architecture here.
const USER_HZ: u64 = 100;

/// What a swarm is like.
#[derive(Clone, Copy, Debug)]
pub struct SwarmPlan {
    /// Receivers.
    pub receivers: usize,
    /// Threads that they are spread over.
    pub crews: usize,
    /// Their keys and chances follow from it.
    pub seed: u64,
}

/// How many receivers have come how far.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicUsize,
    installed: AtomicUsize,
    failed: AtomicUsize,
}

/// Receivers that run until this is dropped.
#[derive(Debug)]
pub struct Swarm {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    crews: Vec<JoinHandle<()>>,
}

impl Swarm {
    /// Starts them all at once, unknown to the server, with this enrolment code.
    ///
    /// # Errors
    /// When the code is none, or there are too few sockets.
    pub fn start(code: &str, interface: &str, plan: SwarmPlan) -> io::Result<Self> {
        let code = EnrolmentCode::from_str(code).map_err(io::Error::other)?;
        let host: IpAddr = code.host.parse().map_err(io::Error::other)?;
        let enrolment = Enrolment {
            server: SocketAddr::new(host, code.port),
            server_key: code.controller,
            authority: code.authority,
            token: code.token,
        };
        let interface = find_interface(Some(interface)).map_err(|f| io::Error::other(f.message))?;
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let mut random = Random::new(plan.seed);
        let mut crews = Vec::new();
        for crew in 0..plan.crews {
            let numbers = (0..plan.receivers).filter(|number| number % plan.crews == crew);
            let mut crew = Crew {
                members: Vec::new(),
                sockets: Vec::new(),
                ears: BTreeMap::new(),
                buffers: ReceiveBuffers::default(),
                interface: interface.clone(),
                begin: Clock::now(),
                counts: Arc::clone(&counts),
                stop: Arc::clone(&stop),
            };
            for number in numbers {
                crew.sockets.push(socket(host)?);
                crew.members.push(Member::new(&mut random, number, enrolment.clone())?);
            }
            crews.push(std::thread::spawn(move || crew.run()));
        }
        Ok(Self { counts, stop, crews })
    }

    /// Receivers that the server has welcomed at least once.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.counts.connected.load(Ordering::Relaxed)
    }

    /// Releases installed, each verified chunk by chunk.
    #[must_use]
    pub fn installed(&self) -> usize {
        self.counts.installed.load(Ordering::Relaxed)
    }

    /// Refusals, failed deliveries, and channels that were lost.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.counts.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for crew in self.crews.drain(..) {
            // A panic of a crew was printed by its own hook.
            let _ = crew.join();
        }
    }
}

/// A receiver of a crew.
struct Member {
    agent: Agent<SimDisk, ChaCha>,
    is_connected: bool,
    due: Option<Instant>,
}

impl Member {
    fn new(random: &mut Random, number: usize, enrolment: Enrolment) -> io::Result<Self> {
        let config = AgentConfig {
            secret: random.bytes(),
            signing_seed: random.bytes(),
            name: format!("swarm-{number}"),
            seed: random.bytes(),
            enrolment: Some(enrolment),
            login: None,
        };
        let disk = || SimDisk::new(PLENTY);
        let agent = Agent::open(config, disk(), disk(), Instant::ZERO).map_err(io::Error::other)?;
        Ok(Self { agent, is_connected: false, due: Some(Instant::ZERO) })
    }
}

/// A thread's share of the receivers.
struct Crew {
    members: Vec<Member>,
    /// One per member.
    sockets: Vec<UdpSocket>,
    /// The multicast groups that members listen to.
    ears: BTreeMap<SocketAddrV4, Ear>,
    buffers: ReceiveBuffers,
    interface: Interface,
    begin: Clock,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
}

/// A multicast group that is heard once for all members that listen to it.
struct Ear {
    socket: BatchSocket,
    listeners: BTreeSet<usize>,
}

impl Crew {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.sleep();
            self.hear_unicast();
            self.hear_multicast();
            let now = self.now();
            for at in 0..self.members.len() {
                if self.members[at].due.is_some_and(|due| due <= now) {
                    self.members[at].agent.handle_timeout(now);
                    self.drain(at);
                }
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.begin.elapsed().as_micros() as u64)
    }

    /// Until a datagram comes or somebody is due.
    fn sleep(&self) {
        let due = self.members.iter().filter_map(|member| member.due).min();
        let span = due.map_or(LONGEST_SLEEP, |due| {
            Duration::from_micros(due.since(self.now()).as_micros()).min(LONGEST_SLEEP)
        });
        let ears = self.ears.values().map(|ear| ear.socket.socket());
        let sockets = self.sockets.iter().chain(ears);
        let mut waiting: Vec<PollFd<'_>> =
            sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let span = Timespec { tv_sec: 0, tv_nsec: span.as_nanos() as i64 };
        // Interrupted, it only looks earlier.
        let _ = poll(&mut waiting, Some(&span));
    }

    fn hear_unicast(&mut self) {
        let mut buffer = [0; 2_048];
        for at in 0..self.sockets.len() {
            let mut any = false;
            while let Ok((len, from)) = self.sockets[at].recv_from(&mut buffer) {
                let now = self.now();
                self.members[at].agent.handle_datagram(now, from, &mut buffer[..len]);
                any = true;
            }
            if any {
                self.drain(at);
            }
        }
    }

    fn hear_multicast(&mut self) {
        let mut heard: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        let mut buffer = [0; 2_048];
        let groups: Vec<SocketAddrV4> = self.ears.keys().copied().collect();
        for group in groups {
            let Some(ear) = self.ears.get(&group) else { continue };
            let listeners: Vec<usize> = ear.listeners.iter().copied().collect();
            ear.socket.receive(&mut self.buffers, &mut |from, datagram| {
                heard.push((from, datagram.to_vec()));
            });
            for at in listeners.iter().copied().filter(|_| !heard.is_empty()) {
                for (from, datagram) in &heard {
                    let now = self.now();
                    let copy = &mut buffer[..datagram.len()];
                    copy.copy_from_slice(datagram);
                    self.members[at].agent.handle_datagram(now, *from, copy);
                }
                self.drain(at);
            }
            heard.clear();
        }
    }

    /// Passes on what a member has to say, and asks when it is due again.
    fn drain(&mut self, at: usize) {
        while let Some(event) = self.members[at].agent.poll_event() {
            self.on_event(at, &event);
        }
        let mut out = [0; MAX_DATAGRAM];
        let now = self.now();
        let member = &mut self.members[at];
        while let Some(transmit) = member.agent.poll_transmit(now, &mut out) {
            // Lost like any datagram: it is repeated.
            let _ = self.sockets[at].send_to(&out[..transmit.len], transmit.to);
        }
        member.due = member.agent.poll_timeout();
    }

    fn on_event(&mut self, at: usize, event: &AgentEvent) {
        let add = |count: &AtomicUsize| count.fetch_add(1, Ordering::Relaxed);
        match event {
            AgentEvent::Connected { .. } if !self.members[at].is_connected => {
                self.members[at].is_connected = true;
                add(&self.counts.connected);
            }
            AgentEvent::Installed { .. } => {
                add(&self.counts.installed);
            }
            AgentEvent::Failed { .. }
            | AgentEvent::Refused { .. }
            | AgentEvent::Disconnected { .. } => {
                eprintln!("swarm: {event:?}");
                add(&self.counts.failed);
            }
            AgentEvent::Listen(group) => self.listen(at, *group),
            AgentEvent::Unlisten(group) => {
                if let Some(ear) = self.ears.get_mut(group) {
                    ear.listeners.remove(&at);
                }
                self.ears.retain(|_, ear| !ear.listeners.is_empty());
            }
            _ => {}
        }
    }

    fn listen(&mut self, at: usize, group: SocketAddrV4) {
        if !self.ears.contains_key(&group) {
            match BatchSocket::multicast(group, &self.interface) {
                Ok(socket) => {
                    self.ears.insert(group, Ear { socket, listeners: BTreeSet::new() });
                }
                // Catch-up serves its listeners, which the test notices.
                Err(failure) => eprintln!("swarm: {group}: {}", failure.message),
            }
        }
        if let Some(ear) = self.ears.get_mut(&group) {
            ear.listeners.insert(at);
        }
    }
}

/// A socket towards the server.
fn socket(server: IpAddr) -> io::Result<UdpSocket> {
    let own = if server.is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What a process has used until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of it in memory.
    pub resident: u64,
    /// Time of processors, its own and the kernel's for it.
    pub cpu: Duration,
}

/// What a process has used until now; `None` when there is no such process.
#[must_use]
pub fn usage(process: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    read_usage(&status, &stat)
}

fn read_usage(status: &str, stat: &str) -> Option<Usage> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    // After the name in parentheses: utime and stime are fields 14 and 15 of the line.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let ticks = ticks.next()? + ticks.next()?;
    Some(Usage { resident: kib * 1_024, cpu: Duration::from_millis(ticks * 1_000 / USER_HZ) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_the_kernels_words() {
        let status = "Name:\tx\nVmHWM:\t    9 kB\nVmRSS:\t   28 kB\nThreads:\t1\n";
        // proc(5): state, ppid, pgrp, session, tty, tpgid, flags, four of faults, utime, stime.
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 3 4 20 0 1";
        let expected = Usage { resident: 28 * 1_024, cpu: Duration::from_millis(1_750) };
        assert_eq!(read_usage(status, stat), Some(expected));
        assert!(usage(std::process::id()).is_some());
    }
}
