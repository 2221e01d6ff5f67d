//! A cipher that watches its nonces (safety S5): under one key no counter ever
//! encrypts two different texts, whatever crashes and restarts.
//!
//! The book is the thread's, since a cipher is made from its key alone; a
//! simulation runs on one thread from its beginning to its end.

use std::cell::RefCell;
use std::collections::HashMap;

use fleetcast::aead::RingChaCha;
use fleetcast_core::crypto::aead::{Aead, Forged};
use fleetcast_core::ids::{Epoch, SessionId};
use fleetcast_core::limits::TAG;
use fleetcast_core::wire::session::TYPE;

use crate::random::hash;

/// What was seen of all keys.
#[derive(Default)]
struct Book {
    /// By hash of the key and counter: the hash of header and text.
    texts: HashMap<(u64, u64), u64>,
    reused: Option<String>,
    /// Keys of sessions, in the order of their first datagrams.
    sessions: Vec<(SessionId, Epoch, [u8; 32])>,
}

thread_local! {
    static BOOK: RefCell<Book> = RefCell::default();
}

/// Begins a new book on this thread.
pub fn begin() {
    BOOK.with_borrow_mut(|book| *book = Book::default());
}

/// The first reuse since [`begin`], if there was one.
#[must_use]
pub fn reused() -> Option<String> {
    BOOK.with_borrow(|book| book.reused.clone())
}

/// How many packets were sealed since [`begin`].
#[must_use]
pub fn sealed() -> usize {
    BOOK.with_borrow(|book| book.texts.len())
}

/// The keys of the sessions that were sent since [`begin`], oldest first: what every
/// member of them knows.
#[must_use]
pub fn sessions() -> Vec<(SessionId, Epoch, [u8; 32])> {
    BOOK.with_borrow(|book| book.sessions.clone())
}

/// The host's cipher, audited.
#[derive(Clone)]
pub struct AuditedAead {
    cipher: RingChaCha,
    key: u64,
    secret: [u8; 32],
}

impl Aead for AuditedAead {
    fn new(key: &[u8; 32]) -> Self {
        Self { cipher: RingChaCha::new(key), key: hash(0, key), secret: *key }
    }

    fn seal(&self, counter: u64, header: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let text_hash = hash(hash(1, header), text);
        BOOK.with_borrow_mut(|book| {
            let before = *book.texts.entry((self.key, counter)).or_insert(text_hash);
            if before != text_hash && book.reused.is_none() {
                let key = self.key;
                book.reused =
                    Some(format!("S5: key {key:016x} encrypts two texts with counter {counter}"));
            }
            // The first datagram of a session has counter 0; its header names it.
            if let ([TYPE, _, e0, e1, s0, s1, s2, s3, ..], 0) = (header, counter) {
                let session = SessionId(u32::from_le_bytes([*s0, *s1, *s2, *s3]));
                let epoch = Epoch(u16::from_le_bytes([*e0, *e1]));
                book.sessions.push((session, epoch, self.secret));
            }
        });
        self.cipher.seal(counter, header, text)
    }

    fn open(
        &self,
        counter: u64,
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        self.cipher.open(counter, header, text, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_packet_again_is_no_reuse_and_another_text_is() {
        begin();
        let cipher = AuditedAead::new(&[3; 32]);
        cipher.seal(7, b"header", &mut b"text".to_vec());
        AuditedAead::new(&[3; 32]).seal(7, b"header", &mut b"text".to_vec());
        AuditedAead::new(&[4; 32]).seal(7, b"header", &mut b"other".to_vec());
        assert_eq!((reused(), sealed()), (None, 2));
        AuditedAead::new(&[3; 32]).seal(7, b"header", &mut b"tent".to_vec());
        assert!(reused().is_some_and(|told| told.ends_with("two texts with counter 7")));
        begin();
        assert_eq!((reused(), sealed()), (None, 0));
    }
}
