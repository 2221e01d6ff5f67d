//! Everybody comes at once, as after a power cut on the first day: with a code that many
//! share, without a token, and some whom no answer reaches. Whoever may be in is in, and
//! every table keeps its bound.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;

use fleetcast_core::limits::{HALF_OPEN_TIMEOUT, HANDSHAKES_PER_SECOND};
use fleetcast_tests::joining::{Crowd, Joined};

/// How many may wait for approval at a time.
const WAITING: usize = 1_000;

/// Everybody must be in within so many virtual seconds.
const SECONDS: f64 = 60.0;

#[test]
fn a_crowd_that_comes_at_once_is_let_in_as_far_as_it_may() {
    let crowd = Crowd { invited: 320, uses: 300, uninvited: 1_040, unreached: 200 };
    keeps_all_bounds(crowd, &crowd.join(11));
}

#[test]
fn ten_thousand_that_come_at_once_are_in_within_a_minute_and_all_bounds_are_kept() {
    let crowd = Crowd { invited: 10_100, uses: 10_000, uninvited: 1_200, unreached: 4_000 };
    keeps_all_bounds(crowd, &crowd.join(12));
    // The server, 15,300 receivers and their disks: nothing grows with what was refused.
    let peak = peak();
    println!("{peak} MiB at most, with all receivers");
    assert!(peak < 1_500, "{peak} MiB");
}

fn keeps_all_bounds(crowd: Crowd, joined: &Joined) {
    let Joined { seconds, members, waiting, known, used, refused, .. } = joined;
    println!(
        "{} came: {members} members within {seconds:.2} s, {waiting} waited, {refused:?}; \
         {} handshakes answered, {} half open at most, {} in the end",
        crowd.len(),
        joined.doorway.answered,
        joined.doorway.most,
        joined.half_open,
    );
    assert!(*seconds <= SECONDS, "{seconds} s");
    // The code: as many as it is good for, and not one more.
    assert_eq!((*members, *used), (crowd.uses as usize, crowd.uses));
    assert_eq!(*waiting, WAITING, "who has no token waits, as far as there is room");
    assert_eq!(*known, members + waiting, "who was turned away is forgotten");
    let expected = BTreeMap::from([
        ("invite-used", crowd.invited - crowd.uses as usize),
        ("waiting-list-full", crowd.uninvited - WAITING),
    ]);
    assert_eq!(*refused, expected);
    // Whom nothing reaches cannot prove an address, and such handshakes are few per second.
    let span = HALF_OPEN_TIMEOUT.as_micros().div_ceil(1_000_000) as usize + 1;
    let unproved = span * HANDSHAKES_PER_SECOND as usize;
    assert!(joined.half_open <= unproved, "{}", joined.half_open);
    let most = crowd.invited + crowd.uninvited + unproved;
    assert!(joined.doorway.most <= most, "{} of {most}", joined.doorway.most);
}

/// The most memory that this process has held, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
