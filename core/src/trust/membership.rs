//! Memberships: which device belongs to which group, and who says so.
//!
//! An admin signs a membership, or signs a voucher beforehand and the controller
//! makes memberships from it: what it can do with a voucher is bounded by what the
//! voucher says, and every membership names its own. One admin is enough for both,
//! whatever the threshold: they let a receiver in, and install nothing.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::authority::TrustedAuthority;
use super::document::{SignedDocument, Untrusted};
use crate::crypto::sign::Context;
use crate::digest::Digest;
use crate::ids::{FleetId, GroupId, StaticKey, TokenId};
use crate::limits::MAX_VOUCHER_GROUPS;
use crate::wire::{Malformed, control};

/// Largest body of a voucher in bytes: two identities, groups, three numbers.
pub const MAX_VOUCHER: usize = 16 + 16 + 1 + MAX_VOUCHER_GROUPS * 16 + 5 + 10;
/// Largest body of a membership in bytes: fleet, device, group, three numbers, digest.
pub const MAX_MEMBERSHIP: usize = 16 + 32 + 16 + 3 * 10 + 1 + 32;

/// What an admin allows the controller to do with one enrolment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// The fleet.
    pub fleet: FleetId,
    /// The token's public name.
    pub token: TokenId,
    /// The groups that its bearers may join.
    pub groups: Vec<GroupId, MAX_VOUCHER_GROUPS>,
    /// How many devices may use it.
    pub uses: u32,
    /// Last second at which a membership may be made, since 1970; there is no "never".
    pub not_after: u64,
}

/// That a device belongs to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The fleet.
    pub fleet: FleetId,
    /// The device.
    pub device: StaticKey,
    /// The group.
    pub group: GroupId,
    /// Of two memberships of one device in one group the greater counts.
    pub serial: u64,
    /// When it was made, in seconds since 1970.
    pub issued: u64,
    /// Last second at which it counts, since 1970; 0 for ever.
    pub not_after: u64,
    /// The digest of the voucher that it was made from.
    pub voucher: Option<Digest>,
}

/// Why a membership is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipRefused {
    /// The certificate's bytes.
    Malformed(Malformed),
    /// The voucher's bytes.
    MalformedVoucher(Malformed),
    /// It, or its voucher, is another fleet's.
    Fleet {
        /// The fleet that is trusted.
        expected: FleetId,
        /// The one named.
        found: FleetId,
    },
    /// It is another device's.
    Device {
        /// The device asked for.
        expected: StaticKey,
        /// The one named.
        found: StaticKey,
    },
    /// The device's key is revoked.
    Revoked,
    /// No admin has signed it, nor has a controller by a voucher.
    Untrusted(Untrusted),
    /// No admin has signed its voucher.
    UntrustedVoucher(Untrusted),
    /// The voucher that came with it is not the one that it names.
    Voucher {
        /// The digest that it names, if any.
        expected: Option<Digest>,
    },
    /// Its voucher does not name its group.
    Group(GroupId),
    /// It was made after its voucher had expired.
    VoucherExpired {
        /// The voucher's last second.
        not_after: u64,
        /// When the membership was made.
        issued: u64,
    },
}

/// A membership that an admin stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedMembership {
    membership: Membership,
    authority: Digest,
}

impl VerifiedMembership {
    /// Checks that `device` is a member, by a signed certificate and the signed
    /// voucher that it names (empty when it names none).
    ///
    /// The result counts under this version of the authority only: after the
    /// next one it is checked again, since keys may have been revoked.
    ///
    /// # Errors
    /// [`MembershipRefused`] says what is wrong with which of the two.
    pub fn verify(
        authority: &TrustedAuthority,
        device: &StaticKey,
        certificate: &[u8],
        voucher: &[u8],
    ) -> Result<Self, MembershipRefused> {
        let signed = SignedDocument::parse(certificate, MAX_MEMBERSHIP)
            .map_err(MembershipRefused::Malformed)?;
        let membership: Membership =
            control::decode_body(signed.body()).map_err(MembershipRefused::Malformed)?;
        check_fleet(authority, membership.fleet)?;
        if membership.device != *device {
            let (expected, found) = (*device, membership.device);
            return Err(MembershipRefused::Device { expected, found });
        }
        if authority.is_revoked(&device.0) {
            return Err(MembershipRefused::Revoked);
        }
        match membership.voucher {
            // PROTOCOL T7: an admin's word is enough.
            None if voucher.is_empty() => authority.verify_one(Context::Membership, &signed),
            None => return Err(MembershipRefused::Voucher { expected: None }),
            Some(named) => {
                check_voucher(authority, &membership, named, voucher)?;
                authority
                    .verify_controller(Context::Membership, &signed)
                    .or_else(|_| authority.verify_one(Context::Membership, &signed))
            }
        }
        .map_err(MembershipRefused::Untrusted)?;
        Ok(Self { membership, authority: authority.digest() })
    }

    /// What was certified.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Digest of the authority document under which it was checked.
    #[must_use]
    pub const fn authority(&self) -> Digest {
        self.authority
    }

    /// Whether it counts at `now`, in seconds since 1970.
    ///
    /// Without a trusted clock (`None`) nothing expires.
    #[must_use]
    pub fn counts_at(&self, now: Option<u64>) -> bool {
        let not_after = self.membership.not_after;
        not_after == 0 || now.is_none_or(|now| now <= not_after)
    }
}

fn check_voucher(
    authority: &TrustedAuthority,
    membership: &Membership,
    named: Digest,
    voucher: &[u8],
) -> Result<(), MembershipRefused> {
    let signed =
        SignedDocument::parse(voucher, MAX_VOUCHER).map_err(MembershipRefused::MalformedVoucher)?;
    if signed.digest(Context::Voucher) != named {
        return Err(MembershipRefused::Voucher { expected: Some(named) });
    }
    authority.verify_one(Context::Voucher, &signed).map_err(MembershipRefused::UntrustedVoucher)?;
    let voucher: Voucher =
        control::decode_body(signed.body()).map_err(MembershipRefused::MalformedVoucher)?;
    check_fleet(authority, voucher.fleet)?;
    // PROTOCOL T5: a group of that voucher, which had not expired at its making.
    if !voucher.groups.contains(&membership.group) {
        return Err(MembershipRefused::Group(membership.group));
    }
    let (not_after, issued) = (voucher.not_after, membership.issued);
    if issued > not_after {
        return Err(MembershipRefused::VoucherExpired { not_after, issued });
    }
    Ok(())
}

fn check_fleet(authority: &TrustedAuthority, found: FleetId) -> Result<(), MembershipRefused> {
    let expected = authority.document().fleet;
    if found == expected { Ok(()) } else { Err(MembershipRefused::Fleet { expected, found }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "membership_tests.rs"]
mod tests;
