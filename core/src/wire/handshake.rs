//! Views over the three handshake datagrams, and the payload inside the first
//! (PROTOCOL §2). They know where things stand; what they mean is decided by
//! the endpoints.

use super::Malformed;
use super::datagram::{self, COOKIE_REPLY, INITIATION, Kind, RESPONSE, array_at, u32_at, u64_at};
use crate::ids::TokenId;
use crate::limits::{CONSTRAINED_SYMBOL, DATA_HEADER, SYMBOL_HEADER, TAG};

/// Length of a mac1 or mac2.
pub const MAC: usize = 16;
/// Length of the first Noise message: ephemeral key, static key, payload.
pub const NOISE_1: usize = 160;
/// Length of the second Noise message: ephemeral key and a tag.
pub const NOISE_2: usize = 48;
/// Length of the payload inside an initiation.
pub const PAYLOAD: usize = 64;
/// The least that an initiator may name as the largest datagram that it takes
/// (what RFC 791 lets everybody take).
pub const LEAST_DATAGRAM: u16 = (CONSTRAINED_SYMBOL + SYMBOL_HEADER + DATA_HEADER + TAG) as u16;

/// Where the fields of the three datagrams stand.
mod field {
    use core::ops::Range;

    pub(super) const SENDER: Range<usize> = 4..8;
    pub(super) mod initiation {
        use core::ops::Range;
        pub(in super::super) const NOISE: Range<usize> = 8..168;
        pub(in super::super) const MAC1: Range<usize> = 168..184;
        pub(in super::super) const MAC2: Range<usize> = 184..200;
    }
    pub(super) mod response {
        use core::ops::Range;
        pub(in super::super) const RECEIVER: Range<usize> = 8..12;
        pub(in super::super) const NOISE: Range<usize> = 12..60;
        pub(in super::super) const MAC1: Range<usize> = 60..76;
    }
    pub(super) mod cookie {
        use core::ops::Range;
        pub(in super::super) const RECEIVER: Range<usize> = 4..8;
        pub(in super::super) const NONCE: Range<usize> = 8..32;
        pub(in super::super) const SEALED: Range<usize> = 32..64;
    }
    pub(super) mod payload {
        use core::ops::Range;
        pub(in super::super) const BOOT: usize = 0;
        pub(in super::super) const N: usize = 8;
        pub(in super::super) const TOKEN: Range<usize> = 16..32;
        pub(in super::super) const FLAGS: usize = 32;
        pub(in super::super) const PROFILE: usize = 33;
        pub(in super::super) const MAX_DATAGRAM: usize = 34;
        pub(in super::super) const RESERVED: Range<usize> = 36..64;
    }
}

/// A handshake initiation: 200 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Initiation<B>(B);

impl<B: AsRef<[u8]>> Initiation<B> {
    /// A view over `bytes`.
    ///
    /// # Errors
    /// As [`Kind::expect`].
    pub fn new(bytes: B) -> Result<Self, Malformed> {
        Kind::Initiation.expect(bytes.as_ref())?;
        Ok(Self(bytes))
    }

    /// The index that the initiator wants to be answered at.
    pub fn sender(&self) -> u32 {
        u32_at(self.0.as_ref(), field::SENDER.start)
    }

    /// The first Noise message.
    pub fn noise(&self) -> [u8; NOISE_1] {
        array_at(self.0.as_ref(), field::initiation::NOISE.start)
    }

    /// mac1.
    pub fn mac1(&self) -> [u8; MAC] {
        array_at(self.0.as_ref(), field::initiation::MAC1.start)
    }

    /// mac2, or zeros.
    pub fn mac2(&self) -> [u8; MAC] {
        array_at(self.0.as_ref(), field::initiation::MAC2.start)
    }

    /// The bytes that mac1 covers.
    pub fn before_mac1(&self) -> &[u8] {
        &self.0.as_ref()[..field::initiation::MAC1.start]
    }

    /// The bytes that mac2 covers.
    pub fn before_mac2(&self) -> &[u8] {
        &self.0.as_ref()[..field::initiation::MAC2.start]
    }
}

impl Initiation<[u8; INITIATION]> {
    /// An initiation without macs.
    #[must_use]
    pub fn write(sender: u32, noise: &[u8; NOISE_1]) -> Self {
        let mut bytes = [0; INITIATION];
        Kind::Initiation.write(&mut bytes);
        bytes[field::SENDER].copy_from_slice(&sender.to_le_bytes());
        bytes[field::initiation::NOISE].copy_from_slice(noise);
        Self(bytes)
    }

    /// Puts mac1 in its place.
    pub fn set_mac1(&mut self, mac: &[u8; MAC]) {
        self.0[field::initiation::MAC1].copy_from_slice(mac);
    }

    /// Puts mac2 in its place.
    pub fn set_mac2(&mut self, mac: &[u8; MAC]) {
        self.0[field::initiation::MAC2].copy_from_slice(mac);
    }

    /// The bytes to be sent.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; INITIATION] {
        &self.0
    }
}

/// A handshake response: 76 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Response<B>(B);

impl<B: AsRef<[u8]>> Response<B> {
    /// A view over `bytes`.
    ///
    /// # Errors
    /// As [`Kind::expect`].
    pub fn new(bytes: B) -> Result<Self, Malformed> {
        Kind::Response.expect(bytes.as_ref())?;
        Ok(Self(bytes))
    }

    /// The index that the responder wants to be answered at.
    pub fn sender(&self) -> u32 {
        u32_at(self.0.as_ref(), field::SENDER.start)
    }

    /// The index of the initiation that is answered.
    pub fn receiver(&self) -> u32 {
        u32_at(self.0.as_ref(), field::response::RECEIVER.start)
    }

    /// The second Noise message.
    pub fn noise(&self) -> [u8; NOISE_2] {
        array_at(self.0.as_ref(), field::response::NOISE.start)
    }

    /// mac1, keyed by the initiator's static key.
    pub fn mac1(&self) -> [u8; MAC] {
        array_at(self.0.as_ref(), field::response::MAC1.start)
    }

    /// The bytes that mac1 covers.
    pub fn before_mac1(&self) -> &[u8] {
        &self.0.as_ref()[..field::response::MAC1.start]
    }
}

impl Response<[u8; RESPONSE]> {
    /// A response without its mac1.
    #[must_use]
    pub fn write(sender: u32, receiver: u32, noise: &[u8; NOISE_2]) -> Self {
        let mut bytes = [0; RESPONSE];
        Kind::Response.write(&mut bytes);
        bytes[field::SENDER].copy_from_slice(&sender.to_le_bytes());
        bytes[field::response::RECEIVER].copy_from_slice(&receiver.to_le_bytes());
        bytes[field::response::NOISE].copy_from_slice(noise);
        Self(bytes)
    }

    /// Puts mac1 in its place.
    pub fn set_mac1(&mut self, mac: &[u8; MAC]) {
        self.0[field::response::MAC1].copy_from_slice(mac);
    }

    /// The bytes to be sent.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; RESPONSE] {
        &self.0
    }
}

/// A cookie reply: 64 bytes.
#[derive(Clone, Copy, Debug)]
pub struct CookieReply<B>(B);

impl<B: AsRef<[u8]>> CookieReply<B> {
    /// A view over `bytes`.
    ///
    /// # Errors
    /// As [`Kind::expect`].
    pub fn new(bytes: B) -> Result<Self, Malformed> {
        Kind::CookieReply.expect(bytes.as_ref())?;
        Ok(Self(bytes))
    }

    /// The index of the initiation that is answered.
    pub fn receiver(&self) -> u32 {
        u32_at(self.0.as_ref(), field::cookie::RECEIVER.start)
    }

    /// The nonce of the encryption.
    pub fn nonce(&self) -> [u8; 24] {
        array_at(self.0.as_ref(), field::cookie::NONCE.start)
    }

    /// The cookie, encrypted, and a tag.
    pub fn sealed(&self) -> [u8; 32] {
        array_at(self.0.as_ref(), field::cookie::SEALED.start)
    }
}

impl CookieReply<[u8; COOKIE_REPLY]> {
    /// A cookie reply.
    #[must_use]
    pub fn write(receiver: u32, nonce: &[u8; 24], sealed: &[u8; 32]) -> Self {
        let mut bytes = [0; COOKIE_REPLY];
        Kind::CookieReply.write(&mut bytes);
        bytes[field::cookie::RECEIVER].copy_from_slice(&receiver.to_le_bytes());
        bytes[field::cookie::NONCE].copy_from_slice(nonce);
        bytes[field::cookie::SEALED].copy_from_slice(sealed);
        Self(bytes)
    }

    /// The bytes to be sent.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; COOKIE_REPLY] {
        &self.0
    }
}

/// What an initiator says about itself, inside the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Raised with every initiation: the boot counter, and a number within this boot.
    pub order: (u64, u64),
    /// The token whose secret is the psk.
    pub token: Option<TokenId>,
    /// Whether the initiator is a constrained device.
    pub constrained: bool,
    /// The largest datagram that the initiator takes, in bytes.
    pub max_datagram: u16,
}

impl Payload {
    /// Reads the 64 bytes.
    ///
    /// # Errors
    /// [`Malformed::Reserved`] for bytes that should be zero, [`Malformed::Kind`]
    /// for an unknown flag or profile, [`Malformed::Bound`] for a largest
    /// datagram below [`LEAST_DATAGRAM`].
    pub fn read(bytes: &[u8; PAYLOAD]) -> Result<Self, Malformed> {
        let token = TokenId(array_at(bytes, field::payload::TOKEN.start));
        let token = match bytes[field::payload::FLAGS] {
            0 if token.0 != [0; 16] => return Err(Malformed::Reserved),
            0 => None,
            1 => Some(token),
            other => return Err(Malformed::Kind(other)),
        };
        let constrained = match bytes[field::payload::PROFILE] {
            0 => false,
            1 => true,
            other => return Err(Malformed::Kind(other)),
        };
        let max_datagram = u16::from_le_bytes(array_at(bytes, field::payload::MAX_DATAGRAM));
        if max_datagram < LEAST_DATAGRAM {
            return Err(Malformed::Bound);
        }
        if bytes[field::payload::RESERVED].iter().any(|byte| *byte != 0) {
            return Err(Malformed::Reserved);
        }
        let order = (u64_at(bytes, field::payload::BOOT), u64_at(bytes, field::payload::N));
        Ok(Self { order, token, constrained, max_datagram })
    }

    /// Writes the 64 bytes.
    #[must_use]
    pub fn write(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        bytes[field::payload::BOOT..][..8].copy_from_slice(&self.order.0.to_le_bytes());
        bytes[field::payload::N..][..8].copy_from_slice(&self.order.1.to_le_bytes());
        if let Some(token) = self.token {
            bytes[field::payload::TOKEN].copy_from_slice(&token.0);
            bytes[field::payload::FLAGS] = 1;
        }
        bytes[field::payload::PROFILE] = u8::from(self.constrained);
        bytes[field::payload::MAX_DATAGRAM..][..2]
            .copy_from_slice(&self.max_datagram.to_le_bytes());
        bytes
    }
}

const _: () = {
    assert!(field::initiation::MAC2.end == datagram::INITIATION);
    assert!(field::initiation::NOISE.end - field::initiation::NOISE.start == NOISE_1);
    assert!(field::response::MAC1.end == datagram::RESPONSE);
    assert!(field::cookie::SEALED.end == datagram::COOKIE_REPLY);
    assert!(field::payload::RESERVED.end == PAYLOAD);
    assert!(LEAST_DATAGRAM == 548);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_protocol_puts_them() {
        let mut initiation = Initiation::write(0x0403_0201, &[0xEE; NOISE_1]);
        initiation.set_mac1(&[0x11; MAC]);
        initiation.set_mac2(&[0x22; MAC]);
        let bytes = initiation.bytes();
        assert_eq!(bytes[..9], [1, 1, 0, 0, 1, 2, 3, 4, 0xEE]);
        assert_eq!((bytes[167], bytes[168], bytes[183], bytes[184]), (0xEE, 0x11, 0x11, 0x22));

        let mut response = Response::write(0x0403_0201, 0x0807_0605, &[0xEE; NOISE_2]);
        response.set_mac1(&[0x11; MAC]);
        let bytes = response.bytes();
        assert_eq!(bytes[..13], [2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xEE]);
        assert_eq!((bytes[59], bytes[60]), (0xEE, 0x11));

        let reply = CookieReply::write(0x0403_0201, &[0xAA; 24], &[0xBB; 32]);
        let bytes = reply.bytes();
        assert_eq!(bytes[..9], [3, 1, 0, 0, 1, 2, 3, 4, 0xAA]);
        assert_eq!((bytes[31], bytes[32], bytes[63]), (0xAA, 0xBB, 0xBB));
    }

    #[test]
    fn a_payload_has_the_bytes_of_the_protocol() {
        let payload = Payload {
            order: (0x0102, 3),
            token: Some(TokenId([0xAB; 16])),
            constrained: true,
            max_datagram: 1_472,
        };
        let mut expected = [0; 64];
        expected[..2].copy_from_slice(&[2, 1]);
        expected[8] = 3;
        expected[16..32].fill(0xAB);
        expected[32..36].copy_from_slice(&[1, 1, 0xC0, 0x05]);
        assert_eq!(payload.write(), expected);
        assert_eq!(Payload::read(&expected), Ok(payload));
    }

    // PROTOCOL D1
    #[test]
    fn a_payload_with_anything_unknown_is_refused() {
        let good =
            Payload { order: (1, 1), token: None, constrained: false, max_datagram: 548 }.write();
        assert!(Payload::read(&good).is_ok());
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Payload::read(&bytes)
        };
        assert_eq!(with(16, 1), Err(Malformed::Reserved));
        assert_eq!(with(32, 2), Err(Malformed::Kind(2)));
        assert_eq!(with(33, 2), Err(Malformed::Kind(2)));
        assert_eq!(with(34, 0x23), Err(Malformed::Bound));
        (36..64).for_each(|at| assert_eq!(with(at, 1), Err(Malformed::Reserved)));
    }
}
