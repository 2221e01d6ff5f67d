//! Memberships and vouchers: whose, by whom, until when.

use std::vec::Vec as List;

use super::super::fixtures::{
    CONTROLLER, DEVICE, FLEET, GROUP, body, membership, public, revoke, signed, trusted,
};
use super::*;
use crate::trust::document::Fingerprint;

fn voucher() -> Voucher {
    let groups = [GroupId([1; 16]), GROUP].into_iter().collect();
    Voucher { fleet: FLEET, token: TokenId([5; 16]), groups, uses: 3, not_after: 2_000 }
}

fn verify(certificate: &[u8], voucher: &[u8]) -> Result<VerifiedMembership, MembershipRefused> {
    VerifiedMembership::verify(&trusted(|_| {}), &DEVICE, certificate, voucher)
}

fn certificate(change: impl FnOnce(&mut Membership), signers: &[u8]) -> List<u8> {
    let mut certified = membership();
    change(&mut certified);
    signed(Context::Membership, &body(&certified), signers)
}

/// A membership that the controller made from a voucher, both changed.
fn by_voucher(
    change: impl FnOnce(&mut Membership),
    allow: impl FnOnce(&mut Voucher),
) -> Result<VerifiedMembership, MembershipRefused> {
    let mut allowed = voucher();
    allow(&mut allowed);
    let voucher = signed(Context::Voucher, &body(&allowed), &[2, 3]);
    let named = Context::Voucher.digest(&body(&allowed));
    let certificate = certificate(
        |certified| {
            certified.voucher = Some(named);
            change(certified);
        },
        &[CONTROLLER],
    );
    verify(&certificate, &voucher)
}

#[test]
fn an_admin_makes_members_whatever_the_threshold_and_the_controller_alone_does_not() {
    // PROTOCOL T7: the fixture's threshold is 2.
    for signers in [&[1][..], &[3], &[1, 3], &[9, 2]] {
        let verified = verify(&certificate(|_| {}, signers), &[]).unwrap();
        assert_eq!(*verified.membership(), membership());
    }
    for signers in [&[][..], &[CONTROLLER], &[9], &[9, CONTROLLER]] {
        let refused = verify(&certificate(|_| {}, signers), &[]);
        let untrusted = Untrusted { valid: 0, threshold: 1 };
        assert_eq!(refused, Err(MembershipRefused::Untrusted(untrusted)), "{signers:?}");
    }
}

#[test]
fn what_only_a_removed_admin_has_signed_counts_no_more_under_the_next_document() {
    // PROTOCOL T7: admin 3 is listed no more, or revoked; admin 1 stays.
    let listed = trusted(|document| document.admins.truncate(2));
    let revoked = trusted(|document| revoke(document, 3));
    let voucher_of = |signers: &[u8]| signed(Context::Voucher, &body(&voucher()), signers);
    let named = Some(Context::Voucher.digest(&body(&voucher())));
    let by_controller = certificate(|m| m.voucher = named, &[CONTROLLER]);
    for next in [&listed, &revoked] {
        let check = |certificate: &[u8], voucher: &[u8]| {
            VerifiedMembership::verify(next, &DEVICE, certificate, voucher).map(drop)
        };
        let untrusted = Untrusted { valid: 0, threshold: 1 };
        let own = Err(MembershipRefused::Untrusted(untrusted));
        assert_eq!(check(&certificate(|_| {}, &[3]), &[]), own);
        assert_eq!(check(&certificate(|_| {}, &[3, 1]), &[]), Ok(()), "signed anew by another");
        let vouched = Err(MembershipRefused::UntrustedVoucher(untrusted));
        assert_eq!(check(&by_controller, &voucher_of(&[3])), vouched);
        assert_eq!(check(&by_controller, &voucher_of(&[1])), Ok(()));
    }
}

#[test]
fn a_voucher_lets_the_controller_make_members_of_its_groups_until_it_expires() {
    // PROTOCOL T5
    assert!(by_voucher(|_| {}, |_| {}).is_ok());
    assert!(by_voucher(|certified| certified.issued = 2_000, |_| {}).is_ok());
    let late = by_voucher(|certified| certified.issued = 2_001, |_| {});
    let expired = MembershipRefused::VoucherExpired { not_after: 2_000, issued: 2_001 };
    assert_eq!(late, Err(expired));
    let other = GroupId([2; 16]);
    let refused = by_voucher(|certified| certified.group = other, |_| {});
    assert_eq!(refused, Err(MembershipRefused::Group(other)));
    let no_never = by_voucher(|_| {}, |allowed| allowed.not_after = 0);
    assert!(matches!(no_never, Err(MembershipRefused::VoucherExpired { .. })));
}

#[test]
fn a_membership_counts_only_with_the_voucher_that_it_names() {
    let named = Context::Voucher.digest(&body(&voucher()));
    let certificate_of = |named| certificate(|m| m.voucher = named, &[CONTROLLER]);
    let right = signed(Context::Voucher, &body(&voucher()), &[1, 2]);
    assert!(verify(&certificate_of(Some(named)), &right).is_ok());
    let other = Some(Digest([0; 32]));
    let refused = MembershipRefused::Voucher { expected: other };
    assert_eq!(verify(&certificate_of(other), &right), Err(refused));
    let refused = MembershipRefused::Voucher { expected: None };
    assert_eq!(verify(&certificate_of(None), &right), Err(refused));
    let missing = verify(&certificate_of(Some(named)), &[]);
    assert!(matches!(missing, Err(MembershipRefused::MalformedVoucher(_))));
    // PROTOCOL T7: one admin is enough, the controller's own word is not.
    let one = signed(Context::Voucher, &body(&voucher()), &[1]);
    assert!(verify(&certificate_of(Some(named)), &one).is_ok());
    let weak = signed(Context::Voucher, &body(&voucher()), &[CONTROLLER]);
    let refused = verify(&certificate_of(Some(named)), &weak);
    let untrusted = Untrusted { valid: 0, threshold: 1 };
    assert_eq!(refused, Err(MembershipRefused::UntrustedVoucher(untrusted)));
}

#[test]
fn others_fleets_and_devices_are_refused() {
    let found = FleetId([9; 16]);
    let fleet = Err(MembershipRefused::Fleet { expected: FLEET, found });
    assert_eq!(verify(&certificate(|m| m.fleet = found, &[1, 2]), &[]), fleet);
    assert_eq!(by_voucher(|_| {}, |allowed| allowed.fleet = found), fleet);
    let found = StaticKey([9; 32]);
    let refused = verify(&certificate(|m| m.device = found, &[1, 2]), &[]);
    assert_eq!(refused, Err(MembershipRefused::Device { expected: DEVICE, found }));
}

#[test]
fn revoked_devices_and_controllers_are_out() {
    // PROTOCOL T1
    let device = trusted(|document| {
        document.revoked.push(Fingerprint::of(&DEVICE.0)).unwrap();
    });
    let certified = certificate(|_| {}, &[1, 2]);
    let refused = VerifiedMembership::verify(&device, &DEVICE, &certified, &[]);
    assert_eq!(refused, Err(MembershipRefused::Revoked));
    let controller = trusted(|document| revoke(document, CONTROLLER));
    let voucher_bytes = signed(Context::Voucher, &body(&voucher()), &[1, 2]);
    let named = Context::Voucher.digest(&body(&voucher()));
    let certified = certificate(|m| m.voucher = Some(named), &[CONTROLLER]);
    let refused = VerifiedMembership::verify(&controller, &DEVICE, &certified, &voucher_bytes);
    assert!(matches!(refused, Err(MembershipRefused::Untrusted(_))));
    assert_ne!(public(CONTROLLER), public(1), "the fixture's keys differ");
}

#[test]
fn memberships_end_by_a_trusted_clock_only() {
    let verified = verify(&certificate(|_| {}, &[1, 2]), &[]).unwrap();
    let at = |now| verified.counts_at(now);
    assert!(at(Some(5_000)) && !at(Some(5_001)) && at(None));
    let endless = verify(&certificate(|m| m.not_after = 0, &[1, 2]), &[]).unwrap();
    assert!(endless.counts_at(Some(u64::MAX)));
}

#[test]
fn the_largest_bodies_are_as_large_as_their_bounds_say() {
    let groups = [GROUP; MAX_VOUCHER_GROUPS].into_iter().collect();
    let largest = Voucher { groups, uses: u32::MAX, not_after: u64::MAX, ..voucher() };
    assert_eq!(body(&largest).len(), MAX_VOUCHER);
    let voucher = Some(Digest([1; 32]));
    let (serial, issued, not_after) = (u64::MAX, u64::MAX, u64::MAX);
    let largest = Membership { serial, issued, not_after, voucher, ..membership() };
    assert_eq!(body(&largest).len(), MAX_MEMBERSHIP);
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused() {
    // One signature each, so that each byte of it matters.
    let voucher_bytes = signed(Context::Voucher, &body(&voucher()), &[1]);
    let named = Context::Voucher.digest(&body(&voucher()));
    let certified = certificate(|m| m.voucher = Some(named), &[CONTROLLER]);
    let authority = trusted(|_| {});
    let accepted = |certificate: &[u8], voucher: &[u8]| {
        VerifiedMembership::verify(&authority, &DEVICE, certificate, voucher).is_ok()
    };
    assert!(accepted(&certified, &voucher_bytes));
    for at in 0..certified.len() {
        let mut flipped = certified.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(!accepted(&flipped, &voucher_bytes), "byte {at}");
        assert!(!accepted(&certified[..at], &voucher_bytes));
    }
    for at in 0..voucher_bytes.len() {
        let mut flipped = voucher_bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(!accepted(&certified, &flipped), "byte {at} of the voucher");
        assert!(!accepted(&certified, &voucher_bytes[..at]));
    }
}
