//! A cipher that watches its nonces (safety S5): under one key no counter ever
//! encrypts two different texts, whatever crashes and restarts.
//!
//! The book is the thread's, since a cipher is made from its key alone; a
//! simulation runs on one thread from its beginning to its end.

use std::cell::RefCell;
use std::collections::HashMap;

use fleetcast::aead::RingChaCha;
use fleetcast_core::crypto::aead::{Aead, Forged};
use fleetcast_core::limits::TAG;

use crate::random::hash;

/// What was seen of all keys.
#[derive(Default)]
struct Book {
    /// By hash of the key and counter: the hash of header and text.
    texts: HashMap<(u64, u64), u64>,
    reused: Option<String>,
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

/// The host's cipher, audited.
#[derive(Clone)]
pub struct AuditedAead {
    cipher: RingChaCha,
    key: u64,
}

impl Aead for AuditedAead {
    fn new(key: &[u8; 32]) -> Self {
        Self { cipher: RingChaCha::new(key), key: hash(0, key) }
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
