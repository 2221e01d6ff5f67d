//! The queue beside a list of whole frames, and between two threads.

use std::collections::VecDeque;
use std::vec::Vec;

use super::*;

/// Words of the queue that is tried.
const WORDS: usize = 23;
/// Bytes of the longest frame.
const LONGEST: usize = 60;

/// Numbers that look like chance (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// A frame of so many bytes, each of them told by `number` and its place.
fn frame(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Puts it as the controller gives it: a length in front that is that of more, whole words.
fn push(queue: &FrameQueue<WORDS>, frame: &[u8]) {
    let told = [&[0xEE, 0xEE][..], frame, &[0xEE; 8]].concat();
    let mut words = told.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let head = [words.next().unwrap(), words.next().unwrap()];
    queue.push(frame.len() as u16, head, || words.next().unwrap());
}

fn pop(queue: &FrameQueue<WORDS>) -> Option<Vec<u8>> {
    let mut out = [0; 2 + LONGEST + 2];
    queue.pop(&mut out).map(|len| out[2..2 + len].to_vec())
}

#[test]
fn frames_of_all_lengths_come_out_as_they_went_in_and_none_is_taken_without_room() {
    let (queue, mut chance) = (FrameQueue::<WORDS>::new(), Chance(1));
    let mut model = VecDeque::new();
    let (mut full, mut most) = (0, 0);
    for number in 0..100_000 {
        if chance.below(2) == 0 {
            let frame = frame(number, 6 + chance.below(LONGEST - 5));
            // By hand: two bytes of length, rounded up to words, and one word that stays.
            let of = |frame: &Vec<u8>| (frame.len() + 2).div_ceil(4);
            let taken: usize = model.iter().map(of).sum();
            let has_room = taken + of(&frame) < WORDS;
            assert_eq!(queue.has_room(words_of(frame.len())), has_room);
            if has_room {
                push(&queue, &frame);
                most = most.max(taken + of(&frame));
                model.push_back(frame);
            } else {
                full += 1;
            }
        } else {
            assert_eq!(pop(&queue), model.pop_front());
        }
        assert_eq!(queue.is_empty(), model.is_empty());
    }
    assert!(full > 1_000 && most == WORDS - 1, "{full} {most}");
}

#[test]
fn one_thread_writes_what_another_reads() {
    static QUEUE: FrameQueue<WORDS> = FrameQueue::new();
    const FRAMES: usize = 50_000;
    let length = |number: usize| 6 + number * 13 % (LONGEST - 5);
    let writer = std::thread::spawn(move || {
        for number in 0..FRAMES {
            while !QUEUE.has_room(words_of(length(number))) {
                std::thread::yield_now();
            }
            push(&QUEUE, &frame(number, length(number)));
        }
    });
    for number in 0..FRAMES {
        let came = loop {
            match pop(&QUEUE) {
                Some(came) => break came,
                None => std::thread::yield_now(),
            }
        };
        assert!(came == frame(number, length(number)), "{number}: {came:?}");
    }
    writer.join().unwrap();
    assert!(QUEUE.is_empty());
}

#[test]
fn what_has_no_room_at_its_reader_is_lost_alone() {
    let queue = FrameQueue::<WORDS>::new();
    push(&queue, &frame(1, 40));
    push(&queue, &frame(2, 10));
    let mut small = [0; 16];
    assert_eq!(queue.pop(&mut small), Some(40));
    assert_eq!(pop(&queue), Some(frame(2, 10)));
    assert_eq!(pop(&queue), None);
}
