//! Two datagrams outside of every channel: a request for an authority document,
//! and its answer (PROTOCOL §2).
//!
//! A request is as long as the longest answer that may follow it; what stands
//! behind its fields is padding.

use super::Malformed;
use super::datagram::array_at;
use crate::digest::Digest;
use crate::limits::{MAX_DATAGRAM, MAX_SIGNED_AUTHORITY, VERSION};

/// Type of a request.
pub const REQUEST: u8 = 7;
/// Type of an answer.
pub const ANSWER: u8 = 8;
/// Length of a request's fields, and of what its mac2 covers, in bytes.
pub const FIELDS: usize = 48;
/// Shortest request: there is room for a cookie in its answer.
pub const LEAST_REQUEST: usize = 128;
/// Length of an answer's fields in bytes.
pub const ANSWER_HEAD: usize = 20;
/// Length of an answer that is a cookie, in bytes.
pub const COOKIE_ANSWER: usize = ANSWER_HEAD + MAC;

/// Length of a cookie and of a mac2.
const MAC: usize = 16;

/// Where the fields of both stand.
mod field {
    use core::ops::Range;

    pub(super) const RESERVED: Range<usize> = 2..4;
    pub(super) const NUMBER: Range<usize> = 4..12;
    pub(super) mod request {
        use core::ops::Range;
        pub(in super::super) const DIGEST: Range<usize> = 12..44;
        pub(in super::super) const WANTED: usize = 44;
        pub(in super::super) const RESERVED: usize = 45;
        pub(in super::super) const OFFSET: Range<usize> = 46..48;
        pub(in super::super) const MAC2: Range<usize> = 48..64;
    }
    pub(super) mod answer {
        use core::ops::Range;
        pub(in super::super) const KIND: usize = 12;
        pub(in super::super) const RESERVED: usize = 13;
        pub(in super::super) const TOTAL: Range<usize> = 14..16;
        pub(in super::super) const OFFSET: Range<usize> = 16..18;
        pub(in super::super) const ZEROS: Range<usize> = 18..20;
    }
}

/// Which document is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one with the digest that is named: a receiver knows it from its code only.
    Itself,
    /// The one that follows it.
    Successor,
}

/// A request for a piece of an authority document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen at random by who asks; comes back in the answer.
    pub number: u64,
    /// The digest of a document of the chain.
    pub digest: Digest,
    /// Which document is asked for.
    pub wanted: Wanted,
    /// From which byte of the signed document on.
    pub offset: u16,
}

impl Request {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, a length out of bounds, or
    /// reserved bytes that are not zero. Padding is not looked at.
    pub fn read(datagram: &[u8]) -> Result<Self, Malformed> {
        check_head(datagram, REQUEST, LEAST_REQUEST)?;
        if datagram[field::request::RESERVED] != 0 {
            return Err(Malformed::Reserved);
        }
        let wanted = match datagram[field::request::WANTED] {
            0 => Wanted::Itself,
            1 => Wanted::Successor,
            other => return Err(Malformed::Kind(other)),
        };
        Ok(Self {
            number: u64::from_le_bytes(array_at(datagram, field::NUMBER.start)),
            digest: Digest(array_at(datagram, field::request::DIGEST.start)),
            wanted,
            offset: u16_at(datagram, field::request::OFFSET.start),
        })
    }

    /// Writes a request without its mac2 that fills all of `out`.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when `out` is too short or too long for a request.
    pub fn write(&self, out: &mut [u8]) -> Result<(), Malformed> {
        if !(LEAST_REQUEST..=MAX_DATAGRAM).contains(&out.len()) {
            return Err(Malformed::Bound);
        }
        out.fill(0);
        out[0] = REQUEST;
        out[1] = VERSION;
        out[field::NUMBER].copy_from_slice(&self.number.to_le_bytes());
        out[field::request::DIGEST].copy_from_slice(&self.digest.0);
        out[field::request::WANTED] = u8::from(self.wanted == Wanted::Successor);
        out[field::request::OFFSET].copy_from_slice(&self.offset.to_le_bytes());
        Ok(())
    }
}

/// The bytes that a request's mac2 covers; `datagram` was read before.
#[must_use]
pub fn before_mac2(datagram: &[u8]) -> &[u8] {
    datagram.get(..FIELDS).unwrap_or_default()
}

/// A request's mac2; zeros where it has none.
#[must_use]
pub fn mac2_of(datagram: &[u8]) -> [u8; MAC] {
    array_at(datagram, field::request::MAC2.start)
}

/// Puts a mac2 into a request that was written before.
pub fn set_mac2(request: &mut [u8], mac: &[u8; MAC]) {
    if let Some(place) = request.get_mut(field::request::MAC2) {
        place.copy_from_slice(mac);
    }
}

/// An answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// From the request.
    pub number: u64,
    /// What it says.
    pub body: AnswerBody<'a>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody<'a> {
    /// Ask again with a mac2 that this cookie keys.
    Cookie([u8; MAC]),
    /// A piece of the signed document.
    Piece {
        /// Length of the whole signed document in bytes.
        total: u16,
        /// Where the piece begins.
        offset: u16,
        /// The piece; it does not reach beyond the document's end.
        bytes: &'a [u8],
    },
}

impl<'a> Answer<'a> {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, reserved bytes that are not zero,
    /// a document larger than any can be, and pieces that are empty or beyond it.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        check_head(datagram, ANSWER, ANSWER_HEAD + 1)?;
        let zeros = [datagram[field::answer::RESERVED]].into_iter();
        if zeros.chain(datagram[field::answer::ZEROS].iter().copied()).any(|byte| byte != 0) {
            return Err(Malformed::Reserved);
        }
        let (total, offset) = (
            u16_at(datagram, field::answer::TOTAL.start),
            u16_at(datagram, field::answer::OFFSET.start),
        );
        let bytes = &datagram[ANSWER_HEAD..];
        let body = match datagram[field::answer::KIND] {
            0 if total != 0 || offset != 0 => return Err(Malformed::Reserved),
            0 => {
                let found = datagram.len();
                let short = Malformed::Length { expected: COOKIE_ANSWER, found };
                AnswerBody::Cookie(bytes.try_into().map_err(|_| short)?)
            }
            1 => {
                let end = usize::from(offset) + bytes.len();
                // PROTOCOL A2: no document is longer, and no piece is beyond it.
                if end > usize::from(total) || usize::from(total) > MAX_SIGNED_AUTHORITY {
                    return Err(Malformed::Bound);
                }
                AnswerBody::Piece { total, offset, bytes }
            }
            other => return Err(Malformed::Kind(other)),
        };
        Ok(Self { number: u64::from_le_bytes(array_at(datagram, field::NUMBER.start)), body })
    }

    /// Writes an answer into `out`; returns its length.
    ///
    /// # Errors
    /// [`Malformed::Bound`] when it does not fit `out`.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Malformed> {
        let (kind, total, offset, bytes) = match &self.body {
            AnswerBody::Cookie(cookie) => (0, 0, 0, &cookie[..]),
            AnswerBody::Piece { total, offset, bytes } => (1, *total, *offset, *bytes),
        };
        let len = ANSWER_HEAD + bytes.len();
        let out = out.get_mut(..len).ok_or(Malformed::Bound)?;
        out[..ANSWER_HEAD].fill(0);
        out[0] = ANSWER;
        out[1] = VERSION;
        out[field::NUMBER].copy_from_slice(&self.number.to_le_bytes());
        out[field::answer::KIND] = kind;
        out[field::answer::TOTAL].copy_from_slice(&total.to_le_bytes());
        out[field::answer::OFFSET].copy_from_slice(&offset.to_le_bytes());
        out[ANSWER_HEAD..].copy_from_slice(bytes);
        Ok(len)
    }
}

/// PROTOCOL D1: type, version, reserved bytes and a length within bounds.
fn check_head(datagram: &[u8], kind: u8, least: usize) -> Result<(), Malformed> {
    let found = datagram.len();
    match datagram.first() {
        Some(&first) if first != kind => return Err(Malformed::Kind(first)),
        _ if !(least..=MAX_DATAGRAM).contains(&found) => {
            return Err(Malformed::Length { expected: least, found });
        }
        _ => {}
    }
    if datagram[1] != VERSION {
        return Err(Malformed::Version(datagram[1]));
    }
    if datagram[field::RESERVED] != [0, 0] { Err(Malformed::Reserved) } else { Ok(()) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

const _: () = {
    assert!(field::request::OFFSET.end == FIELDS && field::request::MAC2.end <= LEAST_REQUEST);
    assert!(COOKIE_ANSWER <= LEAST_REQUEST);
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const ASKED: Request = Request {
        number: 0x0807_0605_0403_0201,
        digest: Digest([0xDD; 32]),
        wanted: Wanted::Successor,
        offset: 0x0A09,
    };

    #[test]
    fn fields_stand_where_the_protocol_puts_them() {
        let mut bytes = [0xFF; 200];
        ASKED.write(&mut bytes).unwrap();
        set_mac2(&mut bytes, &[0x22; 16]);
        assert_eq!(bytes[..13], [7, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xDD]);
        assert_eq!(bytes[43..49], [0xDD, 1, 0, 0x09, 0x0A, 0x22]);
        assert_eq!((bytes[63], bytes[64], bytes[199]), (0x22, 0, 0));
        assert_eq!((before_mac2(&bytes), mac2_of(&bytes)), (&bytes[..48], [0x22; 16]));
        assert_eq!(Request::read(&bytes), Ok(ASKED));

        let body = AnswerBody::Piece { total: 0x0201, offset: 0x0003, bytes: b"piece" };
        let mut bytes = [0xFF; 25];
        assert_eq!(Answer { number: 5, body }.write(&mut bytes), Ok(25));
        let head = [8, 1, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 0, 0, 0];
        assert_eq!(bytes[..20], head);
        assert_eq!(Answer::read(&bytes), Ok(Answer { number: 5, body }));
        assert_eq!(Answer { number: 5, body }.write(&mut bytes[..24]), Err(Malformed::Bound));
    }

    #[test]
    fn what_is_unknown_or_out_of_bounds_is_refused() {
        // PROTOCOL D1
        let mut good = [0; 128];
        ASKED.write(&mut good).unwrap();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Request::read(&bytes)
        };
        assert_eq!(with(0, 6), Err(Malformed::Kind(6)));
        assert_eq!(with(1, 2), Err(Malformed::Version(2)));
        assert_eq!(with(3, 1), Err(Malformed::Reserved));
        assert_eq!(with(44, 2), Err(Malformed::Kind(2)));
        assert_eq!(with(45, 1), Err(Malformed::Reserved));
        assert!(matches!(Request::read(&good[..127]), Err(Malformed::Length { .. })));
        assert!(Request::read(&[]).is_err());
        assert_eq!(ASKED.write(&mut [0; 127]), Err(Malformed::Bound));
        assert_eq!(ASKED.write(&mut [0; 1_473]), Err(Malformed::Bound));
    }

    #[test]
    fn pieces_beyond_their_document_and_endless_documents_are_refused() {
        // PROTOCOL A2
        let read = |total: u16, offset: u16, len: usize| {
            let bytes = &[1; 1_000][..len];
            let body = AnswerBody::Piece { total, offset, bytes };
            let mut out = [0; 1_100];
            let len = Answer { number: 1, body }.write(&mut out).unwrap();
            Answer::read(&out[..len]).map(drop)
        };
        assert_eq!(read(1_603, 603, 1_000), Ok(()));
        assert_eq!(read(1_603, 604, 1_000), Err(Malformed::Bound));
        assert_eq!(read(1_604, 0, 1_000), Err(Malformed::Bound));
        assert_eq!(read(u16::MAX, u16::MAX, 1), Err(Malformed::Bound));
        assert!(matches!(read(10, 0, 0), Err(Malformed::Length { .. })));
        // A cookie has its length, and nothing else in it.
        let mut out = [0; 40];
        let answer = Answer { number: 1, body: AnswerBody::Cookie([9; 16]) };
        assert_eq!(answer.write(&mut out), Ok(36));
        assert_eq!(Answer::read(&out[..36]), Ok(answer));
        assert!(Answer::read(&out[..35]).is_err() && Answer::read(&out[..37]).is_err());
        out[14] = 1;
        assert_eq!(Answer::read(&out[..36]), Err(Malformed::Reserved));
    }
}
