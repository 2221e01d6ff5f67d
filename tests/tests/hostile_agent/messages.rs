//! What a stranger, or a server that holds the controller's keys, says to a receiver.

use fleetcast::agent::AgentEvent;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::ids::{BlockIndex, Epoch, GroupId, SessionId};
use fleetcast_core::time::Duration;
use fleetcast_core::wire::control::{Down, Invitation, Up, decode};
use fleetcast_tests::admin::Admin;
use fleetcast_tests::node::receiver_address;
use fleetcast_tests::random::Random;

use crate::captor::{Captor, SECRET, invitation};

#[test]
fn an_agent_says_hello_and_its_inventory_before_all_else() {
    let mut admin = Admin::new(Random::new(12));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GroupId([1; 16]));
    captor.say(&Down::Ping { nonce: 3 });
    // PROTOCOL M1
    let said: Vec<Up<'_>> = captor.heard.iter().map(|body| decode(body).unwrap()).collect();
    assert!(matches!(said[0], Up::Hello { name: "victim", .. }));
    let nothing = Default::default();
    let holds = Up::Holds { releases: nothing, more: false };
    assert_eq!(said[1..], [holds, Up::Trusts { version: 1 }, Up::Pong { nonce: 3 }]);
}

#[test]
fn an_agent_takes_nothing_of_another_fleet_and_no_group_that_it_is_no_member_of() {
    let mut admin = Admin::new(Random::new(6));
    let mut stranger = Admin::new(Random::new(7));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    // PROTOCOL T2: another fleet's authority is none.
    let document = stranger.authority.0.clone();
    let total = document.len() as u16;
    captor.say(&Down::Authority { version: 1, offset: 0, total, bytes: &document });
    assert!(captor.victim.state().authority.is_none());
    captor.say(&Down::Invitation(invitation(group, 1)));
    captor.take_in(&mut admin, group);
    assert!(captor.victim.state().authority.is_some());
    // Nor is a membership that another fleet's admin signed.
    let device = *StaticPair::from_secret(&SECRET).public();
    let certificate = stranger.certificate(device, GroupId([2; 16]), 2);
    captor.say(&Down::Membership { certificate: &certificate, voucher: &[] });
    captor.say(&Down::Invitation(invitation(GroupId([2; 16]), 2)));
    assert_eq!(captor.victim.state().memberships.len(), 1);
    assert_eq!(captor.listening(), 0);
    assert_eq!(captor.failed("not-trusted"), 2);
}

#[test]
fn sizes_that_no_session_can_have_start_none() {
    let mut admin = Admin::new(Random::new(8));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    for (symbol, sources) in [(0, 192), (1_435, 192), (60_000, 192), (1_434, 0), (1_434, 193)] {
        let hostile = Invitation { symbol, sources, ..invitation(group, 3) };
        captor.say(&Down::Invitation(hostile));
    }
    assert_eq!(captor.listening(), 0);
    // The largest numbers of everything else do no harm either.
    let hostile = Invitation {
        slot: 255,
        receivers: u32::MAX,
        backoff_us: u32::MAX,
        report_ms: u32::MAX,
        first_block: BlockIndex(u32::MAX),
        payload: u64::MAX,
        ..invitation(group, 4)
    };
    captor.say(&Down::Invitation(hostile));
    assert_eq!(captor.listening(), 1);
    for _ in 0..20 {
        captor.now += Duration::from_secs(1);
        captor.exchange();
    }
}

#[test]
fn ten_thousand_invitations_and_epochs_leave_eight_sessions() {
    let mut admin = Admin::new(Random::new(9));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    for session in 0..10_000 {
        captor.say(&Down::Invitation(invitation(group, session)));
        let (session, epoch) = (SessionId(session), Epoch(session as u16));
        captor.say(&Down::Epoch { session, epoch, key: [2; 32] });
    }
    // As many as a server runs at a time.
    assert_eq!(captor.listening(), 8);
}

#[test]
fn strangers_datagrams_move_nothing_in_an_agent() {
    let mut admin = Admin::new(Random::new(10));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    captor.say(&Down::Invitation(invitation(group, 5)));
    captor.exchange();
    let (state, events) = (captor.victim.state().clone(), captor.events.len());
    let mut random = Random::new(11);
    let mut buffer = [0; 1_472];
    for round in 0..20_000_u32 {
        let mut datagram = vec![0; random.below(1_473) as usize];
        random.fill(&mut datagram);
        if round % 2 == 0 && datagram.len() >= 16 {
            datagram[0] = (round / 2 % 9) as u8;
            // Half of the session datagrams name the epoch and the session that run.
            let epoch = u8::from(datagram[0] == 5);
            datagram[1..8].copy_from_slice(&[1, epoch, 0, 5, 0, 0, 0]);
        }
        captor.victim.handle_datagram(captor.now, receiver_address(3), &mut datagram);
        assert!(captor.victim.poll_transmit(captor.now, &mut buffer).is_none(), "{round}");
        assert!(captor.victim.poll_event().is_none(), "{round}");
    }
    assert_eq!((captor.victim.state(), captor.events.len()), (&state, events));
}

#[test]
fn a_server_that_acknowledges_nothing_and_goes_on_asking_is_answered_once() {
    let mut admin = Admin::new(Random::new(13));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    captor.say(&Down::Invitation(invitation(group, 1)));
    captor.wait(Duration::from_secs(1));
    captor.deaf = true;
    for number in 2..3_000 {
        captor.say(&Down::Ping { nonce: u64::from(number) });
        let epoch = Epoch(number);
        captor.say(&Down::Epoch { session: SessionId(1), epoch, key: [2; 32] });
    }
    captor.deaf = false;
    captor.wait(Duration::from_secs(20));
    // Four were under way before the window was full; behind them waits the newest.
    let pongs = captor.times_said(|up| matches!(up, Up::Pong { .. }));
    let joined = captor.times_said(|up| matches!(up, Up::Joined { heard: true, .. }));
    assert!((2..=6).contains(&(pongs + joined)), "{pongs} and {joined}");
    let newest = [
        Up::Pong { nonce: 2_999 },
        Up::Joined { session: SessionId(1), epoch: Epoch(2_999), heard: true },
    ];
    for up in newest {
        assert_eq!(captor.times_said(|said| *said == up), 1, "{up:?}");
    }
}

#[test]
fn an_invitation_that_is_refused_leaves_the_delivery_that_runs() {
    let mut admin = Admin::new(Random::new(14));
    let group = GroupId([1; 16]);
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, group);
    captor.say(&Down::Invitation(invitation(group, 1)));
    captor.say(&Down::Invitation(invitation(GroupId([2; 16]), 2)));
    assert_eq!((captor.failed("not-trusted"), captor.listening()), (1, 1));
    // Nor does one to a session that cannot be.
    let mut impossible = invitation(group, 3);
    impossible.release.order.sequence += 1;
    impossible.release.digest.0[0] ^= 1;
    captor.say(&Down::Invitation(Invitation { symbol: 0, ..impossible }));
    assert!(!captor.events.iter().any(|event| matches!(event, AgentEvent::Unlisten(_))));
    captor.say(&Down::Epoch { session: SessionId(1), epoch: Epoch(2), key: [2; 32] });
    captor.wait(Duration::from_millis(500));
    let joined = Up::Joined { session: SessionId(1), epoch: Epoch(2), heard: true };
    assert_eq!(captor.times_said(|said| *said == joined), 1);
}
