//! Entry tables made by hand, fed in all split positions, and each rule broken once.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// What the reader told, as text, so that expectations are read at a glance.
fn tell(event: TreeEvent<'_>) -> String {
    match event {
        TreeEvent::Directory { depth, name, mtime } => std::format!("{depth} {name}/ @{mtime}"),
        TreeEvent::File { depth, name, executable, mtime, size, chunks } => {
            let x = if executable { "*" } else { "" };
            std::format!("{depth} {name}{x} @{mtime} {size} in {chunks}")
        }
        TreeEvent::Chunk(reference) => std::format!("{:02x} {}", reference.id.0[0], reference.len),
    }
}

fn read(pieces: &[&[u8]], expected: TreeTotals, slots: usize) -> Result<Vec<String>, BadTree> {
    let mut slots = std::vec![NameSlot::EMPTY; slots];
    let mut reader = EntryReader::new(&mut slots, expected);
    let mut told = Vec::new();
    for piece in pieces {
        let mut sink = |event: TreeEvent<'_>| {
            told.push(tell(event));
            Ok::<(), ()>(())
        };
        match reader.feed(piece, &mut sink) {
            Ok(()) => {}
            Err(FeedError::Tree(fault)) => {
                assert_eq!(reader.finish(), Err(fault), "a failure is for good");
                return Err(fault);
            }
            Err(FeedError::Sink(())) => unreachable!("this sink never fails"),
        }
    }
    reader.finish().map(|()| told)
}

/// Totals that never stand in the way but must be met at the end.
fn totals(entries: u32, files: u32, content_bytes: u64, stream: &[u8]) -> TreeTotals {
    TreeTotals { entries, files, content_bytes, entry_bytes: stream.len() as u64 }
}

fn fault(stream: &[u8]) -> Option<BadTree> {
    let roomy =
        TreeTotals { entries: 999, files: 999, content_bytes: 1 << 50, entry_bytes: 99_999 };
    read(&[stream], roomy, ALL_DEPTHS).err()
}

/// A directory, by hand: kind 0, depth, name, time 0.
fn directory(depth: u8, name: &[u8]) -> Vec<u8> {
    [&[0, depth, name.len() as u8][..], name, &[0; 8]].concat()
}

/// An empty file, by hand: kind 1, depth, name, time 0, size 0, no chunks.
fn empty_file(depth: u8, name: &[u8]) -> Vec<u8> {
    [&[1, depth, name.len() as u8][..], name, &[0; 20]].concat()
}

/// A file of `size` bytes whose chunks have these lengths.
fn file(name: &[u8], size: u64, lens: &[u32]) -> Vec<u8> {
    let mut bytes = [&[1, 0, name.len() as u8][..], name, &[0; 8], &size.to_le_bytes()].concat();
    bytes.extend((lens.len() as u32).to_le_bytes());
    for len in lens {
        bytes.extend([0xab; 32]);
        bytes.extend(len.to_le_bytes());
    }
    bytes
}

/// `bin/`, `bin/run` (executable, 5 bytes in two chunks), `note` (empty), by hand.
const SAMPLE: &str = "
    00 00 03 62696e 0100000000000000
    81 01 03 72756e ffffffffffffffff 0500000000000000 02000000
        1111111111111111111111111111111111111111111111111111111111111111 03000000
        2222222222222222222222222222222222222222222222222222222222222222 02000000
    01 00 04 6e6f7465 0002000000000000 0000000000000000 00000000";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

const SAMPLE_TOLD: [&str; 5] =
    ["0 bin/ @1", "1 run* @-1 5 in 2", "11 3", "22 2", "0 note @512 0 in 0"];

#[test]
fn a_hand_made_table_reads_the_same_in_all_cuts() {
    let bytes = hex(SAMPLE);
    let expected = totals(3, 2, 5, &bytes);
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(read(&pieces, expected, 2).unwrap(), SAMPLE_TOLD);
        }
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, expected, 2).unwrap(), SAMPLE_TOLD);
}

#[test]
fn the_writers_make_the_hand_made_table() {
    let (mut out, mut bytes) = ([0; MAX_ENTRY], Vec::new());
    let name = |text: &'static str| Component::parse(text.as_bytes()).unwrap();
    let len = encode_directory(0, name("bin"), 1, &mut out).unwrap();
    bytes.extend(&out[..len]);
    let run =
        FileEntry { depth: 1, name: name("run"), executable: true, mtime: -1, size: 5, chunks: 2 };
    let len = encode_file(&run, &mut out).unwrap();
    bytes.extend(&out[..len]);
    for (id, len) in [(0x11, 3), (0x22, 2)] {
        bytes.extend(ChunkRef { id: crate::digest::Digest([id; 32]), len }.encode());
    }
    let note = FileEntry {
        depth: 0,
        name: name("note"),
        executable: false,
        mtime: 512,
        size: 0,
        chunks: 0,
    };
    let len = encode_file(&note, &mut out).unwrap();
    bytes.extend(&out[..len]);
    assert_eq!(bytes, hex(SAMPLE));
    assert_eq!(encode_file(&note, &mut out[..26]), Err(Malformed::Bound));
}

#[test]
fn an_end_inside_an_entry_is_noticed_and_one_between_does_not_fit_the_root() {
    let bytes = hex(SAMPLE);
    for end in 0..bytes.len() {
        let fault = read(&[&bytes[..end]], totals(3, 2, 5, &bytes), 2).err();
        let between = [0, 14, 112].contains(&end);
        assert_eq!(matches!(fault, Some(BadTree::Totals { .. })), between, "{end}");
        assert_eq!(fault == Some(BadTree::Unfinished), !between, "{end}");
    }
}

#[test]
fn names_must_ascend_within_their_directory_only() {
    let good = [directory(0, b"b"), empty_file(1, b"a"), empty_file(0, b"c")].concat();
    assert!(read(&[&good], totals(3, 2, 0, &good), 2).is_ok());
    // The second directory begins anew, whatever stood in the first.
    let anew = [directory(0, b"a"), empty_file(1, b"z"), directory(0, b"b"), empty_file(1, b"a")];
    let anew = anew.concat();
    assert!(read(&[&anew], totals(4, 2, 0, &anew), 2).is_ok());
    // PROTOCOL R1: repeated, and out of order; bytes count, not lengths.
    let twice = [directory(0, b"a"), empty_file(0, b"a")].concat();
    assert_eq!(fault(&twice), Some(BadTree::Repeated));
    let back = [empty_file(0, b"b"), empty_file(0, b"aa")].concat();
    assert_eq!(fault(&back), Some(BadTree::Order));
    let inner = [directory(0, b"d"), empty_file(1, b"b"), empty_file(1, b"a")].concat();
    assert_eq!(fault(&inner), Some(BadTree::Order));
}

#[test]
fn a_parent_must_be_open() {
    // PROTOCOL R1: nothing is open below the root; a file opens nothing; what
    // was left is closed.
    assert_eq!(fault(&empty_file(1, b"a")), Some(BadTree::Parent { found: 1, open: 0 }));
    let below_file = [empty_file(0, b"a"), empty_file(1, b"b")].concat();
    assert_eq!(fault(&below_file), Some(BadTree::Parent { found: 1, open: 0 }));
    let left = [directory(0, b"a"), empty_file(0, b"b"), empty_file(1, b"c")].concat();
    assert_eq!(fault(&left), Some(BadTree::Parent { found: 1, open: 0 }));
    let skipped = [directory(0, b"a"), empty_file(2, b"b")].concat();
    assert_eq!(fault(&skipped), Some(BadTree::Parent { found: 2, open: 1 }));
}

#[test]
fn sixty_four_directories_nest_and_no_more() {
    let nested: Vec<u8> = (0..64).flat_map(|depth| directory(depth, b"d")).collect();
    let deepest = [&nested[..], &empty_file(64, b"f")].concat();
    assert!(read(&[&deepest], totals(65, 1, 0, &deepest), ALL_DEPTHS).is_ok());
    // PROTOCOL R1: a depth beyond MAX_DEPTH.
    let deeper = [&nested[..], &directory(64, b"d")].concat();
    assert_eq!(fault(&deeper), Some(BadTree::Depth { found: 65 }));
    assert_eq!(fault(&empty_file(65, b"f")), Some(BadTree::Depth { found: 65 }));
    assert_eq!(fault(&directory(255, b"f")), Some(BadTree::Depth { found: 255 }));
}

#[test]
fn a_board_with_few_slots_says_that_the_limit_is_its_own() {
    let bytes = hex(SAMPLE);
    let fault = read(&[&bytes], totals(3, 2, 5, &bytes), 1).err();
    assert_eq!(fault, Some(BadTree::TooDeepForReader { needed: 2 }));
    let fault = read(&[&bytes], totals(3, 2, 5, &bytes), 0).err();
    assert_eq!(fault, Some(BadTree::TooDeepForReader { needed: 1 }));
}

#[test]
fn unsafe_names_are_refused_with_their_reason() {
    // PROTOCOL R1
    assert_eq!(fault(&directory(0, b"")), Some(BadTree::Name(UnsafeName::Empty)));
    assert_eq!(fault(&directory(0, b"..")), Some(BadTree::Name(UnsafeName::Dots)));
    assert_eq!(fault(&empty_file(0, b"a/b")), Some(BadTree::Name(UnsafeName::Separator('/'))));
    assert_eq!(fault(&empty_file(0, b"\xff")), Some(BadTree::Name(UnsafeName::NotUtf8)));
}

#[test]
fn sizes_must_be_the_sum_of_the_chunks() {
    let good = file(b"a", 7, &[3, 4]);
    assert!(read(&[&good], totals(1, 1, 7, &good), 1).is_ok());
    // PROTOCOL R1: less, more, nothing, and far too much for its chunks.
    for (size, lens) in
        [(6, &[3, 4][..]), (8, &[3, 4]), (1, &[]), (0, &[1]), (131_073, &[131_072]), (1, &[1, 1])]
    {
        assert_eq!(fault(&file(b"a", size, lens)), Some(BadTree::Size), "{size}");
    }
    let unbounded = Some(BadTree::Malformed(Malformed::Bound));
    assert_eq!(fault(&file(b"a", 7, &[0, 7])), unbounded);
}

#[test]
fn numbers_other_than_the_roots_are_refused() {
    let bytes = hex(SAMPLE);
    let right = totals(3, 2, 5, &bytes);
    let refused = |wrong| matches!(read(&[&bytes], wrong, 2), Err(BadTree::Totals { .. }));
    // PROTOCOL R1: each number, one too small and one too large.
    for entries in [2, 4] {
        assert!(refused(TreeTotals { entries, ..right }));
    }
    for files in [1, 3] {
        assert!(refused(TreeTotals { files, ..right }));
    }
    for content_bytes in [4, 6] {
        assert!(refused(TreeTotals { content_bytes, ..right }));
    }
    for entry_bytes in [right.entry_bytes - 1, right.entry_bytes + 1] {
        assert!(refused(TreeTotals { entry_bytes, ..right }));
    }
}

#[test]
fn unknown_kinds_and_executable_directories_are_refused() {
    for kind in [2, 0x7f, 0x80, 0x82, 0x41] {
        let mut bytes = empty_file(0, b"a");
        bytes[0] = kind;
        assert_eq!(fault(&bytes), Some(BadTree::Malformed(Malformed::Kind(kind))));
    }
}

#[test]
fn after_a_failure_of_the_sink_nothing_counts_any_more() {
    let bytes = hex(SAMPLE);
    let mut slots = [NameSlot::EMPTY; 2];
    let mut reader = EntryReader::new(&mut slots, totals(3, 2, 5, &bytes));
    let fed = reader.feed(&bytes, &mut |_| Err("disk full"));
    assert_eq!(fed, Err(FeedError::Sink("disk full")));
    let fed = reader.feed(&[], &mut |_| Err("disk full"));
    assert_eq!(fed, Ok(()), "no bytes, no work");
    assert_eq!(reader.finish(), Err(BadTree::Aborted));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let roomy = TreeTotals { entries: 99, files: 99, content_bytes: 1 << 40, entry_bytes: 999 };
        let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
        // Whatever is found, it is found in every cut.
        prop_assert_eq!(read(&[front, back], roomy, 4), read(&[&bytes], roomy, 4));
        let mut sample = hex(SAMPLE);
        let at = flip.0.index(sample.len());
        sample[at] ^= flip.1;
        let expected = totals(3, 2, 5, &sample);
        let (front, back) = sample.split_at(cut.index(sample.len() + 1));
        prop_assert_eq!(read(&[front, back], expected, 4), read(&[&sample], expected, 4));
    }
}
