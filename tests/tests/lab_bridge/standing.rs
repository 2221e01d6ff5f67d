//! A bridge that is a process of its own, and that nothing of it is left.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan, bridge, standing};
use fleetcast_tests::processes::{signal, skip};
use rustix::process::Signal;

/// Set where a test starts itself again to be the bridge.
const SERVING: &str = "FLEETCAST_LAB_SERVING";

/// Is the bridge, when this is that process; else the command that becomes it.
fn server(test: &str) -> Option<Command> {
    if std::env::var_os(SERVING).is_some() {
        bridge::serve(1).unwrap();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(SERVING, "1");
    Some(command)
}

/// A LAN that stands under `tag`, with its bridge.
fn up(test: &str, tag: &str) -> Option<Lan> {
    let bridge = server(test)?;
    if let Err(reason) = standing::up_bridged(tag, &Plan::gigabit(2), &bridge) {
        skip(&format!("{test}: {reason}"));
        return None;
    }
    Some(standing::find(tag).unwrap())
}

/// Processes in a network namespace.
fn inhabitants(space: &PathBuf) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let own = entries.filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok());
    own.filter(|own| own == space).count()
}

fn wait_until_empty(space: &PathBuf) {
    let begin = Instant::now();
    while inhabitants(space) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "somebody is still in {space:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_bridge_obeys_and_goes_when_its_lab_is_taken_down() {
    let test = "standing::a_bridge_obeys_and_goes_when_its_lab_is_taken_down";
    let tag = format!("bridge down {}", std::process::id());
    let Some(lan) = up(test, &tag) else { return };
    let space = fs::read_link(lan.switch().path()).unwrap();
    assert_eq!(inhabitants(&space), 2, "the holder and the bridge");
    let order = |words: &str| bridge::order(&lan, &words.parse().unwrap());
    order("loss 100").unwrap();
    assert!(order("loss 100 2").unwrap_err().contains("no host 2"));
    // Three holders and the bridge.
    assert_eq!(standing::down(&tag), Ok(4));
    wait_until_empty(&space);
    assert!(order("calm").is_err());
}

#[test]
fn a_bridge_goes_when_its_cables_are_gone() {
    let test = "standing::a_bridge_goes_when_its_cables_are_gone";
    let tag = format!("bridge cables {}", std::process::id());
    let Some(lan) = up(test, &tag) else { return };
    let space = fs::read_link(lan.switch().path()).unwrap();
    // As when `up` is interrupted before all of it stays: its holders end.
    for holder in [lan.host(0), lan.host(1), lan.switch()].map(|space| space.holder()) {
        signal(holder, Signal::KILL);
    }
    wait_until_empty(&space);
    standing::down(&tag).unwrap();
}

#[test]
fn a_lab_without_a_bridge_says_how_to_have_one() {
    let tag = format!("bridge none {}", std::process::id());
    if let Err(reason) = standing::up(&tag, &Plan::gigabit(2)) {
        return skip(&format!("a_lab_without_a_bridge_says_how_to_have_one: {reason}"));
    }
    let lan = standing::find(&tag).unwrap();
    let refused = bridge::order(&lan, &"calm".parse().unwrap()).unwrap_err();
    assert!(refused.contains("lab up 4 --bridge"), "{refused}");
    standing::down(&tag).unwrap();
}
