//! The ends of the cables: packet sockets, one bound to each port.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use rustix::net::{RecvFlags, recv, sockopt};

/// Bytes that wait at each end in the kernel: tens of milliseconds at full speed.
const BUFFER: usize = 8 << 20;

/// How many ports there are in this network namespace.
///
/// # Errors
/// When there is none.
pub(super) fn count() -> Result<usize, String> {
    let ports = (0..).take_while(|port| address(*port).is_some()).count();
    if ports == 0 {
        Err("there are no ports here: this is no switch".to_owned())
    } else {
        Ok(ports)
    }
}

/// Opens the ends of the cables `port0`, `port1`, … in this network namespace.
///
/// # Errors
/// When there is no such port, or this process may not.
pub(super) fn open(ports: usize) -> Result<Vec<OwnedFd>, String> {
    (0..ports).map(open_one).collect()
}

fn open_one(port: usize) -> Result<OwnedFd, String> {
    let address = address(port).ok_or_else(|| format!("there is no port{port}"))?;
    let told = |error: nix::Error| format!("port{port}: {error}; help: run as root");
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // It hears all ports until it is bound.
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
    let socket = socket.map_err(told)?;
    bind(socket.as_raw_fd(), &address).map_err(told)?;
    while recv(&socket, &mut [0_u8; 1], RecvFlags::empty()).is_ok() {}
    // Without privileges outside of this namespace it has what the system allows.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, BUFFER);
    Ok(socket)
}

/// A port as an address to bind to: its number among the interfaces is in it.
fn address(port: usize) -> Option<LinkAddr> {
    let name = format!("port{port}");
    let found = getifaddrs().ok()?.filter(|interface| interface.interface_name == name);
    found.filter_map(|interface| interface.address?.as_link_addr().copied()).next()
}
