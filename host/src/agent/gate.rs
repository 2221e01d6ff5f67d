//! The gate of a staging: the core's verification of release roots.

use fleetcast_core::trust::authority::TrustedAuthority;
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
}

impl Gate for TrustGate {
    type Evidence = Admitted;

    fn admit(&mut self, document: &[u8]) -> Result<Admitted, Refusal> {
        let (authority, membership) = (&self.authority, &self.membership);
        let verified =
            VerifiedRelease::verify(document, authority, membership, &self.circumstances);
        match verified {
            Ok(release) => Ok(Admitted::new(&release)),
            Err(ReleaseRefused::Root(_)) => Err(Refusal::Wrong),
            Err(ReleaseRefused::Expired { .. }) => Err(Refusal::Never(FailCode::Expired)),
            Err(_) => Err(Refusal::Never(FailCode::NotTrusted)),
        }
    }
}
