//! The store in a directory: reopened, torn, sealed, read while written.

use std::thread;

use super::*;

/// A record of codec "none" around `chunk`, by PROTOCOL §4.
fn raw(chunk: &[u8]) -> (Digest, Vec<u8>) {
    let len = (chunk.len() as u32).to_le_bytes();
    let mut record = vec![0, len[0], len[1], len[2], len[0], len[1], len[2]];
    record.extend_from_slice(chunk);
    (Digest::of(chunk), record)
}

fn text(number: u32) -> (Digest, Vec<u8>) {
    raw(format!("chunk {number}").as_bytes())
}

fn assert_holds(store: &Packs, numbers: std::ops::Range<u32>) {
    let mut out = vec![0; 100];
    for (id, record) in numbers.map(text) {
        let len = store.read(&id, &mut out).unwrap();
        assert_eq!(out[..len], record);
    }
}

#[test]
fn a_hundred_thousand_chunks_are_found_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open_with(folder.path(), 1 << 20).unwrap();
    for (id, record) in (0..100_000).map(text) {
        assert!(store.put(id, &record).unwrap());
    }
    store.sync().unwrap();
    assert_eq!(store.chunks(), 100_000);
    drop(store);
    let store = Packs::open_with(folder.path(), 1 << 20).unwrap();
    assert_eq!(store.recovered(), Recovered::default());
    // 100,000 entries of 43 bytes and 7 to 11 of text: 5.4 MB fill five packs of 1 MiB.
    assert_eq!(pack_numbers(folder.path()).unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(store.chunks(), 100_000);
    assert_holds(&store, 0..100_000);
    assert!(!store.contains(&text(100_000).0).unwrap());
    assert!(!store.put(text(3).0, &text(3).1).unwrap());
}

#[test]
fn a_lost_or_rotten_index_is_built_anew_and_equal() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open_with(folder.path(), 4_096).unwrap();
    for (id, record) in (0..200).map(text) {
        store.put(id, &record).unwrap();
    }
    drop(store);
    let first = fs::read(index_path(folder.path(), 1)).unwrap();
    fs::remove_file(index_path(folder.path(), 1)).unwrap();
    fs::write(index_path(folder.path(), 2), b"rotten").unwrap();
    let store = Packs::open_with(folder.path(), 4_096).unwrap();
    assert_eq!(store.recovered(), Recovered { indexes: 2, ..Recovered::default() });
    assert_eq!(fs::read(index_path(folder.path(), 1)).unwrap(), first);
    assert_holds(&store, 0..200);
}

#[test]
fn a_torn_tail_is_cut_off_and_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    for (id, record) in (0..3).map(text) {
        store.put(id, &record).unwrap();
    }
    drop(store);
    let path = pack_path(folder.path(), 1);
    let whole = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(whole - 1).unwrap();
    let store = Packs::open(folder.path()).unwrap();
    // An entry of "chunk 2" has 32 + 4 + 7 + 7 bytes; one was lost.
    assert_eq!(store.recovered().torn_bytes, 49);
    assert_holds(&store, 0..2);
    assert!(matches!(store.read(&text(2).0, &mut [0; 99]), Err(StoreError::Missing(_))));
    assert!(store.put(text(2).0, &text(2).1).unwrap());
    drop(store);
    assert_holds(&Packs::open(folder.path()).unwrap(), 0..3);
    assert_eq!(fs::metadata(&path).unwrap().len(), whole);
}

#[test]
fn a_pack_cut_within_its_heading_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(pack_path(folder.path(), 1), &MAGIC[..7]).unwrap();
    let store = Packs::open(folder.path()).unwrap();
    store.put(text(1).0, &text(1).1).unwrap();
    drop(store);
    assert_holds(&Packs::open(folder.path()).unwrap(), 1..2);
}

#[test]
fn a_crash_between_the_next_pack_and_the_index_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    store.put(text(1).0, &text(1).1).unwrap();
    drop(store);
    pack::create(&pack_path(folder.path(), 2)).unwrap();
    let store = Packs::open(folder.path()).unwrap();
    assert_eq!(store.recovered().indexes, 1);
    assert_holds(&store, 1..2);
}

#[test]
fn a_damaged_record_is_an_error_and_not_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    let (id, record) = text(1);
    store.put(id, &record).unwrap();
    // The length in the record's header lies at 16 + 36 + 4.
    let file = File::options().write(true).open(pack_path(folder.path(), 1)).unwrap();
    file.write_all_at(&[99], 56).unwrap();
    assert!(matches!(store.read(&id, &mut [0; 99]), Err(StoreError::Damaged(_))));
}

#[test]
fn records_that_are_not_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    let (id, mut record) = text(1);
    record.push(0);
    assert!(matches!(store.put(id, &record), Err(StoreError::BadRecord(_))));
    assert_eq!(store.chunks(), 0);
}

#[test]
fn readers_find_every_chunk_while_packs_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open_with(folder.path(), 8_192).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for number in 0..5_000 {
                let (id, record) = text(number);
                store.put(id, &record).unwrap();
                send.send(number).unwrap();
            }
        });
        scope.spawn(move || {
            let mut seen = 0;
            while let Ok(number) = receive.recv() {
                assert_holds(store, number / 2..number / 2 + 1);
                assert_holds(store, number..number + 1);
                seen += 1;
            }
            assert_eq!(seen, 5_000);
        });
    });
}

/// Bytes of all packs in a directory.
fn pack_bytes(directory: &Path) -> u64 {
    let numbers = pack_numbers(directory).unwrap().into_iter();
    numbers.map(|number| fs::metadata(pack_path(directory, number)).unwrap().len()).sum()
}

#[test]
fn collection_frees_what_nobody_wants_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open_with(folder.path(), 4_096).unwrap();
    for (id, record) in (0..1_000).map(text) {
        store.put(id, &record).unwrap();
    }
    let before = pack_bytes(folder.path());
    let keep: std::collections::HashSet<_> = (700..1_000).map(|n| text(n).0).collect();
    let freed = store.collect(|id| keep.contains(id)).unwrap();
    assert!(freed > before / 2, "{freed} of {before}");
    assert!(!store.contains(&text(0).0).unwrap());
    assert_holds(&store, 700..1_000);
    assert_eq!(store.collect(|id| keep.contains(id)).unwrap(), 0);
    drop(store);
    let store = Packs::open_with(folder.path(), 4_096).unwrap();
    assert_eq!(store.recovered(), Recovered::default());
    assert!(!store.contains(&text(0).0).unwrap());
    assert_holds(&store, 700..1_000);
    // An entry and its text have at most 54 bytes; a pack is kept while half is wanted.
    assert!(pack_bytes(folder.path()) < 2 * 300 * 54 + 3 * 4_096);
}

#[test]
fn collection_moves_the_few_that_are_wanted_and_refuses_rot() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    for (id, record) in (0..10).map(text) {
        store.put(id, &record).unwrap();
    }
    let keep = [text(3).0, text(8).0];
    // 10 entries of 50 bytes and a heading of 16, of which 2 entries stay.
    assert_eq!(store.collect(|id| keep.contains(id)).unwrap(), 10 * 50 + 16 - 2 * 50);
    assert_eq!((store.chunks(), pack_numbers(folder.path()).unwrap()), (2, vec![2]));
    assert_holds(&store, 3..4);
    // Text of the second entry in the new pack (ids in order): rot, then too little is wanted.
    let mut order = keep;
    order.sort();
    for (id, record) in (20..30).map(text) {
        store.put(id, &record).unwrap();
    }
    let file = File::options().write(true).open(pack_path(folder.path(), 2)).unwrap();
    file.write_all_at(b"X", 16 + 50 + 43).unwrap();
    let refused = store.collect(|id| *id == order[1]);
    assert!(matches!(refused, Err(StoreError::Damaged(id)) if id == order[1]));
    assert_holds(&store, 20..30);
}

/// Puts the file at `path` in place of the active pack, and returns that one.
fn exchange_active(store: &Packs, path: &str) -> Arc<File> {
    let file = File::options().read(true).write(true).open(path).unwrap();
    std::mem::replace(&mut store.tables.write().unwrap().active, Arc::new(file))
}

#[test]
fn what_is_put_is_durable_after_a_sync_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    // Three entries of 50 bytes behind the heading of 16 fill a pack.
    let store = Packs::open_with(folder.path(), 170).unwrap();
    let durable = || (0..6).map(|n| store.is_durable(&text(n).0).unwrap()).collect::<Vec<_>>();
    for (id, record) in (0..2).map(text) {
        store.put(id, &record).unwrap();
    }
    assert_eq!(durable(), [false; 6]);
    store.sync_ahead();
    store.put(text(2).0, &text(2).1).unwrap();
    assert_eq!(durable(), [true, true, false, false, false, false]);
    // A full pack is made durable by whoever needs the next one.
    store.put(text(3).0, &text(3).1).unwrap();
    assert_eq!(pack_numbers(folder.path()).unwrap(), [1, 2]);
    assert_eq!(durable(), [true, true, true, false, false, false]);
    store.sync().unwrap();
    assert_eq!(durable(), [true, true, true, true, false, false]);
}

#[test]
fn a_failed_sync_is_told_and_forgets_what_everybody_had_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    store.put(text(0).0, &text(0).1).unwrap();
    store.sync().unwrap();
    // The null device takes every write and refuses fdatasync (EINVAL).
    let pack = exchange_active(&store, "/dev/null");
    store.put(text(1).0, &text(1).1).unwrap();
    store.sync_ahead();
    // Another upload finds the chunk gone, puts one of its own, and hears of it.
    assert!(!store.contains(&text(1).0).unwrap());
    store.put(text(2).0, &text(2).1).unwrap();
    let told = store.sync().unwrap_err();
    assert!(told.to_string().contains("Invalid argument"), "{told}");
    assert!(store.sync().is_err(), "nothing has become durable since");
    assert!(!store.contains(&text(2).0).unwrap());
    // The disk works again: all is put anew, where the lost entries lay.
    store.tables.write().unwrap().active = pack;
    for (id, record) in (1..3).map(text) {
        assert!(store.put(id, &record).unwrap());
    }
    store.sync().unwrap();
    drop(store);
    let store = Packs::open(folder.path()).unwrap();
    assert_eq!((store.recovered(), store.chunks()), (Recovered::default(), 3));
    assert_holds(&store, 0..3);
}

#[test]
fn others_put_and_read_while_somebody_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open(folder.path()).unwrap();
    // What a sync holds while it waits.
    let turn = store.turn();
    store.put(text(0).0, &text(0).1).unwrap();
    assert_holds(&store, 0..1);
    // It does not queue up behind the one under way.
    store.sync_ahead();
    assert!(!store.is_durable(&text(0).0).unwrap());
    drop(turn);
    store.sync_ahead();
    assert!(store.is_durable(&text(0).0).unwrap());
}

#[test]
fn syncs_seals_and_collections_from_many_threads_never_wait_for_each_other_in_a_ring() {
    let folder = tempfile::tempdir().unwrap();
    let store = Packs::open_with(folder.path(), 2_048).unwrap();
    thread::scope(|scope| {
        let store = &store;
        for part in 0..3 {
            scope.spawn(move || {
                for (id, record) in (part * 300..(part + 1) * 300).map(text) {
                    store.put(id, &record).unwrap();
                    store.sync_ahead();
                }
                store.sync().unwrap();
            });
        }
        scope.spawn(move || (0..20).for_each(|_| assert_eq!(store.collect(|_| true).unwrap(), 0)));
    });
    assert!((0..900).all(|n| store.is_durable(&text(n).0).unwrap()));
    assert_holds(&store, 0..900);
}
