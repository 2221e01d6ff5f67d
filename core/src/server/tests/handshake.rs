//! Who is answered, with what, and what that changes.

use std::vec::Vec;

use super::super::*;
use super::pair::{Book, Pair, RECEIVER_SECRET, SERVER_SECRET, config, receiver_key, server};
use crate::crypto::aead::ChaCha;
use crate::crypto::noise::{StaticPair, psk};
use crate::ids::TokenId;
use crate::limits::HANDSHAKES_PER_SECOND;
use crate::receiver::{ReceiverConfig, ReceiverEndpoint, ReceiverEvent};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
const TRANSPORT: u8 = 4;

fn span(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn event_names(pair: &Pair) -> Vec<&'static str> {
    let name = |event: &ServerEvent| match event {
        ServerEvent::Connected { .. } => "connected",
        ServerEvent::Message { .. } => "message",
        ServerEvent::Drained { .. } => "drained",
        ServerEvent::Moved { .. } => "moved",
        ServerEvent::Gone { .. } => "gone",
        ServerEvent::OrderRegressed { .. } => "regressed",
    };
    pair.server_events.iter().map(|(event, _)| name(event)).collect()
}

// PROTOCOL H3
#[test]
fn an_unknown_key_must_prove_its_address_first() {
    let mut pair = Pair::new(1);
    pair.run(span(50));
    let expected = [INITIATION, COOKIE_REPLY, INITIATION, RESPONSE, TRANSPORT, TRANSPORT];
    assert_eq!(pair.types(), expected);
    assert_eq!(pair.log[1].bytes.len(), 64);
    let slot = pair.slot();
    let connected = ServerEvent::Connected {
        slot,
        key: receiver_key(),
        token: None,
        constrained: false,
        max_datagram: 1_472,
    };
    assert_eq!(pair.server_events, [(connected, Vec::new())]);
    assert_eq!(pair.book.orders[&receiver_key()], (1, 2));
    assert!(pair.server.address_confirmed(slot));
}

// PROTOCOL H3
#[test]
fn a_known_key_whose_order_grew_needs_no_cookie() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 99));
    pair.run(span(50));
    assert_eq!(pair.types(), [INITIATION, RESPONSE, TRANSPORT, TRANSPORT]);
}

// PROTOCOL H3
#[test]
fn an_order_that_did_not_grow_needs_a_cookie_and_is_told() {
    for last in [(1, 2), (9, 0)] {
        let mut pair = Pair::new(1);
        pair.book.orders.insert(receiver_key(), last);
        pair.run(span(50));
        let expected = [INITIATION, COOKIE_REPLY, INITIATION, RESPONSE, TRANSPORT, TRANSPORT];
        assert_eq!(pair.types(), expected);
        assert_eq!(event_names(&pair), ["regressed", "connected"]);
        assert_eq!(pair.book.orders[&receiver_key()], last);
    }
}

// PROTOCOL H3
#[test]
fn under_load_everybody_must_prove_an_address() {
    let mut server = server(300, 256);
    let mut book = Book::default();
    let mut answers = Vec::new();
    for i in 0..=HANDSHAKES_PER_SECOND {
        let mut secret = [7; 32];
        // Not the first byte: X25519 ignores bits of it.
        secret[4..8].copy_from_slice(&i.to_le_bytes());
        book.orders.insert(*StaticPair::from_secret(&secret).public(), (0, 0));
        let config = ReceiverConfig { static_secret: secret, ..config() };
        let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config, Instant::ZERO);
        let mut datagram = [0; MAX_DATAGRAM];
        let sent = receiver.poll_transmit(Instant::ZERO, &mut datagram).unwrap();
        let mut deliver = |now| {
            let mut datagram = datagram;
            let from = SocketAddr::from(([10, 0, 1, 1], 1_000));
            server.handle_datagram(now, from, &mut datagram[..sent.len], &mut book);
            let mut out = [0; MAX_DATAGRAM];
            server.poll_transmit(now, &mut out).map(|_| out[0])
        };
        answers.push(deliver(Instant::ZERO));
        if i == HANDSHAKES_PER_SECOND {
            answers.push(deliver(Instant::from_millis(1_000)));
        }
    }
    let (last, first) = answers.split_last().unwrap();
    let (demand, first) = first.split_last().unwrap();
    assert!(first.iter().all(|answer| *answer == Some(RESPONSE)));
    assert_eq!((*demand, *last), (Some(COOKIE_REPLY), Some(RESPONSE)));
}

// PROTOCOL H4
#[test]
fn a_token_is_named_and_an_unusable_one_is_answered_by_silence() {
    let config = ReceiverConfig { token: Some([9; 16]), ..config() };
    let mut pair = Pair::with(&config, 1);
    pair.run(span(400));
    assert_eq!(pair.types(), [INITIATION]);
    pair.book.tokens.insert(TokenId::of(&[9; 16]), [9; 16]);
    pair.run(span(2_000));
    let named = |event: &ServerEvent| match event {
        ServerEvent::Connected { token, .. } => *token,
        _ => None,
    };
    assert_eq!(named(&pair.server_events[0].0), Some(TokenId::of(&[9; 16])));
}

// PROTOCOL H4
#[test]
fn a_server_with_another_secret_for_the_token_is_not_believed() {
    let config = ReceiverConfig { token: Some([9; 16]), ..config() };
    let mut pair = Pair::with(&config, 1);
    pair.book.tokens.insert(TokenId::of(&[9; 16]), [8; 16]);
    pair.run(span(3_000));
    assert!(!pair.receiver.is_connected());
    assert_eq!((pair.server.connected(), pair.server_events.len()), (0, 0));
}

// PROTOCOL H5
#[test]
fn nothing_happens_before_the_first_packet_of_the_new_channel() {
    let mut pair = Pair::connected(1);
    let (slot, book) = (pair.slot(), pair.book.clone());
    pair.receiver.restart(pair.now);
    let initiation = pair.receiver_sends().remove(0);
    let from = pair.receiver_address;
    pair.give_server(from, &initiation);
    let response = pair.server_sends();
    assert_eq!((response.len(), response[0].1[0]), (1, RESPONSE));
    // A copy of the initiation is not answered a second time.
    pair.give_server(from, &initiation);
    assert!(pair.server_sends().is_empty());
    assert_eq!((pair.server_events.len(), pair.server.connected()), (0, 1));
    assert_eq!((&pair.book, pair.slot()), (&book, slot));
    // The old channel still works.
    pair.server.send(pair.now, slot, Sending::Reliable, b"still here").unwrap();
    assert_eq!(pair.server_sends()[0].1[0], TRANSPORT);

    pair.give_receiver(&response[0].1);
    let first = pair.receiver_sends().remove(0);
    pair.give_server(from, &first);
    assert_eq!(event_names(&pair), ["gone", "connected"]);
    let displaced = ServerEvent::Gone { slot, key: receiver_key(), why: Lost::Displaced };
    assert_eq!(pair.server_events[0].0, displaced);
    assert_eq!(pair.server.connected(), 1);
    assert_ne!(pair.book, book);
}

// PROTOCOL H5
#[test]
fn a_handshake_that_nobody_confirms_is_forgotten_without_a_trace() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    let initiation = pair.receiver_sends().remove(0);
    let from = pair.receiver_address;
    pair.give_server(from, &initiation);
    let response = pair.server_sends().remove(0).1;
    pair.now = pair.server.poll_timeout().unwrap();
    assert_eq!(pair.now, Instant::from_millis(5_000));
    pair.server.handle_timeout(pair.now);
    assert_eq!(pair.server.poll_timeout(), None);
    pair.give_receiver(&response);
    let first = pair.receiver_sends().remove(0);
    pair.give_server(from, &first);
    assert_eq!((pair.server_events.len(), pair.server.connected()), (0, 0));
    assert!(pair.server_sends().is_empty());
}

#[test]
fn the_oldest_handshake_gives_way_when_the_table_is_full() {
    let mut server = server(2, 2);
    let mut book = Book::default();
    let mut firsts = Vec::new();
    for i in 0..3_u64 {
        let secret = [10 + i as u8; 32];
        book.orders.insert(*StaticPair::from_secret(&secret).public(), (0, 0));
        let config = ReceiverConfig { static_secret: secret, ..config() };
        let now = Instant::from_millis(i);
        let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config, now);
        let mut out = [0; MAX_DATAGRAM];
        let len = receiver.poll_transmit(now, &mut out).unwrap().len;
        let from = SocketAddr::from(([10, 0, 1, 1], 1_000));
        server.handle_datagram(now, from, &mut out[..len], &mut book);
        let len = server.poll_transmit(now, &mut out).unwrap().len;
        receiver.handle_datagram(now, from, &mut out[..len]);
        let len = receiver.poll_transmit(now, &mut out).unwrap().len;
        firsts.push((from, out, len));
    }
    let now = Instant::from_millis(9);
    let mut connected = Vec::new();
    for (from, mut out, len) in firsts {
        server.handle_datagram(now, from, &mut out[..len], &mut book);
        connected.push(server.connected());
    }
    assert_eq!(connected, [0, 1, 2]);
}

// PROTOCOL H2, PROTOCOL H7
#[test]
fn whatever_is_lost_the_pair_connects_and_the_server_never_amplifies() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        pair.faults.loss = 50;
        pair.faults.duplication = 20;
        pair.faults.jitter = 40;
        for _ in 0..30_000 {
            pair.run(span(20));
            let (received, sent) = pair.tally.values().copied().next().unwrap_or_default();
            if pair.server.connected() == 1 {
                break;
            }
            assert!(sent <= received, "seed {seed}: {sent} bytes for {received}");
        }
        assert_eq!(pair.server.connected(), 1, "seed {seed}");
    }
}

#[test]
fn a_lost_response_or_first_packet_is_made_good() {
    for lost in [RESPONSE, TRANSPORT] {
        let mut pair = Pair::new(3);
        while pair.types().last() != Some(&lost) {
            pair.run(span(1));
        }
        pair.flights.clear();
        pair.run(span(1_500));
        assert_eq!(event_names(&pair), ["connected"], "type {lost}");
        assert!(pair.receiver.is_connected());
    }
}

// PROTOCOL H6
#[test]
fn a_replayed_initiation_changes_nothing() {
    let mut pair = Pair::connected(1);
    let (book, from) = (pair.book.clone(), SocketAddr::from(([10, 0, 0, 66], 6_666)));
    let mut old = Pair::new(1);
    old.run(span(50));
    let initiations: Vec<_> =
        old.log.iter().filter(|flight| flight.bytes[0] == INITIATION).collect();
    for flight in initiations {
        pair.give_server(from, &flight.bytes);
        let answers = pair.server_sends();
        assert_eq!((answers.len(), answers[0].1[0]), (1, COOKIE_REPLY));
    }
    assert_eq!((pair.server_events.len(), &pair.book), (0, &book));
}

#[test]
fn handshake_bytes_are_those_of_version_1_and_snow_reads_them() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    pair.run(span(50));
    let [initiation, response, first, _] = &pair.log[..] else { panic!("four datagrams") };
    let digest = |bytes: &[u8]| std::format!("{}", crate::digest::Digest::of(bytes));
    let digests = [initiation, response, first].map(|flight| digest(&flight.bytes));
    let expected = [
        "5c51ea96de1b33c65384f9ac4d22f1f85ad1f6e1c4ddad94fb72c20359265749",
        "9b390a7abfab50d9afa8d766457b09352a641e92c81ce29b177deb5493588ff1",
        "9c2f4fce6176293e3efe4721ffe51c022888c1fc4297628b5f7d55cefa7230e7",
    ];
    assert_eq!(digests, expected);

    // The same initiator by snow, given the ephemeral secret that the seed yields.
    use rand_core::{Rng as _, SeedableRng as _};
    let mut ephemeral = [0; 32];
    chacha20::ChaCha20Rng::from_seed(config().seed).fill_bytes(&mut ephemeral);
    let (psk, server) = (psk(None), StaticPair::from_secret(&SERVER_SECRET));
    let name = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
    let mut snow = snow::Builder::new(name.parse().unwrap())
        .prologue(b"fleetcast v1")
        .and_then(|it| it.local_private_key(&RECEIVER_SECRET))
        .and_then(|it| it.remote_public_key(&server.public().0))
        .and_then(|it| it.psk(2, &psk))
        .map(|it| it.fixed_ephemeral_key_for_testing_only(&ephemeral))
        .and_then(|it| it.build_initiator())
        .unwrap();
    let mut payload = [0; 64];
    (payload[0], payload[8]) = (1, 1);
    payload[34..36].copy_from_slice(&1_472_u16.to_le_bytes());
    let mut message = [0; 160];
    snow.write_message(&payload, &mut message).unwrap();
    assert_eq!(initiation.bytes[8..168], message);
    assert_eq!(snow.read_message(&response.bytes[12..60], &mut []).unwrap(), 0);
}

#[test]
fn a_receiver_whose_first_answer_was_lost_is_answered_again() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    while pair.types() != [INITIATION, RESPONSE, TRANSPORT, TRANSPORT] {
        pair.run(span(1));
    }
    pair.flights.clear();
    // Longer than it waits for a sign of the server, shorter than any sign of life.
    pair.run(span(6_000));
    let events: Vec<_> = pair.receiver_events.iter().map(|(event, _)| event.clone()).collect();
    assert_eq!(events, [ReceiverEvent::Connected]);
}

// PROTOCOL H3
#[test]
fn a_handshake_that_a_newer_one_overtook_is_not_confirmed_without_a_cookie() {
    let mut server = server(4, 2);
    let mut book = Book::default();
    book.orders.insert(receiver_key(), (0, 0));
    let now = Instant::ZERO;
    let mut firsts = Vec::new();
    for boot in [1, 2] {
        let from = SocketAddr::from(([10, 0, 1, boot as u8], 1_000));
        let config = ReceiverConfig { boot, ..config() };
        let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config, now);
        let mut out = [0; MAX_DATAGRAM];
        let len = receiver.poll_transmit(now, &mut out).unwrap().len;
        server.handle_datagram(now, from, &mut out[..len], &mut book);
        let len = server.poll_transmit(now, &mut out).unwrap().len;
        receiver.handle_datagram(now, from, &mut out[..len]);
        let len = receiver.poll_transmit(now, &mut out).unwrap().len;
        firsts.push((from, out, len));
    }
    for (from, out, len) in firsts.iter_mut().rev() {
        server.handle_datagram(now, *from, &mut out[..*len], &mut book);
    }
    assert!(matches!(server.poll_event(), Some(ServerEvent::Connected { .. })));
    assert_eq!((server.poll_event(), server.connected()), (None, 1));
    assert_eq!(book.orders[&receiver_key()], (2, 1));
}

// PROTOCOL H2, PROTOCOL C6
#[test]
fn an_address_that_the_handshake_did_not_use_is_not_proved_by_the_first_packet() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    let initiation = pair.receiver_sends().remove(0);
    let here = pair.receiver_address;
    pair.give_server(here, &initiation);
    let response = pair.server_sends().remove(0).1;
    pair.give_receiver(&response);
    let first = pair.receiver_sends().remove(0);
    let elsewhere = SocketAddr::from(([10, 0, 0, 66], 6_666));
    pair.give_server(elsewhere, &first);
    let slot = pair.slot();
    assert_eq!(pair.server.address(slot), Some(elsewhere));
    assert!(!pair.server.address_confirmed(slot));
    pair.server.send(pair.now, slot, Sending::Reliable, &[0; 500]).unwrap();
    pair.server_sends();
    let (received, sent) = pair.tally[&elsewhere];
    assert!(sent <= received, "{sent} bytes for {received}");
}
