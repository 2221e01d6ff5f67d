//! A signed authority document that arrives in several messages.

use fleetcast_core::limits::{MAX_AUTHORITY, MAX_SIGNATURES};
use fleetcast_core::trust::document::signed_len;

/// What has come of one document, from its beginning on.
pub(super) struct Pieces {
    version: u32,
    total: usize,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Nothing has come yet.
    pub(super) const fn new(version: u32, total: usize) -> Self {
        Self { version, total, bytes: Vec::new() }
    }

    /// Takes the next piece; the document once it is whole.
    ///
    /// A piece of another document, or out of its turn, is ignored: the
    /// channel keeps the order, so a sender that breaks it starts anew.
    pub(super) fn add(
        &mut self,
        version: u32,
        offset: usize,
        total: usize,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let most = signed_len(MAX_AUTHORITY, MAX_SIGNATURES);
        let follows = version == self.version && total == self.total && offset == self.bytes.len();
        if !follows || total > most || offset + bytes.len() > total {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        (self.bytes.len() == total).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_order_make_the_document_and_others_do_not() {
        let mut pieces = Pieces::new(3, 5);
        assert_eq!(pieces.add(3, 0, 5, b"abc"), None);
        assert_eq!(pieces.add(4, 3, 5, b"de"), None);
        assert_eq!(pieces.add(3, 4, 5, b"e"), None);
        assert_eq!(pieces.add(3, 3, 5, b"def"), None);
        assert_eq!(pieces.add(3, 3, 5, b"de"), Some(b"abcde".to_vec()));
        assert_eq!(Pieces::new(1, 60_000).add(1, 0, 60_000, b"x"), None);
    }
}
