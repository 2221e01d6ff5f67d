//! What a receiver makes of a server that took a release back, was set back itself, or
//! certifies it no more; and of one that holds back more than it can keep in mind.

use fleetcast::agent::AgentEvent;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::time::Duration;
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::{Down, ReleaseName, Up, decode};
use fleetcast_tests::admin::Admin;

use crate::captor::Captor;
use crate::freshness::{freshness, named};
use crate::releases::{GROUP, captor, root};

/// What a server says that has nothing to be had in a group.
fn nothing() -> ReleaseName {
    named(GROUP, 0, 0)
}

/// The name and the signed root of a release of [`GROUP`].
fn signed(admin: &Admin, sequence: u64) -> (ReleaseName, Vec<u8>) {
    admin.sign_root(&root(admin, sequence))
}

fn states(captor: &mut Captor, admin: &Admin, newest: &[ReleaseName]) -> Vec<String> {
    let nonce = captor.nonce();
    captor.say_bytes(&freshness(admin, nonce, 1, newest));
    captor.told()
}

// PROTOCOL F2
#[test]
fn a_release_that_was_taken_back_is_no_step_back_and_a_server_that_was_set_back_is() {
    let (mut captor, admin) = captor(40);
    let (four, five) = (signed(&admin, 4).0, signed(&admin, 5).0);
    captor.offer_good(&admin, 1, 5);
    assert_eq!(captor.installed(), [5]);
    captor.told();
    assert_eq!(states(&mut captor, &admin, &[five]), [""; 0]);
    // Taken back: the statement knows it, and names what is to be had.
    assert_eq!(states(&mut captor, &admin, &[five, four]), [""; 0]);
    assert_eq!(states(&mut captor, &admin, &[five, nothing()]), [""; 0]);
    assert_eq!(captor.victim.health().items(), []);
    // A server that never heard of it names the one before alone.
    assert_eq!(states(&mut captor, &admin, &[four]), ["freshness-backwards"]);
    // The mark stays: another release of that number is none that it knows.
    assert_eq!(states(&mut captor, &admin, &[five, four]), [""; 0]);
    let other = named(GROUP, 5, 99);
    assert_eq!(states(&mut captor, &admin, &[other, four]), ["freshness-backwards"]);
    assert_eq!(states(&mut captor, &admin, &[five]), [""; 0]);
}

// PROTOCOL F2
#[test]
fn who_never_had_it_is_behind_only_of_what_is_to_be_had() {
    let (mut captor, admin) = captor(41);
    let (three, four, five) = (signed(&admin, 3).0, signed(&admin, 4).0, signed(&admin, 5).0);
    assert_eq!(states(&mut captor, &admin, &[five]), ["0 of 5"]);
    assert_eq!(states(&mut captor, &admin, &[five, four]), ["0 of 4"]);
    assert_eq!(states(&mut captor, &admin, &[five, nothing()]), [""; 0]);
    captor.offer_good(&admin, 1, 4);
    captor.told();
    assert_eq!(states(&mut captor, &admin, &[five, four]), [""; 0]);
    // What was named stays the mark, also of who never had it.
    assert_eq!(states(&mut captor, &admin, &[three]), ["freshness-backwards"]);
    let six = signed(&admin, 6).0;
    assert_eq!(states(&mut captor, &admin, &[six]), ["4 of 6"]);
}

// PROTOCOL F3
#[test]
fn a_server_that_does_not_know_what_is_installed_is_shown_its_signed_root() {
    let (mut captor, admin) = captor(42);
    let (five, document) = signed(&admin, 5);
    captor.offer_good(&admin, 1, 5);
    let shown = |captor: &Captor| -> Vec<u8> {
        let pieces = captor.heard.iter().filter_map(|body| match decode(body) {
            Ok(Up::Evidence { release, offset, total, bytes }) => {
                assert_eq!((release, usize::from(total)), (five, document.len()));
                Some((offset, bytes.to_vec()))
            }
            _ => None,
        });
        let mut root = Vec::new();
        for (offset, bytes) in pieces {
            assert_eq!(usize::from(offset), root.len());
            root.extend(bytes);
        }
        root
    };
    captor.told();
    assert_eq!(states(&mut captor, &admin, &[five]), [""; 0]);
    assert!(shown(&captor).is_empty(), "it knows it");
    assert_eq!(states(&mut captor, &admin, &[signed(&admin, 4).0]), ["freshness-backwards"]);
    assert_eq!(shown(&captor), document);
}

#[test]
fn a_server_that_reads_nothing_is_shown_the_same_root_and_receipt_once() {
    let (mut captor, admin) = captor(43);
    let (five, four) = (signed(&admin, 5).0, signed(&admin, 4).0);
    captor.offer_good(&admin, 1, 5);
    captor.wait(Duration::from_secs(1));
    let nonce = captor.nonce();
    captor.heard.clear();
    captor.deaf = true;
    for _ in 0..300 {
        captor.say_bytes(&freshness(&admin, nonce, 1, &[four]));
        captor.say(&Down::Activate { release: five });
        captor.wait(Duration::from_millis(50));
    }
    captor.deaf = false;
    captor.wait(Duration::from_secs(20));
    let said = captor.times_said(|up| matches!(up, Up::Evidence { .. } | Up::Installed { .. }));
    // Four were under way before the window was full; behind them wait one of each.
    assert!((2..=6).contains(&said), "{said}");
}

#[test]
fn a_server_that_reads_nothing_and_invents_releases_is_asked_for_a_thousand() {
    let (mut captor, _) = captor(44);
    captor.deaf = true;
    for number in 0..1_500_u32 {
        let mut release = named(GROUP, 7, 7);
        release.digest.0[..4].copy_from_slice(&number.to_le_bytes());
        captor.say(&Down::Activate { release });
        captor.wait(Duration::from_millis(50));
        captor.say(&Down::Cancelled { release });
        captor.wait(Duration::from_millis(50));
    }
    captor.deaf = false;
    captor.wait(Duration::from_secs(20));
    let wants = captor.times_said(|up| matches!(up, Up::Want { .. }));
    assert!((1_000..=1_030).contains(&wants), "{wants}");
}

/// Groups that the victim says to have left.
fn left(captor: &mut Captor) -> Vec<String> {
    let events = std::mem::take(&mut captor.events);
    let left = events.into_iter().filter_map(|event| match event {
        AgentEvent::TakenOut { group } => Some(group),
        _ => None,
    });
    left.collect()
}

// PROTOCOL G6
#[test]
fn a_membership_that_is_not_shown_again_is_over_unless_the_server_was_set_back() {
    let (mut captor, mut admin) = captor(43);
    let other = GroupId([2; 16]);
    captor.make_member(&mut admin, other);
    captor.offer_good(&admin, 1, 5);
    let five = signed(&admin, 5).0;
    assert_eq!(states(&mut captor, &admin, &[five, named(other, 3, 3)]), ["0 of 3"]);
    captor.reconnect();
    // Only the one group is certified on the new channel. A server that was set back has
    // forgotten the other one perhaps: nothing is given up for its sake.
    captor.make_member(&mut admin, GROUP);
    let told = states(&mut captor, &admin, &[signed(&admin, 4).0]);
    assert!(told.contains(&"freshness-backwards".to_owned()), "{told:?}");
    assert_eq!(captor.victim.state().memberships.len(), 2);
    let nonce = captor.nonce();
    captor.say_bytes(&freshness(&admin, nonce, 1, &[five]));
    assert_eq!(left(&mut captor), [other.to_string()]);
    assert_eq!(captor.victim.state().memberships.len(), 1);
    assert_eq!(captor.victim.behind(), [], "what it is no member of it does not lack");
    assert_eq!(captor.victim.health().items(), []);
    captor.say(&Down::Removed { group: GROUP });
    captor.say(&Down::Removed { group: GROUP });
    assert_eq!(left(&mut captor), ["kiosks"], "told once");
}

// PROTOCOL S24
#[test]
fn a_header_that_the_session_does_not_bring_counts_when_the_channel_does() {
    let (mut captor, admin) = captor(45);
    let (name, document) = signed(&admin, 1);
    captor.offer_told(&admin, 1, name, &document);
    assert_eq!(captor.installed(), [1]);
}

// PROTOCOL M5
#[test]
fn what_is_held_back_in_many_groups_waits_in_all_of_them() {
    let (mut captor, mut admin) = captor(44);
    let of = |n: u8| {
        let order = ReleaseOrder { reset_epoch: 0, sequence: 1 };
        (GroupId([n; 16]), format!("g{n}"), order)
    };
    let release = |admin: &Admin, n: u8| {
        let (group, name, order) = of(n);
        admin.sign_root(&ReleaseRoot { group, group_name: &name, order, ..root(admin, 1) })
    };
    const MANY: u8 = 70;
    for n in 10..10 + MANY {
        captor.make_member(&mut admin, GroupId([n; 16]));
        captor.say(&Down::Hold { release: release(&admin, n).0 });
    }
    let last = 9 + MANY;
    let (name, document) = release(&admin, last);
    captor.offer(&admin, 1, name, &document);
    assert_eq!(captor.installed(), [0_u64; 0], "it was not activated");
    let staged = |event: &AgentEvent| matches!(event, AgentEvent::Staged { .. });
    assert_eq!(captor.events.iter().filter(|event| staged(event)).count(), 1);
    // And as many are activated.
    for n in 10..10 + MANY {
        captor.say(&Down::Activate { release: release(&admin, n).0 });
    }
    captor.wait(Duration::from_secs(2));
    assert_eq!(captor.installed(), [1]);
    // Who is in no group has nothing to keep in mind.
    captor.say(&Down::Hold { release: named(GroupId([200; 16]), 1, 1) });
}
