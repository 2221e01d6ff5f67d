//! Releases refused, by the names of the attacks.

use std::vec::Vec as List;

use proptest::prelude::*;

use super::super::fixtures::{FLEET, GROUP, body, member, revoke, signed, trusted};
use super::*;

/// One entry table chunk of 50 bytes, one file of 10 bytes in one chunk.
fn tree(top: &[u8; 36]) -> TreeTop<'_> {
    TreeTop {
        levels: [1].into_iter().collect(),
        entries: 1,
        files: 1,
        content_bytes: 10,
        content_chunks: 1,
        index_bytes: 50,
        entry_bytes: 50,
        top,
    }
}

fn top() -> [u8; 36] {
    let mut top = [7; 36];
    top[32..].copy_from_slice(&[50, 0, 0, 0]);
    top
}

const ORDER: ReleaseOrder = ReleaseOrder { reset_epoch: 4, sequence: 10 };

fn with_root<T>(change: impl FnOnce(&mut ReleaseRoot<'_>), then: impl FnOnce(&[u8]) -> T) -> T {
    let top = top();
    let mut root = ReleaseRoot {
        format: 1,
        fleet: FLEET,
        authority: 1,
        group: GROUP,
        group_name: "displays",
        order: ORDER,
        created: 900,
        expires: 3_000,
        label: "spring",
        standard: tree(&top),
        constrained: None,
    };
    change(&mut root);
    then(&body(&root))
}

fn release(change: impl FnOnce(&mut ReleaseRoot<'_>), signers: &[u8]) -> List<u8> {
    with_root(change, |body| signed(Context::Release, body, signers))
}

fn digest(document: &[u8]) -> Digest {
    SignedDocument::parse(document, MAX_ROOT).unwrap().digest(Context::Release)
}

const FRESH: Circumstances =
    Circumstances { highest: None, now: Some(2_000), installed_before: false };

fn verify<'a>(
    document: &'a [u8],
    circumstances: &Circumstances,
) -> Result<VerifiedRelease<'a>, ReleaseRefused> {
    let authority = trusted(|_| {});
    VerifiedRelease::verify(document, &authority, &member(&authority), circumstances)
}

fn refused(document: &[u8]) -> Option<ReleaseRefused> {
    verify(document, &FRESH).err()
}

#[test]
fn a_release_with_all_it_needs_is_accepted_and_tells_what_it_is() {
    // PROTOCOL T3
    let document = release(|_| {}, &[1, 2]);
    let verified = verify(&document, &FRESH).unwrap();
    let name = ReleaseName { group: GROUP, order: ORDER, digest: digest(&document) };
    assert_eq!(verified.name(), name);
    assert_eq!(verified.directory().map(Component::as_str), Ok("displays"));
    assert_eq!(verified.standard().1.total(), 1);
    assert_eq!(verified.succession(), Succession::Newer);
    assert!(verified.constrained().is_none());
    // Extra signatures do no harm, and do not change what it is.
    let more = release(|_| {}, &[3, 1, 2, 9]);
    assert_eq!(verify(&more, &FRESH).unwrap().name(), name);
}

#[test]
fn an_empty_tree_is_a_release_too() {
    let document = release(|root| root.standard = TreeTop::EMPTY, &[1, 2]);
    assert_eq!(verify(&document, &FRESH).unwrap().standard().1.total(), 0);
}

#[test]
fn arbitrary_installation_and_key_compromise_below_threshold_fail() {
    // PROTOCOL T1, PROTOCOL T3 (attacks by their names in TUF).
    for (signers, valid) in [(&[][..], 0), (&[1], 1), (&[1, 9], 1), (&[8, 9], 0)] {
        let untrusted = Untrusted { valid, threshold: 2 };
        let document = release(|_| {}, signers);
        assert_eq!(refused(&document), Some(ReleaseRefused::Untrusted(untrusted)));
    }
    let authority = trusted(|document| revoke(document, 2));
    let document = release(|_| {}, &[1, 2]);
    let held = VerifiedRelease::verify(&document, &authority, &member(&authority), &FRESH);
    let untrusted = Untrusted { valid: 1, threshold: 2 };
    assert_eq!(held, Err(ReleaseRefused::Untrusted(untrusted)));
    let voucher = with_root(|_| {}, |body| signed(Context::Voucher, body, &[1, 2]));
    assert!(matches!(refused(&voucher), Some(ReleaseRefused::Untrusted(_))));
}

#[test]
fn rollback_fails_and_a_retry_does_not() {
    // PROTOCOL T3
    let document = release(|_| {}, &[1, 2]);
    let after = |order, digest| {
        let highest = Some((order, digest));
        verify(&document, &Circumstances { highest, ..FRESH }).map(|release| release.succession())
    };
    let order = |reset_epoch, sequence| ReleaseOrder { reset_epoch, sequence };
    let other = Digest([0; 32]);
    assert_eq!(after(order(4, 9), other), Ok(Succession::Newer));
    assert_eq!(after(order(3, 99), other), Ok(Succession::Newer));
    assert_eq!(after(ORDER, digest(&document)), Ok(Succession::Same));
    let fork = OutOfOrder::Fork { accepted: other };
    assert_eq!(after(ORDER, other), Err(ReleaseRefused::Order(fork)));
    let highest = order(4, 11);
    let older = OutOfOrder::Older { highest };
    assert_eq!(after(highest, digest(&document)), Err(ReleaseRefused::Order(older)));
}

#[test]
fn fast_forward_by_an_unknown_reset_epoch_fails() {
    let order = ReleaseOrder { reset_epoch: 5, sequence: 0 };
    let document = release(|root| root.order = order, &[1, 2]);
    let unknown = ReleaseRefused::ResetEpoch { most: 4, found: 5 };
    assert_eq!(refused(&document), Some(unknown));
}

#[test]
fn indefinite_freeze_ends_at_expiry_but_what_is_installed_stays() {
    // PROTOCOL T6
    let document = release(|_| {}, &[1, 2]);
    let at = |now, installed_before| {
        verify(&document, &Circumstances { now, installed_before, highest: None }).err()
    };
    let expired = Some(ReleaseRefused::Expired { expires: 3_000 });
    assert_eq!(at(Some(3_000), false), None);
    assert_eq!(at(Some(3_001), false), expired);
    assert_eq!(at(Some(3_001), true), None);
    assert_eq!(at(None, false), None, "no trusted clock: weaker, and shown as such");
    let endless = release(|root| root.expires = 0, &[1, 2]);
    assert!(verify(&endless, &Circumstances { now: Some(4_999), ..FRESH }).is_ok());
}

#[test]
fn mix_and_match_of_groups_fleets_and_authorities_fails() {
    // PROTOCOL T3: a membership in its group.
    let found = GroupId([9; 16]);
    let document = release(|root| root.group = found, &[1, 2]);
    assert_eq!(refused(&document), Some(ReleaseRefused::Group { expected: GROUP, found }));
    let found = FleetId([9; 16]);
    let document = release(|root| root.fleet = found, &[1, 2]);
    assert_eq!(refused(&document), Some(ReleaseRefused::Fleet { expected: FLEET, found }));
    let document = release(|root| root.authority = 2, &[1, 2]);
    let behind = ReleaseRefused::AuthorityBehind { needed: 2, held: 1 };
    assert_eq!(refused(&document), Some(behind));
}

#[test]
fn a_membership_must_count_now_and_under_this_authority() {
    // PROTOCOL T3: an own valid membership.
    let document = release(|root| root.expires = 0, &[1, 2]);
    let late = verify(&document, &Circumstances { now: Some(5_001), ..FRESH });
    assert_eq!(late, Err(ReleaseRefused::MembershipExpired { not_after: 5_000 }));
    let (now, before) = (trusted(|document| revoke(document, 3)), trusted(|_| {}));
    let stale = VerifiedRelease::verify(&document, &now, &member(&before), &FRESH);
    assert_eq!(stale, Err(ReleaseRefused::MembershipUnchecked));
}

#[test]
fn roots_that_contradict_themselves_are_refused_though_signed() {
    let bad = |change: &dyn Fn(&mut ReleaseRoot<'_>)| match refused(&release(change, &[1, 2])) {
        Some(ReleaseRefused::Root(fault)) => Some(fault),
        _ => None,
    };
    assert_eq!(bad(&|root| root.format = 2), Some(BadRoot::Format(2)));
    let dots = BadRoot::GroupName(UnsafeName::Dots);
    assert_eq!(bad(&|root| root.group_name = ".."), Some(dots));
    assert_eq!(bad(&|root| root.group_name = ""), Some(BadRoot::GroupName(UnsafeName::Empty)));
    let tree = BadRoot::Tree(BadTop::IndexBytes { expected: 50 });
    assert_eq!(bad(&|root| root.standard.index_bytes = 51), Some(tree));
    let differ = |root: &mut ReleaseRoot<'_>| root.constrained = Some(TreeTop::EMPTY);
    assert_eq!(bad(&differ), Some(BadRoot::TreesDiffer));
    let twin = |root: &mut ReleaseRoot<'_>| root.constrained = Some(root.standard.clone());
    assert!(verify(&release(twin, &[1, 2]), &FRESH).unwrap().constrained().is_some());
}

#[test]
fn names_of_64_bytes_fit_and_longer_ones_do_not() {
    const FITS: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let too_long = Some(ReleaseRefused::Root(BadRoot::NameTooLong { found: 65 }));
    assert_eq!(refused(&release(|root| root.group_name = FITS, &[1, 2])), None);
    assert_eq!(refused(&release(|root| root.group_name = LONG, &[1, 2])), too_long);
    assert_eq!(refused(&release(|root| root.label = FITS, &[1, 2])), None);
    assert_eq!(refused(&release(|root| root.label = LONG, &[1, 2])), too_long);
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused() {
    let document = release(|_| {}, &[1, 2]);
    let authority = trusted(|_| {});
    let member = member(&authority);
    let accepted =
        |bytes: &[u8]| VerifiedRelease::verify(bytes, &authority, &member, &FRESH).is_ok();
    assert!(accepted(&document));
    for at in 0..document.len() {
        assert!(!accepted(&document[..at]));
        let mut flipped = document.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(!accepted(&flipped), "byte {at}");
    }
    assert!(!accepted(&[&document[..], &[0]].concat()));
}

#[test]
fn a_root_is_postcard_as_told() {
    let bytes = with_root(|_| {}, <[u8]>::to_vec);
    // By hand: 900 and 3,000 as varints; strings and lists carry their length.
    let parts: [&[u8]; 9] = [
        &[1],
        &[0xf1; 16],
        &[1],
        &[0x61; 16],
        b"\x08displays",
        &[4, 10, 0x84, 0x07, 0xb8, 0x17],
        b"\x06spring",
        &[1, 1, 1, 1, 10, 1, 50, 50, 36],
        &top(),
    ];
    assert_eq!(bytes, [&parts.concat()[..], &[0]].concat());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        sequence in any::<u64>(),
        created in any::<u64>(),
        expires in any::<u64>(),
        name in "[a-z]{1,60}",
        label in "\\PC{0,16}",
    ) {
        let top = top();
        let root = ReleaseRoot {
            format: 1,
            fleet: FLEET,
            authority: 1,
            group: GROUP,
            group_name: &std::format!("g-{name}"),
            order: ReleaseOrder { reset_epoch: 1, sequence },
            created,
            expires,
            label: &label,
            standard: tree(&top),
            constrained: Some(tree(&top)),
        };
        let mut out = [0; MAX_ROOT];
        let len = root.encode(&mut out).unwrap();
        prop_assert_eq!(ReleaseRoot::decode(&out[..len]), Ok(root));
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify(&bytes, &FRESH).is_err());
        prop_assert!(ReleaseRoot::decode(&bytes).is_err());
    }
}
