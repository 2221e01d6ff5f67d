//! The receiver alone, without anybody who answers.

use super::*;
use crate::crypto::cookie::{CookieSeal, Mac1, mac2};
use crate::crypto::noise::{Responder, StaticPair, psk};
use crate::ids::TokenId;
use crate::wire::handshake::{CookieReply, Initiation, Payload};

const SERVER: [u8; 32] = [0x51; 32];

fn config() -> ReceiverConfig {
    ReceiverConfig {
        static_secret: [0x52; 32],
        server_key: *StaticPair::from_secret(&SERVER).public(),
        server: SocketAddr::from(([10, 0, 0, 1], 7_000)),
        token: Some([9; 16]),
        boot: 6,
        constrained: true,
        max_datagram: 1_200,
        seed: [1; 32],
    }
}

fn transmit(receiver: &mut ReceiverEndpoint, now: Instant) -> Option<std::vec::Vec<u8>> {
    let mut out = [0; MAX_DATAGRAM];
    receiver.poll_transmit(now, &mut out).map(|it| out[..it.len].to_vec())
}

fn payload(datagram: &[u8]) -> Payload {
    let initiation = Initiation::new(datagram).unwrap();
    let own = StaticPair::from_secret(&SERVER);
    let read = Responder::read(&own, &[3; 32], &initiation.noise()).unwrap();
    Payload::read(read.payload()).unwrap()
}

fn cookie_reply(initiation: &[u8], cookie: [u8; 16]) -> std::vec::Vec<u8> {
    let initiation = Initiation::new(initiation).unwrap();
    let seal = CookieSeal::of(StaticPair::from_secret(&SERVER).public());
    let sealed = seal.seal(&[8; 24], &initiation.mac1(), &cookie);
    CookieReply::write(initiation.sender(), &[8; 24], &sealed).bytes().to_vec()
}

// PROTOCOL H6, PROTOCOL H7
#[test]
fn unanswered_initiations_are_newly_made_at_growing_intervals() {
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let (mut now, mut last, mut pauses) = (Instant::ZERO, None, std::vec::Vec::new());
    for n in 1..=9 {
        let sent = transmit(&mut receiver, now).unwrap();
        assert_eq!(transmit(&mut receiver, now), None);
        assert_eq!(payload(&sent).order, (6, n));
        assert_ne!(last.replace(sent[8..40].to_vec()), Some(sent[8..40].to_vec()));
        let until = receiver.poll_timeout().unwrap();
        pauses.push(until.since(now).as_millis());
        now = until;
        receiver.handle_timeout(now);
    }
    let doubling = [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000];
    for (pause, whole) in pauses.iter().zip(doubling) {
        assert!((500.max(whole * 3 / 4)..=whole).contains(pause), "{pauses:?}");
    }
}

// PROTOCOL H4
#[test]
fn the_payload_tells_what_the_configuration_says() {
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let sent = transmit(&mut receiver, Instant::ZERO).unwrap();
    let expected = Payload {
        order: (6, 1),
        token: Some(TokenId::of(&[9; 16])),
        constrained: true,
        max_datagram: 1_200,
    };
    assert_eq!(payload(&sent), expected);
}

// PROTOCOL H3
#[test]
fn a_cookie_is_used_at_once_and_kept_for_its_lifetime() {
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let from = config().server;
    let first = transmit(&mut receiver, Instant::ZERO).unwrap();
    assert_eq!(first[184..], [0; 16]);
    receiver.handle_datagram(Instant::ZERO, from, &mut cookie_reply(&first, [4; 16]));
    let second = transmit(&mut receiver, Instant::ZERO).unwrap();
    assert_eq!(second[184..], mac2(&[4; 16], &second[..184]));
    // Another demand waits for the timer, so that forged demands make no storm.
    receiver.handle_datagram(Instant::ZERO, from, &mut cookie_reply(&second, [5; 16]));
    assert_eq!(transmit(&mut receiver, Instant::ZERO), None);
    // Nor is an answer to an older initiation taken.
    receiver.handle_datagram(Instant::ZERO, from, &mut cookie_reply(&first, [6; 16]));
    let late = Instant::ZERO + Duration::from_secs(119);
    receiver.handle_timeout(late);
    let third = transmit(&mut receiver, late).unwrap();
    assert_eq!(third[184..], mac2(&[5; 16], &third[..184]));
    let later = Instant::ZERO + Duration::from_secs(240);
    receiver.handle_timeout(later);
    assert_eq!(transmit(&mut receiver, later).unwrap()[184..], [0; 16]);
}

#[test]
fn a_response_with_a_wrong_psk_or_any_byte_changed_is_ignored() {
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let from = config().server;
    let sent = transmit(&mut receiver, Instant::ZERO).unwrap();
    let initiation = Initiation::new(&sent).unwrap();
    let own = StaticPair::from_secret(&SERVER);
    let answer = |psk: &[u8; 32]| {
        let read = Responder::read(&own, &[3; 32], &initiation.noise()).unwrap();
        let to = Mac1::to(read.key());
        let (noise, _) = read.answer(psk).unwrap();
        let sender = initiation.sender();
        let mut response = crate::wire::handshake::Response::write(77, sender, &noise);
        response.set_mac1(&to.make(response.before_mac1()));
        response.bytes().to_vec()
    };
    receiver.handle_datagram(Instant::ZERO, from, &mut answer(&psk(None)));
    assert!(!receiver.is_connected());
    let good = answer(&psk(Some(&[9; 16])));
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        receiver.handle_datagram(Instant::ZERO, from, &mut flipped);
        receiver.handle_datagram(Instant::ZERO, from, &mut good[..at].to_vec());
        assert!(!receiver.is_connected(), "byte {at}");
        assert_eq!(receiver.poll_event(), None);
    }
    receiver.handle_datagram(Instant::ZERO, from, &mut good.clone());
    assert_eq!(receiver.poll_event(), Some(ReceiverEvent::Connected));
    // The first packet follows at once: an acknowledgement to index 77.
    let first = transmit(&mut receiver, Instant::ZERO).unwrap();
    assert_eq!((first.len(), &first[..8]), (41, &[4, 1, 0, 0, 77, 0, 0, 0][..]));
}

#[test]
fn another_key_of_the_server_begins_another_handshake_at_once() {
    // PROTOCOL A3
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let first = transmit(&mut receiver, Instant::ZERO).unwrap();
    receiver.handle_datagram(Instant::ZERO, config().server, &mut cookie_reply(&first, [4; 16]));
    assert_eq!(receiver.unanswered(), 1);
    transmit(&mut receiver, Instant::ZERO).unwrap();
    assert_eq!(receiver.unanswered(), 2, "a cookie is no answer");
    let new = StaticPair::from_secret(&[0x53; 32]);
    receiver.set_server_key(Instant::ZERO, *new.public());
    // PROTOCOL H7: intervals go on growing, so that many keys make no storm.
    assert_eq!(receiver.unanswered(), 2);
    let third = transmit(&mut receiver, Instant::ZERO).unwrap();
    let initiation = Initiation::new(&third[..]).unwrap();
    assert!(Mac1::to(new.public()).fits(initiation.before_mac1(), &initiation.mac1()));
    assert_eq!(initiation.mac2(), [0; 16], "the old key's cookie is not used");
    let read = Responder::read(&new, &[3; 32], &initiation.noise()).unwrap();
    // PROTOCOL H6: the number goes on growing.
    assert_eq!(Payload::read(read.payload()).unwrap().order, (6, 3));
}

#[test]
fn who_is_answered_and_then_hears_nothing_begins_anew() {
    let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config(), Instant::ZERO);
    let keys = crate::crypto::noise::TransportKeys { send: [1; 32], receive: [2; 32] };
    receiver.connect(Instant::ZERO, &Agreed { keys, own_index: 1, peer_index: 2 });
    assert_eq!(receiver.poll_event(), Some(ReceiverEvent::Connected));
    let (mut times, mut now) = (std::vec::Vec::new(), Instant::ZERO);
    for _ in 0..20 {
        if !receiver.is_connected() {
            break;
        }
        while transmit(&mut receiver, now).is_some() {
            times.push(now.as_micros() / 1_000);
        }
        now = receiver.poll_timeout().unwrap();
        receiver.handle_timeout(now);
    }
    assert_eq!(times, [0, 200, 600, 1_400, 3_000]);
    let lost = ReceiverEvent::Disconnected { why: Lost::Unconfirmed };
    assert_eq!(receiver.poll_event(), Some(lost));
    assert_eq!(transmit(&mut receiver, now).unwrap().len(), INITIATION);
}

// PROTOCOL C7
#[test]
fn whoever_is_told_goodbye_comes_back_at_a_time_of_its_own_within_the_spread() {
    let keys = || crate::crypto::noise::TransportKeys { send: [1; 32], receive: [2; 32] };
    let at = Instant::from_millis(5_000);
    let pause = |seed: u8, spread: Duration| {
        let config = ReceiverConfig { seed: [seed; 32], ..config() };
        let mut receiver = ReceiverEndpoint::<ChaCha>::new(&config, Instant::ZERO);
        receiver.connect(Instant::ZERO, &Agreed { keys: keys(), own_index: 1, peer_index: 2 });
        receiver.come_back(at, spread);
        assert!(!receiver.is_connected());
        assert_eq!(transmit(&mut receiver, at), None, "nothing leaves the old channel");
        let until = receiver.poll_timeout().unwrap();
        receiver.handle_timeout(Instant::from_micros(until.as_micros() - 1));
        assert_eq!(transmit(&mut receiver, until), None);
        receiver.handle_timeout(until);
        assert_eq!(transmit(&mut receiver, until).unwrap().len(), INITIATION);
        until.since(at).as_millis()
    };
    // A second that nobody comes in, then eight of which each gets its fair share: of 64
    // lots not fewer than one and not more than 24 (chance of either below 1e-3 each).
    let pauses: std::vec::Vec<u64> =
        (0..64).map(|seed| pause(seed, Duration::from_secs(8))).collect();
    for second in 1..9 {
        let came = pauses.iter().filter(|pause| **pause / 1_000 == second).count();
        assert!((1..=24).contains(&came), "{second}: {pauses:?}");
    }
    assert!(pauses.iter().all(|pause| (1_000..9_000).contains(pause)), "{pauses:?}");
    // Nobody is kept away for longer than a minute, whatever it is told.
    let longest = (0..64).map(|seed| pause(seed, Duration::from_secs(1 << 22))).max().unwrap();
    assert!((55_000..61_000).contains(&longest), "{longest}");
}
