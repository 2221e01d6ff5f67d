//! Views over a transport datagram and the frame inside it (PROTOCOL §3).

use super::Malformed;
use super::datagram::{Kind, array_at, u32_at, u64_at};
use crate::limits::{DATA_HEADER, FRAME_HEADER, MAX_MESSAGE, TAG};

/// Where the fields of header and frame stand.
mod field {
    use core::ops::Range;

    pub(super) const RECEIVER: Range<usize> = 4..8;
    pub(super) const COUNTER: Range<usize> = 8..16;
    pub(super) const KIND: usize = 0;
    pub(super) const ACKNOWLEDGEMENT: Range<usize> = 1..5;
    pub(super) const SEQUENCE: Range<usize> = 5..9;
}

/// Length of a transport datagram without its message.
pub const OVERHEAD: usize = DATA_HEADER + FRAME_HEADER + TAG;

/// The unencrypted 16 bytes of a transport datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The index that the addressee chose in the handshake.
    pub receiver: u32,
    /// The packet's number, and its nonce.
    pub counter: u64,
}

impl Header {
    /// Reads the header of a whole datagram.
    ///
    /// # Errors
    /// As [`Kind::expect`].
    pub fn read(datagram: &[u8]) -> Result<Self, Malformed> {
        Kind::Transport.expect(datagram)?;
        Ok(Self {
            receiver: u32_at(datagram, field::RECEIVER.start),
            counter: u64_at(datagram, field::COUNTER.start),
        })
    }

    /// The header's bytes, which are also the associated data.
    #[must_use]
    pub fn write(&self) -> [u8; DATA_HEADER] {
        let mut bytes = [0; DATA_HEADER];
        Kind::Transport.write(&mut bytes);
        bytes[field::RECEIVER].copy_from_slice(&self.receiver.to_le_bytes());
        bytes[field::COUNTER].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }
}

/// A transport datagram taken apart, to be decrypted in place.
#[derive(Debug)]
pub struct Parts<'d> {
    /// The associated data.
    pub header: [u8; DATA_HEADER],
    /// The encrypted frame.
    pub frame: &'d mut [u8],
    /// Its tag.
    pub tag: [u8; TAG],
}

impl<'d> Parts<'d> {
    /// Takes `datagram` apart; `None` when it is too short.
    pub fn of(datagram: &'d mut [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk_mut::<DATA_HEADER>()?;
        let (frame, tag) = rest.split_last_chunk_mut::<TAG>()?;
        Some(Self { header: *header, frame, tag: *tag })
    }
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Repeated until acknowledged; in order and once.
    Reliable,
    /// Once; it may be lost, or come late.
    Unreliable,
}

/// What stands before the message in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sequence number that the sender expects next from its peer.
    pub acknowledgement: u32,
    /// What the frame carries.
    pub content: Content,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Acknowledgement,
    /// A reliable message with its sequence number.
    Reliable(u32),
    /// An unreliable message.
    Unreliable,
}

impl Frame {
    /// Reads the head of a decrypted frame; its message is all that follows
    /// byte [`FRAME_HEADER`].
    ///
    /// # Errors
    /// [`Malformed::Length`] below 9 bytes or beyond the largest message,
    /// [`Malformed::Kind`] for an unknown kind, [`Malformed::Trailing`] for an
    /// acknowledgement with a message, [`Malformed::Reserved`] for a sequence
    /// number where none belongs.
    pub fn read(frame: &[u8]) -> Result<Self, Malformed> {
        let wrong_len = Malformed::Length { expected: FRAME_HEADER, found: frame.len() };
        let message = frame.len().checked_sub(FRAME_HEADER).ok_or(wrong_len)?;
        if message > MAX_MESSAGE {
            return Err(wrong_len);
        }
        let sequence = u32_at(frame, field::SEQUENCE.start);
        let content = match frame[field::KIND] {
            // PROTOCOL D2: an acknowledgement ends with its head.
            0 if message != 0 => return Err(Malformed::Trailing),
            0 => Content::Acknowledgement,
            1 => Content::Reliable(sequence),
            2 => Content::Unreliable,
            other => return Err(Malformed::Kind(other)),
        };
        if sequence != 0 && !matches!(content, Content::Reliable(_)) {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            acknowledgement: u32::from_le_bytes(array_at(frame, field::ACKNOWLEDGEMENT.start)),
            content,
        })
    }

    /// The head's bytes.
    #[must_use]
    pub fn write(&self) -> [u8; FRAME_HEADER] {
        let (kind, sequence) = match self.content {
            Content::Acknowledgement => (0, 0),
            Content::Reliable(sequence) => (1, sequence),
            Content::Unreliable => (2, 0),
        };
        let mut bytes = [0; FRAME_HEADER];
        bytes[field::KIND] = kind;
        bytes[field::ACKNOWLEDGEMENT].copy_from_slice(&self.acknowledgement.to_le_bytes());
        bytes[field::SEQUENCE].copy_from_slice(&sequence.to_le_bytes());
        bytes
    }
}

// PROTOCOL D3: the largest transport datagram is well below the largest payload.
const _: () = assert!(OVERHEAD + MAX_MESSAGE <= crate::limits::MAX_DATAGRAM);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_protocol_puts_them() {
        let header = Header { receiver: 0x0403_0201, counter: 0x0807_0605_0403_0201 };
        let expected = [4, 1, 0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(header.write(), expected);
        let frame = Frame { acknowledgement: 0x0403_0201, content: Content::Reliable(7) };
        assert_eq!(frame.write(), [1, 1, 2, 3, 4, 7, 0, 0, 0]);
        assert_eq!(Frame::read(&[1, 1, 2, 3, 4, 7, 0, 0, 0, 99]), Ok(frame));
    }

    // PROTOCOL D2
    #[test]
    fn a_frame_with_more_than_its_kind_allows_is_refused() {
        assert_eq!(Frame::read(&[0; 10]), Err(Malformed::Trailing));
        assert_eq!(Frame::read(&[0, 0, 0, 0, 0, 1, 0, 0, 0]), Err(Malformed::Reserved));
        assert_eq!(Frame::read(&[2, 0, 0, 0, 0, 0, 0, 0, 1]), Err(Malformed::Reserved));
        assert_eq!(Frame::read(&[3; 9]), Err(Malformed::Kind(3)));
        assert!(matches!(Frame::read(&[0; 8]), Err(Malformed::Length { .. })));
        let mut long = [0; 9 + 1_160];
        long[0] = 2;
        assert!(matches!(Frame::read(&long), Err(Malformed::Length { .. })));
        assert!(Frame::read(&long[..9 + 1_159]).is_ok());
    }

    // PROTOCOL D3
    #[test]
    fn the_largest_transport_datagram_has_1200_bytes() {
        assert_eq!(OVERHEAD + MAX_MESSAGE, 1_200);
    }
}
