//! Datagrams with a mark (DSCP, RFC 2474) of their own.
//!
//! The batched sender names a type of service with every call, to tell ECN, and so
//! overrides that of the socket. Marked datagrams leave by `sendmsg` with the same
//! two ancillary messages, written here by hand: type of service and, for a batch,
//! the length of its segments (`ip(7)`, `udp(7)`, `cmsg(3)`).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use socket2::{MsgHdr, SockRef};

/// Largest code point.
pub const MAX_DSCP: u8 = 63;

const IPPROTO_IP: i32 = 0;
const IP_TOS: i32 = 1;
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;
/// What is said where segmentation is not to be had (`errno(3)`).
const EIO: i32 = 5;
const EINVAL: i32 = 22;
/// Length, level and type of an ancillary message.
const HEAD: usize = size_of::<usize>() + 2 * size_of::<i32>();
/// What one of at most eight bytes takes, aligned.
const ROOM: usize = (HEAD + size_of::<i32>()).next_multiple_of(size_of::<usize>());

/// Sends one or several datagrams of `segment` bytes each, marked with `dscp`; one by
/// one where the interface cannot cut a batch.
///
/// # Errors
/// Those of `sendmsg`: would block, no buffer.
pub(super) fn send(
    socket: &UdpSocket,
    dscp: u8,
    to: SocketAddr,
    bytes: &[u8],
    segment: Option<usize>,
) -> io::Result<()> {
    match (send_once(socket, dscp, to, bytes, segment), segment) {
        (Err(error), Some(segment)) if matches!(error.raw_os_error(), Some(EIO | EINVAL)) => {
            let mut single = bytes.chunks(segment.max(1));
            single.try_for_each(|datagram| send_once(socket, dscp, to, datagram, None))
        }
        (sent, _) => sent,
    }
}

fn send_once(
    socket: &UdpSocket,
    dscp: u8,
    to: SocketAddr,
    bytes: &[u8],
    segment: Option<usize>,
) -> io::Result<()> {
    let mut control = [0; 2 * ROOM];
    let (first, second) = control.split_at_mut(ROOM);
    // The lower two bits are ECN's.
    write(first, IPPROTO_IP, IP_TOS, &i32::from(dscp << 2).to_ne_bytes());
    let used = match segment.and_then(|segment| u16::try_from(segment).ok()) {
        Some(segment) => {
            write(second, SOL_UDP, UDP_SEGMENT, &segment.to_ne_bytes());
            2 * ROOM
        }
        None => ROOM,
    };
    let (to, buffers) = (to.into(), [IoSlice::new(bytes)]);
    let message = MsgHdr::new().with_addr(&to).with_buffers(&buffers);
    SockRef::from(socket).sendmsg(&message.with_control(&control[..used]), 0).map(|_| ())
}

fn write(out: &mut [u8], level: i32, kind: i32, data: &[u8]) {
    let head =
        [&(HEAD + data.len()).to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), data];
    for (place, byte) in out.iter_mut().zip(head.concat()) {
        *place = byte;
    }
}
