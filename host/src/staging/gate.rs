//! What staging asks of others: whether a root document counts, and how chunks decode.

use fleetcast_core::limits::MAX_CHUNK;
use fleetcast_core::tree::index::{IndexLayout, Levels, TreeTop};
use fleetcast_core::tree::record::{self, Record};
use fleetcast_core::trust::release::VerifiedRelease;
use fleetcast_core::wire::control::{FailCode, ReleaseName};

use crate::codec::{Decoder, patch};

/// A release whose root document was checked (signatures, membership, order).
///
/// Only a [`Gate`] makes one, and install takes nothing else.
pub trait Evidence {
    /// Which release it is.
    fn name(&self) -> ReleaseName;

    /// The tree that is to be installed.
    fn tree(&self) -> TreeTop<'_>;
}

/// The evidence of a receiver: what is kept of a [`VerifiedRelease`], from which
/// alone it is made, without the document that this borrows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    name: ReleaseName,
    directory: String,
    tree: TreeTop<'static>,
    top: Vec<u8>,
}

impl Admitted {
    /// The standard tree of a release that passed the gate.
    #[must_use]
    pub fn new(release: &VerifiedRelease<'_>) -> Self {
        let (tree, _): (&TreeTop<'_>, &IndexLayout) = release.standard();
        Self {
            name: release.name(),
            directory: release.root().group_name.to_owned(),
            top: tree.top.to_vec(),
            tree: without_list(tree),
        }
    }

    /// The group's name when the release was signed: its directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }
}

impl Evidence for Admitted {
    fn name(&self) -> ReleaseName {
        self.name
    }

    fn tree(&self) -> TreeTop<'_> {
        TreeTop { top: &self.top, ..self.tree.clone() }
    }
}

/// The numbers of a tree, which borrow from nothing.
pub(crate) fn without_list(tree: &TreeTop<'_>) -> TreeTop<'static> {
    TreeTop {
        levels: Levels::clone(&tree.levels),
        entries: tree.entries,
        files: tree.files,
        content_bytes: tree.content_bytes,
        content_chunks: tree.content_chunks,
        index_bytes: tree.index_bytes,
        entry_bytes: tree.entry_bytes,
        top: &[],
    }
}

/// Why a root document does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not the document that was promised; the right one may still come.
    Wrong,
    /// It is, but for its signatures, of which too few are valid: where others could have
    /// changed those the right ones may still come.
    Unsigned(FailCode),
    /// It is, and must not be installed.
    Never(FailCode),
}

/// Checks root documents.
pub trait Gate {
    /// What it gives out.
    type Evidence: Evidence;

    /// Checks a signed root document.
    ///
    /// # Errors
    /// [`Refusal`] says whether another document may pass.
    fn admit(&mut self, document: &[u8]) -> Result<Self::Evidence, Refusal>;
}

/// A record that does not decode to the length it states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// Decodes chunk records.
pub trait Decode {
    /// Decodes `encoded` to exactly `len` bytes: those of `encoded` itself where
    /// they are the chunk, else in `out`.
    ///
    /// # Errors
    /// [`Undecodable`] when it is not `len` bytes in that codec.
    fn decode<'o>(
        &mut self,
        codec: u8,
        len: usize,
        encoded: &'o [u8],
        out: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Undecodable>;

    /// Makes exactly `len` bytes in `out` of a patch's frame and the bytes of its
    /// predecessors.
    ///
    /// # Errors
    /// [`Undecodable`] when it does not make `len` bytes.
    fn patch<'o>(
        &mut self,
        copied: &[u8],
        len: usize,
        frame: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Undecodable> {
        patch::decode(copied, len, frame, out).map_err(|_| Undecodable)?;
        Ok(out)
    }
}

impl Decode for Decoder {
    fn decode<'o>(
        &mut self,
        codec: u8,
        len: usize,
        encoded: &'o [u8],
        out: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Undecodable> {
        // PROTOCOL R3: bounded by the record's length and MAX_CHUNK.
        if codec == record::NONE && len == encoded.len() && (1..=MAX_CHUNK).contains(&len) {
            return Ok(encoded);
        }
        let record = Record { codec, len, encoded };
        Self::decode(self, &record, out).map_err(|_| Undecodable)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoder;

    #[test]
    fn records_of_every_codec_decode_to_exactly_their_length() {
        // PROTOCOL R3
        let chunk = b"fleetcast ".repeat(500);
        let mut decoder = Decoder::new().expect("memory");
        for codecs in 0..4 {
            let mut record = Vec::new();
            let mut encoder = Encoder::new(codecs, true).expect("memory");
            encoder.encode(&chunk, &mut record).expect("a chunk");
            let (codec, encoded) = (record[0], &record[7..]);
            let mut out = b"left over".to_vec();
            let mut decode = |codec, len, encoded: &[u8]| {
                let chunk = Decode::decode(&mut decoder, codec, len, encoded, &mut out);
                chunk.map(<[u8]>::to_vec)
            };
            assert_eq!(decode(codec, 5_000, encoded), Ok(chunk.clone()));
            assert_eq!(decode(codec, 4_999, encoded), Err(Undecodable));
            assert_eq!(decode(codec, 5_001, encoded), Err(Undecodable));
            assert_eq!(decode(3, 5_000, encoded), Err(Undecodable));
            assert_eq!(decode(codec, 1 << 24, encoded), Err(Undecodable));
        }
    }
}
