//! The network: the only file that knows smoltcp.
//!
//! ARP, DHCP, IGMP and UDP over Ethernet, and two sockets: one towards the server,
//! one for the session that is listened to. Frames are taken one at a time, so that
//! each socket has to hold one datagram only; what waits, waits in the device.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use fleetcast_core::constrained::DATAGRAM;
use fleetcast_core::limits::{CONSTRAINED_SYMBOL, DATA_HEADER, SYMBOL_HEADER, TAG};
use fleetcast_core::time::Instant;
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, SocketHandle, SocketSet, SocketStorage,
};
use smoltcp::phy::{Device, TxToken as _};
use smoltcp::socket::{dhcpv4, udp};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

use crate::filter::{Listening, UNICAST_PORT, group_mac};

/// Largest datagram of a session for boards, in bytes.
const SESSION_DATAGRAM: usize = DATA_HEADER + SYMBOL_HEADER + CONSTRAINED_SYMBOL + TAG;
/// Largest Ethernet frame that is taken or sent, in bytes: headers of Ethernet, IPv4
/// and UDP, and the largest datagram.
pub const FRAME: usize = 14 + 20 + 8 + DATAGRAM;

/// An Ethernet device: smoltcp's, and a filter where the hardware or its driver has one.
pub trait Nic: Device {
    /// Takes frames for these from now on, and no others ([`crate::filter::Filter`]).
    ///
    /// Where it is not implemented the stack drops what nobody listens to.
    fn listen(&mut self, _listening: &Listening) {}
}

/// How the board gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// By DHCP.
    Dhcp,
    /// It is told.
    Static {
        /// Its address.
        address: Ipv4Addr,
        /// Leading bits that name the network.
        prefix: u8,
        /// The way out of it, if there is one.
        gateway: Option<Ipv4Addr>,
    },
}

/// The memory of the sockets.
pub struct NetMemory {
    unicast_rx: [u8; DATAGRAM],
    unicast_tx: [u8; DATAGRAM],
    session_rx: [u8; SESSION_DATAGRAM],
    session_tx: [u8; 1],
}

impl NetMemory {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            unicast_rx: [0; DATAGRAM],
            unicast_tx: [0; DATAGRAM],
            session_rx: [0; SESSION_DATAGRAM],
            session_tx: [0; 1],
        }
    }
}

impl Default for NetMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// Places of the sockets, and of what their buffers are told by.
///
/// Apart from [`NetMemory`], which is all zeros: an image need not hold that.
pub struct Sockets<'a> {
    places: [SocketStorage<'a>; 3],
    metadata: [udp::PacketMetadata; 4],
}

impl Sockets<'_> {
    /// Empty places.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: [SocketStorage::EMPTY; 3], metadata: [udp::PacketMetadata::EMPTY; 4] }
    }
}

impl Default for Sockets<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The stack over a device.
pub struct Net<'a, D: Nic> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'a>,
    unicast: SocketHandle,
    session: SocketHandle,
    dhcp: Option<SocketHandle>,
    mac: [u8; 6],
    group: Option<SocketAddrV4>,
}

impl<'a, D: Nic> Net<'a, D> {
    /// A stack with the MAC address `mac`, which is a unicast address. It is made in
    /// `place`: a board's stack has no room for it.
    #[expect(clippy::too_many_arguments, reason = "all of it is the board's")]
    #[inline(never)]
    pub fn open<'p>(
        place: &'p mut Option<Self>,
        mut device: D,
        mac: [u8; 6],
        addressing: Addressing,
        seed: u64,
        memory: &'a mut NetMemory,
        storage: &'a mut Sockets<'a>,
        now: Instant,
    ) -> &'p mut Self {
        // A group bit would make the stack refuse it.
        let mac = [mac[0] & !1, mac[1], mac[2], mac[3], mac[4], mac[5]];
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, stack_time(now));
        let mut sockets = SocketSet::new(&mut storage.places[..]);
        let [a, b, c, d] = &mut storage.metadata;
        let buffer =
            |metadata, bytes| udp::PacketBuffer::new(core::slice::from_mut(metadata), bytes);
        let mut unicast = udp::Socket::new(
            buffer(a, &mut memory.unicast_rx[..]),
            buffer(b, &mut memory.unicast_tx[..]),
        );
        // Neither is open yet and the port is not zero: that cannot fail.
        let _ = unicast.bind(UNICAST_PORT);
        let session = udp::Socket::new(
            buffer(c, &mut memory.session_rx[..]),
            buffer(d, &mut memory.session_tx[..]),
        );
        let unicast = sockets.add(unicast);
        let session = sockets.add(session);
        let dhcp = match addressing {
            Addressing::Dhcp => Some(sockets.add(dhcpv4::Socket::new())),
            Addressing::Static { address, prefix, gateway } => {
                set_address(&mut interface, Some((address, prefix.min(32))), gateway);
                None
            }
        };
        device.listen(&Listening { mac, dhcp: dhcp.is_some(), session: None });
        let group = None;
        place.insert(Self { device, interface, sockets, unicast, session, dhcp, mac, group })
    }

    /// Takes at most one frame from the device; whether there was one.
    #[inline(never)]
    pub fn ingress(&mut self, now: Instant) -> bool {
        let now = stack_time(now);
        let result = self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets);
        !matches!(result, PollIngressSingleResult::None)
    }

    /// The next datagram, written to the front of `buffer`: its sender and length.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        for handle in [self.unicast, self.session] {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
            if let Ok((len, from)) = socket.recv_slice(buffer) {
                let smoltcp::wire::IpAddress::Ipv4(address) = from.endpoint.addr;
                return Some((SocketAddr::from((address, from.endpoint.port)), len));
            }
        }
        None
    }

    /// Whether a datagram can be sent now.
    #[must_use]
    pub fn can_send(&self) -> bool {
        let socket = self.sockets.get::<udp::Socket<'_>>(self.unicast);
        self.is_up() && socket.can_send()
    }

    /// Sends a datagram to the server; lost like any where it cannot be.
    pub fn send(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) {
        let SocketAddr::V4(to) = to else { return };
        let endpoint = smoltcp::wire::IpEndpoint::new((*to.ip()).into(), to.port());
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.unicast);
        // What does not fit is lost: it will be repeated.
        let _ = socket.send_slice(bytes, endpoint);
        self.egress(now);
    }

    /// Sends what waits, and does what is due by the clock.
    #[inline(never)]
    pub fn egress(&mut self, now: Instant) {
        let time = stack_time(now);
        self.interface.poll_maintenance(time);
        // What the result tells is looked at anyway.
        let _ = self.interface.poll_egress(time, &mut self.device, &mut self.sockets);
        self.configure();
    }

    /// Whether the board has an address.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.interface.ip_addrs().is_empty()
    }

    /// The board's address, once it has one.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.interface.ipv4_addr()
    }

    /// When [`Self::egress`] has something to do.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(stack_time(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    /// Listens to a session's group, in place of the one before.
    pub fn listen(&mut self, now: Instant, group: SocketAddrV4) {
        self.unlisten(now);
        // One group at a time always finds a place in the table.
        let _ = self.interface.join_multicast_group(*group.ip());
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.session);
        // It is closed, and a port of 0 is never told.
        let _ = socket.bind(group.port());
        self.group = Some(group);
        self.filter();
        self.egress(now);
    }

    /// Listens to no session any more.
    pub fn unlisten(&mut self, now: Instant) {
        let Some(group) = self.group.take() else { return };
        // It was joined.
        let _ = self.interface.leave_multicast_group(*group.ip());
        self.sockets.get_mut::<udp::Socket<'_>>(self.session).close();
        self.filter();
        self.egress(now);
    }

    /// Tells the device what is listened to.
    fn filter(&mut self) {
        let (mac, dhcp, session) = (self.mac, self.dhcp.is_some(), self.group);
        self.device.listen(&Listening { mac, dhcp, session });
    }

    /// Tells the switches again that the session's group is listened to.
    pub fn announce(&mut self, now: Instant) {
        let (Some(group), Some(own)) = (self.group, self.address()) else { return };
        let report = igmp_report(self.mac, own, *group.ip());
        if let Some(token) = self.device.transmit(stack_time(now)) {
            token.consume(report.len(), |frame| frame.copy_from_slice(&report));
        }
    }

    /// Takes what DHCP has found out.
    fn configure(&mut self) {
        let Some(dhcp) = self.dhcp else { return };
        let found = match self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => Some((config.address, config.router)),
        };
        let address = found.map(|(cidr, _)| (cidr.address(), cidr.prefix_len()));
        set_address(&mut self.interface, address, found.and_then(|(_, router)| router));
    }
}

fn set_address(
    interface: &mut Interface,
    address: Option<(Ipv4Addr, u8)>,
    gateway: Option<Ipv4Addr>,
) {
    interface.update_ip_addrs(|addresses| {
        addresses.clear();
        if let Some((address, prefix)) = address {
            // The first of two places.
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(address, prefix)));
        }
    });
    interface.routes_mut().remove_default_ipv4_route();
    if let Some(gateway) = gateway {
        // The only route.
        let _ = interface.routes_mut().add_default_ipv4_route(gateway);
    }
}

fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// A frame with an IGMPv2 membership report (RFC 2236).
///
/// The stack reports when it joins and when it is asked; it has no call to do so at
/// other times.
fn igmp_report(mac: [u8; 6], own: Ipv4Addr, group: Ipv4Addr) -> [u8; 46] {
    let mut frame = [0; 46];
    frame[..6].copy_from_slice(&group_mac(group));
    frame[6..12].copy_from_slice(&mac);
    // EtherType IPv4; version 4, six words of header; 32 bytes in all; do not fragment.
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..22].copy_from_slice(&[0x46, 0xC0, 0, 32, 0, 0, 0x40, 0]);
    // One hop, IGMP; the option "router alert" (RFC 2113).
    frame[22..24].copy_from_slice(&[1, 2]);
    frame[26..30].copy_from_slice(&own.octets());
    frame[30..34].copy_from_slice(&group.octets());
    frame[34..38].copy_from_slice(&[0x94, 0x04, 0, 0]);
    let sum = checksum(&frame[14..38]);
    frame[24..26].copy_from_slice(&sum);
    frame[38] = 0x16;
    frame[42..46].copy_from_slice(&group.octets());
    let sum = checksum(&frame[38..46]);
    frame[40..42].copy_from_slice(&sum);
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let folded = (folded & 0xFFFF) + (folded >> 16);
    (!(folded as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{EthernetFrame, IgmpPacket, IgmpRepr, Ipv4Packet};

    use super::*;

    #[test]
    fn an_announcement_is_a_report_that_the_stack_itself_reads() {
        let (own, group) = (Ipv4Addr::new(10, 77, 0, 9), Ipv4Addr::new(239, 200, 3, 4));
        let frame = igmp_report([2, 0, 0, 0, 0, 9], own, group);
        let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
        // RFC 1112: the low 23 bits of the group.
        assert_eq!(frame.dst_addr().0, [0x01, 0x00, 0x5E, 0x48, 3, 4]);
        let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
        assert!(packet.verify_checksum());
        assert_eq!((packet.hop_limit(), packet.src_addr(), packet.dst_addr()), (1, own, group));
        let igmp = IgmpPacket::new_checked(packet.payload()).unwrap();
        assert!(igmp.verify_checksum());
        assert!(matches!(
            IgmpRepr::parse(&igmp),
            Ok(IgmpRepr::MembershipReport { group_addr, .. }) if group_addr == group
        ));
    }
}
