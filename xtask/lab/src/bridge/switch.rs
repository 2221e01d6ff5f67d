//! A switch that misbehaves as it is told, with the verbs of every machine here: a
//! frame goes in by [`Switch::handle_frame`] and comes out by
//! [`Switch::poll_transmit`] late, twice, damaged, or never. It has no clock and no
//! sockets; times are counted from its beginning.
//!
//! Faults hit whole UDP datagrams and TCP segments on their way to a port (TCP is
//! not damaged). ARP, IGMP and the like pass at once: who is cut off from those is
//! cut off, and that is what `cut` is for.
//!
//! Every port draws from a stream of its own, so what happens at one does not
//! depend on what is sent to others, nor on the order in which ports are served.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Order;
use crate::frame::{self, Igmp, Kind, Mac, Packet};
use crate::membership::Memberships;
use crate::misbehave::Snooping;
use crate::random::{Random, mix};
use crate::weather::{Outcome, Path, Weather};

/// The address that queries come from: a local one (IEEE 802).
const OWN: Mac = [2, 0xFC, 0, 0, 0, 1];

/// One way out of the switch.
#[derive(Debug)]
struct Port {
    path: Path,
    random: Random,
}

/// A frame under way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: Duration,
    /// Among those due at once the first sent is the first to arrive.
    number: u64,
    port: usize,
    frame: Arc<[u8]>,
}

/// Where a frame is to go.
enum Target {
    One(usize),
    All,
    These(BTreeSet<usize>),
}

impl Target {
    fn has(&self, port: usize) -> bool {
        match self {
            Self::One(one) => *one == port,
            Self::All => true,
            Self::These(ports) => ports.contains(&port),
        }
    }
}

/// The switch.
#[derive(Debug)]
pub(crate) struct Switch {
    ports: Vec<Port>,
    /// Behind which port an address was seen last.
    seen: BTreeMap<Mac, usize>,
    snooping: Option<Snooping>,
    members: Memberships<Ipv4Addr>,
    /// When a query came in last from where.
    queriers: BTreeMap<usize, Duration>,
    /// When the next query of our own is due.
    query: Option<Duration>,
    flights: BinaryHeap<Reverse<Flight>>,
    number: u64,
}

impl Switch {
    /// A switch with so many ports, at which nothing goes wrong yet.
    pub(crate) fn new(ports: usize, seed: u64) -> Self {
        let stream = |port: usize| Random::new(mix(seed ^ mix(port as u64 + 1)));
        let port = |port| Port { path: Path::new(Weather::STILL), random: stream(port) };
        Self {
            ports: (0..ports).map(port).collect(),
            seen: BTreeMap::new(),
            snooping: None,
            members: Memberships::new(),
            queriers: BTreeMap::new(),
            query: None,
            flights: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Obeys.
    ///
    /// # Errors
    /// When there is no such host.
    pub(crate) fn obey(&mut self, now: Duration, order: Order) -> Result<(), String> {
        match order {
            Order::Snoop(snooping) => {
                self.query = snooping.and_then(|snooping| snooping.asks_every.map(|_| now));
                self.snooping = snooping;
            }
            Order::Fault(fault, mut hosts) => {
                let last = self.ports.len() - 1;
                if let Some(host) = hosts.iter().find(|host| **host > last) {
                    return Err(format!("no host {host}; the last is {last}"));
                }
                if hosts.is_empty() {
                    hosts = (1..=last).collect();
                }
                hosts.into_iter().for_each(|host| fault.apply(&mut self.ports[host].path));
            }
        }
        Ok(())
    }

    // --- the verbs ---

    /// Takes a frame that came in at a port.
    pub(crate) fn handle_frame(&mut self, now: Duration, port: usize, frame: &mut [u8]) {
        let Some((from, to)) = frame::addresses(frame) else { return };
        if !frame::is_group(from) {
            self.seen.insert(from, port);
        }
        let packet = Packet::find(frame);
        if let Some(packet) = &packet {
            packet.complete(frame);
        }
        let frame: &[u8] = frame;
        let targets = match &packet {
            Some(packet) if packet.kind == Kind::Igmp => self.snoop(now, port, packet, frame),
            Some(packet) if packet.is_for_listeners() => self.listeners(now, packet.to),
            _ => self.seen.get(&to).map_or(Target::All, |port| Target::One(*port)),
        };
        let shared = Arc::from(frame);
        for to in 0..self.ports.len() {
            // What came in does not go out where it came from.
            if to != port && targets.has(to) {
                self.carry(now, to, &shared, packet.as_ref());
            }
        }
    }

    /// Asks who listens when it is time to.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let every = self.snooping.and_then(|snooping| snooping.asks_every);
        if let (Some(due), Some(every)) = (self.query, every)
            && due <= now
        {
            let query = Arc::from(frame::query(OWN));
            (0..self.ports.len()).for_each(|port| self.launch(now, port, Arc::clone(&query)));
            self.query = Some(now + Duration::from_millis(every.into()));
        }
    }

    /// The next frame that is due by `now`, and out of which port it goes.
    pub(crate) fn poll_transmit(&mut self, now: Duration) -> Option<(usize, Arc<[u8]>)> {
        if self.flights.peek()?.0.due > now {
            return None;
        }
        self.flights.pop().map(|Reverse(flight)| (flight.port, flight.frame))
    }

    /// When something is to be done next.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.flights.peek().map(|flight| flight.0.due);
        due.into_iter().chain(self.query).min()
    }

    /// Takes note of what IGMP says; a report is for queriers only (RFC 4541, §2.1.1).
    fn snoop(&mut self, now: Duration, port: usize, packet: &Packet, frame: &[u8]) -> Target {
        let said = packet.igmp(frame);
        for said in &said {
            match *said {
                Igmp::Query => drop(self.queriers.insert(port, now)),
                Igmp::Listens(group) => self.members.announce(now, group, port),
                Igmp::Leaves(group) => self.members.leave(group, port),
            }
        }
        if self.snooping.is_none() || said.contains(&Igmp::Query) {
            return Target::All;
        }
        Target::These(self.routers(now))
    }

    fn listeners(&self, now: Duration, group: Ipv4Addr) -> Target {
        let Some(snooping) = self.snooping else { return Target::All };
        let lasts = Duration::from_millis(snooping.forgets_after.into());
        let mut ports = self.members.ports(now, lasts, group);
        ports.extend(self.routers(now));
        Target::These(ports)
    }

    /// Ports behind which a querier is: routers get all multicast.
    fn routers(&self, now: Duration) -> BTreeSet<usize> {
        let Some(snooping) = self.snooping else { return BTreeSet::new() };
        let lasts = Duration::from_millis(snooping.believes_for.into());
        let fresh = self.queriers.iter().filter(|(_, at)| now.saturating_sub(**at) <= lasts);
        fresh.map(|(port, _)| *port).collect()
    }

    /// Sends a frame to a port, through its weather.
    fn carry(&mut self, now: Duration, to: usize, frame: &Arc<[u8]>, packet: Option<&Packet>) {
        let packet = packet.filter(|packet| matches!(packet.kind, Kind::Udp | Kind::Tcp));
        let Some(packet) = packet else { return self.launch(now, to, Arc::clone(frame)) };
        let Port { path, random } = &mut self.ports[to];
        let mut arrivals = Vec::new();
        let multicast = packet.to.is_multicast();
        path.carry(now, random, packet.payload(frame), multicast, |outcome| {
            if let Outcome::Arrival { after, damaged } = outcome {
                arrivals.push((after, damaged));
            }
        });
        for (after, damaged) in arrivals {
            let damaged = damaged.and_then(|payload| packet.with_payload(frame, &payload));
            let frame = damaged.map_or_else(|| Arc::clone(frame), Arc::from);
            self.launch(now + after, to, frame);
        }
    }

    fn launch(&mut self, due: Duration, port: usize, frame: Arc<[u8]>) {
        self.number += 1;
        self.flights.push(Reverse(Flight { due, number: self.number, port, frame }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn mac(host: u8) -> Mac {
        [2, 0, 0, 0, 0, host]
    }

    /// A UDP datagram of host `from` (10.0.0.x), without checksums.
    fn datagram(from: u8, to: Mac, address: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let total = 28 + payload.len() as u8;
        let ip = [0x45, 0, 0, total, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, from];
        let udp = [1, 0, 2, 0, 0, 8 + payload.len() as u8, 0, 0];
        [&to[..], &mac(from), &[8, 0], &ip, &address, &udp, payload].concat()
    }

    fn unicast(from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
        datagram(from, mac(to), [10, 0, 0, to], payload)
    }

    fn multicast(from: u8, payload: &[u8]) -> Vec<u8> {
        datagram(from, [1, 0, 0x5E, 77, 0, 1], [239, 77, 0, 1], payload)
    }

    /// A report of version 2 that `from` listens to 239.77.0.1, or a query by it.
    fn igmp(from: u8, kind: u8) -> Vec<u8> {
        let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, from, 239, 77, 0, 1];
        let igmp = [kind, 0, 0, 0, 239, 77, 0, 1];
        [&[1, 0, 0x5E, 77, 0, 1][..], &mac(from), &[8, 0], &ip, &igmp].concat()
    }

    /// The ports that a frame goes to, and when all is due.
    fn ports(switch: &mut Switch, now: Duration, from: usize, mut frame: Vec<u8>) -> Vec<usize> {
        switch.handle_frame(now, from, &mut frame);
        drain(switch, now)
    }

    fn drain(switch: &mut Switch, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| switch.poll_transmit(now)).map(|(port, _)| port).collect()
    }

    fn obey(switch: &mut Switch, now: Duration, order: &str) {
        switch.obey(now, order.parse().unwrap()).unwrap();
    }

    #[test]
    fn a_frame_goes_to_all_until_its_addressee_was_seen() {
        let mut switch = Switch::new(4, 1);
        assert_eq!(ports(&mut switch, NOW, 1, unicast(1, 2, b"a")), [0, 2, 3]);
        assert_eq!(ports(&mut switch, NOW, 2, unicast(2, 1, b"a")), [1]);
        assert_eq!(ports(&mut switch, NOW, 1, unicast(1, 2, b"a")), [2]);
        assert_eq!(ports(&mut switch, NOW, 0, multicast(0, b"a")), [1, 2, 3]);
        assert_eq!(ports(&mut switch, NOW, 0, vec![1; 13]), []);
    }

    #[test]
    fn a_fault_is_of_its_host_and_of_its_kind() {
        let mut switch = Switch::new(4, 1);
        obey(&mut switch, NOW, "deaf 1");
        obey(&mut switch, NOW, "mtu 68 2");
        obey(&mut switch, NOW, "delay 5 3");
        switch.handle_frame(NOW, 0, &mut multicast(0, &[0; 41]));
        assert_eq!(drain(&mut switch, NOW), []);
        assert_eq!(switch.poll_timeout(), Some(NOW + Duration::from_millis(5)));
        assert_eq!(drain(&mut switch, NOW + Duration::from_millis(5)), [3]);
        // By unicast, and as long as the smallest MTU.
        assert_eq!(ports(&mut switch, NOW, 0, unicast(0, 1, b"a")), [1, 2]);
        assert_eq!(ports(&mut switch, NOW, 0, multicast(0, &[0; 40])), [2]);
        obey(&mut switch, NOW, "calm");
        drain(&mut switch, 2 * NOW);
        assert_eq!(ports(&mut switch, NOW, 0, multicast(0, &[0; 41])), [1, 2, 3]);
        assert!(switch.obey(NOW, "loss 5 4".parse().unwrap()).is_err());
        // To the admin's host only where that is named.
        obey(&mut switch, NOW, "loss 100%");
        assert_eq!(ports(&mut switch, NOW, 1, unicast(1, 9, b"a")), [0]);
        obey(&mut switch, NOW, "loss 100% admin");
        assert_eq!(ports(&mut switch, NOW, 1, unicast(1, 9, b"a")), []);
        // IGMP is no datagram of anybody's.
        assert_eq!(ports(&mut switch, NOW, 1, igmp(1, 0x16)), [0, 2, 3]);
    }

    #[test]
    fn what_happens_at_a_port_depends_on_its_own_datagrams_only() {
        let fates = |others: bool| {
            let mut switch = Switch::new(4, 7);
            // Both addresses are seen, so that nothing goes to all.
            switch.handle_frame(NOW, 1, &mut unicast(1, 0, b"a"));
            switch.handle_frame(NOW, 2, &mut unicast(2, 0, b"a"));
            drain(&mut switch, NOW);
            obey(&mut switch, NOW, "loss 50");
            obey(&mut switch, NOW, "duplicate 20");
            let fate = |number: u8| {
                if others {
                    switch.handle_frame(NOW, 0, &mut unicast(0, 2, &[number]));
                }
                switch.handle_frame(NOW, 0, &mut unicast(0, 1, &[number]));
                drain(&mut switch, NOW).into_iter().filter(|port| *port == 1).count()
            };
            (0..200).map(fate).collect::<Vec<_>>()
        };
        assert_eq!(fates(false), fates(true));
        let lost = fates(true).iter().filter(|copies| **copies == 0).count();
        assert!((60..140).contains(&lost), "{lost}");
    }

    #[test]
    fn a_switch_that_snoops_sends_multicast_to_listeners_until_it_forgets_them() {
        let mut switch = Switch::new(4, 1);
        obey(&mut switch, NOW, "snoop 3");
        assert_eq!(ports(&mut switch, NOW, 0, multicast(0, b"a")), []);
        // Nobody asks, so nobody is told.
        assert_eq!(ports(&mut switch, NOW, 1, igmp(1, 0x16)), []);
        assert_eq!(ports(&mut switch, 2 * NOW, 2, igmp(2, 0x16)), []);
        assert_eq!(ports(&mut switch, 4 * NOW, 0, multicast(0, b"a")), [1, 2]);
        assert_eq!(ports(&mut switch, 5 * NOW, 0, multicast(0, b"a")), [2]);
        assert_eq!(ports(&mut switch, 6 * NOW, 0, multicast(0, b"a")), []);
        // A leave counts at once; a querier gets everything, and hears reports.
        assert_eq!(ports(&mut switch, 7 * NOW, 3, igmp(3, 0x11)), [0, 1, 2]);
        assert_eq!(ports(&mut switch, 7 * NOW, 1, igmp(1, 0x16)), [3]);
        assert_eq!(ports(&mut switch, 7 * NOW, 0, multicast(0, b"a")), [1, 3]);
        assert_eq!(ports(&mut switch, 7 * NOW, 1, igmp(1, 0x17)), [3]);
        assert_eq!(ports(&mut switch, 7 * NOW, 0, multicast(0, b"a")), [3]);
        obey(&mut switch, 7 * NOW, "snoop off");
        assert_eq!(ports(&mut switch, 7 * NOW, 0, multicast(0, b"a")), [1, 2, 3]);
    }

    #[test]
    fn a_querier_asks_everybody_at_its_interval() {
        let mut switch = Switch::new(3, 1);
        obey(&mut switch, NOW, "snoop 3 2");
        for now in [NOW, 3 * NOW, 5 * NOW] {
            assert_eq!(switch.poll_timeout(), Some(now));
            switch.handle_timeout(now - Duration::from_millis(1));
            assert_eq!(drain(&mut switch, now), []);
            switch.handle_timeout(now);
            assert_eq!(drain(&mut switch, now), [0, 1, 2]);
        }
        obey(&mut switch, 6 * NOW, "snoop off");
        assert_eq!(switch.poll_timeout(), None);
    }
}
