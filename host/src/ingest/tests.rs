//! From files to releases and back.

use std::fs;
use std::io;
use std::path::Path;
use std::slice;

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::tree::entry::{ALL_DEPTHS, EntryReader, NameSlot, TreeEvent, TreeTotals};
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;

use super::fixtures::{DRAFT, Memory, build, directory, file, noise, path, tree};
use super::*;
use crate::files::{Walk, walk};

fn listed(folder: &Path) -> Walk {
    walk(&[folder.to_path_buf()], false).unwrap()
}

fn taken_in(folder: &Path, sink: &mut Memory) -> Ingested {
    ingest(&listed(folder).entries, Encoding::HOSTS, sink, &mut |_| {}).unwrap()
}

fn new_bytes(sink: &mut Memory) -> (usize, usize) {
    let new = std::mem::take(&mut sink.new);
    (new.len(), new.iter().sum())
}

#[test]
fn files_come_back_from_their_chunks_and_nothing_is_stored_twice() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("d");
    fs::create_dir_all(folder.join("empty")).unwrap();
    let big = noise(1_000_000);
    fs::write(folder.join("big"), &big).unwrap();
    fs::write(folder.join("same"), &big).unwrap();
    fs::write(folder.join("nothing"), "").unwrap();
    fs::write(folder.join("zeros"), vec![0; 300_000]).unwrap();
    let (mut sink, mut steps) = (Memory::default(), Vec::new());
    let entries = listed(&folder).entries;
    let mut progress = |progress| steps.push(progress);
    let taken = ingest(&entries, Encoding::HOSTS, &mut sink, &mut progress).unwrap();
    let paths: Vec<_> = taken.sent.iter().map(|sent| sent.path.join("/")).collect();
    assert_eq!(paths, ["d", "d/big", "d/empty", "d/nothing", "d/same", "d/zeros"]);
    let content = taken.sent.iter().map(|sent| match &sent.node {
        Node::File(file) => Some((file.size, sink.read(&file.chunks))),
        Node::Directory { .. } => None,
    });
    let big = Some((1_000_000, big));
    let zeros = Some((300_000, vec![0; 300_000]));
    let content: Vec<_> = content.collect();
    assert_eq!(content, [None, big.clone(), None, Some((0, vec![])), big, zeros]);
    assert_eq!((taken.progress.read, taken.progress.total), (2_300_000, 2_300_000));
    assert_eq!(steps.last(), Some(&taken.progress));
    assert!(steps.is_sorted_by_key(|step| step.read));
    // Of the zeros 64 KiB are stored once, and what is left over at the end.
    let unique = 1_000_000 + 65_536 + 300_000 % 65_536;
    assert_eq!(new_bytes(&mut sink).1, unique);
    assert_eq!(taken.progress.new_bytes, unique as u64);
    assert!(taken.progress.record_bytes < 1_002_000);
    let again = ingest(&entries, Encoding::HOSTS, &mut sink, &mut |_| {}).unwrap();
    assert_eq!((again.sent, again.progress.new_chunks), (taken.sent, 0));
}

#[test]
fn a_file_that_grew_or_shrank_after_it_was_listed_is_not_taken() {
    for content in ["longer than before", "x", ""] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "before").unwrap();
        let entries = walk(slice::from_ref(&file), false).unwrap().entries;
        fs::write(&file, content).unwrap();
        let mut sink = Memory::default();
        let refused = ingest(&entries, Encoding::HOSTS, &mut sink, &mut |_| {}).unwrap_err();
        let IngestError::File(refused) = refused else { panic!("{refused}") };
        assert_eq!(refused.code(), "path-changed");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_taken() {
    // The reader is at most three batches of 2 MiB ahead of the first progress.
    for length in [0, 31 << 20, 33 << 20] {
        let root = tempfile::tempdir().unwrap();
        let file = fs::File::create(root.path().join("file")).unwrap();
        file.set_len(32 << 20).unwrap();
        let entries = walk(&[root.path().join("file")], false).unwrap().entries;
        let mut change = |_| file.set_len(length).unwrap();
        let refused = ingest(&entries, Encoding::HOSTS, &mut Memory::default(), &mut change);
        let Err(IngestError::File(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.code(), "path-changed");
    }
}

#[test]
fn a_store_that_fails_ends_it_soon() {
    struct Full(usize);
    impl ChunkSink for Full {
        fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>> {
            Ok(vec![true; ids.len()])
        }
        fn put(&mut self, _: Digest, _: &[u8]) -> io::Result<()> {
            self.0 -= 1;
            if self.0 == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), noise(8 << 20)).unwrap();
    let entries = walk(&[root.path().join("file")], false).unwrap().entries;
    for puts in [1, 200] {
        let mut last = Progress::default();
        let refused = ingest(&entries, Encoding::HOSTS, &mut Full(puts), &mut |step| last = step)
            .unwrap_err();
        let IngestError::Sink(error) = refused else { panic!("{refused}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(last.read < 8 << 20);
    }
}

#[test]
fn a_store_that_answers_for_fewer_chunks_is_not_believed() {
    struct Silent;
    impl ChunkSink for Silent {
        fn lacks(&mut self, _: &[Digest]) -> io::Result<Vec<bool>> {
            Ok(Vec::new())
        }
        fn put(&mut self, _: Digest, _: &[u8]) -> io::Result<()> {
            panic!("nothing is known to lack")
        }
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "content").unwrap();
    let entries = walk(&[root.path().join("file")], false).unwrap().entries;
    let refused = ingest(&entries, Encoding::HOSTS, &mut Silent, &mut |_| {});
    assert!(matches!(refused, Err(IngestError::Sink(_))));
    let refused = DRAFT.build(&tree([file("f", &[1])]), Encoding::HOSTS, &mut Silent);
    assert!(matches!(refused, Err(ReleaseError::Sink(_))));
}

#[test]
fn a_byte_in_front_of_a_file_costs_little() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("d");
    fs::create_dir(&folder).unwrap();
    let bytes = noise(8 << 20);
    fs::write(folder.join("file"), &bytes).unwrap();
    let mut sink = Memory::default();
    build(&tree(taken_in(&folder, &mut sink).sent), &mut sink);
    let _first = new_bytes(&mut sink);
    fs::write(folder.join("file"), [&[9], &bytes[..]].concat()).unwrap();
    let second = tree(taken_in(&folder, &mut sink).sent);
    let content = new_bytes(&mut sink);
    build(&second, &mut sink);
    let index = new_bytes(&mut sink);
    println!("content {content:?}, index {index:?} (chunks, bytes)");
    assert!((1..100 << 10).contains(&content.1), "{content:?}");
    assert!((1..24 << 10).contains(&index.1), "{index:?}");
}

#[test]
fn a_small_file_more_changes_few_index_chunks() {
    let files = || (0..2_000).map(|n| file(&format!("d/{n:05}.txt"), &[3_000]));
    let mut sink = Memory::default();
    let mut whole = tree([directory("d")].into_iter().chain(files()));
    let first = build(&whole, &mut sink);
    let all = new_bytes(&mut sink);
    assert!(all.1 > 2_000 * (3 + 9 + 8 + 12 + 36), "{all:?}");
    whole.merge([file("d/01000a.txt", &[10])]).unwrap();
    let second = build(&whole, &mut sink);
    let new = new_bytes(&mut sink);
    println!("{all:?} index chunks and bytes at first, {new:?} of them new");
    assert!(new.0 <= 6 && new.1 <= 24 << 10, "{new:?}");
    assert_ne!(first.name.digest, second.name.digest);
    assert_eq!((second.files, second.bytes), (2_001, 6_000_010));
    assert_eq!(sink.tree(&second.body), whole);
}

/// What `core` reads in the entry table, as lines; index chunks found by hand from the root.
fn told(sink: &Memory, release: &UnsignedRelease) -> Vec<String> {
    let top = ReleaseRoot::decode(&release.body).unwrap().standard;
    let levels: Vec<usize> = top.levels.iter().map(|count| *count as usize).collect();
    let mut list = top.top.to_vec();
    let mut rest = &release.index[..];
    for count in levels {
        let (level, below) = rest.split_at(count);
        assert_eq!(level.iter().flat_map(ChunkRef::encode).collect::<Vec<_>>(), list);
        (list, rest) = (sink.read(level), below);
    }
    assert_eq!((rest.len(), list.len() as u64), (0, top.entry_bytes));
    let totals = TreeTotals {
        entries: top.entries,
        files: top.files,
        content_bytes: top.content_bytes,
        entry_bytes: top.entry_bytes,
    };
    let mut slots = vec![NameSlot::EMPTY; ALL_DEPTHS];
    let mut reader = EntryReader::new(&mut slots, totals);
    let mut lines = Vec::new();
    let mut tell = |event: TreeEvent<'_>| {
        lines.push(match event {
            TreeEvent::Directory { depth, name, mtime } => format!("{depth} {name}/ {mtime}"),
            TreeEvent::File { depth, name, executable, mtime, size, chunks } => {
                format!("{depth} {name} {executable} {mtime} {size} {chunks}")
            }
            TreeEvent::Chunk(chunk) => format!("{}", chunk.len),
        });
        Ok::<(), ()>(())
    };
    reader.feed(&list, &mut tell).unwrap();
    reader.finish().unwrap();
    lines
}

#[test]
fn a_tree_is_read_by_the_core_as_it_was_written() {
    let (mut sink, time) = (Memory::default(), 1_u64 << 40);
    let whole = tree([
        file("z", &[]),
        directory("b"),
        file("b/run.x", &[7, 131_072]),
        directory("b/empty"),
        file("b.txt", &[1]),
    ]);
    let release = build(&whole, &mut sink);
    let expected = [
        "0 b/ -5".to_owned(),
        "1 empty/ -5".to_owned(),
        format!("1 run.x true {time} 131079 2"),
        "7".to_owned(),
        "131072".to_owned(),
        format!("0 b.txt false {time} 1 1"),
        "1".to_owned(),
        format!("0 z false {time} 0 0"),
    ];
    assert_eq!(told(&sink, &release), expected);
    assert_eq!(sink.tree(&release.body), whole);
    assert_eq!((release.files, release.bytes), (3, 131_080));
    // The same again, and into another store: the same root, byte for byte.
    assert_eq!(build(&whole, &mut sink), release);
    assert_eq!(build(&whole, &mut Memory::default()), release);
}

#[test]
fn the_empty_tree_is_a_release_too() {
    let mut sink = Memory::default();
    let release = build(&Tree::default(), &mut sink);
    assert_eq!((release.index.len(), sink.chunks.len()), (0, 0));
    assert!(sink.tree(&release.body).is_empty());
}

#[test]
fn the_deepest_and_longest_that_may_be_comes_back() {
    // PROTOCOL R1: 64 directories deep, names of 255 bytes.
    let name = |n: usize| format!("{n:0>255}");
    let deep = |depth: usize| (1..=depth).map(name).collect::<Vec<_>>();
    let directories =
        (1..=64).map(|n| Sent { path: deep(n), node: Node::Directory { mtime: i64::MIN } });
    let mut whole = tree(directories);
    whole.merge([Sent { path: deep(65), node: file("f", &[5]).node }]).unwrap();
    let mut sink = Memory::default();
    let release = build(&whole, &mut sink);
    assert_eq!(told(&sink, &release).len(), 66);
    assert_eq!(sink.tree(&release.body), whole);
    whole.remove(&deep(65));
    let beyond = Sent { path: deep(65), node: Node::Directory { mtime: 0 } };
    assert!(matches!(whole.merge([beyond]), Err(TreeError::TooDeep(_))));
}

#[test]
fn the_root_of_a_very_long_list_is_small_and_holds_its_signatures() {
    // 5 GiB in chunks of 16 KiB, one file.
    let whole = tree([file("image", &vec![16_384; 327_680])]);
    let mut sink = Memory::default();
    let draft = ReleaseDraft {
        group_name: &"g".repeat(64),
        label: &"l".repeat(64),
        created: u64::MAX,
        expires: u64::MAX,
        ..DRAFT
    };
    let unsigned = draft.build(&whole, Encoding::HOSTS, &mut sink).unwrap();
    let levels = ReleaseRoot::decode(&unsigned.body).unwrap().standard.levels;
    println!("root {} bytes, index chunks per level {levels:?}", unsigned.body.len());
    assert!(unsigned.body.len() <= MAX_ROOT && levels.len() > 1);
    assert_eq!((unsigned.files, unsigned.bytes), (1, 5 << 30));
    assert_eq!(told(&sink, &unsigned).len(), 1 + 327_680);
    let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let signed = unsigned.sign(&[&keys[0], &keys[1]]).unwrap();
    let document = SignedDocument::parse(&signed.document, MAX_ROOT).unwrap();
    let public = keys.iter().map(SigningKey::verifying_key);
    assert_eq!(document.verify_threshold(Context::Release, public, 2), Ok(()));
    let prefixed = [b"fleetcast release v1\0", &unsigned.body[..]].concat();
    assert_eq!(signed.name.digest, Digest::of(&prefixed));
}

#[test]
fn a_release_whose_index_was_changed_is_not_read() {
    let mut sink = Memory::default();
    let release = build(&tree([file("a", &[1])]), &mut sink);
    sink.chunks.values_mut().for_each(|chunk| chunk[3] = b'b');
    let root = ReleaseRoot::decode(&release.body).unwrap();
    // PROTOCOL R2
    let mut changed = |reference: &ChunkRef| Ok(sink.chunks[&reference.id].clone());
    let refused = Tree::from_release(&root.standard, &mut changed);
    assert!(matches!(refused, Err(TreeError::Chunk(_))));
    let mut gone = |_: &ChunkRef| Err(io::ErrorKind::NotFound.into());
    assert!(matches!(Tree::from_release(&root.standard, &mut gone), Err(TreeError::Read(_))));
}

#[test]
fn ten_thousand_small_files_are_taken_in() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("d");
    for part in 0..10 {
        let part = folder.join(format!("{part}"));
        fs::create_dir_all(&part).unwrap();
        for n in 0..1_000 {
            fs::write(part.join(format!("{n}")), format!("{}", part.join("x").display())).unwrap();
        }
    }
    let start = std::time::Instant::now();
    let mut sink = Memory::default();
    let entries = listed(&folder).entries;
    let walked = start.elapsed();
    let taken = ingest(&entries, Encoding::HOSTS, &mut sink, &mut |_| {}).unwrap();
    let stored = start.elapsed();
    let release = build(&tree(taken.sent), &mut sink);
    println!("walked {walked:?}, stored {stored:?}, built {:?}", start.elapsed());
    assert_eq!(release.files, 10_000);
    // One content per folder.
    assert_eq!(ReleaseRoot::decode(&release.body).unwrap().standard.content_chunks, 10);
}

mod merging {
    use super::*;

    fn paths(tree: &Tree) -> Vec<String> {
        tree.entries().map(|(path, _)| path.join("/")).collect()
    }

    #[test]
    fn directories_merge_and_files_replace() {
        let mut whole =
            tree([directory("d"), file("d/old", &[1]), file("d/both", &[2]), file("e", &[3])]);
        let sent = [directory("d"), file("d/both", &[9, 9]), file("d/new", &[4])];
        whole.merge(sent.clone()).unwrap();
        assert_eq!(paths(&whole), ["d", "d/both", "d/new", "d/old", "e"]);
        assert_eq!(whole.entry(&path("d/both")), Some(&sent[1].node));
    }

    #[test]
    fn what_is_sent_takes_the_place_of_another_kind() {
        let before = [
            directory("a"),
            directory("a/b"),
            file("a/b/c", &[1]),
            file("a-", &[1]),
            directory("ab"),
            file("ab/c", &[1]),
        ];
        let mut whole = tree(before);
        whole.merge([file("a", &[2])]).unwrap();
        assert_eq!(paths(&whole), ["a", "a-", "ab", "ab/c"]);
        whole.merge([directory("a"), file("a/new", &[])]).unwrap();
        assert_eq!(paths(&whole), ["a", "a/new", "a-", "ab", "ab/c"]);
    }

    #[test]
    fn names_that_collide_by_case_with_what_is_there_are_refused() {
        // PROTOCOL R1
        let mut whole = tree([directory("d"), file("d/README", &[1]), directory("e")]);
        whole.merge([file("e/ReadMe", &[1])]).unwrap();
        let refused = whole.merge([directory("d"), file("d/ReadMe", &[2])]).unwrap_err();
        assert_eq!(refused.to_string(), r#""d/README" and "d/ReadMe" differ only by case"#);
    }

    #[test]
    fn what_no_reader_would_take_gets_into_no_tree() {
        // PROTOCOL R1
        let refused = |sent| Tree::default().merge([sent]).unwrap_err();
        for name in ["..", "", "nul", "u\u{308}", "a\nb"] {
            let sent = Sent { path: vec![name.to_owned()], node: file("f", &[1]).node };
            assert!(matches!(refused(sent), TreeError::Name { .. }), "{name:?}");
        }
        let nowhere = Sent { path: Vec::new(), node: file("f", &[1]).node };
        assert!(matches!(refused(nowhere), TreeError::Name { .. }));
        assert!(matches!(refused(file("d/f", &[1])), TreeError::Orphan(_)));
        let mut short = file("f", &[1, 2]);
        if let Node::File(node) = &mut short.node {
            node.size = 4;
        }
        assert!(matches!(refused(short), TreeError::Size(_)));
        let mut below_a_file = tree([file("f", &[1])]);
        assert!(matches!(below_a_file.merge([file("f/g", &[1])]), Err(TreeError::Orphan(_))));
    }
}
