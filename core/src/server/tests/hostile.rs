//! Every truncation and every changed byte of every datagram.

use std::vec::Vec;

use super::super::*;
use super::pair::{Pair, receiver_key};

fn mutations(good: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let flips = (0..good.len()).flat_map(move |at| {
        [0x01, 0x80].map(|bit| {
            let mut bytes = good.to_vec();
            bytes[at] ^= bit;
            (at, bytes)
        })
    });
    let cuts = (0..good.len()).map(|at| (at, good[..at].to_vec()));
    let longer = core::iter::once((good.len(), [good, &[0]].concat()));
    flips.chain(cuts).chain(longer)
}

/// The server says nothing and tells nothing.
fn assert_untouched(pair: &mut Pair, connected: usize, at: usize) {
    assert!(pair.server_sends().is_empty(), "byte {at} was answered");
    assert!(pair.server_events.is_empty(), "byte {at} was told");
    assert_eq!(pair.server.connected(), connected, "byte {at}");
}

// PROTOCOL D1, PROTOCOL H1
#[test]
fn a_damaged_initiation_is_not_answered() {
    let mut pair = Pair::new(1);
    let good = pair.receiver_sends().remove(0);
    let (from, book) = (pair.receiver_address, pair.book.clone());
    for (at, bytes) in mutations(&good) {
        pair.give_server(from, &bytes);
        if bytes.len() == good.len() && at >= 184 {
            // A wrong mac2 proves no address: the cookie is demanded again.
            assert_eq!(pair.server_sends()[0].1[0], 3);
        } else {
            assert_untouched(&mut pair, 0, at);
        }
    }
    assert_eq!((pair.server.poll_timeout(), &pair.book), (None, &book));
}

// PROTOCOL D1
#[test]
fn a_damaged_cookie_reply_is_not_heeded() {
    let mut pair = Pair::new(1);
    let initiation = pair.receiver_sends().remove(0);
    let from = pair.receiver_address;
    pair.give_server(from, &initiation);
    let good = pair.server_sends().remove(0).1;
    assert_eq!(good[0], 3);
    let until = pair.receiver.poll_timeout();
    for (at, bytes) in mutations(&good) {
        pair.give_receiver(&bytes);
        assert!(pair.receiver_sends().is_empty(), "byte {at}");
        assert_eq!(pair.receiver.poll_timeout(), until);
    }
    pair.give_receiver(&good);
    assert_eq!(pair.receiver_sends().len(), 1);
}

// PROTOCOL D1
#[test]
fn a_damaged_response_connects_nobody() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    let initiation = pair.receiver_sends().remove(0);
    let from = pair.receiver_address;
    pair.give_server(from, &initiation);
    let good = pair.server_sends().remove(0).1;
    assert_eq!(good[0], 2);
    for (at, bytes) in mutations(&good) {
        pair.give_receiver(&bytes);
        assert!(pair.receiver_events.is_empty(), "byte {at}");
        assert!(pair.receiver_sends().is_empty(), "byte {at}");
    }
    pair.give_receiver(&good);
    assert!(pair.receiver.is_connected());
}

// PROTOCOL C2, PROTOCOL H5
#[test]
fn a_damaged_first_packet_confirms_nothing() {
    let mut pair = Pair::new(1);
    pair.book.orders.insert(receiver_key(), (0, 0));
    let from = pair.receiver_address;
    let initiation = pair.receiver_sends().remove(0);
    pair.give_server(from, &initiation);
    let response = pair.server_sends().remove(0).1;
    pair.give_receiver(&response);
    let (good, book) = (pair.receiver_sends().remove(0), pair.book.clone());
    for (at, bytes) in mutations(&good) {
        pair.give_server(from, &bytes);
        assert_untouched(&mut pair, 0, at);
    }
    assert_eq!(pair.book, book);
    pair.give_server(from, &good);
    assert_eq!(pair.server.connected(), 1);
}

// PROTOCOL C2
#[test]
fn a_damaged_packet_changes_nothing_on_either_side() {
    let mut pair = Pair::connected(1);
    let (slot, here) = (pair.slot(), pair.receiver_address);
    let elsewhere = SocketAddr::from(([10, 0, 0, 66], 6_666));
    pair.receiver.send(pair.now, Sending::Reliable, b"up").unwrap();
    pair.server.send(pair.now, slot, Sending::Reliable, b"down").unwrap();
    let up = pair.receiver_sends().remove(0);
    let down = pair.server_sends().remove(0).1;
    let timeouts = (pair.server.poll_timeout(), pair.receiver.poll_timeout());
    for (at, bytes) in mutations(&up) {
        pair.give_server(elsewhere, &bytes);
        assert_untouched(&mut pair, 1, at);
        assert_eq!(pair.server.address(slot), Some(here));
    }
    for (at, bytes) in mutations(&down) {
        pair.give_receiver(&bytes);
        assert!(pair.receiver_events.is_empty() && pair.receiver_sends().is_empty(), "byte {at}");
    }
    assert_eq!(timeouts, (pair.server.poll_timeout(), pair.receiver.poll_timeout()));
    pair.give_server(here, &up);
    pair.give_receiver(&down);
    assert_eq!(
        (pair.at_server(), pair.at_receiver()),
        (std::vec![b"up".to_vec()], std::vec![b"down".to_vec()],)
    );
}

#[test]
fn datagrams_that_are_not_for_this_side_are_ignored() {
    let mut pair = Pair::connected(1);
    let from = pair.receiver_address;
    for kind in 0..=255 {
        for len in [0, 1, 4, 16, 32, 64, 76, 200, 1_472] {
            let mut bytes = std::vec![0; len];
            bytes.iter_mut().zip([kind, 1]).for_each(|(to, from)| *to = from);
            pair.give_server(from, &bytes);
            pair.give_receiver(&bytes);
        }
    }
    assert_untouched(&mut pair, 1, 0);
    assert!(pair.receiver_events.is_empty() && pair.receiver_sends().is_empty());
}
