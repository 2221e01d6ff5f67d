//! Short statements that are signed but travel without a document around them:
//! a device's receipts, and the controller's word on what is newest.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::authority::TrustedAuthority;
use crate::crypto::aead::Forged;
use crate::crypto::sign::{self, Context, SIGNATURE};
use crate::digest::Digest;
use crate::ids::{FleetId, ReleaseOrder, StaticKey, VerifyingKey};
use crate::wire::Malformed;
use crate::wire::control::{self, MAX_HELD, ReleaseName};

/// Largest encoding of a [`ReleaseName`]: group, epoch, sequence, digest.
const MAX_RELEASE_NAME: usize = 16 + 5 + 10 + 32;
/// Largest body of a receipt in bytes.
pub const MAX_RECEIPT: usize = 32 + MAX_RELEASE_NAME + 10;
/// Largest body of a freshness statement in bytes.
pub const MAX_FRESHNESS: usize = 16 + 16 + 5 + 1 + MAX_HELD * MAX_RELEASE_NAME;

/// "I have installed this release, durably", said by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The device.
    pub device: StaticKey,
    /// The release.
    pub release: ReleaseName,
    /// When, in seconds since 1970 by the device's clock; 0 without one.
    pub at: u64,
}

impl Receipt {
    /// The body that the device signs for [`Context::Receipt`].
    ///
    /// # Errors
    /// [`Malformed::Bound`], never: every receipt fits.
    pub fn body(&self) -> Result<Vec<u8, MAX_RECEIPT>, Malformed> {
        body(self)
    }

    /// Checks the device's signature.
    ///
    /// # Errors
    /// [`Forged`] when `signing` did not sign this receipt.
    pub fn verify(
        &self,
        signing: &VerifyingKey,
        signature: &[u8; SIGNATURE],
    ) -> Result<(), Forged> {
        let body = self.body().map_err(|_| Forged)?;
        sign::verify(signing, Context::Receipt, &[&body], signature)
    }
}

/// "Nothing newer than this exists", said by the controller to one nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The fleet.
    pub fleet: FleetId,
    /// From the receiver's Hello: an old statement does not count again.
    pub nonce: [u8; 16],
    /// Newest authority version.
    pub authority: u32,
    /// Newest release of each of the receiver's groups.
    pub newest: Vec<ReleaseName, MAX_HELD>,
}

impl Freshness {
    /// The body that the controller signs for [`Context::Freshness`].
    ///
    /// # Errors
    /// [`Malformed::Bound`], never: every statement fits.
    pub fn body(&self) -> Result<Vec<u8, MAX_FRESHNESS>, Malformed> {
        body(self)
    }

    /// Checks that a controller that counts has signed this statement.
    ///
    /// The caller has put its own nonce in.
    ///
    /// # Errors
    /// [`Forged`] when none has, or when it is about another fleet.
    pub fn verify(
        &self,
        authority: &TrustedAuthority,
        signature: &[u8; SIGNATURE],
    ) -> Result<(), Forged> {
        if self.fleet != authority.document().fleet {
            return Err(Forged);
        }
        let body = self.body().map_err(|_| Forged)?;
        let signed =
            |key: &VerifyingKey| sign::verify(key, Context::Freshness, &[&body], signature).is_ok();
        // PROTOCOL T1: only controllers that are listed and not revoked.
        let mut keys = authority.controllers().map(|controller| controller.signing);
        if keys.any(|key| signed(&key)) { Ok(()) } else { Err(Forged) }
    }
}

fn body<M: Serialize, const N: usize>(statement: &M) -> Result<Vec<u8, N>, Malformed> {
    let mut body = Vec::new();
    body.resize_default(N).map_err(|_| Malformed::Bound)?;
    let len = control::encode(statement, &mut body)?.len();
    body.truncate(len);
    Ok(body)
}

/// What a freshness statement says of one group, given all that was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As new as what is known, or newer.
    Fine,
    /// Older, or another one with the same order.
    Backwards,
    /// Not named any more.
    Withheld,
}

impl Verdict {
    /// Judges what is `named` of a group of ours, of which `known` is the newest that was
    /// accepted or named before; a statement that is not `whole` may have left some out.
    // PROTOCOL F1
    #[must_use]
    pub fn of(
        known: Option<(ReleaseOrder, Digest)>,
        named: Option<&ReleaseName>,
        whole: bool,
    ) -> Self {
        let Some(known) = known else { return Self::Fine };
        match named {
            None if whole => Self::Withheld,
            None => Self::Fine,
            Some(named) if named.order < known.0 => Self::Backwards,
            Some(named) if named.order == known.0 && named.digest != known.1 => Self::Backwards,
            Some(_) => Self::Fine,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixtures::{self, key, public};
    use super::*;
    use crate::ids::GroupId;

    fn release(sequence: u64) -> ReleaseName {
        let order = ReleaseOrder { reset_epoch: u32::MAX, sequence };
        ReleaseName { group: GroupId([2; 16]), order, digest: Digest([3; 32]) }
    }

    #[test]
    fn a_receipt_is_postcard_and_signed_by_its_device_alone() {
        let receipt = Receipt { device: StaticKey([1; 32]), release: release(300), at: 5 };
        let body = receipt.body().unwrap();
        // By hand: 2^32 − 1 is ff ff ff ff 0f as a varint, 300 is ac 02.
        let parts: [&[u8]; 6] =
            [&[1; 32], &[2; 16], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xac, 2], &[3; 32], &[5]];
        assert_eq!(body.as_slice(), parts.concat());
        let signature = key(1).sign(Context::Receipt, &[&body]);
        assert_eq!(receipt.verify(&public(1), &signature), Ok(()));
        assert_eq!(receipt.verify(&public(2), &signature), Err(Forged));
        let later = Receipt { at: 6, ..receipt };
        assert_eq!(later.verify(&public(1), &signature), Err(Forged));
        let wrong = key(1).sign(Context::Freshness, &[&body]);
        assert_eq!(receipt.verify(&public(1), &wrong), Err(Forged));
    }

    #[test]
    fn the_largest_statements_fit() {
        let longest = release(u64::MAX);
        let receipt = Receipt { device: StaticKey([1; 32]), release: longest, at: u64::MAX };
        assert_eq!(receipt.body().map(|body| body.len()), Ok(MAX_RECEIPT));
        let newest = [longest; MAX_HELD].into_iter().collect();
        let fleet = FleetId([1; 16]);
        let freshness = Freshness { fleet, nonce: [2; 16], authority: u32::MAX, newest };
        assert_eq!(freshness.body().map(|body| body.len()), Ok(MAX_FRESHNESS));
    }

    #[test]
    fn freshness_needs_a_controller_that_is_not_revoked() {
        // Names of TUF's attacks: indefinite freeze. An answer to another nonce
        // does not count, nor one of a revoked controller (PROTOCOL T1).
        let authority = fixtures::trusted(|_| {});
        let fleet = authority.document().fleet;
        let newest = [release(1)].into_iter().collect();
        let statement = Freshness { fleet, nonce: [9; 16], authority: 1, newest };
        let body = statement.body().unwrap();
        let signature = key(fixtures::CONTROLLER).sign(Context::Freshness, &[&body]);
        assert_eq!(statement.verify(&authority, &signature), Ok(()));
        let replayed = Freshness { nonce: [8; 16], ..statement.clone() };
        assert_eq!(replayed.verify(&authority, &signature), Err(Forged));
        let elsewhere = Freshness { fleet: FleetId([7; 16]), ..statement.clone() };
        let own = key(fixtures::CONTROLLER).sign(Context::Freshness, &[&elsewhere.body().unwrap()]);
        assert_eq!(elsewhere.verify(&authority, &own), Err(Forged));
        let revoked = fixtures::trusted(|document| {
            fixtures::revoke(document, fixtures::CONTROLLER);
        });
        assert_eq!(statement.verify(&revoked, &signature), Err(Forged));
    }
}
