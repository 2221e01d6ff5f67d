//! The authority chain: pins, successors, forks, thresholds.

use std::vec::Vec as List;

use super::super::fixtures::{FLEET, authority, body, public, revoke, signed, trusted};
use super::*;

fn next(change: impl FnOnce(&mut AuthorityDocument), signers: &[u8]) -> List<u8> {
    let mut document = authority(2);
    change(&mut document);
    signed(Context::Authority, &body(&document), signers)
}

fn advance(document: &[u8]) -> Result<TrustedAuthority, AuthorityRefused> {
    trusted(|_| {}).advance(document)
}

const fn untrusted(valid: u8, threshold: u8) -> Untrusted {
    Untrusted { valid, threshold }
}

#[test]
fn the_first_document_is_the_pinned_one_and_no_other() {
    // PROTOCOL T2
    let bytes = signed(Context::Authority, &body(&authority(3)), &[1, 2]);
    let pinned = Context::Authority.digest(&body(&authority(3)));
    let first = TrustedAuthority::pin(&bytes, pinned).unwrap();
    assert_eq!((first.document().version, first.digest()), (3, pinned));
    // The digest is told in the protocol: context, zero, body.
    let told = Digest::of_parts(&[b"fleetcast authority v1", &[0], &body(&authority(3))]);
    assert_eq!(pinned, told);
    let other = Digest([0; 32]);
    let refused = AuthorityRefused::Pin { expected: other, found: pinned };
    assert_eq!(TrustedAuthority::pin(&bytes, other), Err(refused));
}

#[test]
fn each_version_introduces_the_next_even_with_all_keys_changed() {
    // PROTOCOL T2: t of the old (2 of 1, 2, 3) and t of the new (1 of 4, 5).
    let change = |document: &mut AuthorityDocument| {
        document.admins = [4, 5].into_iter().map(public).collect();
        document.threshold = 1;
    };
    assert!(advance(&next(change, &[1, 3, 5])).is_ok());
    let by_old = AuthorityRefused::UntrustedByPredecessor(untrusted(1, 2));
    assert_eq!(advance(&next(change, &[1, 4, 5])), Err(by_old));
    let by_new = AuthorityRefused::UntrustedByItself(untrusted(0, 1));
    assert_eq!(advance(&next(change, &[1, 2, 3])), Err(by_new));
}

#[test]
fn a_skipped_version_a_fork_and_an_old_version_are_refused() {
    // PROTOCOL T2
    let at = |version| next(|document| document.version = version, &[1, 2, 3]);
    assert!(advance(&at(2)).is_ok());
    for found in [1, 3, u32::MAX] {
        assert_eq!(advance(&at(found)), Err(AuthorityRefused::Version { expected: 2, found }));
    }
    assert_eq!(advance(&at(0)), Err(AuthorityRefused::VersionZero));
    // Nothing follows the last number, not even itself.
    let last = trusted(|document| document.version = u32::MAX);
    assert!(matches!(last.advance(&at(u32::MAX)), Err(AuthorityRefused::Version { .. })));
}

#[test]
fn the_reset_epoch_never_falls_and_the_fleet_never_changes() {
    let fallen = next(|document| document.reset_epoch = 3, &[1, 2, 3]);
    let refused = AuthorityRefused::ResetEpochFell { least: 4, found: 3 };
    assert_eq!(advance(&fallen), Err(refused));
    assert!(advance(&next(|document| document.reset_epoch = 5, &[1, 2])).is_ok());
    let found = FleetId([9; 16]);
    let refused = AuthorityRefused::Fleet { expected: FLEET, found };
    assert_eq!(advance(&next(|document| document.fleet = found, &[1, 2])), Err(refused));
}

#[test]
fn revoked_and_unlisted_admins_do_not_count() {
    // PROTOCOL T1
    let authority = trusted(|document| revoke(document, 3));
    assert_eq!(authority.admins().count(), 2);
    let by = |signers: &[u8]| {
        let bytes = signed(Context::Release, b"root", signers);
        authority.verify(Context::Release, &SignedDocument::parse(&bytes, 10).unwrap())
    };
    assert_eq!(by(&[1, 2]), Ok(()));
    assert_eq!(by(&[1, 3]), Err(untrusted(1, 2)));
    assert_eq!(by(&[1, 9]), Err(untrusted(1, 2)));
    assert_eq!(by(&[]), Err(untrusted(0, 2)));
}

#[test]
fn documents_that_contradict_themselves_are_refused_by_writer_and_reader() {
    let refused = |change: fn(&mut AuthorityDocument)| {
        let mut document = authority(2);
        change(&mut document);
        let fault = document.encode(&mut [0; 2048]).unwrap_err();
        assert_eq!(AuthorityDocument::decode(&body(&document)), Err(fault));
        fault
    };
    let threshold = |found, admins| AuthorityRefused::Threshold { found, admins };
    assert_eq!(refused(|document| document.threshold = 0), threshold(0, 3));
    assert_eq!(refused(|document| document.threshold = 4), threshold(4, 3));
    let repeated = AuthorityRefused::RepeatedKey(Fingerprint::of(&public(1).0));
    assert_eq!(refused(|document| document.admins[2] = document.admins[0]), repeated);
    let twice = |document: &mut AuthorityDocument| {
        let controller = document.controllers[0];
        document.controllers.push(controller).unwrap();
    };
    assert!(matches!(refused(twice), AuthorityRefused::RepeatedKey(_)));
    let role = |document: &mut AuthorityDocument| {
        let prefix = String::try_from("a/../b").unwrap();
        let groups = Vec::new();
        let role = Role { key: public(7), groups, prefix, cap: 1, executables: false };
        document.roles.push(role).unwrap();
    };
    assert_eq!(refused(role), AuthorityRefused::Prefix(UnsafeName::Dots));
}

#[test]
fn what_is_written_is_read_again_within_its_bound() {
    let mut document = authority(7);
    document.admins = (1..=8).map(public).collect();
    document.revoked = (0..16).map(|seed| Fingerprint([seed; 8])).collect();
    let mut out = [0; MAX_AUTHORITY];
    let len = document.encode(&mut out).unwrap();
    assert_eq!(AuthorityDocument::decode(&out[..len]), Ok(document.clone()));
    let role = Role {
        key: public(7),
        groups: [GroupId([1; 16]); 4].into_iter().collect(),
        prefix: String::try_from("x".repeat(64).as_str()).unwrap(),
        cap: 1,
        executables: true,
    };
    document.roles = (0..4).map(|_| role.clone()).collect();
    let too_large = AuthorityRefused::Malformed(Malformed::Bound);
    assert_eq!(document.encode(&mut [0; 4096]), Err(too_large));
}

#[test]
fn every_truncation_and_every_flipped_byte_of_a_successor_is_refused() {
    // Exactly as many signatures as needed, so that each of them matters.
    let bytes = next(|_| {}, &[1, 2]);
    let trusted = trusted(|_| {});
    assert!(trusted.advance(&bytes).is_ok());
    for at in 0..bytes.len() {
        assert!(trusted.advance(&bytes[..at]).is_err());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(trusted.advance(&flipped).is_err(), "byte {at}");
    }
}
