//! Where a receiver session puts what came: the storage behind the machine,
//! handed to each call as its last argument. The host implements it over a file
//! system, a board over its chunk store.

use crate::ids::Ordinal;
use crate::wire::control::Object;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Verified and stored; it was lacking.
    Stored,
    /// Not lacking: already held, or not part of the release.
    Unneeded,
    /// Cannot be judged or kept now (no index yet and no scratch left, say);
    /// it stays lacking and is asked for later.
    Deferred,
    /// Its bytes are not those of the ordinal's reference.
    Poisoned,
    /// Our own storage failed; the session goes on, the release does not.
    Failed,
}

/// The storage of one release that is being received.
pub trait Intake {
    /// Whether any of `count` records from ordinal `first` on is lacking.
    ///
    /// `true` where that cannot be known yet.
    fn wants(&mut self, object: Object, first: Ordinal, count: u16) -> bool;

    /// Whether what comes next is proved to be the sender's: nobody else has the session's
    /// key, or digests that the controller signed have told so. Else another member may have
    /// made it, and all that no hash covers is only claimed.
    /// A store all of whose records are covered by hashes need not know.
    fn attest(&mut self, _proved: bool) {}

    /// Takes one chunk record: codec, length of the chunk, and its encoded bytes.
    ///
    /// For [`Object::Root`] the bytes are the signed root document as it is.
    fn record(
        &mut self,
        object: Object,
        ordinal: Ordinal,
        codec: u8,
        len: usize,
        encoded: &[u8],
    ) -> Taken;

    /// Bytes of the release held and verified, and bytes of it in all (0: not known yet).
    fn progress(&self) -> (u64, u64);

    /// Whether nothing of the release is lacking.
    fn is_complete(&self) -> bool;
}
