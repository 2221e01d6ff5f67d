//! Asker and answerer over a link that this test plays.

use core::net::SocketAddr;
use std::vec::Vec;

use super::*;
use crate::digest::Digest;
use crate::limits::{CHAIN_ANSWERS_PER_SECOND, CHAIN_RETRY, CHAIN_TRIES, MAX_SIGNED_AUTHORITY};
use crate::time::{Duration, Instant};
use crate::wire::chain::{Answer, AnswerBody, Request, Wanted};

/// A chain of opaque documents; one is named by the digest of its bytes.
struct Book(Vec<Vec<u8>>);

impl Documents for Book {
    fn document(&self, digest: &Digest, wanted: Wanted) -> Option<&[u8]> {
        let at = self.0.iter().position(|document| Digest::of(document) == *digest)?;
        let at = at + usize::from(wanted == Wanted::Successor);
        self.0.get(at).map(Vec::as_slice)
    }
}

fn book() -> Book {
    let document = |n: u8, len: usize| (0..len).map(|i| (i as u8).wrapping_mul(n)).collect();
    Book(std::vec![document(3, 200), document(5, MAX_SIGNED_AUTHORITY), document(7, 1)])
}

fn receiver() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 5_000))
}

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7_411))
}

fn new_answerer() -> ChainAnswerer {
    ChainAnswerer::new([1; 32], Instant::ZERO)
}

fn sent(asker: &mut ChainAsker, now: Instant) -> Option<Vec<u8>> {
    let mut out = [0; 1_472];
    asker.poll_transmit(now, &mut out).map(|transmit| {
        assert_eq!(transmit.to, server());
        out[..transmit.len].to_vec()
    })
}

fn answered(
    answerer: &mut ChainAnswerer,
    from: SocketAddr,
    request: &[u8],
    book: &Book,
) -> Option<Vec<u8>> {
    answerer.handle_datagram(Instant::ZERO, from, request, book);
    let mut out = [0; 1_472];
    let transmit = answerer.poll_transmit(&mut out)?;
    assert_eq!(transmit.to, from);
    assert_eq!(answerer.poll_transmit(&mut [0; 1_472]), None);
    Some(out[..transmit.len].to_vec())
}

/// Lets both talk until neither has anything to say; how many requests it took.
fn talk(asker: &mut ChainAsker, answerer: &mut ChainAnswerer, book: &Book, room: &mut [u8]) -> u32 {
    let mut requests = 0;
    while let Some(request) = sent(asker, Instant::ZERO) {
        requests += 1;
        assert!(requests < 100, "an endless conversation");
        let Some(answer) = answered(answerer, receiver(), &request, book) else { continue };
        // PROTOCOL A1
        assert!(answer.len() <= request.len(), "more came than was asked for");
        asker.handle_datagram(Instant::ZERO, &answer, room);
    }
    requests
}

#[test]
fn a_document_comes_whole_whatever_the_length_of_requests() {
    let book = book();
    let (mut room, mut answerer) = ([0; MAX_SIGNED_AUTHORITY], new_answerer());
    // By hand: 1,603 bytes in pieces of 108, 528, 1,180 and 1,452; one more for the cookie.
    for (longest, requests) in [(128, 1 + 15), (548, 1 + 4), (1_200, 1 + 2), (1_472, 1 + 2)] {
        let mut asker = ChainAsker::new(server(), [2; 32], longest);
        assert!(!asker.is_asking());
        asker.ask(Digest::of(&book.0[0]), Wanted::Successor);
        assert_eq!(talk(&mut asker, &mut answerer, &book, &mut room), requests, "{longest}");
        assert_eq!(asker.poll_event(), Some(ChainEvent::Whole { len: MAX_SIGNED_AUTHORITY }));
        assert_eq!((room.as_slice(), asker.poll_event()), (&book.0[1][..], None));
        assert!(!asker.is_asking());
    }
    // One that is known by its digest only; and the shortest that can be.
    let mut asker = ChainAsker::new(server(), [2; 32], 1_200);
    for (wanted, at, requests) in [(Wanted::Itself, 0, 2), (Wanted::Successor, 2, 1)] {
        asker.ask(Digest::of(&book.0[at / 2]), wanted);
        assert_eq!(talk(&mut asker, &mut answerer, &book, &mut room), requests);
        let len = book.0[at].len();
        assert_eq!(asker.poll_event(), Some(ChainEvent::Whole { len }));
        assert_eq!(room[..len], book.0[at]);
    }
}

#[test]
fn who_has_proved_no_address_gets_a_cookie_and_nothing_else() {
    // PROTOCOL A1
    let (book, mut answerer) = (book(), new_answerer());
    let mut asker = ChainAsker::new(server(), [2; 32], 1_472);
    asker.ask(Digest::of(&book.0[0]), Wanted::Successor);
    let first = sent(&mut asker, Instant::ZERO).unwrap();
    let is_cookie = |answer: &[u8]| {
        matches!(Answer::read(answer).unwrap().body, AnswerBody::Cookie(_)) && answer.len() == 36
    };
    let cookie = answered(&mut answerer, receiver(), &first, &book).unwrap();
    assert!(is_cookie(&cookie));
    asker.handle_datagram(Instant::ZERO, &cookie, &mut []);
    let second = sent(&mut asker, Instant::ZERO).unwrap();
    let piece = answered(&mut answerer, receiver(), &second, &book).unwrap();
    assert!(!is_cookie(&piece));
    // From another address, with another digest or a changed byte, it proves nothing.
    let elsewhere = SocketAddr::from(([10, 0, 0, 3], 5_000));
    assert!(is_cookie(&answered(&mut answerer, elsewhere, &second, &book).unwrap()));
    for at in [4, 46, 48, 63] {
        let mut forged = second.clone();
        forged[at] ^= 1;
        let answer = answered(&mut answerer, receiver(), &forged, &book);
        assert!(answer.is_none_or(|answer| is_cookie(&answer)), "byte {at}");
    }
}

#[test]
fn strangers_and_who_is_up_to_date_hear_nothing() {
    // PROTOCOL A1
    let (book, mut answerer) = (book(), new_answerer());
    let mut ask = |digest: Digest, wanted: Wanted, offset: u16| {
        let mut request = [0; 128];
        Request { number: 1, digest, wanted, offset }.write(&mut request).unwrap();
        answered(&mut answerer, receiver(), &request, &book).is_some()
    };
    assert!(ask(Digest::of(&book.0[2]), Wanted::Itself, 0));
    assert!(!ask(Digest::of(&book.0[2]), Wanted::Successor, 0));
    assert!(!ask(Digest([9; 32]), Wanted::Itself, 0));
    assert!(!ask(Digest::of(&book.0[2]), Wanted::Itself, 1));
    assert!(!ask(Digest::of(&book.0[2]), Wanted::Itself, u16::MAX));
    for request in [&[][..], &[7], &[7, 1, 0, 0], &[7; 1_500], &[8; 128]] {
        assert_eq!(answered(&mut answerer, receiver(), request, &book), None);
    }
}

#[test]
fn no_answer_is_longer_than_its_request_and_no_second_brings_more_than_its_share() {
    // PROTOCOL A1: a proved request of every length.
    let (book, mut answerer) = (book(), new_answerer());
    for len in 128..=1_472 {
        let now = Instant::ZERO + Duration::from_secs(len as u64);
        let mut asker = ChainAsker::new(server(), [len as u8; 32], len);
        asker.ask(Digest::of(&book.0[0]), Wanted::Successor);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = sent(&mut asker, now).unwrap();
            answerer.handle_datagram(now, receiver(), &request, &book);
            let mut out = [0; 1_472];
            let answer = answerer.poll_transmit(&mut out).unwrap().len;
            assert!(answer <= request.len());
            answers.push(answer);
            asker.handle_datagram(now, &out[..answer], &mut [0; MAX_SIGNED_AUTHORITY]);
        }
        assert_eq!(answers, [36, len.min(20 + MAX_SIGNED_AUTHORITY)]);
    }
    let mut request = [0; 128];
    let digest = Digest::of(&book.0[0]);
    Request { number: 1, digest, wanted: Wanted::Itself, offset: 0 }.write(&mut request).unwrap();
    let (mut answerer, mut answers) = (new_answerer(), 0);
    for at in 0..5_000 {
        let from = SocketAddr::from(([10, 1, (at >> 8) as u8, at as u8], 9));
        answers += u32::from(answered(&mut answerer, from, &request, &book).is_some());
    }
    assert_eq!(answers, CHAIN_ANSWERS_PER_SECOND);
}

#[test]
fn an_asker_takes_the_answer_to_its_last_request_only() {
    // PROTOCOL A2
    let (book, mut answerer) = (book(), new_answerer());
    let mut room = [0; MAX_SIGNED_AUTHORITY];
    let mut asker = ChainAsker::new(server(), [2; 32], 548);
    asker.ask(Digest::of(&book.0[0]), Wanted::Successor);
    let first = sent(&mut asker, Instant::ZERO).unwrap();
    let number = Request::read(&first).unwrap().number;
    let say = |asker: &mut ChainAsker, number, total, offset, bytes: &[u8]| {
        let mut out = [0; 1_472];
        let body = AnswerBody::Piece { total, offset, bytes };
        let len = Answer { number, body }.write(&mut out).unwrap();
        asker.handle_datagram(Instant::ZERO, &out[..len], &mut [0; MAX_SIGNED_AUTHORITY]);
        sent(asker, Instant::ZERO).is_some()
    };
    // Nobody off the path knows the number.
    assert!(!say(&mut asker, number ^ 1, 10, 0, &[1; 10]));
    assert!(!say(&mut asker, 0, 10, 0, &[1; 10]));
    assert_eq!(asker.poll_event(), None);
    let cookie = answered(&mut answerer, receiver(), &first, &book).unwrap();
    asker.handle_datagram(Instant::ZERO, &cookie, &mut room);
    let second = sent(&mut asker, Instant::ZERO).unwrap();
    let piece = answered(&mut answerer, receiver(), &second, &book).unwrap();
    // What does not fit the room is no document, and the right answer comes too late.
    asker.handle_datagram(Instant::ZERO, &piece, &mut [0; 1_000]);
    asker.handle_datagram(Instant::ZERO, &piece, &mut room);
    assert_eq!((sent(&mut asker, Instant::ZERO), asker.poll_event()), (None, None));
    // An old answer again, in the name of the new request.
    let later = Instant::ZERO + CHAIN_RETRY;
    asker.handle_timeout(later);
    let third = sent(&mut asker, later).unwrap();
    assert_ne!(third[4..12], second[4..12]);
    asker.handle_datagram(later, &piece, &mut room);
    assert_eq!((sent(&mut asker, later), asker.poll_event()), (None, None));
    // A piece from the middle is none.
    let number = Request::read(&third).unwrap().number;
    assert!(!say(&mut asker, number, 100, 50, &[1; 50]));
    assert_eq!(asker.poll_event(), None);
}

#[test]
fn a_chain_that_changes_under_way_and_truncated_pages_begin_anew() {
    let (book, mut answerer) = (book(), new_answerer());
    let mut room = [0; MAX_SIGNED_AUTHORITY];
    let mut asker = ChainAsker::new(server(), [2; 32], 548);
    asker.ask(Digest::of(&book.0[0]), Wanted::Successor);
    let mut answer = |asker: &mut ChainAsker, now, room: &mut [u8], change: fn(&mut Vec<u8>)| {
        let request = sent(asker, now).unwrap();
        let mut answer = answered(&mut answerer, receiver(), &request, &book).unwrap();
        change(&mut answer);
        asker.handle_datagram(now, &answer, room);
    };
    answer(&mut asker, Instant::ZERO, &mut room, |_| {});
    answer(&mut asker, Instant::ZERO, &mut room, |_| {});
    // A page that claims another length of the whole.
    answer(&mut asker, Instant::ZERO, &mut room, |answer| answer[14] ^= 1);
    assert_eq!(sent(&mut asker, Instant::ZERO), None);
    let later = Instant::ZERO + CHAIN_RETRY;
    asker.handle_timeout(later);
    let again = sent(&mut asker, later).unwrap();
    assert_eq!(Request::read(&again).unwrap().offset, 0, "from the beginning");
    // A page that was cut is a shorter one: the rest is asked for.
    asker.ask(Digest::of(&book.0[0]), Wanted::Itself);
    answer(&mut asker, later, &mut room, |answer| answer.truncate(120));
    assert_eq!(asker.poll_event(), None);
    answer(&mut asker, later, &mut room, |_| {});
    assert_eq!(
        (asker.poll_event(), &room[..200]),
        (Some(ChainEvent::Whole { len: 200 }), &book.0[0][..])
    );
}

#[test]
fn who_hears_nothing_asks_three_times_and_then_waits_to_be_told() {
    let mut asker = ChainAsker::new(server(), [2; 32], 548);
    asker.ask(Digest([1; 32]), Wanted::Successor);
    let (mut now, mut times) = (Instant::ZERO, Vec::new());
    while sent(&mut asker, now).is_some() {
        times.push(now.as_micros() / 1_000);
        // Told again meanwhile it does not begin anew.
        asker.ask(Digest([1; 32]), Wanted::Successor);
        assert_eq!(sent(&mut asker, now), None);
        now = asker.poll_timeout().unwrap();
        asker.handle_timeout(now);
    }
    assert_eq!(times, [0, 1_000, 2_000]);
    assert_eq!((asker.poll_timeout(), usize::from(CHAIN_TRIES)), (None, times.len()));
    asker.ask(Digest([1; 32]), Wanted::Successor);
    assert!(sent(&mut asker, now).is_some());
    asker.stop();
    assert_eq!((sent(&mut asker, now), asker.poll_timeout()), (None, None));
}

#[test]
fn forged_cookies_make_one_request_more_and_no_storm() {
    let mut asker = ChainAsker::new(server(), [2; 32], 128);
    asker.ask(Digest([1; 32]), Wanted::Successor);
    let mut requests = 0;
    while let Some(request) = sent(&mut asker, Instant::ZERO) {
        requests += 1;
        let number = Request::read(&request).unwrap().number;
        let mut out = [0; 36];
        let body = AnswerBody::Cookie([requests; 16]);
        Answer { number, body }.write(&mut out).unwrap();
        asker.handle_datagram(Instant::ZERO, &out, &mut []);
        asker.handle_datagram(Instant::ZERO, &out, &mut []);
    }
    assert_eq!(requests, 2);
}
