//! The gate of a staging: the core's verification of release roots.

use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::release::{Circumstances, ReleaseRefused, VerifiedRelease};
use fleetcast_core::wire::control::FailCode;

use crate::staging::gate::{Admitted, Gate, Refusal};

/// What a receiver knows when it judges a release.
pub struct TrustGate {
    /// Whom it trusts.
    pub authority: TrustedAuthority,
    /// Its membership in the release's group.
    pub membership: VerifiedMembership,
    /// What it has accepted before, and the time.
    pub circumstances: Circumstances,
    /// The digest of the root, as the server has named it over the channel.
    pub promised: Digest,
}

impl TrustGate {
    /// Whether a signed root document is the one that was promised, but for its signatures.
    fn is_promised(&self, document: &[u8]) -> bool {
        let signed = SignedDocument::parse(document, MAX_ROOT);
        signed.is_ok_and(|signed| signed.digest(Context::Release) == self.promised)
    }
}

impl Gate for TrustGate {
    type Evidence = Admitted;

    fn admit(&mut self, document: &[u8]) -> Result<Admitted, Refusal> {
        // PROTOCOL S26: what another member made says nothing of the release.
        if !self.is_promised(document) {
            return Err(Refusal::Wrong);
        }
        let (authority, membership) = (&self.authority, &self.membership);
        let verified =
            VerifiedRelease::verify(document, authority, membership, &self.circumstances);
        match verified {
            Ok(release) => Ok(Admitted::new(&release)),
            Err(ReleaseRefused::Root(_)) => Err(Refusal::Wrong),
            // The digest covers no signature.
            Err(ReleaseRefused::Untrusted(_)) => Err(Refusal::Unsigned(FailCode::NotTrusted)),
            Err(ReleaseRefused::Expired { .. }) => Err(Refusal::Never(FailCode::Expired)),
            Err(_) => Err(Refusal::Never(FailCode::NotTrusted)),
        }
    }
}
