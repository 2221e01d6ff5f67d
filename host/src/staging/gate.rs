//! What staging asks of others: whether a root document counts, and how chunks decode.

use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::wire::control::{FailCode, ReleaseName};

/// A release whose root document was checked (signatures, membership, order).
///
/// Only a [`Gate`] makes one, and install takes nothing else.
pub trait Evidence {
    /// Which release it is.
    fn name(&self) -> ReleaseName;

    /// The tree that is to be installed.
    fn tree(&self) -> TreeTop<'_>;
}

/// Why a root document does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not the document that was promised; the right one may still come.
    Wrong,
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
    /// Decodes `encoded` into exactly `len` bytes of `out`, which is emptied first.
    ///
    /// # Errors
    /// [`Undecodable`] when it is not `len` bytes in that codec.
    fn decode(
        &mut self,
        codec: u8,
        len: usize,
        encoded: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Undecodable>;
}
