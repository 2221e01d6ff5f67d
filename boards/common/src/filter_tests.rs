//! What passes, by frames written out by hand (RFC 826, 791, 768, 1112), and what the
//! stack does with it.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use fleetcast_core::time::Instant;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as StackInstant;

use super::*;
use crate::net::{Addressing, FRAME, Net, NetMemory, Nic, Sockets};

const OWN: [u8; 6] = [0x02, 0, 0, 0x11, 0x22, 0x33];
const OTHER: [u8; 6] = [0x02, 0, 0, 0x11, 0x22, 0x34];
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 200, 3, 4);
/// The same 23 bits.
const NAMESAKE: Ipv4Addr = Ipv4Addr::new(239, 72, 3, 4);
const GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5E, 0x48, 3, 4];
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PORT: u16 = 7_413;

fn filter(dhcp: bool, session: bool) -> Filter {
    let filter = Filter::new();
    let session = session.then_some(SocketAddrV4::new(GROUP, PORT));
    filter.set(&Listening { mac: OWN, dhcp, session });
    filter
}

/// An Ethernet frame of at least 60 bytes.
fn frame(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &OTHER, &kind.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An IPv4 packet in one, its checksum left to be filled in.
fn packet(to: ([u8; 6], Ipv4Addr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut head = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 1, protocol, 0, 0];
    head[2..4].copy_from_slice(&len.to_be_bytes());
    head.extend(SERVER.octets());
    head.extend(to.1.octets());
    let words = head.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair)));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xFFFF) + (sum >> 16)) as u16;
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(to.0, 0x0800, &[&head[..], payload].concat())
}

/// A datagram without a checksum, as RFC 768 allows.
fn datagram(to: ([u8; 6], Ipv4Addr), from: u16, port: u16, len: usize) -> Vec<u8> {
    let fields = [from, port, 8 + len as u16, 0].map(u16::to_be_bytes);
    packet(to, 17, &[fields.as_flattened(), &vec![7; len]].concat())
}

/// Whether a driver would keep it.
fn passes(filter: &Filter, frame: &[u8]) -> bool {
    filter.takes_address(*frame.first_chunk().unwrap()) && filter.takes(&head(frame).unwrap())
}

#[test]
fn what_a_receiver_listens_to_passes() {
    let filter = filter(true, true);
    let arp = [0, 1, 8, 0, 6, 4, 0, 1];
    assert!(passes(&filter, &frame(OWN, 0x0806, &arp)));
    assert!(passes(&filter, &frame([0xFF; 6], 0x0806, &arp)));
    assert!(passes(&filter, &datagram((OWN, HOST), 7_411, 7_411, 1_200)));
    assert!(passes(&filter, &datagram((GROUP_MAC, GROUP), 40_000, PORT, 548)));
    assert!(passes(&filter, &datagram((OWN, HOST), 67, 68, 300)));
    assert!(passes(&filter, &datagram(([0xFF; 6], Ipv4Addr::BROADCAST), 67, 68, 300)));
    // Queries to all hosts, and to the group.
    assert!(passes(
        &filter,
        &packet(([1, 0, 0x5E, 0, 0, 1], Ipv4Addr::new(224, 0, 0, 1)), 2, &[0x11; 8])
    ));
    assert!(passes(&filter, &packet((GROUP_MAC, GROUP), 2, &[0x11; 8])));
}

#[test]
fn what_is_for_others_does_not() {
    let filter = filter(false, true);
    let broadcast = ([0xFF; 6], Ipv4Addr::BROADCAST);
    let others = [
        ("another host's", datagram((OTHER, HOST), 7_411, 7_411, 20)),
        ("another port", datagram((OWN, HOST), 7_411, 7_412, 20)),
        ("the session's port, but to us", datagram((OWN, HOST), 7_411, PORT, 20)),
        ("another group", datagram(([1, 0, 0x5E, 0x48, 3, 5], GROUP), 1, PORT, 548)),
        ("a group of the same address", datagram((GROUP_MAC, NAMESAKE), 1, PORT, 548)),
        ("another port of the group", datagram((GROUP_MAC, GROUP), 1, PORT + 1, 548)),
        ("our port, but to the group", datagram((GROUP_MAC, GROUP), 1, 7_411, 548)),
        ("to all", datagram(broadcast, 7_411, 7_411, 548)),
        ("DHCP where it is not spoken", datagram(broadcast, 67, 68, 300)),
        ("ICMP", packet((OWN, HOST), 1, &[8; 64])),
        ("TCP", packet((OWN, HOST), 6, &[8; 64])),
        ("IPv6", frame([0x33, 0x33, 0, 0, 0, 1], 0x86DD, &[0x60; 60])),
        ("IPv6 to us", frame(OWN, 0x86DD, &[0x60; 60])),
        ("a spanning tree's", frame([0x01, 0x80, 0xC2, 0, 0, 0], 38, &[0x42; 40])),
        ("ARP to a group", frame(GROUP_MAC, 0x0806, &[0, 1, 8, 0, 6, 4, 0, 1])),
    ];
    for (what, frame) in others {
        assert!(!passes(&filter, &frame), "{what}");
    }
    // Pieces, and a header with options, which the ports are behind.
    let whole = datagram((OWN, HOST), 7_411, 7_411, 20);
    for (at, byte) in [(20, 0x20), (21, 0x01), (14, 0x46)] {
        let mut other = whole.clone();
        other[at] = byte;
        assert!(!passes(&filter, &other), "{at}");
    }
    assert!(passes(&filter, &whole));
}

#[test]
fn without_a_session_no_group_passes_and_afterwards_no_more() {
    let filter = filter(true, false);
    let session = datagram((GROUP_MAC, GROUP), 1, PORT, 548);
    assert!(!passes(&filter, &session));
    // A group of zeros is none either.
    assert!(!passes(&filter, &datagram(([1, 0, 0x5E, 0, 0, 0], Ipv4Addr::UNSPECIFIED), 1, 0, 9)));
    let listening = Listening { mac: OWN, dhcp: true, session: None };
    filter.set(&Listening { session: Some(SocketAddrV4::new(GROUP, PORT)), ..listening });
    assert!(passes(&filter, &session));
    filter.set(&listening);
    assert!(!passes(&filter, &session));
}

/// A device that is given frames, and notes how long the answers are.
#[derive(Clone, Default)]
struct Wire {
    frame: Rc<RefCell<Option<Vec<u8>>>>,
    answers: Rc<RefCell<Vec<usize>>>,
}

struct Came(Vec<u8>);
struct Answer(Rc<RefCell<Vec<usize>>>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Answer {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        self.0.borrow_mut().push(len);
        fill(&mut vec![0; len])
    }
}

impl Device for Wire {
    type RxToken<'a> = Came;
    type TxToken<'a> = Answer;

    fn receive(&mut self, _now: StackInstant) -> Option<(Came, Answer)> {
        Some((Came(self.frame.take()?), Answer(Rc::clone(&self.answers))))
    }

    /// Nothing goes of its own accord: only answers are looked at.
    fn transmit(&mut self, _now: StackInstant) -> Option<Answer> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }
}

impl Nic for Wire {}

/// What the stack of a host that listens to the group answers to these frames at once.
fn answers(dhcp: bool, frames: impl Iterator<Item = Vec<u8>>) -> Vec<usize> {
    let wire = Wire::default();
    let (mut memory, mut sockets, mut place) = (NetMemory::new(), Sockets::new(), None);
    let addressing = match dhcp {
        true => Addressing::Dhcp,
        false => Addressing::Static { address: HOST, prefix: 16, gateway: None },
    };
    let (now, memory, sockets) = (Instant::ZERO, &mut memory, &mut sockets);
    let net = Net::open(&mut place, wire.clone(), OWN, addressing, 1, memory, sockets, now);
    net.listen(now, SocketAddrV4::new(GROUP, PORT));
    for frame in frames {
        *wire.frame.borrow_mut() = Some(frame);
        assert!(net.ingress(now));
    }
    wire.answers.take()
}

/// A request for the address of a host.
fn request(host: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let fields = [&head[..], &OTHER, &SERVER.octets(), &[0; 6], &host.octets()].concat();
    frame([0xFF; 6], 0x0806, &fields)
}

#[test]
fn what_passes_has_no_longer_answer_than_arps() {
    // The stack does answer, and at length, to what does not pass.
    let stopped = [request(HOST), datagram((OWN, HOST), 1, 7_412, 500)];
    let long = answers(false, stopped.into_iter());
    assert!(long.iter().any(|len| *len > ANSWER), "{long:?}");
    assert_eq!(answers(false, [request(HOST)].into_iter()), [ANSWER]);
    for dhcp in [false, true] {
        let filter = filter(dhcp, true);
        let bases = [
            request(HOST),
            datagram((OWN, HOST), 7_411, 7_411, 100),
            datagram((OWN, HOST), 67, 68, 300),
            datagram(([0xFF; 6], Ipv4Addr::BROADCAST), 67, 68, 300),
            datagram((GROUP_MAC, GROUP), 1, PORT, 548),
            packet((GROUP_MAC, GROUP), 2, &[0x11; 8]),
            packet((OWN, HOST), 1, &[8; 64]),
        ];
        let mut chance = 1_u64;
        let mut below = move |end: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (chance >> 33) as usize % end
        };
        let mut passed = 0;
        let mut mutants = (0..200_000).filter_map(|number| {
            let mut frame = bases[number % bases.len()].clone();
            for _ in 0..below(3) {
                let at = below(48);
                frame[at] = below(256) as u8;
            }
            passes(&filter, &frame).then_some(frame)
        });
        let answers = answers(dhcp, mutants.by_ref().inspect(|_| passed += 1));
        assert!(answers.iter().all(|len| *len <= ANSWER), "{:?}", answers.iter().max());
        assert!(passed > 50_000, "{passed}");
    }
}
