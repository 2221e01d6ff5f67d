//! What every datagram begins with: a type and a version (PROTOCOL §1).

use super::Malformed;
use crate::limits::{DATA_HEADER, MAX_DATAGRAM, TAG, VERSION};

/// Length of an initiation.
pub const INITIATION: usize = 200;
/// Length of a response.
pub const RESPONSE: usize = 76;
/// Length of a cookie reply.
pub const COOKIE_REPLY: usize = 64;

/// The bytes that all types have in common.
mod field {
    use core::ops::Range;

    pub(super) const KIND: usize = 0;
    pub(super) const VERSION: usize = 1;
    pub(super) const RESERVED: Range<usize> = 2..4;
}

/// The types of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Handshake initiation, receiver to server.
    Initiation = 1,
    /// Handshake response, server to receiver.
    Response = 2,
    /// Cookie reply, server to receiver.
    CookieReply = 3,
    /// Transport, both ways.
    Transport = 4,
    /// Session, server to receivers.
    Session = 5,
}

impl Kind {
    /// The type of `datagram`, once version, reserved bytes and length fit it.
    ///
    /// # Errors
    /// The first thing that does not fit: type, version, length, reserved bytes.
    pub fn of(datagram: &[u8]) -> Result<Self, Malformed> {
        let too_short = Malformed::Length { expected: DATA_HEADER, found: datagram.len() };
        let head = datagram.get(..field::RESERVED.end).ok_or(too_short)?;
        let kind = match head[field::KIND] {
            1 => Self::Initiation,
            2 => Self::Response,
            3 => Self::CookieReply,
            4 => Self::Transport,
            5 => Self::Session,
            other => return Err(Malformed::Kind(other)),
        };
        // PROTOCOL D1: version, length and reserved bytes, before anything else is looked at.
        if head[field::VERSION] != VERSION {
            return Err(Malformed::Version(head[field::VERSION]));
        }
        kind.check_len(datagram.len())?;
        // The session header keeps its epoch where the others are reserved.
        if kind != Self::Session && head[field::RESERVED] != [0, 0] {
            return Err(Malformed::Reserved);
        }
        Ok(kind)
    }

    /// Checks that `datagram` is of this type.
    ///
    /// # Errors
    /// As [`Kind::of`]; [`Malformed::Kind`] for another type.
    pub fn expect(self, datagram: &[u8]) -> Result<(), Malformed> {
        let found = Self::of(datagram)?;
        if found == self { Ok(()) } else { Err(Malformed::Kind(found as u8)) }
    }

    /// Writes type, version and reserved bytes.
    pub(super) fn write(self, datagram: &mut [u8]) {
        datagram[field::KIND] = self as u8;
        datagram[field::VERSION] = VERSION;
        datagram[field::RESERVED].fill(0);
    }

    fn check_len(self, found: usize) -> Result<(), Malformed> {
        let (expected, fits) = match self {
            Self::Initiation => (INITIATION, found == INITIATION),
            Self::Response => (RESPONSE, found == RESPONSE),
            Self::CookieReply => (COOKIE_REPLY, found == COOKIE_REPLY),
            Self::Transport | Self::Session => {
                let least = DATA_HEADER + TAG;
                (least, (least..=MAX_DATAGRAM).contains(&found))
            }
        };
        if fits { Ok(()) } else { Err(Malformed::Length { expected, found }) }
    }
}

/// Four little-endian bytes of a buffer that is known to be long enough.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// Eight little-endian bytes of a buffer that is known to be long enough.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// `N` bytes from `at` on; zeros where the buffer ends (views check lengths first).
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL D1
    #[test]
    fn every_type_has_its_version_length_and_reserved_bytes() {
        let cases = [
            (1, 200, Kind::Initiation),
            (2, 76, Kind::Response),
            (3, 64, Kind::CookieReply),
            (4, 32, Kind::Transport),
            (5, 32, Kind::Session),
        ];
        for (byte, len, kind) in cases {
            let mut datagram = [0; 1_473];
            datagram[..2].copy_from_slice(&[byte, 1]);
            assert_eq!(Kind::of(&datagram[..len]), Ok(kind));
            assert!(matches!(Kind::of(&datagram[..len - 1]), Err(Malformed::Length { .. })));
            assert!(matches!(Kind::of(&datagram), Err(Malformed::Length { .. })));
            datagram[1] = 2;
            assert_eq!(Kind::of(&datagram[..len]), Err(Malformed::Version(2)));
            datagram[1..3].copy_from_slice(&[1, 9]);
            let with_reserved =
                if kind == Kind::Session { Ok(kind) } else { Err(Malformed::Reserved) };
            assert_eq!(Kind::of(&datagram[..len]), with_reserved);
        }
        assert_eq!(Kind::of(&[6, 1, 0, 0]), Err(Malformed::Kind(6)));
        assert!(Kind::of(&[]).is_err());
    }
}
