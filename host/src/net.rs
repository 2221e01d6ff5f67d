//! Sockets of the data plane: batched datagrams, multicast on one interface.

mod marked;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use fleetcast_core::limits::MAX_DATAGRAM;
use fleetcast_core::wire::session;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, ReceiveTimestampns};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

pub use self::marked::MAX_DSCP;
use crate::error::Failure;

/// Receive and send buffers that are asked for; the system may give less.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;
/// Largest number of datagrams that the kernel joins into one buffer.
const JOINED: usize = 44;

/// An IPv4 interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its index.
    pub index: u32,
}

/// Finds an interface by name or address; the first that is not loopback where none is named.
///
/// # Errors
/// `interface-unknown`, with the interfaces that there are.
pub fn find_interface(wanted: Option<&str>) -> Result<Interface, Failure> {
    let all = interfaces()?;
    let found = match wanted {
        Some(wanted) => all
            .iter()
            .find(|interface| interface.name == wanted || interface.address.to_string() == wanted),
        None => all.iter().find(|interface| !interface.address.is_loopback()).or(all.first()),
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|interface| interface.name.as_str()).collect();
        let message =
            format!("there is no interface {:?} with an IPv4 address", wanted.unwrap_or(""));
        Failure::failed(
            "interface-unknown",
            message,
            format!("choose one of: {}", names.join(", ")),
        )
    })
}

/// The interface that has this address.
///
/// # Errors
/// `interface-unknown` when none has.
pub fn interface_of(address: Ipv4Addr) -> Result<Interface, Failure> {
    find_interface(Some(&address.to_string()))
}

fn interfaces() -> Result<Vec<Interface>, Failure> {
    let all = if_addrs::get_if_addrs().map_err(|error| Failure::io("interfaces", &error))?;
    let v4 = all.into_iter().filter_map(|interface| {
        let IpAddr::V4(address) = interface.ip() else { return None };
        Some(Interface { address, index: interface.index?, name: interface.name })
    });
    Ok(v4.collect())
}

/// A UDP socket with batched input and output.
pub struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Mark of session datagrams, zero for none.
    dscp: u8,
}

/// What one call received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Datagrams that were handed over.
    pub datagrams: usize,
    /// Whether nothing was left in the socket.
    pub emptied: bool,
}

/// Buffers for one batch of received datagrams.
pub struct ReceiveBuffers {
    memory: Vec<Vec<u8>>,
    meta: Vec<RecvMeta>,
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self {
            memory: (0..BATCH_SIZE).map(|_| vec![0; JOINED * MAX_DATAGRAM]).collect(),
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl BatchSocket {
    /// The server's socket: unicast both ways, multicast out on `interface`.
    ///
    /// # Errors
    /// `address-in-use`, `interface-no-multicast`, `io`.
    pub fn server(
        listen: SocketAddr,
        interface: &Interface,
        ttl: u32,
        probe: Ipv4Addr,
    ) -> Result<Self, Failure> {
        let fail = |error: io::Error| socket_failure(listen, &error);
        let socket = udp().map_err(fail)?;
        socket.bind(&listen.into()).map_err(fail)?;
        socket.set_multicast_ttl_v4(ttl).map_err(fail)?;
        socket.set_multicast_loop_v4(true).map_err(fail)?;
        let chosen = socket.set_multicast_if_v4(&interface.address);
        chosen.and_then(|()| probe_multicast(interface, probe)).map_err(|error| {
            let message = format!("interface {} does not do multicast: {error}", interface.name);
            let hint = "choose another one with --interface; `ip link` shows them";
            Failure::failed("interface-no-multicast", message, hint)
        })?;
        Self::finish(socket).map_err(fail)
    }

    /// A receiver's unicast socket.
    ///
    /// # Errors
    /// `io`.
    pub fn client() -> Result<Self, Failure> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let fail = |error: io::Error| socket_failure(any, &error);
        let socket = udp().map_err(fail)?;
        socket.bind(&any.into()).map_err(fail)?;
        Self::finish(socket).map_err(fail)
    }

    /// A socket that hears one multicast group on one interface, and nothing else.
    ///
    /// # Errors
    /// `io`.
    pub fn multicast(group: SocketAddrV4, interface: &Interface) -> Result<Self, Failure> {
        let fail = |error: io::Error| socket_failure(group.into(), &error);
        let socket = udp().map_err(fail)?;
        // Several receivers on one machine listen to the same group.
        socket.set_reuse_address(true).map_err(fail)?;
        socket.bind(&SocketAddr::from(group).into()).map_err(fail)?;
        socket.set_multicast_all_v4(false).map_err(fail)?;
        let index = InterfaceIndexOrAddress::Index(interface.index);
        socket.join_multicast_v4_n(group.ip(), &index).map_err(fail)?;
        Self::finish(socket).map_err(fail)
    }

    /// Marks the datagrams of sessions, and no others, with this code point.
    pub const fn mark_sessions(&mut self, dscp: u8) {
        self.dscp = dscp;
    }

    /// Leaves the group and joins it again, so that the system tells the switches once
    /// more: one without a querier forgets who listens. What comes in between is lost;
    /// another listener of this machine to the same group makes it do nothing.
    ///
    /// # Errors
    /// `io`.
    pub fn rejoin(&self, group: SocketAddrV4, interface: &Interface) -> Result<(), Failure> {
        let fail = |error: io::Error| socket_failure(group.into(), &error);
        let index = InterfaceIndexOrAddress::Index(interface.index);
        let socket = SockRef::from(&self.socket);
        socket.leave_multicast_v4_n(group.ip(), &index).map_err(fail)?;
        socket.join_multicast_v4_n(group.ip(), &index).map_err(fail)
    }

    /// The socket, to be waited for.
    #[must_use]
    pub const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// `io`.
    pub fn local_addr(&self) -> Result<SocketAddr, Failure> {
        self.socket.local_addr().map_err(|error| Failure::io("socket", &error))
    }

    /// Bytes that the kernel keeps for datagrams that have come; zero where it does not say.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        sockopt::socket_recv_buffer_size(&self.socket).unwrap_or(0)
    }

    /// Datagrams that one call can hand over.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.state.max_gso_segments().clamp(1, JOINED)
    }

    /// Sends one or several datagrams; `false` when the socket cannot take them now.
    pub fn send(&self, to: SocketAddr, bytes: &[u8], segment_size: Option<usize>) -> bool {
        let sent = if self.dscp != 0 && bytes.first() == Some(&session::TYPE) {
            marked::send(&self.socket, self.dscp, to, bytes, segment_size)
        } else {
            let ecn = None;
            let transmit =
                Transmit { destination: to, ecn, contents: bytes, segment_size, src_ip: None };
            self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
        };
        match sent {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                // Lost like any datagram; the machines repeat what matters.
                tracing::debug!(%to, %error, "datagram not sent");
                true
            }
        }
    }

    /// Receives a batch and hands each datagram over.
    pub fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        each: &mut dyn FnMut(SocketAddr, &mut [u8]),
    ) -> Received {
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let received =
            self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.meta);
        // An error is that there is nothing, or one of an earlier datagram sent.
        let messages = received.unwrap_or(0);
        let mut datagrams = 0;
        for (meta, buffer) in buffers.meta.iter().zip(&mut buffers.memory).take(messages) {
            for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                each(meta.addr, datagram);
                datagrams += 1;
            }
        }
        Received { datagrams, emptied: messages < BATCH_SIZE }
    }

    fn finish(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // Beyond the system's limit where we may; as much as it allows elsewhere,
        // which only means more repairs.
        if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        }
        if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
            let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        }
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // It asks for the address, time and mark of each datagram. Nobody reads them, and
        // where they cannot be refused they only cost time.
        let _ = setsockopt(&socket, Ipv4PacketInfo, &false);
        let _ = setsockopt(&socket, ReceiveTimestampns, &false);
        let _ = sockopt::set_ip_recvtos(&socket, false);
        Ok(Self { socket, state, dscp: 0 })
    }
}

fn udp() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
}

/// Joins a group for a moment: the only test that `lo` passes as it should.
fn probe_multicast(interface: &Interface, group: Ipv4Addr) -> io::Result<()> {
    udp()?.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.index))
}

fn socket_failure(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::failed(
            "address-in-use",
            format!("{address} is in use already"),
            "another server may be running; choose another address with --listen",
        ),
        io::ErrorKind::AddrNotAvailable => Failure::failed(
            "address-unknown",
            format!("{address} is no address of this machine"),
            "`ip addr` shows the addresses of this machine",
        ),
        _ => Failure::io(address, error),
    }
}
