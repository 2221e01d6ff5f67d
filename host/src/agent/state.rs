//! What a receiver must remember: one small file, replaced as a whole.

use std::net::SocketAddr;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder, StaticKey};
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::wire::control::ReleaseName;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk, DiskError, read_small, write_small};

const NAME: &[u8] = b"receiver.json";
/// Largest state that is read.
const MAX_STATE: usize = 1024 * 1024;

/// What the enrolment code told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Where the server is.
    pub server: SocketAddr,
    /// The controller's public X25519 key.
    pub server_key: StaticKey,
    /// Digest of the authority document to trust first.
    pub authority: Digest,
    /// The token, until it has been used.
    pub token: Option<[u8; 16]>,
}

/// A certificate, and the voucher that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its group.
    pub group: GroupId,
    /// The signed certificate.
    pub certificate: Vec<u8>,
    /// The signed voucher, or empty.
    pub voucher: Vec<u8>,
}

/// The highest order accepted for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The group.
    pub group: GroupId,
    /// The order.
    pub order: ReleaseOrder,
    /// The digest that had it.
    pub digest: Digest,
    /// When it was installed, in seconds since 1970; 0 without a clock.
    #[serde(default)]
    pub at: u64,
}

/// Everything that survives a restart of the receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Grows by one with every start, before anything is sent (PROTOCOL H6).
    pub boot: u64,
    /// Whom to connect to.
    pub enrolment: Option<Enrolment>,
    /// Who the server says that we are.
    pub identity: Option<(ReceiverId, String)>,
    /// The newest trusted authority document, and its digest.
    pub authority: Option<(Digest, Vec<u8>)>,
    /// Memberships.
    pub memberships: Vec<Certificate>,
    /// Highest orders.
    pub accepted: Vec<Accepted>,
    /// The newest release of each group that the server has named (PROTOCOL F1).
    #[serde(default)]
    pub seen: Vec<ReleaseName>,
    /// What is to be had of groups whose newest release was taken back (PROTOCOL F2);
    /// sequence 0: nothing.
    #[serde(default)]
    pub instead: Vec<ReleaseName>,
}

impl State {
    /// Reads the state, or begins with an empty one.
    ///
    /// # Errors
    /// When the storage fails, or holds a state that cannot be read.
    pub fn load<D: Disk>(disk: &D) -> disk::Result<Self> {
        match read_small(disk, &disk.root()?, NAME, MAX_STATE) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| DiskError::Io(0)),
            Err(DiskError::NotFound) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Makes the state durable.
    ///
    /// # Errors
    /// When the storage fails; the state before, or this one, is there then.
    pub fn save<D: Disk>(&self, disk: &D) -> disk::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|_| DiskError::Io(0))?;
        write_small(disk, &disk.root()?, NAME, &bytes)
    }

    /// The trusted authority, checked again against its pin.
    #[must_use]
    pub fn trusted(&self) -> Option<TrustedAuthority> {
        let (digest, document) = self.authority.as_ref()?;
        TrustedAuthority::pin(document, *digest).ok()
    }

    /// The membership in a group, checked again.
    #[must_use]
    pub fn membership(
        &self,
        authority: &TrustedAuthority,
        device: &StaticKey,
        group: GroupId,
    ) -> Option<VerifiedMembership> {
        let found = self.memberships.iter().find(|membership| membership.group == group)?;
        let (certificate, voucher) = (&found.certificate, &found.voucher);
        VerifiedMembership::verify(authority, device, certificate, voucher).ok()
    }

    /// The highest order accepted for a group.
    #[must_use]
    pub fn highest(&self, group: GroupId) -> Option<(ReleaseOrder, Digest)> {
        let found = self.accepted.iter().find(|accepted| accepted.group == group)?;
        Some((found.order, found.digest))
    }

    /// When a release was installed, as it told in its receipt; 0 when that is not known.
    #[must_use]
    pub fn installed_at(&self, release: &ReleaseName) -> u64 {
        let mut accepted = self.accepted.iter();
        let found = accepted.find(|a| a.group == release.group && a.digest == release.digest);
        found.map_or(0, |accepted| accepted.at)
    }

    /// Notes a release as the newest that the server has named, if it is; whether it was.
    pub fn see(&mut self, release: &ReleaseName) -> bool {
        match self.seen.iter_mut().find(|seen| seen.group == release.group) {
            Some(seen) if seen.order >= release.order => return false,
            Some(seen) => *seen = *release,
            None => self.seen.push(*release),
        }
        true
    }

    /// Notes what is to be had of a group instead of its newest release, which was taken
    /// back; or that it was not. Whether that is news.
    pub fn see_instead(&mut self, group: GroupId, instead: Option<ReleaseName>) -> bool {
        let known = self.instead.iter().find(|known| known.group == group).copied();
        if known == instead {
            return false;
        }
        self.instead.retain(|known| known.group != group);
        self.instead.extend(instead);
        true
    }

    /// The order that a receiver of a group should have, as far as the server has told.
    #[must_use]
    pub fn to_be_had(&self, seen: &ReleaseName) -> ReleaseOrder {
        let instead = self.instead.iter().find(|instead| instead.group == seen.group);
        instead.map_or(seen.order, |instead| instead.order)
    }

    /// Notes a release as the highest accepted of its group, installed `at`; never a lower
    /// one than before.
    pub fn accept(&mut self, release: &ReleaseName, at: u64) {
        let ReleaseName { group, order, digest } = *release;
        let accepted = Accepted { group, order, digest, at };
        match self.accepted.iter_mut().find(|known| known.group == release.group) {
            Some(known) if known.order > order => {}
            Some(known) => *known = accepted,
            None => self.accepted.push(accepted),
        }
    }
}
