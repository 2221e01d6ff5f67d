//! What lies in a receiver's storage when it is met again: staged releases whose time is
//! over, installations that stopped half-way, stages that lead nowhere.

use std::collections::BTreeMap;

use fleetcast::agent::state::{Accepted, State};
use fleetcast::agent::{Agent, AgentConfig, AgentEvent, Enrolment};
use fleetcast::disk::{Disk as _, DiskError};
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReleaseOrder;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::{Down, Invitation, ReleaseName, Up};
use fleetcast_tests::admin::{Admin, EPOCH};
use fleetcast_tests::disk::{Abilities, Fault, Node, SimDisk, read_tree};
use fleetcast_tests::random::Random;

use crate::captor::{Captor, SECRET, invitation};
use crate::releases::{GROUP, captor, root};

impl Captor {
    /// Names in our directory of the destination that begin so.
    fn ours(&self, front: &str) -> Vec<String> {
        let disk = &self.destination;
        let ours = disk.open_dir(&disk.root().unwrap(), b".fleetcast").unwrap();
        let names = disk.list(&ours).unwrap().into_iter();
        let names = names.map(|name| String::from_utf8(name).unwrap());
        names.filter(|name| name.starts_with(front)).collect()
    }

    /// What is installed for the group.
    fn visible(&self) -> BTreeMap<String, Node> {
        read_tree(&self.destination, &self.destination.root().unwrap(), "kiosks").unwrap()
    }

    /// The highest number that it remembers.
    fn highest(&self) -> Option<u64> {
        self.victim.state().highest(GROUP).map(|(order, _)| order.sequence)
    }
}

// PROTOCOL T3
#[test]
fn a_staged_release_that_was_overtaken_is_never_activated() {
    let (mut captor, admin) = captor(60);
    let (first, _) = admin.sign_root(&root(&admin, 1));
    captor.say(&Down::Hold { release: first });
    captor.offer_good(&admin, 1, 1);
    assert_eq!(captor.installed(), [0_u64; 0]);
    captor.offer_good(&admin, 2, 2);
    assert_eq!((captor.installed(), captor.highest()), (vec![2], Some(2)));
    captor.say(&Down::Activate { release: first });
    captor.wait(Duration::from_secs(2));
    captor.offer_good(&admin, 3, 1);
    assert_eq!((captor.installed(), captor.highest()), (vec![2], Some(2)));
    assert!(captor.failed("not-trusted") >= 1, "{:?}", captor.events);
    captor.wait(Duration::from_secs(2));
    assert_eq!(captor.ours("stage-"), [""; 0], "nor is anything of it kept");
    assert_eq!(captor.ours("trash-"), [""; 0]);
}

// PROTOCOL T6
#[test]
fn a_staged_release_whose_time_has_passed_is_not_activated() {
    let (mut captor, admin) = captor(61);
    captor.victim.set_time(Some(EPOCH));
    let of_today = ReleaseRoot { expires: EPOCH + 100, ..root(&admin, 1) };
    let (name, document) = admin.sign_root(&of_today);
    captor.say(&Down::Hold { release: name });
    captor.offer(&admin, 1, name, &document);
    let staged = |event: &AgentEvent| matches!(event, AgentEvent::Staged { .. });
    assert!(captor.events.iter().any(staged));
    captor.victim.set_time(Some(EPOCH + 101));
    captor.say(&Down::Activate { release: name });
    captor.wait(Duration::from_secs(2));
    assert_eq!((captor.installed().len(), captor.failed("expired")), (0, 1));
}

/// Safety S1, S2: the second attempt comes to a stage that may hold the old directory.
#[test]
fn an_error_at_any_call_is_made_good_by_another_attempt_in_the_same_run() {
    let (mut met, mut finished) = (0, 0);
    for at in 0.. {
        let (mut captor, admin) = captor(62);
        captor.offer_good(&admin, 1, 1);
        captor.destination.tamper("kiosks/notes", b"mine");
        captor.destination.set_fault(Some(Fault::error(at, DiskError::Io(5), false)));
        captor.offer_good(&admin, 2, 2);
        if captor.destination.calls() <= at {
            break;
        }
        captor.destination.set_fault(None);
        if captor.failed("storage-failed") > 0 {
            met += 1;
            finished += u32::from(captor.visible().is_empty());
            captor.offer_good(&admin, 3, 2);
        }
        assert_eq!(captor.installed(), [1, 2], "error at call {at}: {:?}", captor.events);
        assert_eq!(captor.visible(), BTreeMap::new(), "error at call {at}");
        let disk = &captor.destination;
        let ours = disk.open_dir(&disk.root().unwrap(), b".fleetcast").unwrap();
        let aside = captor.ours("conflicts-").into_iter();
        let aside = aside.flat_map(|name| read_tree(disk, &ours, &name).unwrap());
        let mine = Node::File(false, 7_777_777, b"mine".to_vec());
        assert_eq!(
            aside.filter(|(path, node)| path.as_str() == "notes" && *node == mine).count(),
            1,
            "the local change, error at call {at}"
        );
    }
    assert!(met > 10 && finished > 3, "faults met: {met}, behind the exchange: {finished}");
}

// PROTOCOL M8
#[test]
fn local_changes_are_told_to_the_person_and_to_the_server() {
    let (mut captor, admin) = captor(66);
    captor.offer_good(&admin, 1, 1);
    let findings = |captor: &Captor| captor.times_said(|up| matches!(up, Up::Findings { .. }));
    assert_eq!(findings(&captor), 0, "there was nothing to find");
    captor.destination.tamper("kiosks/notes", b"mine");
    captor.destination.tamper("kiosks/more", b"mine too");
    captor.offer_good(&admin, 2, 2);
    captor.offer_good(&admin, 3, 3);
    assert_eq!(captor.installed(), [1, 2, 3]);
    let second = admin.sign_root(&root(&admin, 2)).0;
    let said = Up::Findings { release: second, changes: 2, atomic: true };
    assert_eq!((findings(&captor), captor.times_said(|up| *up == said)), (1, 1));
    let told = captor.events.iter().find_map(|event| match event {
        AgentEvent::Findings { sequence: 2, changes, kept, .. } => Some((changes, kept)),
        _ => None,
    });
    let (changes, kept) = told.expect("the person is told");
    let mut changes = changes.clone();
    changes.sort();
    assert_eq!(changes, ["more", "notes"]);
    let kept = kept.as_ref().and_then(|kept| kept.strip_prefix(".fleetcast/"));
    assert_eq!(captor.ours("conflicts-"), [kept.expect("where they are")]);
}

// Safety S7
#[test]
fn stages_of_which_nothing_is_proved_do_not_gather() {
    let (mut captor, admin) = captor(63);
    for n in 1..30 {
        let digest = Digest([n; 32]);
        let order = ReleaseOrder { reset_epoch: 0, sequence: u64::from(n) };
        let release = ReleaseName { group: GROUP, order, digest };
        captor.say(&Down::Invitation(Invitation { release, ..invitation(GROUP, n.into()) }));
        captor.wait(Duration::from_millis(100));
    }
    assert!(captor.ours("stage-").len() <= 1, "{:?}", captor.ours("stage-"));
    captor.offer_good(&admin, 100, 1);
    captor.wait(Duration::from_secs(1));
    assert_eq!((captor.ours("stage-").len(), captor.ours("trash-").len()), (0, 0));
    assert_eq!(captor.installed(), [1]);
}

const DISK: Abilities = Abilities { clones: false, links: true, exchange: true, capacity: 1 << 20 };

/// Starts a receiver on a destination, with the code of a fleet.
fn start(admin: &Admin, destination: &SimDisk, state: &SimDisk) -> Agent<SimDisk, ChaCha> {
    let config = AgentConfig {
        secret: SECRET,
        signing_seed: [6; 32],
        name: "victim".to_owned(),
        seed: [7; 32],
        enrolment: Some(Enrolment {
            server: fleetcast_tests::node::server_address(),
            server_key: admin.server_key(),
            authority: admin.authority.1.digest(),
            token: None,
        }),
        login: None,
    };
    Agent::open(config, destination.clone(), state.clone(), Instant::ZERO).expect("it starts")
}

// PROTOCOL T4
#[test]
fn another_enrolment_forgets_no_order_that_was_accepted() {
    let (state, admin) = (SimDisk::new(DISK), Admin::new(Random::new(64)));
    let order = ReleaseOrder { reset_epoch: 0, sequence: 9 };
    let accepted = Accepted { group: GROUP, order, digest: Digest([3; 32]), at: 5 };
    let before = State {
        authority: Some((Digest([1; 32]), vec![1, 2, 3])),
        accepted: vec![accepted],
        ..State::default()
    };
    before.save(&state).unwrap();
    let agent = start(&admin, &SimDisk::new(DISK), &state);
    assert_eq!(
        (agent.state().accepted.as_slice(), &agent.state().authority),
        (&[accepted][..], &None)
    );
}

#[test]
fn a_stage_that_cannot_be_brought_in_order_stops_nothing_else() {
    // An installation that stops behind the exchange, and then its record rots.
    let stage = (0..200).find_map(|at| {
        let (mut captor, admin) = captor(65);
        captor.offer_good(&admin, 1, 1);
        captor.destination.tamper("kiosks/notes", b"mine");
        captor.destination.set_fault(Some(Fault::error(at, DiskError::Io(5), true)));
        captor.offer_good(&admin, 2, 2);
        captor.destination.set_fault(None);
        let stage = captor.ours("stage-").pop()?;
        (captor.visible().is_empty()).then_some((captor, admin, stage))
    });
    let (mut captor, admin, stage) = stage.expect("some call is behind the exchange");
    captor.destination.rot(&format!(".fleetcast/{stage}/release"), 20);
    let mut again = start(&admin, &captor.destination, &SimDisk::new(DISK));
    let told = std::iter::from_fn(|| again.poll_event()).find_map(|event| match event {
        AgentEvent::Failed { code, reason } => Some((code, reason)),
        _ => None,
    });
    let (code, reason) = told.expect("it says so");
    assert_eq!(code, "storage-failed");
    assert!(reason.contains(&stage), "{reason}");
    // Nothing is staged on top of the old directory; the next release is installed.
    captor.offer_good(&admin, 3, 2);
    captor.offer_good(&admin, 4, 3);
    assert_eq!(captor.installed(), [1, 3]);
    assert_eq!(captor.ours("stage-"), [stage]);
}
