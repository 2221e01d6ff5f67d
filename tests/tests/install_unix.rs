//! The same staging and install code on a real Linux file system.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use fleetcast::disk::unix::UnixDisk;
use fleetcast::disk::{Access, Audience, Disk, DiskError, Kind};
use fleetcast::install::install;
use fleetcast::staging::StepOutcome;
use fleetcast::staging::area::Area;
use fleetcast_core::ids::{GroupId, Ordinal};
use fleetcast_core::session::intake::Intake;
use fleetcast_core::wire::control::{Object, WantRun};
use fleetcast_tests::disk::{Node, read_tree};
use fleetcast_tests::release::{TestRelease, deliver, kiosks, receive, resume};

const GROUP: GroupId = GroupId([9; 16]);

type Tree = BTreeMap<String, Node>;

fn file(mtime: i64, bytes: &[u8]) -> Node {
    Node::File(false, mtime, bytes.to_vec())
}

fn tree(text: &[u8]) -> Tree {
    let run = Node::File(true, 1_000_000_001, text.to_vec());
    Tree::from([
        ("app".into(), Node::Directory(1_000_000_000)),
        ("app/run".into(), run),
        ("app/same".into(), file(1_000_000_002, &[5; 70_000])),
        ("leer".into(), file(-5, b"")),
    ])
}

fn release(sequence: u64, tree: &Tree) -> TestRelease {
    TestRelease::new(GROUP, sequence, tree, (4_096, 512))
}

fn visible(disk: &UnixDisk) -> Tree {
    read_tree(disk, &disk.root().unwrap(), "kiosks").unwrap()
}

fn destination() -> (tempfile::TempDir, UnixDisk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = UnixDisk::open(dir.path()).unwrap();
    (dir, disk)
}

#[test]
fn releases_follow_one_another_with_modes_times_and_shared_files() {
    let (dir, disk) = destination();
    deliver(&disk, &release(1, &tree(b"old"))).unwrap();
    assert_eq!(visible(&disk), tree(b"old"));
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("kiosks"), 0o755);
    assert_eq!(mode("kiosks/app"), 0o755);
    assert_eq!(mode("kiosks/app/run"), 0o555);
    assert_eq!(mode("kiosks/app/same"), 0o444);
    assert_eq!(mode(".fleetcast"), 0o700);
    let (installed, received) = deliver(&disk, &release(2, &tree(b"new"))).unwrap();
    assert!(installed.conflicts.is_empty());
    assert_eq!(received, 3, "only the changed file was received");
    assert_eq!(visible(&disk), tree(b"new"));
    let ours = disk.open_dir(&disk.root().unwrap(), b".fleetcast").unwrap();
    assert_eq!(read_tree(&disk, &ours, &format!("old-{GROUP}")).unwrap(), tree(b"old"));
    // Nothing else was left in either directory.
    let mut names: Vec<String> = fs::read_dir(dir.path().join(".fleetcast"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [format!("held-{GROUP}"), format!("old-{GROUP}")]);
}

#[test]
fn installing_the_same_release_again_repairs_it() {
    let (dir, disk) = destination();
    deliver(&disk, &release(1, &tree(b"old"))).unwrap();
    let path = dir.path().join("kiosks/app/same");
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"a local file").unwrap();
    let (installed, _) = deliver(&disk, &release(1, &tree(b"old"))).unwrap();
    assert_eq!(visible(&disk), tree(b"old"));
    let aside = dir.path().join(".fleetcast").join(installed.kept_aside.unwrap());
    assert_eq!(fs::read(aside.join("app/same")).unwrap(), b"a local file");
}

#[test]
fn an_interrupted_staging_goes_on_where_it_stopped() {
    let (_dir, disk) = destination();
    let next = release(1, &tree(b"text"));
    let mut staging = resume(&disk, &next).unwrap();
    receive(&mut staging, &next).unwrap();
    drop(staging);
    let mut staging = resume(&disk, &next).unwrap();
    assert_eq!(receive(&mut staging, &next), Ok(0));
    install(&mut staging, kiosks(), &mut |_| Ok(())).unwrap();
    assert_eq!(visible(&disk), tree(b"text"));
}

#[test]
fn index_chunks_that_the_installed_release_has_are_not_lacking() {
    let (_dir, disk) = destination();
    let mut tree = Tree::from([]);
    for number in 0..300_u16 {
        tree.insert(format!("f{number:03}"), file(7, &number.to_le_bytes()));
    }
    let old = release(1, &tree);
    deliver(&disk, &old).unwrap();
    tree.insert("f150".into(), file(8, b"xx"));
    let next = release(2, &tree);
    let mut staging = resume(&disk, &next).unwrap();
    staging.record(Object::Root, Ordinal(0), 0, next.root.len(), &next.root);
    assert!(staging.is_urgent());
    // Only what is new, as a server sends it: of the entries, and of the list above.
    let (mut new, mut bytes) = (0, 0);
    for (ordinal, chunk) in (0..).zip(&next.index).filter(|(_, c)| !old.index.contains(c)) {
        staging.record(Object::Index, Ordinal(ordinal), 0, chunk.len(), chunk);
        (new, bytes) = (new + 1, bytes + chunk.len());
    }
    assert!(new <= 3 && next.index.len() >= 38, "{new} of {}", next.index.len());
    while staging.step(1 << 20) == StepOutcome::More {}
    let mut lacking = Vec::new();
    staging.missing(&mut |run| lacking.push(run));
    assert_eq!(lacking, [WantRun { object: Object::Content, first: 150, count: 1 }], "{bytes}");
}

/// A directory outside, and what must still be in it at the end.
fn outside() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), b"not yours").unwrap();
    outside
}

fn assert_untouched(outside: &Path) {
    let names: Vec<_> = fs::read_dir(outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["precious"]);
    let meta = fs::metadata(outside.join("precious")).unwrap();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"not yours");
    assert_eq!(meta.mode() & 0o200, 0o200, "its mode was changed");
}

#[test]
fn a_link_in_place_of_the_group_is_set_aside_and_not_followed() {
    // Safety S10
    let ((dir, disk), outside) = (destination(), outside());
    symlink(outside.path(), dir.path().join("kiosks")).unwrap();
    let (installed, _) = deliver(&disk, &release(1, &tree(b"text"))).unwrap();
    assert_eq!(visible(&disk), tree(b"text"));
    let aside = dir.path().join(".fleetcast").join(installed.kept_aside.unwrap());
    assert!(fs::symlink_metadata(aside).unwrap().is_symlink());
    assert_untouched(outside.path());
}

#[test]
fn a_link_in_place_of_our_directory_is_refused() {
    // Safety S10
    let ((dir, disk), outside) = (destination(), outside());
    symlink(outside.path(), dir.path().join(".fleetcast")).unwrap();
    assert_eq!(Area::open(&disk).err(), Some(DiskError::Special));
    assert_untouched(outside.path());
}

#[test]
fn links_planted_in_staging_and_in_the_group_are_not_followed() {
    // Safety S10
    let ((dir, disk), outside) = (destination(), outside());
    deliver(&disk, &release(1, &tree(b"old"))).unwrap();
    let next = release(2, &tree(b"new"));
    let ours = dir.path().join(".fleetcast");
    let stage = ours.join(format!("stage-{}", &next.name.digest.to_string()[..16]));
    fs::create_dir_all(stage.join("tree")).unwrap();
    let precious = outside.path().join("precious");
    symlink(outside.path(), stage.join("tree/app")).unwrap();
    symlink(&precious, stage.join("journal")).unwrap();
    symlink(&precious, stage.join("index")).unwrap();
    symlink(&precious, stage.join("scratch")).unwrap();
    symlink(&precious, stage.join("root.new")).unwrap();
    // Both directories are on the file system of temporary files.
    fs::hard_link(&precious, stage.join("chunks")).unwrap();
    fs::hard_link(&precious, stage.join("tree/leer")).unwrap();
    symlink(outside.path(), ours.join("held-0")).unwrap();
    symlink(outside.path(), ours.join("stage-0")).unwrap();
    symlink(outside.path(), ours.join("trash-0")).unwrap();
    fs::remove_file(dir.path().join("kiosks/app/same")).unwrap();
    symlink(&precious, dir.path().join("kiosks/app/same")).unwrap();
    symlink(outside.path(), dir.path().join("kiosks/zzz")).unwrap();
    let (installed, _) = deliver(&disk, &next).unwrap();
    assert_eq!(visible(&disk), tree(b"new"));
    assert_eq!(installed.conflicts.len(), 2);
    assert_untouched(outside.path());
}

#[test]
fn names_are_single_components_and_special_files_are_not_opened() {
    let (dir, disk) = destination();
    let root = disk.root().unwrap();
    for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b"] {
        assert_eq!(disk.open_dir(&root, name).err(), Some(DiskError::BadName));
        assert_eq!(disk.create_file(&root, name).err(), Some(DiskError::BadName));
        assert_eq!(disk.unlink(&root, name).err(), Some(DiskError::BadName));
        let made = disk.make_dir(&root, name, Audience::Own).err();
        assert_eq!(made, Some(DiskError::BadName));
    }
    symlink("/etc", dir.path().join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    for name in [&b"link"[..], b"socket"] {
        assert_eq!(disk.open_dir(&root, name).err(), Some(DiskError::Special));
        for access in [Access::Read, Access::Write] {
            assert_eq!(disk.open_file(&root, name, access).err(), Some(DiskError::Special));
        }
        assert_eq!(disk.stat(&root, name).map(|stat| stat.kind), Ok(Kind::Other));
    }
    disk.make_dir(&root, b"dir", Audience::Own).unwrap();
    assert_eq!(disk.open_file(&root, b"dir", Access::Read).err(), Some(DiskError::Special));
}

#[test]
fn files_are_copied_allocated_and_cut_as_asked() {
    let (_dir, disk) = destination();
    let root = disk.root().unwrap();
    let from = disk.create_file(&root, b"from").unwrap();
    let to = disk.create_file(&root, b"to").unwrap();
    disk.allocate(&to, 9).unwrap();
    disk.write_at(&from, 2, b"abcdef").unwrap();
    disk.copy(&from, 3, &to, 1, 4).unwrap();
    let mut found = [9; 12];
    assert_eq!(disk.read_at(&to, 0, &mut found), Ok(9));
    assert_eq!(&found[..9], b"\0bcde\0\0\0\0");
    assert_eq!(disk.copy(&from, 6, &to, 0, 4), Err(DiskError::Short));
    disk.set_len(&to, 3).unwrap();
    assert_eq!(disk.stat_file(&to).map(|stat| stat.size), Ok(3));
    assert_eq!(disk.create_file(&root, b"to").err(), Some(DiskError::Exists));
}

#[test]
fn many_small_files_are_installed_and_replaced() {
    let (_dir, disk) = destination();
    let mut files = Tree::new();
    for dir in 0..20 {
        files.insert(format!("d{dir:02}"), Node::Directory(1));
        for number in 0..250_u32 {
            let text = format!("{dir} {number}");
            files.insert(format!("d{dir:02}/f{number:04}"), file(2, text.as_bytes()));
        }
    }
    deliver(&disk, &release(1, &files)).unwrap();
    files.insert("d07/f0100".into(), file(3, b"changed"));
    let (_, received) = deliver(&disk, &release(2, &files)).unwrap();
    assert_eq!(received, 7);
    assert_eq!(visible(&disk), files);
}

#[test]
fn a_staging_can_live_on_a_thread_of_its_own() {
    const fn assert_send<T: Send>() {}
    assert_send::<fleetcast_tests::release::TestStaging<UnixDisk>>();
}
