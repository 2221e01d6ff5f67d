//! The gate of a staging: the core's verification of release roots.

use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::release::{Circumstances, ReleaseRefused, ReleaseRoot, VerifiedRelease};
use fleetcast_core::wire::control::{FailCode, ReleaseName};

use crate::codec::Decoder;
use crate::staging::gate::{Decode, Evidence, Gate, Refusal, Undecodable};
use fleetcast_core::tree::record::Record;

/// What a receiver knows when it judges a release.
pub struct TrustGate {
    /// Whom it trusts.
    pub authority: TrustedAuthority,
    /// Its membership in the release's group.
    pub membership: VerifiedMembership,
    /// What it has accepted before, and the time.
    pub circumstances: Circumstances,
}

/// A release root that passed the gate: only [`TrustGate`] makes one.
pub struct CheckedRelease {
    name: ReleaseName,
    directory: String,
    document: Vec<u8>,
}

impl CheckedRelease {
    /// The directory that the release is installed in: its group's name.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }
}

impl Evidence for CheckedRelease {
    fn name(&self) -> ReleaseName {
        self.name
    }

    fn tree(&self) -> TreeTop<'_> {
        let signed = SignedDocument::parse(&self.document, MAX_ROOT).ok();
        let root = signed.and_then(|signed| ReleaseRoot::decode(signed.body()).ok());
        // It was decoded when it passed the gate.
        root.map_or(TreeTop::EMPTY, |root| root.standard)
    }
}

impl Gate for TrustGate {
    type Evidence = CheckedRelease;

    fn admit(&mut self, document: &[u8]) -> Result<CheckedRelease, Refusal> {
        let (authority, membership) = (&self.authority, &self.membership);
        let verified =
            VerifiedRelease::verify(document, authority, membership, &self.circumstances);
        match verified {
            Ok(release) => Ok(CheckedRelease {
                name: release.name(),
                directory: release.root().group_name.to_owned(),
                document: document.to_vec(),
            }),
            Err(ReleaseRefused::Root(_)) => Err(Refusal::Wrong),
            Err(ReleaseRefused::Expired { .. }) => Err(Refusal::Never(FailCode::Expired)),
            Err(_) => Err(Refusal::Never(FailCode::NotTrusted)),
        }
    }
}

impl Decode for Decoder {
    fn decode(
        &mut self,
        codec: u8,
        len: usize,
        encoded: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Undecodable> {
        let record = Record { codec, len, encoded };
        Self::decode(self, &record, out).map_err(|_| Undecodable)
    }
}
