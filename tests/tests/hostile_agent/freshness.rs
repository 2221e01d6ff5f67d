//! What a server says is newest: shown, kept, never going back unnoticed.

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::trust::statement::Freshness;
use fleetcast_core::wire::control::{Down, ReleaseName, encode};
use fleetcast_tests::admin::Admin;
use fleetcast_tests::random::Random;

use crate::captor::Captor;

/// The server's word on what is newest, to the victim's Hello unless `nonce` is another.
pub(crate) fn freshness(
    admin: &Admin,
    nonce: [u8; 16],
    version: u32,
    newest: &[ReleaseName],
) -> Vec<u8> {
    let fleet = admin.authority.1.document().fleet;
    let newest = newest.iter().copied().collect();
    let statement = Freshness { fleet, nonce, authority: version, newest };
    let key = SigningKey::from_seed(&admin.signing_seed);
    let signature = key.sign(Context::Freshness, &[&statement.body().expect("it fits")]);
    let (authority, newest) = (version, statement.newest);
    let message = Down::Freshness { nonce, authority, newest, signature: &signature };
    encode(&message, &mut [0; 1_159]).expect("it fits").to_vec()
}

pub(crate) fn named(group: GroupId, sequence: u64, content: u8) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: 0, sequence };
    ReleaseName { group, order, digest: Digest([content; 32]) }
}

#[test]
fn what_is_newest_is_shown_kept_and_never_goes_back_unnoticed() {
    let mut admin = Admin::new(Random::new(13));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    let (nonce, said) = (captor.nonce(), captor.heard.len());
    let mut say = |version: u32, newest: &[ReleaseName]| {
        captor.say_bytes(&freshness(&admin, nonce, version, newest));
        (captor.told(), captor.victim.state().seen.clone())
    };
    // PROTOCOL F1
    let five = named(group, 5, 5);
    assert_eq!(say(1, &[five]), (vec!["0 of 5".to_owned()], vec![five]));
    // Older, and another one of the same number: what was seen stays.
    for (statement, again) in [(named(group, 4, 4), 1), (named(group, 5, 6), 0)] {
        let mut expected = vec!["freshness-backwards".to_owned(); again];
        expected.push("0 of 5".to_owned());
        assert_eq!(say(1, &[statement]), (expected, vec![five]));
    }
    // As new as it was: all is well again, and the next step back is news again.
    assert_eq!(say(1, &[five]).0, ["0 of 5"]);
    assert_eq!(say(1, &[named(group, 1, 1)]).0, ["freshness-backwards", "0 of 5"]);
    assert_eq!(say(1, &[]).0, ["freshness-withheld", "0 of 5"]);
    let nine = named(group, 9, 9);
    assert_eq!(say(1, &[nine]), (vec!["0 of 9".to_owned()], vec![nine]));
    // A newer authority document that was not shown, and an older one than ours.
    assert_eq!(say(2, &[nine]).0, ["authority-withheld", "0 of 9"]);
    assert_eq!(say(0, &[nine]).0, ["freshness-backwards", "0 of 9"]);
    // Of a group that it is no member of it remembers nothing.
    assert_eq!(say(1, &[nine, named(GroupId([7; 16]), 1, 1)]).1, [nine]);
    assert_eq!(captor.heard.len(), said, "it asks for nothing because of a statement");
    let behind = captor.victim.behind();
    assert_eq!(
        behind.iter().map(|b| (b.installed, b.newest)).collect::<Vec<_>>(),
        [(None, nine.order)]
    );
}

#[test]
fn a_statement_to_another_nonce_or_without_the_controllers_signature_counts_for_nothing() {
    let mut admin = Admin::new(Random::new(14));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    let nonce = captor.nonce();
    let nine = named(group, 9, 9);
    let mut stranger = Admin::new(Random::new(15));
    stranger.authority = admin.authority.clone();
    let mut cut = freshness(&admin, nonce, 1, &[nine]);
    let last = cut.len() - 1;
    cut[last] ^= 1;
    let forged = [
        // PROTOCOL F1: recorded when another Hello was answered.
        freshness(&admin, [9; 16], 1, &[nine]),
        freshness(&stranger, nonce, 1, &[nine]),
        cut,
    ];
    for (at, body) in forged.iter().enumerate() {
        captor.say_bytes(body);
        let expected: &[&str] = if at == 0 { &["freshness-unproved"] } else { &[] };
        assert_eq!(captor.told(), expected, "{at}");
        assert_eq!(captor.victim.state().seen, []);
    }
    assert_eq!(captor.victim.health().items().len(), 1);
    captor.say_bytes(&freshness(&admin, nonce, 1, &[nine]));
    assert_eq!(captor.told(), ["0 of 9"]);
    assert_eq!(captor.victim.health().items(), []);
}
