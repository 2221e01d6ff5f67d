//! What is signed: pieces that together are no longer than a signature covers.

/// Longest message that a signature covers, context included, in bytes.
pub(super) const MAX_SIGNED: usize = 4 * 1024 + 512;

/// A message in pieces, one after the other.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Message<'m> {
    prefix: &'m [u8],
    parts: &'m [&'m [u8]],
}

impl<'m> Message<'m> {
    /// The message of these pieces; `None` where it is longer than 4.5 KiB.
    pub(in crate::crypto) fn new(prefix: &'m [u8], parts: &'m [&'m [u8]]) -> Option<Self> {
        let lengths = parts.iter().map(|part| part.len());
        let length = lengths.fold(prefix.len(), usize::saturating_add);
        (length <= MAX_SIGNED).then_some(Self { prefix, parts })
    }

    /// Its pieces.
    pub(in crate::crypto) fn pieces(self) -> impl Iterator<Item = &'m [u8]> {
        core::iter::once(self.prefix).chain(self.parts.iter().copied())
    }
}
