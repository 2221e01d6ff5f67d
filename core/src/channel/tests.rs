//! Two sides without a network between them.

use super::*;
use crate::crypto::aead::ChaCha;
use crate::limits::{MAX_MESSAGE, SEND_WINDOW};
use crate::time::Duration;

type Side = Channel<ChaCha, [u8; MEMORY], 2>;

const MEMORY: usize = 4 * MAX_MESSAGE;

fn pair() -> (Side, Side) {
    let (mut a, mut b) = (Side::idle([0; MEMORY]), Side::idle([0; MEMORY]));
    let keys = TransportKeys { send: [1; 32], receive: [2; 32] };
    let mirrored = TransportKeys { send: [2; 32], receive: [1; 32] };
    a.reset(&keys, 11, 1_472, Instant::ZERO);
    b.reset(&mirrored, 22, 1_472, Instant::ZERO);
    (a, b)
}

fn next<M: Bytes>(side: &mut Channel<ChaCha, M, 2>, now: Instant) -> Option<std::vec::Vec<u8>> {
    let mut out = [0; 1_472];
    side.poll_transmit(now, &mut out).map(|len| out[..len].to_vec())
}

fn state(side: &Side) -> (u32, bool, u64, u32, std::string::String) {
    let window = std::format!("{:?}", side.window);
    (side.expected, side.acknowledge, side.last_heard.as_micros(), side.outbox.fresh(), window)
}

#[test]
fn a_packet_has_the_bytes_of_rfc_8439_behind_the_header_of_the_protocol() {
    let (mut a, _) = pair();
    a.send(Sending::Reliable, b"hi").unwrap();
    let sent = next(&mut a, Instant::ZERO).unwrap();
    let header = [4, 1, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(sent[..16], header);
    // The same by the AEAD alone.
    let mut text = *b"\x01\0\0\0\0\0\0\0\0hi";
    let tag = ChaCha::new(&[1; 32]).seal(0, &header, &mut text);
    assert_eq!((&sent[16..27], &sent[27..]), (&text[..], &tag[..]));
}

// PROTOCOL C1
#[test]
fn a_packet_is_taken_once() {
    let (mut a, mut b) = pair();
    a.send(Sending::Unreliable, b"x").unwrap();
    let sent = next(&mut a, Instant::ZERO).unwrap();
    assert!(b.handle_datagram(Instant::ZERO, &mut sent.clone()).is_some());
    assert_eq!(b.handle_datagram(Instant::ZERO, &mut sent.clone()), None);
}

// PROTOCOL C2
#[test]
fn a_packet_with_any_byte_changed_or_missing_changes_nothing() {
    let (mut a, mut b) = pair();
    a.send(Sending::Reliable, b"message").unwrap();
    let sent = next(&mut a, Instant::ZERO).unwrap();
    let (before, late) = (state(&b), Instant::from_millis(9));
    for at in 0..sent.len() {
        let mut flipped = sent.clone();
        flipped[at] ^= 1;
        // Bytes 4 to 7 are the endpoint's; here they are only authenticated.
        assert_eq!(b.handle_datagram(late, &mut flipped), None, "byte {at}");
        assert_eq!(b.handle_datagram(late, &mut sent[..at].to_vec()), None, "length {at}");
        assert_eq!(state(&b), before);
    }
    assert!(b.handle_datagram(late, &mut sent.clone()).is_some());
    assert_ne!(state(&b), before);
}

// PROTOCOL C3
#[test]
fn only_the_expected_message_is_delivered_and_every_one_is_answered() {
    let (mut a, mut b) = pair();
    let now = Instant::ZERO;
    (0..3).for_each(|i| a.send(Sending::Reliable, &[i]).unwrap());
    let sent: std::vec::Vec<_> = core::iter::from_fn(|| next(&mut a, now)).collect();
    let mut deliver = |at: usize| {
        let mut datagram: std::vec::Vec<u8> = sent[at].clone();
        let message = b.handle_datagram(now, &mut datagram).unwrap().message;
        let answer = next(&mut b, now).unwrap();
        let mut text = answer[16..25].to_vec();
        let tag = answer[25..].try_into().unwrap();
        let counter = u64::from_le_bytes(answer[8..16].try_into().unwrap());
        ChaCha::new(&[2; 32]).open(counter, &answer[..16], &mut text, &tag).unwrap();
        (message.map(|(_, at)| datagram[at].to_vec()), text[0], text[1])
    };
    assert_eq!(deliver(1), (None, 0, 0));
    assert_eq!(deliver(0), (Some(std::vec![0]), 0, 1));
    assert_eq!(deliver(2), (None, 0, 1));
}

// PROTOCOL C4
#[test]
fn a_full_outbox_tells_when_it_has_room_again() {
    let (mut a, mut b) = pair();
    (0..SEND_WINDOW).for_each(|_| a.send(Sending::Reliable, b"m").unwrap());
    assert_eq!(a.send(Sending::Reliable, b"m"), Err(SendError::Full));
    let mut first = next(&mut a, Instant::ZERO).unwrap();
    b.handle_datagram(Instant::ZERO, &mut first).unwrap();
    let mut answer = next(&mut b, Instant::ZERO).unwrap();
    let received = a.handle_datagram(Instant::ZERO, &mut answer).unwrap();
    assert!(received.drained && received.bare);
    assert_eq!(a.room(), 1);
}

// PROTOCOL C5
#[test]
fn silence_of_eight_seconds_is_broken_and_of_twenty_five_is_absence() {
    let (mut a, _) = pair();
    let at = |secs| Instant::ZERO + Duration::from_secs(secs);
    assert_eq!(a.poll_timeout(), at(8));
    assert_eq!(a.handle_timeout(at(7)), Pulse::Here);
    assert!(!a.is_due());
    assert_eq!(a.handle_timeout(at(8)), Pulse::Here);
    assert_eq!(next(&mut a, at(8)).unwrap().len(), OVERHEAD);
    assert_eq!(a.poll_timeout(), at(16));
    assert_eq!(a.handle_timeout(at(24)), Pulse::Here);
    assert_eq!(a.handle_timeout(at(25)), Pulse::Away);
}

#[test]
fn a_message_that_the_peer_does_not_take_is_refused() {
    let (mut a, _) = pair();
    let too_long = SendError::TooLong { most: MAX_MESSAGE };
    assert_eq!(a.send(Sending::Reliable, &[0; MAX_MESSAGE + 1]), Err(too_long));
    let keys = TransportKeys { send: [1; 32], receive: [2; 32] };
    a.reset(&keys, 11, 548, Instant::ZERO);
    let too_long = SendError::TooLong { most: 507 };
    assert_eq!(a.send(Sending::Unreliable, &[0; 508]), Err(too_long));
    assert_eq!(a.send(Sending::Unreliable, &[0; 507]), Ok(()));
    assert_eq!(next(&mut a, Instant::ZERO).unwrap().len(), 548);
}

#[test]
fn over_little_memory_messages_wait_for_the_room_of_those_before() {
    let mut memory = [0; 1_280];
    let mut a = Channel::<ChaCha, &mut [u8], 2>::idle(&mut memory);
    let (_, mut b) = pair();
    a.reset(&TransportKeys { send: [1; 32], receive: [2; 32] }, 11, 1_472, Instant::ZERO);
    let now = Instant::ZERO;
    // Two of 600 bytes fit, a third does not, nor a report of 100.
    let message = |n| std::vec![n; 600];
    a.send(Sending::Reliable, &message(0)).unwrap();
    a.send(Sending::Unreliable, &message(1)).unwrap();
    assert_eq!(a.send(Sending::Reliable, &message(2)), Err(SendError::Full));
    assert_eq!(a.send(Sending::Unreliable, &[3; 100]), Err(SendError::Full));
    let mut delivered = std::vec::Vec::new();
    for n in [0, 1] {
        let mut datagram = next(&mut a, now).unwrap();
        let (kind, body) = b.handle_datagram(now, &mut datagram).unwrap().message.unwrap();
        delivered.push((kind, datagram[body] == message(n)));
    }
    assert_eq!(delivered, [(Sending::Reliable, true), (Sending::Unreliable, true)]);
    // What was sent once makes room at once, the other when it is acknowledged.
    a.send(Sending::Unreliable, &message(4)).unwrap();
    assert_eq!(a.send(Sending::Reliable, &message(2)), Err(SendError::Full));
    next(&mut a, now).unwrap();
    let mut answer = next(&mut b, now).unwrap();
    assert!(a.handle_datagram(now, &mut answer).unwrap().drained);
    a.send(Sending::Reliable, &message(2)).unwrap();
    assert_eq!(a.send(Sending::Reliable, &[0; 1_160]), Err(SendError::TooLong { most: 1_159 }));
}
