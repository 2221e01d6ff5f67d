//! Which frames are for us, told by the first bytes of each, before it is kept.
//!
//! A board has room for few frames, and a network is full of those of others. So its
//! driver asks twice: after the address, and after the headers. What passes is ARP,
//! IGMP, DHCP where it is used, and UDP to the two ports that a receiver listens to; the
//! stack has an answer to none of it but a request of ARP, and needs room for no other.
//!
//! It looks at words, since a controller gives them so, and since what it looks at stands
//! at the same places of them.
//!
//! It is made of atomics, so that an interrupt may ask it while the program changes it.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::queue::words_of;

/// The port that the server is spoken to from.
pub const UNICAST_PORT: u16 = 7_411;
/// Bytes of a frame that [`Filter::takes`] looks at: the headers of Ethernet and IPv4, and
/// both ports.
pub const HEAD: usize = 14 + 20 + 4;
/// Words of a [`Head`].
pub const HEAD_WORDS: usize = words_of(HEAD);
/// The beginning of a frame behind two bytes of whatever, in words of little-endian bytes.
pub type Head = [u32; HEAD_WORDS];
/// Bytes of the longest frame that the stack answers with at once, to what passes: ARP's.
pub const ANSWER: usize = 14 + 28;

const BROADCAST: [u8; 6] = [0xFF; 6];
/// Queries about memberships go to all hosts, 224.0.0.1 (RFC 2236).
const ALL_HOSTS: [u8; 6] = [0x01, 0x00, 0x5E, 0, 0, 1];
const ARP: u32 = 0x0806;
const IPV4: u32 = 0x0800;
const IGMP: u32 = 2;
const UDP: u32 = 17;
/// Ports of DHCP, from the server to the client (RFC 2131).
const DHCP: u32 = 67 << 16 | 68;

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Our address on this network.
    pub mac: [u8; 6],
    /// Whether DHCP is spoken.
    pub dhcp: bool,
    /// The session's group.
    pub session: Option<SocketAddrV4>,
}

/// What tells ours from others'.
#[derive(Debug, Default)]
pub struct Filter {
    /// The MAC address: two bytes, four bytes.
    mac: [AtomicU32; 2],
    dhcp: AtomicBool,
    /// The session's group, or zero, and its port.
    group: AtomicU32,
    port: AtomicU32,
}

impl Filter {
    /// One that takes what is for all.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            mac: [AtomicU32::new(0), AtomicU32::new(0)],
            dhcp: AtomicBool::new(false),
            group: AtomicU32::new(0),
            port: AtomicU32::new(0),
        }
    }

    /// Takes what is for these, from now on.
    pub fn set(&self, listening: &Listening) {
        let [a, b, c, d, e, f] = listening.mac;
        self.mac[0].store(u32::from(u16::from_be_bytes([a, b])), Ordering::Relaxed);
        self.mac[1].store(u32::from_be_bytes([c, d, e, f]), Ordering::Relaxed);
        self.dhcp.store(listening.dhcp, Ordering::Relaxed);
        let (group, port) = listening.session.map_or((0, 0), |to| (to.ip().to_bits(), to.port()));
        self.port.store(port.into(), Ordering::Relaxed);
        self.group.store(group, Ordering::Relaxed);
    }

    /// Whether a frame to this address may be for us.
    #[must_use]
    pub fn takes_address(&self, to: [u8; 6]) -> bool {
        self.is_own(to) || self.is_group(to) || to == BROADCAST || to == ALL_HOSTS
    }

    /// Whether a frame that begins so is for us.
    #[must_use]
    pub fn takes(&self, head: &Head) -> bool {
        let [first, second, _, kind, version, _, protocol, ..] = head.map(u32::swap_bytes);
        let [[_, _, a, b], [c, d, e, f]] = [first, second].map(u32::to_be_bytes);
        let to = [a, b, c, d, e, f];
        match (kind & 0xFFFF, protocol >> 16 & 0xFF) {
            (ARP, _) => self.is_own(to) || to == BROADCAST,
            (IPV4, IGMP) => self.is_group(to) || to == ALL_HOSTS,
            // Without options: nothing that we speak with sends others.
            (IPV4, UDP) if version >> 24 == 0x45 => self.takes_datagram(to, head),
            _ => false,
        }
    }

    fn takes_datagram(&self, to: [u8; 6], head: &Head) -> bool {
        let [.., piece, _, _, address, ports] = head.map(u32::swap_bytes);
        // Whole: neither are there more pieces, nor is it a later one.
        if piece & 0x3FFF != 0 {
            return false;
        }
        let dhcp = ports == DHCP && self.dhcp.load(Ordering::Relaxed);
        let port = ports & 0xFFFF;
        if self.is_group(to) {
            let session = port == self.port.load(Ordering::Relaxed);
            session && address == self.group.load(Ordering::Relaxed)
        } else if to == BROADCAST {
            dhcp
        } else {
            self.is_own(to) && (port == u32::from(UNICAST_PORT) || dhcp)
        }
    }

    fn is_own(&self, [a, b, c, d, e, f]: [u8; 6]) -> bool {
        u32::from_be_bytes([c, d, e, f]) == self.mac[1].load(Ordering::Relaxed)
            && u32::from(u16::from_be_bytes([a, b])) == self.mac[0].load(Ordering::Relaxed)
    }

    fn is_group(&self, to: [u8; 6]) -> bool {
        let group = self.group.load(Ordering::Relaxed);
        group != 0 && to == group_mac(Ipv4Addr::from_bits(group))
    }
}

/// The head of a frame; `None` for one that is shorter than any that is taken.
#[must_use]
pub fn head(frame: &[u8]) -> Option<Head> {
    let (first, rest) = frame.get(..HEAD)?.split_first_chunk::<2>()?;
    let mut head = [u32::from_le_bytes([0, 0, first[0], first[1]]); HEAD_WORDS];
    let words = rest.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    head.iter_mut().skip(1).zip(words).for_each(|(place, word)| *place = word);
    Some(head)
}

/// The MAC address of a multicast group (RFC 1112 §6.4).
pub(crate) fn group_mac(group: Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = group.octets();
    [0x01, 0x00, 0x5E, b & 0x7F, c, d]
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
