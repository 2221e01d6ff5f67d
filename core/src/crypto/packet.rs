//! Protection of session datagrams: seal with a counter that never repeats,
//! open without any state that a forger could move.

use super::aead::{Aead, Forged};
use crate::ids::{Epoch, SessionId};
use crate::limits::{DATA_HEADER, TAG};
use crate::wire::session::Header;

/// The sending side of one session and epoch.
pub struct Sealer<A> {
    aead: A,
    session: SessionId,
    epoch: Epoch,
    counter: u64,
}

impl<A: Aead> Sealer<A> {
    /// A sealer under a key that nothing was sealed with before.
    #[must_use]
    pub fn new(session: SessionId, epoch: Epoch, key: &[u8; 32]) -> Self {
        Self { aead: A::new(key), session, epoch, counter: 0 }
    }

    /// The epoch of its key.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The counter of the next datagram.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Seals `datagram`, whose body of `body` bytes stands after room for the
    /// header, and returns the length of the whole; `None` when it does not fit.
    pub fn seal(&mut self, datagram: &mut [u8], body: usize) -> Option<usize> {
        let len = DATA_HEADER + body + TAG;
        let datagram = datagram.get_mut(..len)?;
        // PROTOCOL S1: the counter moves with every datagram, whatever it carries.
        let header =
            Header { epoch: self.epoch, session: self.session, counter: self.counter }.to_bytes();
        let (head, rest) = datagram.split_at_mut(DATA_HEADER);
        let (text, tag) = rest.split_at_mut(body);
        head.copy_from_slice(&header);
        tag.copy_from_slice(&self.aead.seal(self.counter, head, text));
        self.counter += 1;
        Some(len)
    }
}

/// The receiving side of one session and epoch.
pub struct Opener<A> {
    aead: A,
}

impl<A: Aead> Opener<A> {
    /// An opener for a key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { aead: A::new(key) }
    }

    /// Decrypts a datagram with a parsed header in place and returns its body.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not verify.
    pub fn open<'d>(&self, header: Header, datagram: &'d mut [u8]) -> Result<&'d mut [u8], Forged> {
        let (head, rest) = datagram.split_at_mut_checked(DATA_HEADER).ok_or(Forged)?;
        let body = rest.len().checked_sub(TAG).ok_or(Forged)?;
        let (text, tag) = rest.split_at_mut(body);
        let tag = tag.first_chunk::<TAG>().ok_or(Forged)?;
        self.aead.open(header.counter, head, text, tag)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::aead::ChaCha;

    #[test]
    fn a_datagram_opens_whole_or_not_at_all_and_counters_differ() {
        let mut sealer = Sealer::<ChaCha>::new(SessionId(1), Epoch(2), &[3; 32]);
        let opener = Opener::<ChaCha>::new(&[3; 32]);
        let mut first = [9; 40];
        let mut second = [9; 40];
        assert_eq!(sealer.seal(&mut first, 8), Some(40));
        assert_eq!(sealer.seal(&mut second, 8), Some(40));
        // PROTOCOL S1: the same body twice does not give the same bytes.
        assert_ne!(first[16..], second[16..]);
        for at in 0..40 {
            let mut flipped = first;
            flipped[at] ^= 1;
            let opened = Header::parse(&flipped).map(|h| opener.open(h, &mut flipped).is_ok());
            assert_ne!(opened, Ok(true), "byte {at}");
        }
        let header = Header::parse(&first).unwrap();
        assert_eq!(opener.open(header, &mut first).unwrap(), &[9; 8]);
    }
}
