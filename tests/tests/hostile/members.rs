//! Members that are in a group no more, by an admin's word or since nobody stands behind
//! their memberships, and members that change their mind without end.

use std::collections::BTreeMap;

use fleetcast::model::{DeliveryState, Terms};
use fleetcast::server::releases::SendOptions;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::ids::StaticKey;
use fleetcast_core::trust::document::add_signature;
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::control::HOLDS_BACK;
use fleetcast_tests::disk::Node;
use fleetcast_tests::node::unix;

use super::*;

/// The receiver with this number.
fn device(number: u8) -> StaticKey {
    *StaticPair::from_secret(&[number + 5; 32]).public()
}

/// Its identity, by which admins name it.
fn identity(number: u8) -> String {
    ReceiverId::of(&device(number)).to_string()
}

/// Its signing key.
fn own_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 5; 32])
}

/// A receiver that is in the group `g` by this certificate, and has nothing.
fn enrolled(fleet: &mut Fleet, number: u8, certificate: Vec<u8>) -> Liar {
    let mut liar = Liar::connected(fleet, number.into());
    let hello = Up::Hello {
        name: &format!("r{number}"),
        version: "1",
        signing: own_key(number).verifying_key(),
        codecs: 3 | HOLDS_BACK,
        free: u64::MAX,
        authority: 0,
        nonce: [1; 16],
    };
    liar.say(fleet, &hello);
    let (now, id) = (fleet.now, identity(number));
    fleet.node().approve_receiver(now, "admin", &id).expect("it waits");
    fleet.node().add_member(now, "admin", "g", &id, certificate).expect("signed");
    liar.say(fleet, &Up::Holds { releases: [].into_iter().collect(), more: false });
    liar
}

/// The same, in by the first admin's word.
fn member(fleet: &mut Fleet, number: u8, group: GroupId) -> Liar {
    let certificate = fleet.admin.certificate(device(number), group, 1);
    enrolled(fleet, number, certificate)
}

/// Sends the group `g` a small release that all of these have signed as well.
fn send(fleet: &mut Fleet, group: GroupId, more: &[&SigningKey], terms: Terms) -> ReleaseName {
    let order = fleet.node().next_order("g").expect("a group");
    let content = Node::File(false, 1, vec![order.sequence as u8; 3_000]);
    let tree = BTreeMap::from([("f".to_owned(), content)]);
    let store = std::sync::Arc::clone(&fleet.server.chunks);
    let signed = fleet.admin.release(group, "g", order, &tree, &store);
    let (name, mut document) = (signed.name, signed.document.clone());
    for key in more {
        let len = document.len();
        document.resize(len + 72, 0);
        add_signature(&mut document, len, Context::Release, key).expect("room for it");
    }
    let (now, options) = (fleet.now, SendOptions { terms, queue: false });
    fleet.node().submit_release(now, "admin", document, options).expect("signed, and here");
    name
}

/// Lets time pass, at the server and at these receivers.
fn pass(fleet: &mut Fleet, liars: &mut [&mut Liar], millis: u64) {
    for _ in 0..millis / 10 {
        fleet.now += Duration::from_millis(10);
        for (to, mut datagram) in fleet.drain() {
            for liar in liars.iter_mut().filter(|liar| liar.address == to) {
                liar.endpoint.handle_datagram(fleet.now, server_address(), &mut datagram);
                liar.listen(&datagram);
            }
        }
        liars.iter_mut().for_each(|liar| liar.exchange(fleet));
    }
}

/// The newest session that a receiver was invited to, and says to hear.
fn join(fleet: &mut Fleet, liar: &mut Liar) -> Option<SessionId> {
    let invited = liar.heard.iter().rev().find_map(|body| match decode::<Down<'_>>(body) {
        Ok(Down::Invitation(invitation)) => Some((invitation.session, invitation.epoch)),
        _ => None,
    });
    let (session, epoch) = invited?;
    liar.say(fleet, &Up::Joined { session, epoch, heard: true });
    Some(session)
}

/// Which of these things a receiver was told of a session since it was asked last.
fn told(liar: &mut Liar, session: SessionId) -> (bool, bool) {
    let (mut keys, mut ends) = (false, false);
    for body in std::mem::take(&mut liar.heard) {
        match decode::<Down<'_>>(&body) {
            Ok(Down::Epoch { session: of, .. }) => keys |= of == session,
            Ok(Down::Ended { session: of }) => ends |= of == session,
            Ok(Down::Removed { .. }) => panic!("nobody has removed it"),
            _ => {}
        }
    }
    (keys, ends)
}

fn propose(fleet: &mut Fleet, document: &[u8]) {
    let now = fleet.now;
    let proposed = fleet.node().propose_authority(now, "admin", document).expect("it follows");
    assert!(proposed.in_force);
}

fn state_of(fleet: &mut Fleet, number: u8, release: &ReleaseName) -> (DeliveryState, String) {
    let id = ReceiverId::of(&device(number));
    let delivery = fleet.node().registry().delivery_of(id, &release.digest).expect("owed");
    (delivery.state, delivery.code.clone())
}

// PROTOCOL M2, S25, T7
#[test]
fn who_is_in_by_an_admin_that_is_none_any_more_is_shut_out_until_somebody_signs_anew() {
    let mut fleet = Fleet::new(41);
    let bea = SigningKey::from_seed(&[0xBE; 32]);
    let key = bea.verifying_key();
    let both = fleet.admin.next_authority(|next| next.admins.push(key).unwrap(), &[&bea]);
    propose(&mut fleet, &both);
    let group = fleet.node().create_group("admin", "g", false).unwrap();
    let certificate = fleet.admin.certificate_by(&bea, device(0), group, 1);
    let mut honest = enrolled(&mut fleet, 0, certificate);
    let mut thief = member(&mut fleet, 1, group);
    let first = send(&mut fleet, group, &[&bea], Terms::default());
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_000);
    let session = join(&mut fleet, &mut honest).expect("an invitation");
    assert_eq!(join(&mut fleet, &mut thief), Some(session), "together");
    pass(&mut fleet, &mut [&mut honest, &mut thief], 500);
    (honest.heard, thief.heard) = (Vec::new(), Vec::new());
    // The first admin goes, distrusted; bea stands behind one of the two, and the release.
    let alone = |next: &mut fleetcast_core::trust::authority::AuthorityDocument| {
        next.version = 3;
        next.admins = [key].into_iter().collect();
    };
    let alone = fleet.admin.next_authority(alone, &[&bea]);
    propose(&mut fleet, &alone);
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_500);
    assert_eq!(told(&mut honest, session), (true, false), "another key");
    thief.say(&mut fleet, &Up::KeyRequest { session });
    pass(&mut fleet, &mut [&mut thief], 500);
    assert_eq!(told(&mut thief, session), (false, true));
    let distrusted = (DeliveryState::Failed, "not-trusted".to_owned());
    assert_eq!(state_of(&mut fleet, 1, &first), distrusted);
    assert!(!state_of(&mut fleet, 0, &first).0.is_final());
    // Nor does it get anything newer.
    let second = send(&mut fleet, group, &[&bea], Terms::default());
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_500);
    assert!(join(&mut fleet, &mut honest).is_some_and(|newer| newer != session));
    assert_eq!(join(&mut fleet, &mut thief), None);
    assert_eq!(state_of(&mut fleet, 1, &second), distrusted);
    // It was an honest one: its membership is signed anew, and it is owed what there is.
    let renewed = fleet.admin.certificate_by(&bea, device(1), group, 2);
    let now = fleet.now;
    fleet.node().renew_membership(now, renewed).expect("signed by an admin");
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_500);
    assert!(join(&mut fleet, &mut thief).is_some());
}

// PROTOCOL S25
#[test]
fn a_removal_changes_the_key_also_of_a_session_that_the_removed_one_has_left() {
    let mut fleet = Fleet::new(42);
    let group = fleet.node().create_group("admin", "g", false).unwrap();
    let mut honest = member(&mut fleet, 0, group);
    let mut thief = member(&mut fleet, 1, group);
    send(&mut fleet, group, &[], Terms::default());
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_000);
    let session = join(&mut fleet, &mut honest).expect("an invitation");
    assert_eq!(join(&mut fleet, &mut thief), Some(session), "together");
    // It keeps the key, and says that it hears nothing.
    thief.say(&mut fleet, &Up::Joined { session, epoch: Epoch(1), heard: false });
    pass(&mut fleet, &mut [&mut honest, &mut thief], 500);
    assert_eq!(told(&mut honest, session), (false, false), "nobody was removed");
    let now = fleet.now;
    thief.heard.clear();
    fleet.node().remove_member(now, "admin", "g", &identity(1)).unwrap();
    pass(&mut fleet, &mut [&mut honest, &mut thief], 1_500);
    assert_eq!(told(&mut honest, session), (true, false), "another key");
    let keys = |body: &&Vec<u8>| matches!(decode(body), Ok(Down::Epoch { .. }));
    assert_eq!(thief.heard.iter().filter(keys).count(), 0);
}

#[test]
fn who_changes_its_mind_without_end_writes_no_more_than_people_may() {
    let mut fleet = Fleet::new(43);
    let group = fleet.node().create_group("admin", "g", false).unwrap();
    let mut liar = member(&mut fleet, 0, group);
    let release = send(&mut fleet, group, &[], Terms::default());
    pass(&mut fleet, &mut [&mut liar], 500);
    let (begin, rounds) = (fleet.now, 300);
    // What is to be written is counted, and not taken meanwhile.
    fleet.durable = false;
    let reason = "x".repeat(1_000);
    for round in 0..rounds {
        let code = if round % 2 == 0 { FailCode::NoSpace } else { FailCode::Storage };
        liar.say(&mut fleet, &Up::Failed { release, code, reason: &reason });
    }
    assert_eq!(state_of(&mut fleet, 0, &release).0, DeliveryState::Failed);
    let lines = fleet.node().registry().recent_log();
    assert!(lines.map(|line| line.result.chars().count()).max() < Some(250));
    let at = 1_800_000_000;
    let body = Receipt { device: device(0), release, at }.body().unwrap();
    let receipt = own_key(0).sign(Context::Receipt, &[&body]);
    let want = |release| Up::Want { release, page: 0, more: false, runs: Default::default() };
    for _ in 0..rounds {
        liar.say(&mut fleet, &Up::Installed { release, at, receipt: &receipt });
        liar.say(&mut fleet, &want(release));
    }
    assert_ne!(state_of(&mut fleet, 0, &release).0, DeliveryState::Failed);
    let terms = Terms { at: Some(unix(fleet.now) + 86_400), ..Terms::default() };
    let later = send(&mut fleet, group, &[], terms);
    for _ in 0..rounds {
        liar.say(&mut fleet, &Up::Staged { release: later });
        liar.say(&mut fleet, &want(later));
    }
    assert_eq!(state_of(&mut fleet, 0, &later).0, DeliveryState::Verifying, "staged");
    let (_, changes) = fleet.node().take_changes().expect("some");
    // Twenty changes at once, one more each six seconds; each of three records at most. And
    // what was said the first time, with the release that was sent meanwhile.
    let may = 20 + fleet.now.since(begin).as_micros() / 6_000_000 + 1;
    assert!((20..3 * may + 20).contains(&(changes.len() as u64)), "{} changes", changes.len());
}

#[test]
fn who_is_no_member_any_more_wants_nothing_again() {
    let mut fleet = Fleet::new(44);
    let group = fleet.node().create_group("admin", "g", false).unwrap();
    let mut liar = member(&mut fleet, 0, group);
    let release = send(&mut fleet, group, &[], Terms::default());
    liar.say(&mut fleet, &Up::Holds { releases: [release].into_iter().collect(), more: false });
    assert_eq!(state_of(&mut fleet, 0, &release).0, DeliveryState::Installed);
    let want = Up::Want { release, page: 0, more: false, runs: Default::default() };
    // PROTOCOL M7: while it is a member, it gets again what it has lost.
    liar.say(&mut fleet, &want);
    assert!(!state_of(&mut fleet, 0, &release).0.is_final());
    liar.say(&mut fleet, &Up::Holds { releases: [release].into_iter().collect(), more: false });
    let now = fleet.now;
    fleet.node().remove_member(now, "admin", "g", &identity(0)).unwrap();
    liar.say(&mut fleet, &want);
    assert_eq!(state_of(&mut fleet, 0, &release).0, DeliveryState::Installed);
}
