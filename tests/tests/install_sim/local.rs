//! What people do in an installed directory is kept, and told.

use fleetcast::disk::{Disk as _, DiskError};
use fleetcast::staging::area::Area;
use fleetcast_core::ids::GroupId;
use fleetcast_tests::disk::{Fault, Node, read_tree};
use fleetcast_tests::release::{TestRelease, deliver};

use super::*;

#[test]
fn local_changes_are_kept_aside_and_told() {
    let disk = with_old(ALL);
    disk.tamper("kiosks/app/run", b"edited here");
    disk.tamper("kiosks/app/notes", b"mine");
    let (installed, _) = deliver(&disk, &release(2, &new_tree())).unwrap();
    assert_eq!(visible(&disk), Some(new_tree()));
    let mut told: Vec<_> =
        installed.conflicts.iter().map(|c| (c.path.as_str(), c.changed)).collect();
    told.sort_unstable();
    assert_eq!(told, [("app/notes", false), ("app/run", true)]);
    let aside = read_tree(&disk, &ours(&disk), &installed.kept_aside.unwrap()).unwrap();
    assert_eq!(aside["app/run"], Node::File(true, 7_777_777, b"edited here".to_vec()));
    assert_eq!(aside["app/notes"], file(7_777_777, b"mine"));
}

#[test]
fn what_cannot_be_moved_alone_is_kept_aside_with_all_that_is_around_it() {
    let base = with_old(ALL);
    base.tamper("kiosks/app/notes", b"mine");
    let next = release(2, &new_tree());
    let run = base.fork();
    run.set_fault(None);
    deliver(&run, &next).unwrap();
    let mut whole = 0;
    for at in 0..run.calls() {
        for error in [DiskError::Denied, DiskError::Io(16)] {
            let disk = base.fork();
            // As a directory of somebody else's, or a mount point, answers a rename.
            disk.set_fault(Some(Fault::error(at, error, false)));
            let at_once = deliver(&disk, &next);
            disk.set_fault(None);
            deliver_after(&disk, &next, at_once.is_ok());
            assert_eq!(visible(&disk), Some(new_tree()), "{error} at {at}");
            let area = ours(&disk);
            let names = disk.list(&area).unwrap().into_iter();
            let aside = names.filter(|name| name.starts_with(b"conflicts-")).flat_map(|name| {
                read_tree(&disk, &area, std::str::from_utf8(&name).unwrap()).unwrap()
            });
            let aside: Tree = aside.collect();
            assert_eq!(aside["app/notes"], file(7_777_777, b"mine"), "{error} at {at}");
            whole += u32::from(at_once.is_ok() && aside.contains_key("gone"));
        }
    }
    assert!(whole >= 2, "installed all the same, with the whole directory aside: {whole}");
}

#[test]
fn a_group_that_takes_over_the_name_of_another_leaves_it_nothing_to_claim() {
    let other = GroupId([8; 16]);
    for changed in [false, true] {
        let disk = with_old(ALL);
        if changed {
            disk.tamper("kiosks/app/notes", b"mine");
        }
        let next = TestRelease::new(other, 1, &new_tree(), (10, 72));
        let (installed, _) = deliver(&disk, &next).unwrap();
        assert_eq!(visible(&disk), Some(new_tree()));
        let told: Vec<_> = installed.conflicts.iter().map(|c| c.path.as_str()).collect();
        // What the other group had installed is no local change.
        assert_eq!(told, if changed { vec!["app/notes"] } else { vec![] });
        let held = Area::open(&disk).unwrap().held().unwrap();
        assert_eq!(held.iter().map(|held| held.release).collect::<Vec<_>>(), [next.name]);
        let names = disk.list(&ours(&disk)).unwrap();
        assert!(!names.contains(&format!("held-{GROUP}").into_bytes()));
    }
}

#[test]
fn a_power_cut_never_loses_a_local_change() {
    let base = with_old(ALL);
    base.tamper("kiosks/app/run", b"edited here");
    base.tamper("kiosks/notes", b"mine");
    let before = visible(&base);
    let next = release(2, &new_tree());
    let run = base.fork();
    run.set_fault(None);
    deliver(&run, &next).unwrap();
    for fault in cuts(run.calls()) {
        for seed in 0..SEEDS {
            let disk = base.fork();
            disk.set_fault(Some(fault));
            let _ = deliver(&disk, &next);
            disk.reboot(seed);
            let seen = visible(&disk);
            assert!(seen == before || seen == Some(new_tree()), "{fault:?} {seed}: {seen:?}");
            deliver_after(&disk, &next, seen == Some(new_tree()));
            let everything = read_tree(&disk, &disk.root().unwrap(), ".fleetcast").unwrap();
            for lost in [&b"edited here"[..], b"mine"] {
                let kept = everything.iter().any(|(path, node)| {
                    path.starts_with("conflicts-")
                        && matches!(node, Node::File(_, _, bytes) if bytes == lost)
                });
                assert!(kept, "{fault:?} {seed}: {everything:?}");
            }
        }
    }
}
