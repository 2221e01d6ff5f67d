//! A server that answers people at a receiver as it likes.

use fleetcast::agent::{AgentEvent, Ask, Outcome, Reply};
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::Duration;
use fleetcast_core::wire::control::{Down, Up};
use fleetcast_core::wire::people::{AccountAnswer, Answer, Available, Relation};
use fleetcast_tests::admin::Admin;
use fleetcast_tests::random::Random;

use crate::captor::Captor;

fn captive() -> Captor {
    let mut admin = Admin::new(Random::new(31));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GroupId([1; 16]));
    captor
}

/// The group number `n` of a list.
fn page(captor: &mut Captor, n: u32, more: bool) {
    let mut group = [0; 16];
    group[..4].copy_from_slice(&n.to_be_bytes());
    let listed =
        Available { group: GroupId(group), name: "g", open: false, relation: Relation::None };
    captor.say(&Down::Groups { more, groups: [listed].into_iter().collect() });
}

fn replies(captor: &Captor) -> Vec<(u64, &Reply)> {
    let replies = captor.events.iter().filter_map(|event| match event {
        AgentEvent::Reply { number, reply } => Some((*number, reply)),
        _ => None,
    });
    replies.collect()
}

#[test]
fn a_list_that_goes_in_circles_or_has_no_end_is_not_followed() {
    let mut captor = captive();
    captor.victim.ask(captor.now, 1, Ask::Groups);
    captor.exchange();
    page(&mut captor, 2, true);
    page(&mut captor, 1, true);
    let [(1, Reply::Groups(groups))] = replies(&captor)[..] else { panic!("a list") };
    assert_eq!(groups.len(), 2);
    captor.events.clear();
    // Nobody has asked for these.
    page(&mut captor, 3, true);
    assert_eq!(captor.times_said(|up| matches!(up, Up::Groups { .. })), 2);
    captor.victim.ask(captor.now, 2, Ask::Groups);
    captor.exchange();
    for n in 0..20_000 {
        page(&mut captor, n, true);
        if !replies(&captor).is_empty() {
            break;
        }
    }
    let [(2, Reply::Groups(groups))] = replies(&captor)[..] else { panic!("a list") };
    assert_eq!(groups.len(), 10_000);
}

#[test]
fn who_is_told_that_it_is_a_member_is_none_without_a_certificate() {
    let mut captor = captive();
    captor.victim.ask(captor.now, 7, Ask::Join("other".into()));
    captor.exchange();
    assert_eq!(captor.times_said(|up| matches!(up, Up::Join { group: "other" })), 1);
    // PROTOCOL G3
    captor.say(&Down::Answer { group: "other", answer: Answer::Member });
    assert_eq!(replies(&captor), [(7, &Reply::Outcome(Outcome::Member))]);
    assert_eq!(captor.victim.state().memberships.len(), 1);
}

#[test]
fn passwords_are_changed_one_after_the_other_so_that_answers_are_not_mixed_up() {
    let mut captor = captive();
    let ask = |user: &str| {
        let (user, password, new) = (user.to_owned(), "old one".into(), "new one".into());
        Ask::Password { user, password, new }
    };
    captor.victim.ask(captor.now, 1, ask("ann"));
    captor.victim.ask(captor.now, 2, ask("bob"));
    captor.exchange();
    assert_eq!(replies(&captor), [(2, &Reply::Busy)]);
    assert_eq!(captor.times_said(|up| matches!(up, Up::Password { user: "bob", .. })), 0);
    captor.say(&Down::Account { answer: AccountAnswer::Changed });
    // Nobody has asked for this one.
    captor.say(&Down::Account { answer: AccountAnswer::Refused });
    let changed = Reply::Account(AccountAnswer::Changed);
    assert_eq!(replies(&captor), [(2, &Reply::Busy), (1, &changed)]);
    captor.events.clear();
    captor.victim.ask(captor.now, 3, ask("bob"));
    captor.exchange();
    assert_eq!(captor.times_said(|up| matches!(up, Up::Password { user: "bob", .. })), 1);
    assert!(!captor.events.iter().any(|event| matches!(event, AgentEvent::Refused { .. })));
}

#[test]
fn a_server_that_answers_nothing_keeps_people_waiting_in_bounded_number() {
    let mut captor = captive();
    for number in 0..100 {
        captor.victim.ask(captor.now, number, Ask::Join(format!("g{number}")));
    }
    captor.exchange();
    let busy = replies(&captor).iter().filter(|(_, reply)| **reply == Reply::Busy).count();
    assert_eq!(busy, 100 - 64);
    captor.events.clear();
    captor.wait(Duration::from_secs(31));
    captor.victim.ask(captor.now, 200, Ask::Groups);
    captor.exchange();
    page(&mut captor, 1, false);
    let answered: Vec<u64> = replies(&captor).iter().map(|(number, _)| *number).collect();
    assert_eq!((answered.len(), answered.last()), (65, Some(&200)), "{answered:?}");
}

#[test]
fn an_answer_that_comes_late_is_told_to_who_asked() {
    let mut captor = captive();
    let ask = |user: &str| {
        let (user, password, new) = (user.to_owned(), "old one".into(), "new one".into());
        Ask::Password { user, password, new }
    };
    captor.victim.ask(captor.now, 1, ask("ann"));
    captor.victim.ask(captor.now, 2, Ask::Join("other".into()));
    captor.wait(Duration::from_secs(31));
    captor.victim.ask(captor.now, 3, ask("bob"));
    captor.exchange();
    // The group's question behind it is given up, and bob's is not even put.
    assert_eq!(replies(&captor), [(2, &Reply::Busy), (3, &Reply::Busy)]);
    captor.events.clear();
    captor.say(&Down::Account { answer: AccountAnswer::Changed });
    assert_eq!(replies(&captor), [(1, &Reply::Account(AccountAnswer::Changed))]);
    assert_eq!(captor.times_said(|up| matches!(up, Up::Password { user: "bob", .. })), 0);
}
