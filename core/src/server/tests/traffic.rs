//! An established channel: messages, loss, silence, other addresses.

use std::vec::Vec;

use super::super::*;
use super::pair::{Pair, receiver_key, server};
use crate::crypto::noise::TransportKeys;
use crate::limits::{MAX_MESSAGE, PEER_TIMEOUT};
use crate::receiver::{self, ReceiverEvent};

fn span(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// PROTOCOL C3, PROTOCOL C4
#[test]
fn a_thousand_messages_each_way_arrive_once_and_in_order_through_thirty_percent_loss() {
    let mut pair = Pair::connected(5);
    pair.faults.loss = 30;
    pair.faults.duplication = 10;
    pair.faults.jitter = 30;
    let slot = pair.slot();
    let (mut up, mut down) = (0_u32, 0_u32);
    let message = |number: u32| {
        let mut body = std::vec![0xEE; number as usize % MAX_MESSAGE];
        body.extend(number.to_le_bytes());
        body.truncate(MAX_MESSAGE);
        body
    };
    for _ in 0..200_000 {
        let now = pair.now;
        while up < 1_000 && pair.receiver.send(now, Sending::Reliable, &message(up)).is_ok() {
            up += 1;
        }
        while down < 1_000 && pair.server.send(now, slot, Sending::Reliable, &message(down)).is_ok()
        {
            down += 1;
        }
        assert!(pair.server.room(slot) <= 4 && pair.receiver.room() <= 4);
        pair.run(span(5));
        if pair.server.room(slot) + pair.receiver.room() == 8 && up + down == 2_000 {
            break;
        }
    }
    let expected: Vec<_> = (0..1_000).map(message).collect();
    assert!(pair.at_server() == expected, "up");
    assert!(pair.at_receiver() == expected, "down");
    assert!(pair.receiver_events.iter().any(|(event, _)| *event == ReceiverEvent::Drained));
}

#[test]
fn unreliable_messages_are_sent_once_and_refused_when_too_many_wait() {
    let mut pair = Pair::connected(1);
    let (now, slot) = (pair.now, pair.slot());
    assert_eq!(pair.server.send(now, slot, Sending::Unreliable, b"a"), Ok(()));
    assert_eq!(pair.server.send(now, slot, Sending::Unreliable, b"b"), Err(SendError::Full));
    assert_eq!(pair.receiver.send(now, Sending::Unreliable, b"c"), Ok(()));
    assert_eq!(pair.receiver.send(now, Sending::Unreliable, b"d"), Ok(()));
    assert_eq!(pair.receiver.send(now, Sending::Unreliable, b"e"), Err(SendError::Full));
    pair.run(span(5_000));
    assert_eq!(
        (pair.at_receiver(), pair.at_server()),
        (std::vec![b"a".to_vec()], std::vec![b"c".to_vec(), b"d".to_vec()],)
    );
    assert_eq!(pair.types(), [4, 4, 4]);
}

#[test]
fn nobody_is_sent_to_in_a_place_that_nobody_has() {
    let mut pair = Pair::connected(1);
    let (now, slot) = (pair.now, pair.slot());
    let other = PeerSlot(slot.0 ^ 1);
    let gone = Err(SendError::Gone);
    assert_eq!(pair.server.send(now, other, Sending::Reliable, b"x"), gone);
    assert_eq!(pair.server.send(now, PeerSlot(u32::MAX), Sending::Reliable, b"x"), gone);
    pair.server.disconnect(slot);
    assert_eq!(pair.server.send(now, slot, Sending::Reliable, b"x"), gone);
    assert_eq!((pair.server.connected(), pair.server.address(slot)), (0, None));
}

// PROTOCOL C5
#[test]
fn an_idle_channel_lives_on_signs_of_life() {
    let mut pair = Pair::connected(1);
    pair.run(Duration::from_secs(600));
    assert!(pair.server_events.is_empty() && pair.receiver_events.is_empty());
    let bare = pair.log.iter().all(|flight| flight.bytes.len() == 41);
    assert!(bare && (140..=320).contains(&pair.log.len()), "{}", pair.log.len());
}

// PROTOCOL C5
#[test]
fn silence_parts_both_sides_and_the_receiver_comes_back() {
    let mut pair = Pair::connected(1);
    let slot = pair.slot();
    pair.faults.loss = 100;
    pair.run(PEER_TIMEOUT + span(100));
    let gone = ServerEvent::Gone { slot, key: receiver_key(), why: Lost::Silent };
    assert_eq!(pair.server_events, [(gone, Vec::new())]);
    let lost = ReceiverEvent::Disconnected { why: receiver::Lost::Silent };
    assert_eq!(pair.receiver_events, [(lost, Vec::new())]);
    assert_eq!((pair.server.connected(), pair.receiver.is_connected()), (0, false));
    pair.faults.loss = 0;
    pair.run(Duration::from_secs(11));
    assert_eq!((pair.server.connected(), pair.receiver.is_connected()), (1, true));
}

// PROTOCOL C6, PROTOCOL H2
#[test]
fn a_new_address_counts_once_something_sent_there_was_acknowledged_from_there() {
    let mut pair = Pair::connected(1);
    let slot = pair.slot();
    let new = SocketAddr::from(([10, 0, 0, 3], 5_001));
    // A message goes to the old address, and its acknowledgement comes from the new one.
    pair.server.send(pair.now, slot, Sending::Reliable, &[0; 500]).unwrap();
    pair.run(span(0));
    let sent = pair.flights.remove(0).bytes;
    pair.give_receiver(&sent);
    let acknowledgement = pair.receiver_sends().remove(0);
    pair.receiver_address = new;
    pair.give_server(new, &acknowledgement);
    assert_eq!(pair.server_events[0].0, ServerEvent::Moved { slot });
    assert_eq!(pair.server.address(slot), Some(new));
    assert!(!pair.server.address_confirmed(slot));
    // Forty-one bytes came from there: a longer message has to wait, a short one too.
    pair.server.send(pair.now, slot, Sending::Reliable, &[0; 20]).unwrap();
    assert!(pair.server_sends().is_empty());
    assert_eq!(pair.tally[&new], (41, 0));
    pair.receiver.send(pair.now, Sending::Unreliable, &[0; 20]).unwrap();
    let more = pair.receiver_sends().remove(0);
    pair.give_server(new, &more);
    assert!(!pair.server.address_confirmed(slot));
    pair.run(span(10));
    assert!(pair.server.address_confirmed(slot));
    let (received, sent) = pair.tally[&new];
    assert!(sent <= received);
}

// PROTOCOL C6, PROTOCOL C5
#[test]
fn signs_of_life_alone_are_credit_enough_for_a_challenge() {
    let mut pair = Pair::connected(1);
    let slot = pair.slot();
    // Nothing but bare acknowledgements of 41 bytes will come from the new address.
    pair.receiver_address = SocketAddr::from(([10, 0, 0, 3], 5_001));
    pair.run(Duration::from_secs(9));
    assert_eq!(pair.server.address(slot), Some(pair.receiver_address));
    pair.server.send(pair.now, slot, Sending::Reliable, &[0; 20]).unwrap();
    // Two of them pay for the 61 bytes, if none is spent on acknowledgements.
    pair.run(Duration::from_secs(20));
    assert!(pair.server.address_confirmed(slot));
}

// PROTOCOL C6
#[test]
fn an_old_packet_from_elsewhere_moves_nobody() {
    let mut pair = Pair::connected(1);
    let (slot, here) = (pair.slot(), pair.receiver_address);
    (0..2).for_each(|_| pair.receiver.send(pair.now, Sending::Unreliable, b"x").unwrap());
    let sent = pair.receiver_sends();
    pair.give_server(here, &sent[1]);
    pair.give_server(SocketAddr::from(([10, 0, 0, 66], 1)), &sent[0]);
    assert_eq!(pair.at_server().len(), 2);
    assert_eq!(pair.server.address(slot), Some(here));
    assert!(pair.server.address_confirmed(slot));
}

#[test]
fn ten_thousand_peers_cost_only_those_that_have_something_to_send() {
    let mut server = server(10_000, 1);
    let keys = TransportKeys { send: [1; 32], receive: [2; 32] };
    for i in 0..10_000_u32 {
        let (slot, _) = server.table.reserve(i << 14, 0).unwrap();
        let mut key = crate::ids::StaticKey([0; 32]);
        key.0[..4].copy_from_slice(&i.to_le_bytes());
        let to = SocketAddr::from(([10, 1, (i >> 8) as u8, i as u8], 1_000));
        let path = super::super::peer::Path::new(to, true);
        let peer = server.table.occupy(slot, key, path).unwrap();
        peer.channel.reset(&keys, i, 1_472, Instant::ZERO);
    }
    let mut out = [0; MAX_DATAGRAM];
    assert_eq!(server.poll_transmit(Instant::ZERO, &mut out), None);
    assert_eq!(server.table.looked_at, 0);
    for slot in [17, 9_999, 4_000] {
        let sent = server.send(Instant::ZERO, PeerSlot(slot), Sending::Reliable, b"x");
        assert_eq!(sent, Ok(()));
    }
    let order = core::iter::from_fn(|| server.poll_transmit(Instant::ZERO, &mut out));
    assert_eq!(order.map(|it| it.to.ip()).collect::<Vec<_>>().len(), 3);
    assert_eq!(server.table.looked_at, 3);

    // All are due for a sign of life at once: one look each, in turn.
    server.handle_timeout(Instant::from_millis(8_000));
    let mut sent = 0;
    while server.poll_transmit(Instant::from_millis(8_000), &mut out).is_some() {
        sent += 1;
    }
    // The three go back to their messages, which are signs of life too.
    assert_eq!((sent, server.table.looked_at), (10_000, 10_003));
}

#[test]
fn more_departures_than_events_fit_are_told_in_turns() {
    let mut server = server(100, 1);
    let keys = TransportKeys { send: [1; 32], receive: [2; 32] };
    for i in 0..100_u8 {
        let (slot, _) = server.table.reserve(0, 0).unwrap();
        let to = SocketAddr::from(([10, 1, 1, i], 1_000));
        let path = super::super::peer::Path::new(to, true);
        let key = crate::ids::StaticKey([i; 32]);
        server.table.occupy(slot, key, path).unwrap().channel.reset(&keys, 0, 1_472, Instant::ZERO);
        server.wake = Instant::ZERO;
    }
    let now = Instant::ZERO + PEER_TIMEOUT;
    let mut gone = 0;
    while server.poll_timeout().is_some_and(|at| at <= now) {
        server.handle_timeout(now);
        while server.poll_event().is_some() {
            gone += 1;
        }
    }
    assert_eq!((gone, server.connected(), server.poll_timeout()), (100, 0, None));
}
