//! The network between the server and its receivers, with the five verbs of
//! every machine: a datagram goes in by [`Link::handle_datagram`] and comes out
//! by [`Link::poll_transmit`] late, twice, damaged, or never.
//!
//! Each receiver has a path in either direction with weather of its own; a
//! multicast datagram takes the way down to every receiver that listens. The
//! weather is that of the lab's bridge between real processes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::transmit::Transmit;
use fleetcast_lab::membership::Memberships;
use fleetcast_lab::weather::{IP_UDP, Mishap, Outcome, Path};

pub use fleetcast_lab::weather::{Bottleneck, Burst, Weather};

use crate::random::Random;

/// What went wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEvent {
    /// On its way to or from one receiver.
    Mishap(Mishap),
    /// Lost for every receiver at once.
    LostForAll,
    /// Sent to an address that nobody has.
    Unroutable,
}

/// A datagram under way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: Instant,
    /// Among those due at once the first sent is the first to arrive.
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Arc<[u8]>,
}

/// Where to, seen from a receiver, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
    DownByMulticast,
}

/// A receiver's two ways.
#[derive(Clone, Debug)]
struct Paths {
    up: Path,
    down: Path,
}

/// The network.
pub struct Link {
    random: Random,
    server: SocketAddr,
    paths: Vec<Paths>,
    owners: BTreeMap<SocketAddr, usize>,
    addresses: Vec<SocketAddr>,
    listeners: BTreeMap<SocketAddrV4, BTreeSet<usize>>,
    /// What a switch that snoops knows of them.
    announced: Memberships<SocketAddrV4>,
    /// A switch forgets memberships that were not announced for so long.
    forgets: Option<Duration>,
    /// Chance that a multicast datagram is lost before the network forks.
    common_loss: f64,
    flights: BinaryHeap<Reverse<Flight>>,
    number: u64,
    /// Bytes that the server has put on the wire, with IP and UDP headers.
    from_server: u64,
    events: VecDeque<LinkEvent>,
}

impl Link {
    /// A network with a server and these receivers.
    #[must_use]
    pub fn new(random: Random, server: SocketAddr, receivers: Vec<SocketAddr>) -> Self {
        let path = Path::new(Weather::CALM);
        Self {
            random,
            server,
            paths: vec![Paths { up: path.clone(), down: path }; receivers.len()],
            owners: receivers.iter().enumerate().map(|(i, &address)| (address, i)).collect(),
            addresses: receivers,
            listeners: BTreeMap::new(),
            announced: Memberships::new(),
            forgets: None,
            common_loss: 0.0,
            flights: BinaryHeap::new(),
            number: 0,
            from_server: 0,
            events: VecDeque::new(),
        }
    }

    // --- what is changed from outside ---

    /// Changes the weather of a receiver's ways up and down.
    pub fn set_weather(&mut self, receiver: usize, up: Weather, down: Weather) {
        self.paths[receiver].up.weather = up;
        self.paths[receiver].down.weather = down;
    }

    /// Narrows a receiver's way down, or makes it wide again.
    pub fn narrow(&mut self, receiver: usize, bottleneck: Option<Bottleneck>) {
        self.paths[receiver].down.bottleneck = bottleneck;
    }

    /// Cuts or heals a receiver's ways up and down.
    pub fn cut(&mut self, receiver: usize, up: bool, down: bool) {
        self.paths[receiver].up.cut = up;
        self.paths[receiver].down.cut = down;
    }

    /// Lets nothing longer than `longest` bytes of UDP payload through to a receiver: a
    /// link with a small MTU that tells nobody.
    pub fn limit_length(&mut self, receiver: usize, longest: usize) {
        self.paths[receiver].down.longest = longest;
    }

    /// Blocks or lets through multicast to a receiver.
    pub fn block_multicast(&mut self, receiver: usize, blocked: bool) {
        self.paths[receiver].down.deaf = blocked;
    }

    /// Lets a switch without a querier forget memberships after a time.
    pub const fn forget_memberships(&mut self, after: Duration) {
        self.forgets = Some(after);
    }

    /// A receiver has announced its membership in a multicast group.
    pub fn announce(&mut self, now: Instant, receiver: usize, group: SocketAddrV4) {
        self.announced.announce(elapsed(now), group, receiver);
    }

    /// Loss that hits all receivers at once.
    pub const fn set_common_loss(&mut self, loss: f64) {
        self.common_loss = loss;
    }

    /// A receiver listens to a multicast group, or does so no longer.
    pub fn listen(&mut self, receiver: usize, group: SocketAddrV4, listens: bool) {
        let listeners = self.listeners.entry(group).or_default();
        if listens {
            listeners.insert(receiver);
        } else {
            listeners.remove(&receiver);
        }
    }

    /// The multicast groups that somebody listens to.
    pub fn groups(&self) -> impl Iterator<Item = SocketAddrV4> {
        let heard = self.listeners.iter().filter(|(_, listeners)| !listeners.is_empty());
        heard.map(|(&group, _)| group)
    }

    /// A receiver that crashed listens to nothing.
    pub fn forget_listener(&mut self, receiver: usize) {
        self.listeners.values_mut().for_each(|listeners| {
            listeners.remove(&receiver);
        });
    }

    /// Gives a receiver another address; what is under way to the old one is lost.
    pub fn readdress(&mut self, receiver: usize, address: SocketAddr) {
        let old = std::mem::replace(&mut self.addresses[receiver], address);
        self.owners.remove(&old);
        self.owners.insert(address, receiver);
    }

    /// A receiver's address.
    #[must_use]
    pub fn address(&self, receiver: usize) -> SocketAddr {
        self.addresses[receiver]
    }

    /// Whose address it is.
    #[must_use]
    pub fn owner(&self, address: &SocketAddr) -> Option<usize> {
        self.owners.get(address).copied()
    }

    /// Bytes that the server has put on the wire, with IP and UDP headers.
    #[must_use]
    pub const fn bytes_from_server(&self) -> u64 {
        self.from_server
    }

    /// Puts a datagram on the last wire before `to`, as an attacker there does.
    pub fn inject(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.number += 1;
        let flight = Flight { due: now, number: self.number, from, to, bytes: bytes.into() };
        self.flights.push(Reverse(flight));
    }

    // --- the five verbs ---

    /// Takes a datagram from a node, for the address `to`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        to: SocketAddr,
    ) {
        let bytes: Arc<[u8]> = (&*datagram).into();
        if from == self.server {
            self.from_server += (bytes.len() + IP_UDP) as u64;
        }
        if to == self.server {
            if let Some(receiver) = self.owner(&from) {
                self.carry(now, receiver, Way::Up, from, to, &bytes);
            }
            return;
        }
        if let (true, SocketAddr::V4(group)) = (to.ip().is_multicast(), to) {
            if self.random.chance(self.common_loss) {
                self.events.push_back(LinkEvent::LostForAll);
                return;
            }
            let listeners: Vec<usize> =
                self.listeners.get(&group).map(|l| l.iter().copied().collect()).unwrap_or_default();
            for receiver in listeners {
                if self.is_forgotten(now, group, receiver) {
                    self.events.push_back(LinkEvent::Mishap(Mishap::Blocked));
                } else {
                    let to = self.addresses[receiver];
                    self.carry(now, receiver, Way::DownByMulticast, from, to, &bytes);
                }
            }
        } else if let Some(receiver) = self.owner(&to) {
            self.carry(now, receiver, Way::Down, from, to, &bytes);
        } else {
            self.events.push_back(LinkEvent::Unroutable);
        }
    }

    /// Nothing here happens by time alone.
    pub const fn handle_timeout(&mut self, _now: Instant) {}

    /// The next datagram that arrives by `now`, and who sent it; its address is
    /// the receiver's own also where it came by multicast.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
    ) -> Option<(SocketAddr, Transmit)> {
        loop {
            if self.flights.peek()?.0.due > now {
                return None;
            }
            let Reverse(flight) = self.flights.pop()?;
            if flight.to == self.server || self.owner(&flight.to).is_some() {
                let len = flight.bytes.len();
                out[..len].copy_from_slice(&flight.bytes);
                return Some((flight.from, Transmit { to: flight.to, len, segment_size: None }));
            }
            self.events.push_back(LinkEvent::Unroutable);
        }
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flights.peek().map(|flight| flight.0.due)
    }

    /// What went wrong.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Whether the switch has forgotten that a receiver listens to a group.
    fn is_forgotten(&self, now: Instant, group: SocketAddrV4, receiver: usize) -> bool {
        let Some(lasts) = self.forgets else { return false };
        !self.announced.is_known(elapsed(now), to_std(lasts), group, receiver)
    }

    fn carry(
        &mut self,
        now: Instant,
        receiver: usize,
        way: Way,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &Arc<[u8]>,
    ) {
        let paths = &mut self.paths[receiver];
        let path = if way == Way::Up { &mut paths.up } else { &mut paths.down };
        let multicast = way == Way::DownByMulticast;
        path.carry(elapsed(now), &mut self.random, bytes, multicast, |outcome| match outcome {
            Outcome::Mishap(mishap) => self.events.push_back(LinkEvent::Mishap(mishap)),
            Outcome::Arrival { after, damaged } => {
                let bytes = damaged.map_or_else(|| Arc::clone(bytes), Arc::from);
                self.number += 1;
                let due = now + Duration::from_micros(after.as_micros() as u64);
                let flight = Flight { due, number: self.number, from, to, bytes };
                self.flights.push(Reverse(flight));
            }
        });
    }
}

/// As the shared model of faults counts time.
const fn elapsed(now: Instant) -> std::time::Duration {
    std::time::Duration::from_micros(now.as_micros())
}

const fn to_std(time: Duration) -> std::time::Duration {
    std::time::Duration::from_micros(time.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7))
    }

    fn link() -> Link {
        Link::new(Random::new(4), address(1), vec![address(2), address(3), address(4)])
    }

    fn arrivals(link: &mut Link) -> Vec<(SocketAddr, SocketAddr, usize)> {
        let mut out = [0; 2_000];
        let late = Instant::from_millis(10_000);
        let next = || link.poll_transmit(late, &mut out).map(|(from, t)| (from, t.to, t.len));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn multicast_reaches_those_who_listen_and_hear() {
        let mut link = link();
        let group = SocketAddrV4::new([239, 77, 1, 1].into(), 7_413);
        let now = Instant::ZERO;
        link.handle_datagram(now, address(1), &mut [1; 5], group.into());
        assert_eq!(arrivals(&mut link), []);
        link.listen(0, group, true);
        link.listen(1, group, true);
        link.block_multicast(1, true);
        link.handle_datagram(now, address(1), &mut [1; 5], group.into());
        assert_eq!(arrivals(&mut link), [(address(1), address(2), 5)]);
        assert_eq!(link.poll_event(), Some(LinkEvent::Mishap(Mishap::Blocked)));
        link.forget_listener(0);
        link.handle_datagram(now, address(1), &mut [1; 5], group.into());
        assert_eq!(arrivals(&mut link), []);
    }

    #[test]
    fn a_way_that_is_cut_one_way_carries_the_other_way() {
        let mut link = link();
        link.cut(0, true, false);
        link.handle_datagram(Instant::ZERO, address(2), &mut [1; 5], address(1));
        link.handle_datagram(Instant::ZERO, address(1), &mut [1; 6], address(2));
        assert_eq!(arrivals(&mut link), [(address(1), address(2), 6)]);
    }

    #[test]
    fn loss_and_bursts_have_the_rates_that_were_asked_for() {
        let mut link = link();
        let loss = Weather { loss: 0.2, ..Weather::CALM };
        // Bad for 1 / 0.1 datagrams, good for 1 / 0.025: a fifth of them is bad.
        let burst = Burst { begins: 0.025, ends: 0.1, loss: 1.0 };
        link.set_weather(0, Weather::CALM, loss);
        link.set_weather(1, Weather::CALM, Weather { burst: Some(burst), ..Weather::CALM });
        for (receiver, spread) in [(2, 400), (3, 1_200)] {
            for _ in 0..20_000 {
                link.handle_datagram(Instant::ZERO, address(1), &mut [1], address(receiver));
            }
            let came = arrivals(&mut link).len();
            assert!(came.abs_diff(16_000) < spread, "{receiver}: {came}");
        }
    }

    #[test]
    fn a_bottleneck_carries_its_rate_and_drops_what_its_queue_does_not_hold() {
        let mut link = link();
        link.narrow(0, Some(Bottleneck { rate: 100_000, queue: 50_000 }));
        // A second of 972 + 28 bytes each millisecond, ten times what it carries: a
        // tenth goes through, and the queue of half a second after it.
        for at in (0..1_000).map(Instant::from_millis) {
            link.handle_datagram(at, address(1), &mut [1; 972], address(2));
            link.handle_datagram(at, address(1), &mut [1; 972], address(3));
        }
        let mut out = [0; 2_000];
        let mut times = Vec::new();
        while let Some(at) = link.poll_timeout() {
            let (_, transmit) = link.poll_transmit(at, &mut out).unwrap();
            times.extend((transmit.to == address(2)).then_some(at));
        }
        assert!((148..=151).contains(&times.len()), "{}", times.len());
        let gaps: Vec<u64> = times.windows(2).map(|w| w[1].since(w[0]).as_micros()).collect();
        assert!(gaps.iter().all(|gap| *gap >= 10_000), "{gaps:?}");
        let last = times.last().unwrap().as_micros();
        assert!((1_470_000..1_520_000).contains(&last), "{last}");
    }

    #[test]
    fn delay_comes_before_arrival_and_an_old_address_is_nobodys() {
        let mut link = link();
        let slow = Weather { delay: std::time::Duration::from_millis(30), ..Weather::CALM };
        link.set_weather(0, slow, slow);
        link.handle_datagram(Instant::ZERO, address(1), &mut [1; 9], address(2));
        assert_eq!(link.poll_timeout(), Some(Instant::from_millis(30)));
        assert_eq!(link.poll_transmit(Instant::from_millis(29), &mut [0; 99]), None);
        link.readdress(0, address(9));
        assert_eq!(arrivals(&mut link), []);
        assert_eq!(link.poll_event(), Some(LinkEvent::Unroutable));
    }
}
