//! What receivers say that they hold and lack, again and again.

use fleetcast::model::DeliveryState;

use super::standing::{claims, member, own_key, send, wait};
use super::*;

/// What `own_key` holds of a group by the server's word, and the states of its deliveries.
fn known(fleet: &mut Fleet, group: GroupId) -> (Option<ReleaseName>, Vec<DeliveryState>) {
    let registry = fleet.node().registry();
    let held = registry.held(ReceiverId::of(&own_key()), group).map(|held| held.release);
    (held, registry.deliveries().map(|delivery| delivery.state).collect())
}

// PROTOCOL M1
#[test]
fn what_a_whole_inventory_does_not_tell_is_owed_again_and_that_has_its_measure() {
    let mut fleet = Fleet::new(29);
    let (mut liar, _, group) = member(&mut fleet);
    let nothing = |more| Up::Holds { releases: Default::default(), more };
    let (name, _) = send(&mut fleet, group, 1, true);
    liar.say(&mut fleet, &claims(name));
    let installed = (Some(name), vec![DeliveryState::Installed]);
    assert_eq!(known(&mut fleet, group), installed);
    liar.say(&mut fleet, &nothing(false));
    assert_eq!(known(&mut fleet, group), installed, "an inventory comes once a channel");
    let again = |fleet: &mut Fleet| {
        let mut liar = Liar::with_secret(fleet, 0, SECRET);
        liar.hello(fleet, "w");
        liar
    };
    let mut liar = again(&mut fleet);
    liar.say(&mut fleet, &nothing(true));
    assert_eq!(known(&mut fleet, group), installed, "that was not all of it");
    liar.say(&mut fleet, &nothing(false));
    let (held, states) = known(&mut fleet, group);
    assert_eq!((held, states.len(), states[0]), (None, 2, DeliveryState::Installed));
    assert!(!states[1].is_final(), "{:?}", states[1]);
    // Who changes its mind without end gets no further than twenty at once.
    for _ in 0..60 {
        again(&mut fleet).say(&mut fleet, &claims(name));
        again(&mut fleet).say(&mut fleet, &nothing(false));
    }
    let seconds = fleet.now.since(Instant::ZERO).as_micros() / 1_000_000;
    let deliveries = known(&mut fleet, group).1.len() as u64;
    assert!((10..=22 + seconds / 6).contains(&deliveries), "{deliveries} in {seconds} s");
}

#[test]
fn who_asks_for_its_rest_again_and_again_takes_one_place_of_catch_up() {
    let mut fleet = Fleet::new(41);
    let (mut liar, _, group) = member(&mut fleet);
    liar.say(&mut fleet, &Up::Holds { releases: [].into_iter().collect(), more: false });
    let (release, _) = send(&mut fleet, group, 1, false);
    wait(&mut fleet, &mut liar, 500);
    let root = WantRun { object: Object::Root, first: 0, count: 1 };
    let mut rounds = 0;
    for _ in 0..6 {
        let runs = [root].into_iter().collect();
        liar.say(&mut fleet, &Up::Want { release, page: 0, more: false, runs });
        let mut alone = false;
        for _ in 0..16 {
            wait(&mut fleet, &mut liar, 50);
            let now = fleet.now;
            let running = fleet.node().status(now).sessions;
            assert!(running.len() <= 1, "{}", running.len());
            alone |= running.iter().any(|session| session.path == "unicast");
        }
        rounds += u32::from(alone);
    }
    assert_eq!(rounds, 6, "it is given what it asks for");
}
