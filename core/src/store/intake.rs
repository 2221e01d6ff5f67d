//! The store as the storage behind a receiving session.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::error::StoreError;
use crate::crypto::sign::Context;
use crate::digest::Digest;
use crate::ids::Ordinal;
use crate::limits::MAX_ROOT;
use crate::session::intake::{Intake, Taken};
use crate::trust::authority::TrustedAuthority;
use crate::trust::document::SignedDocument;
use crate::trust::membership::VerifiedMembership;
use crate::trust::release::{Circumstances, ReleaseRefused, VerifiedRelease};
use crate::wire::control::Object;

/// Checks root documents.
pub trait Gate {
    /// Checks a signed root document.
    ///
    /// # Errors
    /// [`ReleaseRefused`] says what is wrong with it.
    fn admit<'a>(&mut self, document: &'a [u8]) -> Result<VerifiedRelease<'a>, ReleaseRefused>;
}

/// The gate of a receiver: PROTOCOL T3 and T6.
pub struct TrustGate<'t> {
    /// Whom it trusts.
    pub authority: &'t TrustedAuthority,
    /// Its membership in the release's group.
    pub membership: &'t VerifiedMembership,
    /// What it has accepted before, and the time.
    pub circumstances: Circumstances,
}

impl Gate for TrustGate<'_> {
    fn admit<'a>(&mut self, document: &'a [u8]) -> Result<VerifiedRelease<'a>, ReleaseRefused> {
        VerifiedRelease::verify(document, self.authority, self.membership, &self.circumstances)
    }
}

/// A store that takes the records of its expected release.
pub struct Receiving<'s, 'b, D, G> {
    store: &'s mut Store<'b, D>,
    gate: &'s mut G,
    /// What comes is the sender's.
    proved: bool,
}

impl<'b, D: Read + Write + Seek> Store<'b, D> {
    /// The storage behind a session of the expected release; `gate` is asked once,
    /// when the root comes.
    pub const fn intake<'s, G: Gate>(&'s mut self, gate: &'s mut G) -> Receiving<'s, 'b, D, G> {
        Receiving { store: self, gate, proved: false }
    }

    /// Checks a root document and begins with the release.
    fn take_root(
        &mut self,
        document: &[u8],
        proved: bool,
        gate: &mut impl Gate,
    ) -> Result<Taken, StoreError> {
        let Some(expected) = self.expected else { return Ok(Taken::Unneeded) };
        if self.target.is_some() {
            return Ok(Taken::Unneeded);
        }
        // PROTOCOL S26: what another member made says nothing of the release.
        if !is_promised(document, &expected.digest) {
            return Ok(Taken::Poisoned);
        }
        let release = match gate.admit(document) {
            Ok(release) if release.name() == expected => release,
            Ok(_) | Err(ReleaseRefused::Root(_)) => return Ok(Taken::Poisoned),
            // The digest covers no signature.
            Err(ReleaseRefused::Untrusted(_)) if !proved => return Ok(Taken::Poisoned),
            Err(refused) => return Err(StoreError::Refused(refused)),
        };
        match self.admit(&release, document) {
            Err(StoreError::Busy) => Ok(Taken::Deferred),
            admitted => admitted.map(|()| Taken::Stored),
        }
    }
}

/// Whether a signed root document is the one with this digest.
fn is_promised(document: &[u8], digest: &Digest) -> bool {
    let signed = SignedDocument::parse(document, MAX_ROOT);
    signed.is_ok_and(|signed| signed.digest(Context::Release) == *digest)
}

impl<D: Read + Write + Seek, G: Gate> Intake for Receiving<'_, '_, D, G> {
    fn attest(&mut self, proved: bool) {
        self.proved = proved;
    }

    fn wants(&mut self, object: Object, first: Ordinal, count: u16) -> bool {
        match object {
            _ if self.store.failure.is_some() => false,
            Object::Root => self.store.target.is_none(),
            _ => self.store.lacks(object, first, count),
        }
    }

    fn record(
        &mut self,
        object: Object,
        ordinal: Ordinal,
        codec: u8,
        len: usize,
        encoded: &[u8],
    ) -> Taken {
        if self.store.failure.is_some() {
            return Taken::Failed;
        }
        let taken = match object {
            Object::Root => self.store.take_root(encoded, self.proved, self.gate),
            _ => self.store.take(object, ordinal, (codec, len), encoded),
        };
        taken.unwrap_or_else(|error| {
            self.store.failure = Some(error);
            Taken::Failed
        })
    }

    fn progress(&self) -> (u64, u64) {
        let resolved = self.store.is_resolved();
        self.store.target.as_ref().map_or((0, 0), |target| target.progress(resolved))
    }

    fn is_complete(&self) -> bool {
        self.store.is_whole()
    }
}
