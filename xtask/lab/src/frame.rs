//! What a switch that misbehaves must know of an Ethernet frame: IPv4 (RFC 791),
//! UDP (RFC 768), TCP (RFC 9293) and IGMP (RFC 2236, RFC 3376). Anything else is
//! carried as it is.

use std::net::Ipv4Addr;
use std::ops::Range;

/// Ethernet header: two addresses and a type.
const ETHERNET: usize = 14;
/// The type of IPv4 in an Ethernet header.
const IPV4: [u8; 2] = [8, 0];
/// UDP's header.
const UDP: usize = 8;
const IGMP_PROTOCOL: u8 = 2;
const TCP_PROTOCOL: u8 = 6;
const UDP_PROTOCOL: u8 = 17;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// Where a frame comes from and goes to; `None` when it is none.
pub(crate) fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let header = frame.get(..ETHERNET)?;
    let (to, rest) = header.split_first_chunk()?;
    Some((*rest.first_chunk()?, *to))
}

/// Whether an Ethernet address is a group's (IEEE 802: the first bit on the wire).
pub(crate) const fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

/// What is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp,
    /// IGMP.
    Igmp,
    /// Whatever else.
    Other,
}

/// An IPv4 packet in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    /// Where in the frame what follows the IP header is.
    body: Range<usize>,
}

impl Packet {
    /// Finds it; `None` when there is none that is whole.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET..)?;
        if frame.get(12..ETHERNET)? != IPV4 || ip.first()? >> 4 != 4 {
            return None;
        }
        let header = usize::from(ip.first()? & 0x0F) * 4;
        let total = usize::from(word(ip, 2)?);
        if header < 20 || total < header || total > ip.len() {
            return None;
        }
        // More fragments, or an offset: there is no header of the next layer, or no
        // whole datagram.
        let is_fragment = word(ip, 6)? & 0x3FFF != 0;
        let body = ETHERNET + header..ETHERNET + total;
        let kind = match *ip.get(9)? {
            UDP_PROTOCOL if !is_fragment && body.len() >= UDP => Kind::Udp,
            TCP_PROTOCOL if !is_fragment && body.len() >= 20 => Kind::Tcp,
            IGMP_PROTOCOL => Kind::Igmp,
            _ => Kind::Other,
        };
        let address = |at| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?));
        Some(Self { kind, from: address(12)?, to: address(16)?, body })
    }

    /// Whether it goes to a multicast group that a switch may withhold: those of
    /// 224.0.0/24 are for all (RFC 4541, §2.1.2).
    pub(crate) fn is_for_listeners(&self) -> bool {
        self.to.is_multicast() && self.to.octets()[..3] != [224, 0, 0]
    }

    /// What the weather sees: UDP's payload, or what is behind 8 bytes of another.
    pub(crate) fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[(self.body.start + UDP).min(self.body.end)..self.body.end]
    }

    /// Fills in the checksum of UDP or TCP: a sender on the same machine leaves that
    /// to its network card, and that is we. One that UDP's sender left out stays so.
    pub(crate) fn complete(&self, frame: &mut [u8]) {
        let (protocol, at) = match self.kind {
            Kind::Udp => (UDP_PROTOCOL, 6),
            Kind::Tcp => (TCP_PROTOCOL, 16),
            Kind::Igmp | Kind::Other => return,
        };
        let body = &mut frame[self.body.clone()];
        if self.kind == Kind::Udp && body[at..at + 2] == [0, 0] {
            return;
        }
        body[at..at + 2].fill(0);
        let len = body.len() as u32;
        let pseudo = sum(&self.from.octets()) + sum(&self.to.octets()) + u32::from(protocol) + len;
        let check = match checksum(pseudo + sum(body)) {
            // Zero would say that there is none.
            0 if self.kind == Kind::Udp => 0xFFFF,
            check => check,
        };
        body[at..at + 2].copy_from_slice(&check.to_be_bytes());
    }

    /// The frame with another payload of its UDP datagram, whose lengths and
    /// checksums are right; `None` for what is no UDP.
    pub(crate) fn with_payload(&self, frame: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
        if self.kind != Kind::Udp {
            return None;
        }
        let mut frame = [&frame[..self.body.start + UDP], payload].concat();
        let total = u16::try_from(frame.len() - ETHERNET).ok()?;
        let len = u16::try_from(UDP + payload.len()).ok()?;
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        let (ip, udp) = frame.split_at_mut(self.body.start);
        ip[ETHERNET + 10..ETHERNET + 12].fill(0);
        let check = checksum(sum(&ip[ETHERNET..]));
        ip[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&check.to_be_bytes());
        udp[4..6].copy_from_slice(&len.to_be_bytes());
        Self { body: self.body.start..frame.len(), ..self.clone() }.complete(&mut frame);
        Some(frame)
    }

    /// What an IGMP message says.
    pub(crate) fn igmp(&self, frame: &[u8]) -> Vec<Igmp> {
        let message = &frame[self.body.clone()];
        let group = |at: usize| Some(Ipv4Addr::from(*message.get(at..)?.first_chunk::<4>()?));
        let said = |say: fn(Ipv4Addr) -> Igmp| group(4).map(say).into_iter().collect();
        match message.first() {
            Some(0x11) => vec![Igmp::Query],
            Some(0x12 | 0x16) => said(Igmp::Listens),
            Some(0x17) => said(Igmp::Leaves),
            Some(0x22) => records(message).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// What a port says about listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Igmp {
    /// A querier or router is behind it.
    Query,
    /// Somebody listens to this group.
    Listens(Ipv4Addr),
    /// Somebody listens to it no longer.
    Leaves(Ipv4Addr),
}

/// The group records of a report of version 3 (RFC 3376, §4.2); sources are not
/// told apart.
fn records(message: &[u8]) -> Option<Vec<Igmp>> {
    let count = word(message, 6)?;
    let mut at = 8;
    let mut said = Vec::new();
    for _ in 0..count {
        let [kind, extra, high, low] = *message.get(at..)?.first_chunk()?;
        let group = Ipv4Addr::from(*message.get(at + 4..)?.first_chunk::<4>()?);
        let sources = u16::from_be_bytes([high, low]);
        // "Include" of no source, as state (1) or as change (3), and "block" (6).
        let leaves = (matches!(kind, 1 | 3) && sources == 0) || kind == 6;
        said.push(if leaves { Igmp::Leaves(group) } else { Igmp::Listens(group) });
        at += 8 + usize::from(sources) * 4 + usize::from(extra) * 4;
    }
    Some(said)
}

/// A general query of version 3 (RFC 3376, §4.1) in a frame, from a switch that has
/// no address (RFC 4541, §2.1.1): answers are due within 0.2 s.
pub(crate) fn query(from: Mac) -> Vec<u8> {
    let mut igmp = [0x11, 2, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    let check = checksum(sum(&igmp));
    igmp[2..4].copy_from_slice(&check.to_be_bytes());
    // Version 4 with the option "router alert" (RFC 2113), time to live 1.
    let mut ip =
        [0x46, 0xC0, 0, 36, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 224, 0, 0, 1, 148, 4, 0, 0];
    let check = checksum(sum(&ip));
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    [&[1, 0, 0x5E, 0, 0, 1][..], &from, &IPV4, &ip, &igmp].concat()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The sum of 16-bit words that checksums are made of (RFC 1071); of a frame it is
/// far below 32 bits.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    whole + rest.first().map_or(0, |last| u32::from(*last) << 8)
}

const fn checksum(mut sum: u32) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    /// The words of the example in RFC 1071, §3: 0001 f203 f4f5 f6f7.
    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(sum(&hex("0001 f203 f4f5 f6f7"))), !0xDDF2);
    }

    /// 10.0.0.1:1000 to 10.0.0.2:2000 with `hi`. By hand: the words of the IP header
    /// sum up to d932, those of UDP's pseudo-header to 141e, and with the datagram's to
    /// 8849; the checksums are their complements.
    const DATAGRAM: &str = "020000000002 020000000001 0800 \
        4500001e 00004000 401126cd 0a000001 0a000002 03e807d0 000a77b6 6869";

    #[test]
    fn a_checksum_left_to_the_card_is_filled_in() {
        let whole = hex(DATAGRAM);
        let packet = Packet::find(&whole).unwrap();
        assert_eq!((packet.kind, packet.payload(&whole)), (Kind::Udp, &b"hi"[..]));
        let mut partial = whole.clone();
        partial[40..42].copy_from_slice(&[0x14, 0x1E]);
        packet.complete(&mut partial);
        assert_eq!(partial, whole);
        partial[40..42].fill(0);
        packet.complete(&mut partial);
        assert_eq!(partial[40..42], [0, 0], "left out on purpose");
    }

    #[test]
    fn another_payload_has_its_own_lengths_and_checksums() {
        let whole = hex(DATAGRAM);
        let packet = Packet::find(&whole).unwrap();
        // One byte less in the IP header, and in UDP's twice: its length is in the
        // pseudo-header too. The payload is 6800 in place of 6869.
        let cut = packet.with_payload(&whole, b"h").unwrap();
        let expected = "020000000002 020000000001 0800 \
            4500001d 00004000 401126ce 0a000001 0a000002 03e807d0 00097821 68";
        assert_eq!(cut, hex(expected));
        assert_eq!(packet.with_payload(&whole, b"hi").unwrap(), whole);
    }

    #[test]
    fn what_is_cut_short_or_no_datagram_is_left_alone() {
        let whole = hex(DATAGRAM);
        for len in 0..whole.len() {
            assert_eq!(Packet::find(&whole[..len]), None, "{len}");
        }
        // The second fragment of something.
        let mut fragment = whole.clone();
        fragment[21] = 1;
        assert_eq!(Packet::find(&fragment).unwrap().kind, Kind::Other);
        let mut noise = whole;
        for at in 12..noise.len() {
            for bit in 0..8 {
                noise[at] ^= 1 << bit;
                if let Some(packet) = Packet::find(&noise) {
                    packet.complete(&mut noise.clone());
                    packet.igmp(&noise);
                    packet.with_payload(&noise, b"x");
                }
                noise[at] ^= 1 << bit;
            }
        }
    }

    #[test]
    fn a_query_of_the_switch_reads_as_one() {
        let frame = query([2, 0, 0, 0, 0, 9]);
        assert_eq!(frame.len(), 14 + 36);
        // Added by hand: the complements of bbec and of 137f.
        assert_eq!(frame[24..26], [0x44, 0x13]);
        assert_eq!(frame[40..42], [0xEC, 0x80]);
        let packet = Packet::find(&frame).unwrap();
        assert_eq!(packet.igmp(&frame), [Igmp::Query]);
        assert!(!packet.is_for_listeners());
    }

    #[test]
    fn reports_of_version_3_tell_who_listens_and_who_leaves() {
        let frame = |igmp: &str| {
            let header = "01005e000016 020000000001 0800 \
                46c000 LL 00000000 01020000 0a000001 e0000016 94040000";
            let total = 24 + hex(igmp).len();
            hex(&(header.replace("LL", &format!("{total:02x}")) + igmp))
        };
        let read = |igmp: &str| {
            let frame = frame(igmp);
            Packet::find(&frame).unwrap().igmp(&frame)
        };
        let group = Ipv4Addr::new(239, 77, 0, 1);
        // Change to "exclude" of nobody: joined. Change to "include" of nobody: left.
        assert_eq!(read("2200 0000 0000 0001 04000000 ef4d0001"), [Igmp::Listens(group)]);
        assert_eq!(read("2200 0000 0000 0001 03000000 ef4d0001"), [Igmp::Leaves(group)]);
        // Allow two sources, then leave; and one record that is not there.
        let two = "2200 0000 0000 0002 05000002 ef4d0001 0a000009 0a00000a 03000000 ef4d0001";
        assert_eq!(read(two), [Igmp::Listens(group), Igmp::Leaves(group)]);
        assert_eq!(read("2200 0000 0000 0002 04000000 ef4d0001"), []);
        assert_eq!(read("1600 0000 ef4d0001"), [Igmp::Listens(group)]);
        assert_eq!(read("1700 0000 ef4d0001"), [Igmp::Leaves(group)]);
    }
}
