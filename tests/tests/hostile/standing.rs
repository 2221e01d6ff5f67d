//! Who may make the server doubt, forget or take in: a catalog that was set back, and
//! receivers, groups and releases that are gone.

use std::collections::BTreeMap;

use fleetcast::localtime::Zone;
use fleetcast::model::{DOUBT, Hold};
use fleetcast::schedule::Schedule;
use fleetcast::server::releases::SendOptions;
use fleetcast_core::crypto::sign::{Context, SigningKey, verify};
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::{MAX_HELD, decode_body};
use fleetcast_core::wire::session::Body;
use fleetcast_tests::disk::Node;
use fleetcast_tests::node::unix;

use super::*;

/// Bytes of a root per message.
const PIECE: usize = 900;

pub(crate) fn own_key() -> fleetcast_core::ids::StaticKey {
    *StaticPair::from_secret(&SECRET).public()
}

/// An approved receiver in the group `g`.
pub(crate) fn member(fleet: &mut Fleet) -> (Liar, String, GroupId) {
    let group = fleet.node().create_group("admin", "g", false).expect("a new name");
    let (liar, id) = waiting(fleet);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).expect("it waits");
    let certificate = fleet.admin.certificate(own_key(), group, 1);
    fleet.node().add_member(now, "admin", "g", &id, certificate).expect("signed");
    (liar, id, group)
}

/// Sends the group a release of one small file.
pub(crate) fn send(
    fleet: &mut Fleet,
    group: GroupId,
    sequence: u64,
    queue: bool,
) -> (ReleaseName, Vec<u64>) {
    let order = ReleaseOrder { reset_epoch: 0, sequence };
    let content = Node::File(false, 1, vec![sequence as u8; 3_000]);
    let tree = BTreeMap::from([("f".to_owned(), content)]);
    let store = std::sync::Arc::clone(&fleet.server.chunks);
    let signed = fleet.admin.release(group, "g", order, &tree, &store);
    let (name, document) = (signed.name, signed.document.clone());
    let (now, options) = (fleet.now, SendOptions { queue, ..SendOptions::default() });
    let sent = fleet.node().submit_release(now, "admin", document, options);
    (name, sent.expect("signed, and its chunks are here"))
}

pub(crate) fn claims(release: ReleaseName) -> Up<'static> {
    Up::Holds { releases: [release].into_iter().collect(), more: false }
}

fn show(liar: &mut Liar, fleet: &mut Fleet, release: ReleaseName, root: &[u8]) {
    let total = root.len() as u16;
    for (bytes, offset) in root.chunks(PIECE).zip((0..).step_by(PIECE)) {
        liar.say(fleet, &Up::Evidence { release, offset, total, bytes });
    }
}

/// A signed root of a group's release, which this server never saw.
fn foreign_root(fleet: &mut Fleet, group: GroupId, sequence: u64) -> (ReleaseName, Vec<u8>) {
    let order = ReleaseOrder { reset_epoch: 0, sequence };
    let tree = BTreeMap::from([("f".to_owned(), Node::File(false, 1, vec![9; 100]))]);
    let store = fleetcast::packs::MemoryChunks::default();
    let signed = fleet.admin.release(group, "g", order, &tree, &store);
    (signed.name, signed.document.clone())
}

// PROTOCOL F3
#[test]
fn only_what_admins_have_signed_makes_the_catalog_doubted() {
    let mut fleet = Fleet::new(22);
    let (mut liar, _, group) = member(&mut fleet);
    let (proved, root) = foreign_root(&mut fleet, group, 9);
    let claimed = release(group);
    liar.say(&mut fleet, &claims(claimed));
    assert_eq!(fleet.node().in_doubt(), None, "a member's word");
    // A root that another fleet's admin has signed; a changed one; another release's.
    let stranger = Admin::new(Random::new(77));
    let document = fleetcast_core::trust::document::SignedDocument::parse(&root, 4_096).unwrap();
    let body: ReleaseRoot<'_> = decode_body(document.body()).unwrap();
    let (forged, other) = stranger.sign_root(&body);
    assert_eq!(forged, proved, "the name is that of the body");
    show(&mut liar, &mut fleet, proved, &other);
    let mut cut = root.clone();
    cut[10] ^= 1;
    show(&mut liar, &mut fleet, proved, &cut);
    show(&mut liar, &mut fleet, claimed, &root);
    // Out of its order, and longer than any root.
    let bytes = &root[..100];
    let total = root.len() as u16;
    liar.say(&mut fleet, &Up::Evidence { release: proved, offset: 100, total, bytes });
    liar.say(&mut fleet, &Up::Evidence { release: proved, offset: 0, total: u16::MAX, bytes });
    assert_eq!(fleet.node().in_doubt(), None, "nothing of this is signed");
    show(&mut liar, &mut fleet, proved, &root);
    assert_eq!(fleet.node().in_doubt(), Some(unix(Instant::ZERO)), "a member may know better");
    let now = fleet.now;
    fleet.node().confirm_catalog(now, "admin");
    show(&mut liar, &mut fleet, proved, &root);
    assert_eq!(fleet.node().in_doubt(), None, "an admin knows it by now");
    assert!(fleet.node().next_order("g").unwrap().sequence > 1_000, "orders are never reused");
}

#[test]
fn who_is_no_member_shows_what_it_likes() {
    let mut fleet = Fleet::new(23);
    let group = fleet.node().create_group("admin", "g", false).unwrap();
    let (proved, root) = foreign_root(&mut fleet, group, 9);
    let (mut liar, id) = waiting(&mut fleet);
    show(&mut liar, &mut fleet, proved, &root);
    assert_eq!(fleet.node().in_doubt(), None, "it waits for approval");
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).unwrap();
    show(&mut liar, &mut fleet, proved, &root);
    assert_eq!(fleet.node().in_doubt(), None, "it is in no group");
    for n in 0..50 {
        liar.say(&mut fleet, &claims(release(GroupId([n; 16]))));
    }
    liar.say(&mut fleet, &claims(release(group)));
    // One of the group that is there, none of those that are not.
    assert_eq!(fleet.node().registry().all_held().count(), 1);
}

// PROTOCOL G7
#[test]
fn in_doubt_no_token_is_used_and_nobody_logs_in_until_it_is_confirmed() {
    let mut fleet = Fleet::new(24);
    let (mut knower, _, group) = member(&mut fleet);
    let (document, token) = fleet.admin.voucher(&[group], 1);
    fleet.node().add_voucher("admin", document, token).unwrap();
    fleet.node().add_account("admin", "ann", Role::Member, "a hash".to_owned()).unwrap();
    let mut early = Liar::connected(&mut fleet, 1);
    early.hello(&mut fleet, "early");
    let login = Up::Login { user: "ann", password: b"correct horse" };
    early.say(&mut fleet, &login);
    let number = fleet.node().poll_password_check().expect("a check").number;
    let (proved, root) = foreign_root(&mut fleet, group, 9);
    show(&mut knower, &mut fleet, proved, &root);
    assert!(fleet.node().in_doubt().is_some());
    let now = fleet.now;
    // The check was under way when the doubt came up.
    fleet.node().password_checked(now, PasswordChecked { number, right: true, new: None });
    wait(&mut fleet, &mut early, 100);
    assert_eq!(early.answers(), ["Suspended"]);
    early.say(&mut fleet, &login);
    assert!(fleet.node().poll_password_check().is_none());
    assert_eq!(early.answers(), ["Suspended"]);
    let mut new = Liar::with_token(&mut fleet, 3, [8; 32], Some(token));
    new.hello(&mut fleet, "new");
    assert_eq!(new.answers(), ["Suspended"]);
    let used = |fleet: &mut Fleet| fleet.node().registry().vouchers().next().unwrap().used;
    let standing = |fleet: &mut Fleet| {
        let new = ReceiverId::of(StaticPair::from_secret(&[8; 32]).public());
        fleet.node().registry().receiver(&new).unwrap().standing
    };
    assert_eq!((used(&mut fleet), standing(&mut fleet)), (0, Standing::Waiting));
    // Confirmed: the token is used, once, without another handshake; the login is asked for.
    let now = fleet.now;
    fleet.node().confirm_catalog(now, "admin");
    wait(&mut fleet, &mut early, 100);
    wait(&mut fleet, &mut new, 2_000);
    assert_eq!((used(&mut fleet), standing(&mut fleet)), (1, Standing::Member));
    let welcome = |body: &Vec<u8>| matches!(decode(body), Ok(Down::Welcome { .. }));
    wait(&mut fleet, &mut early, 2_000);
    assert!(early.heard.iter().any(welcome) && new.heard.iter().any(welcome));
    early.say(&mut fleet, &login);
    assert!(fleet.node().poll_password_check().is_some());
}

#[test]
fn who_was_removed_is_heard_no_more() {
    let mut fleet = Fleet::new(25);
    let (mut liar, id, group) = member(&mut fleet);
    let now = fleet.now;
    fleet.node().remove_receiver(now, "admin", &id).unwrap();
    let before = fleet.node().batch_of_changes();
    liar.exchange(&mut fleet);
    // What it holds would stand in the catalog without a receiver, which refuses that.
    liar.say(&mut fleet, &claims(release(group)));
    liar.say(&mut fleet, &Up::Join { group: "g" });
    liar.say(&mut fleet, &Up::Staged { release: release(group) });
    assert_eq!(fleet.node().registry().all_held().count(), 0);
    assert_eq!(fleet.node().batch_of_changes(), before, "the removal, and nothing after it");
}

// PROTOCOL M8
#[test]
fn what_a_receiver_noticed_stands_in_the_log_in_bounded_number_and_for_what_it_holds_only() {
    let mut fleet = Fleet::new(28);
    let (mut liar, _, group) = member(&mut fleet);
    let (name, _) = send(&mut fleet, group, 1, true);
    let findings = |release, atomic| Up::Findings { release, changes: 3, atomic };
    let lines = |fleet: &mut Fleet, action: &str| {
        let log = fleet.node().registry().recent_log();
        log.filter(|line| line.action == action).map(|line| line.result.clone()).collect::<Vec<_>>()
    };
    liar.say(&mut fleet, &findings(name, true));
    assert_eq!(lines(&mut fleet, "local-changes"), [""; 0], "it does not hold that");
    liar.say(&mut fleet, &claims(name));
    liar.say(&mut fleet, &findings(name, false));
    assert_eq!(lines(&mut fleet, "local-changes"), ["3 kept aside at the receiver"]);
    let steps = lines(&mut fleet, "activated-in-two-steps");
    assert_eq!(steps, ["its file system cannot exchange directories"]);
    for _ in 0..1_000 {
        liar.say(&mut fleet, &findings(name, true));
    }
    let lines = lines(&mut fleet, "local-changes").len();
    assert!((2..100).contains(&lines), "{lines}");
}

#[test]
fn nothing_of_a_deleted_group_stays_but_the_log() {
    let mut fleet = Fleet::new(26);
    let (mut liar, _, group) = member(&mut fleet);
    let other = fleet.node().create_group("admin", "h", false).unwrap();
    for groups in [&[group][..], &[group, other], &[]] {
        let (document, token) = fleet.admin.voucher(groups, 1);
        fleet.node().add_voucher("admin", document, token).unwrap();
    }
    let (document, token) = fleet.admin.voucher(&[group], 0);
    fleet.node().open_group("admin", "g", document, token).unwrap();
    send(&mut fleet, group, 1, false);
    liar.say(&mut fleet, &claims(release(group)));
    let now = fleet.now;
    // A floor of the group's numbers, as a confirmed catalog has one.
    let (proved, root) = foreign_root(&mut fleet, group, 9);
    show(&mut liar, &mut fleet, proved, &root);
    fleet.node().confirm_catalog(now, "admin");
    assert!(fleet.node().next_order("g").unwrap().sequence > 1_000);
    fleet.node().delete_group(now, "admin", "g").unwrap();
    wait(&mut fleet, &mut liar, 100);
    let told = liar.heard.iter().any(|body| decode(body) == Ok(Down::Removed { group }));
    assert!(told, "its members are told");
    let registry = fleet.node().registry();
    assert_eq!(registry.all_held().count(), 0);
    assert_eq!((registry.releases().count(), registry.deliveries().count()), (0, 0));
    assert_eq!(registry.mark(&format!("floor {group}")), None);
    assert!(registry.mark(&format!("floor {other}")).is_some() && registry.mark(DOUBT).is_none());
    // Of the four vouchers the open group's is gone; the invitation that led only there
    // is taken back, the one for both and the one for none still count.
    let mut vouchers: Vec<(u32, bool)> =
        registry.vouchers().map(|voucher| (voucher.uses, voucher.revoked)).collect();
    vouchers.sort_unstable();
    assert_eq!(vouchers, [(1, false), (1, false), (1, true)]);
}

#[test]
fn a_paused_delivery_goes_on_as_what_it_was() {
    let mut fleet = Fleet::new(27);
    let (mut liar, _, group) = member(&mut fleet);
    liar.say(&mut fleet, &Up::Holds { releases: [].into_iter().collect(), more: false });
    let (_, sent) = send(&mut fleet, group, 1, true);
    let hold = |fleet: &mut Fleet| fleet.node().registry().delivery(sent[0]).unwrap().hold;
    assert_eq!(hold(&mut fleet), Hold::Send);
    let now = fleet.now;
    fleet.node().pause_delivery(now, "admin", sent[0]).unwrap();
    assert_eq!((hold(&mut fleet), hold(&mut fleet).word()), (Hold::ResumeToSend, "resume"));
    fleet.node().pause_delivery(now, "admin", sent[0]).unwrap();
    fleet.node().resume_delivery(now, "admin", sent[0]).unwrap();
    assert_eq!(hold(&mut fleet), Hold::Send, "it was queued only, and is so again");
    fleet.node().send_pending(now, "admin", &[]).unwrap();
    fleet.node().pause_delivery(now, "admin", sent[0]).unwrap();
    assert_eq!(hold(&mut fleet), Hold::Resume);
    fleet.node().resume_delivery(now, "admin", sent[0]).unwrap();
    assert_eq!(hold(&mut fleet), Hold::Free);
}

/// What the server has named as newest, oldest statement first: sequence numbers.
fn named(liar: &mut Liar) -> Vec<Vec<u64>> {
    let heard = std::mem::take(&mut liar.heard);
    let newest = heard.iter().filter_map(|body| match decode::<Down<'_>>(body) {
        Ok(Down::Freshness { newest, .. }) => {
            Some(newest.iter().map(|release| release.order.sequence).collect())
        }
        _ => None,
    });
    newest.collect()
}

// PROTOCOL F2
#[test]
fn a_release_that_was_taken_back_is_named_before_the_one_that_is_to_be_had() {
    let mut fleet = Fleet::new(28);
    let (mut liar, _, group) = member(&mut fleet);
    liar.heard.clear();
    let mut says = |fleet: &mut Fleet| {
        liar.hello(fleet, "w");
        wait(fleet, &mut liar, 500);
        named(&mut liar).pop().unwrap()
    };
    assert_eq!(says(&mut fleet), [] as [u64; 0]);
    let (first, _) = send(&mut fleet, group, 1, false);
    assert_eq!(says(&mut fleet), [1]);
    let now = fleet.now;
    fleet.node().cancel_release(now, "admin", &first.digest).unwrap();
    assert_eq!(says(&mut fleet), [1, 0], "it was made, and nothing is to be had");
    send(&mut fleet, group, 2, false);
    assert_eq!(says(&mut fleet), [2]);
    let (third, _) = send(&mut fleet, group, 3, false);
    fleet.node().cancel_release(now, "admin", &third.digest).unwrap();
    assert_eq!(says(&mut fleet), [3, 2]);
    // Where there is no room for all, it is full, so that nobody takes it for whole.
    let (device, mut names) = (own_key(), Vec::new());
    let id = ReceiverId::of(&device).to_string();
    for n in 0..MAX_HELD {
        let name = format!("h{n}");
        let group = fleet.node().create_group("admin", &name, false).unwrap();
        let certificate = fleet.admin.certificate(device, group, 1);
        fleet.node().add_member(now, "admin", &name, &id, certificate).unwrap();
        names.push((name, group));
    }
    for (_, group) in &names {
        send(&mut fleet, *group, 1, false);
    }
    let said = says(&mut fleet);
    assert_eq!((said.len(), &said[..2]), (MAX_HELD, &[3, 2][..]));
}

#[test]
fn the_rate_follows_the_hour_within_a_second_and_outlives_a_restart() {
    let mut fleet = Fleet::new(29);
    // 15 January 2027, 08:00 UTC, a Friday (date -u -d @1800000000).
    let at = |fleet: &mut Fleet, seconds: u64| {
        fleet.now = Instant::ZERO + Duration::from_secs(seconds);
        let time = unix(fleet.now);
        fleet.node().set_time(time);
        fleet.drain();
        fleet.node().rate()
    };
    assert_eq!(at(&mut fleet, 0), 12_000_000);
    let file = Schedule::parse(&["08:00-24:00=2MB/s"]).unwrap();
    fleet.node().suggest_schedule(file, Zone::UTC);
    assert_eq!(at(&mut fleet, 1), 2_000_000, "what fleetcast.toml says");
    let set = Schedule::parse(&["fri 08:00-08:01=1MB/s", "22:00-06:00=5MB/s"]).unwrap();
    fleet.node().set_schedule("admin", Some((set, "UTC", Zone::UTC)));
    assert_eq!(fleet.node().rate(), 1_000_000, "a command outranks it, at once");
    assert_eq!(at(&mut fleet, 59), 1_000_000);
    assert_eq!(at(&mut fleet, 60), 12_000_000, "no window: the server's own");
    assert_eq!(at(&mut fleet, 14 * 3_600), 5_000_000);
    let item = fleet.node().rate_item();
    assert_eq!((item.windows.len(), item.windows[1].active, item.zone.as_str()), (2, true, "UTC"));
    let lines = fleet.node().registry().recent_log();
    let told = lines.filter(|line| line.action == "rate-changed").map(|line| line.result.clone());
    assert_eq!(told.last().unwrap(), "22:00-06:00=5MB/s (UTC)");
    fleet.node().set_schedule("admin", None);
    assert_eq!(fleet.node().rate(), 2_000_000, "taken back: the file's again");
    // What was set is a fact like any other.
    fleet.drain();
    let set = Schedule::parse(&["00:00-24:00=3MB/s"]).unwrap();
    fleet.node().set_schedule("admin", Some((set, "UTC", Zone::UTC)));
    let now = fleet.now;
    let (batch, changes) = fleet.node().take_changes().unwrap();
    fleet.server.catalog.write(now, Duration::ZERO, batch, changes);
    assert_eq!(fleet.server.catalog.persisted(now), Some(batch));
    fleet.server.boot(now, &fleet.admin);
    assert_eq!(at(&mut fleet, 14 * 3_600 + 5), 3_000_000);
}

#[test]
fn a_clock_that_is_set_back_a_year_is_shown_and_takes_nothing_back() {
    let mut fleet = Fleet::new(30);
    let (mut liar, _, group) = member(&mut fleet);
    send(&mut fleet, group, 1, false);
    let backwards = |fleet: &mut Fleet| {
        let now = fleet.now;
        let health = fleet.node().status(now).health;
        let found = health.into_iter().find(|item| item.code == "clock-went-back");
        found.map(|item| item.subject)
    };
    assert_eq!(backwards(&mut fleet), None);
    let year_ago = unix(Instant::ZERO) - 365 * 86_400;
    fleet.node().set_time(year_ago);
    assert_eq!(
        backwards(&mut fleet).as_deref(),
        Some("from 2027-01-15T08:00:00Z to 2026-01-15T08:00:00Z")
    );
    // Orders, deliveries and the log go on.
    let (second, sent) = send(&mut fleet, group, 2, false);
    assert_eq!(fleet.node().registry().current_release(group).unwrap().name, second);
    assert!(fleet.node().registry().delivery(sent[0]).is_some_and(|d| !d.state.is_final()));
    let numbers: Vec<u64> = fleet.node().registry().recent_log().map(|line| line.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    liar.hello(&mut fleet, "w");
    wait(&mut fleet, &mut liar, 500);
    assert_eq!(named(&mut liar).pop().unwrap(), [2]);
    // A server that is started under that clock notices it by its log.
    let mut registry = fleetcast::server::registry::Registry::load(fleetcast::model::Snapshot {
        last_log: fleet.node().registry().recent_log().next().cloned(),
        ..Default::default()
    });
    registry.set_time(year_ago);
    assert!(registry.clock_went_back().is_some());
    registry.set_time(year_ago + 86_400);
    assert_eq!(registry.clock_went_back(), None, "told for a day");
    // Less than a minute is a correction.
    let mut registry = fleetcast::server::registry::Registry::default();
    registry.set_time(year_ago);
    registry.set_time(year_ago - 60);
    assert_eq!(registry.clock_went_back(), None);
    registry.set_time(year_ago - 121);
    assert_eq!(registry.clock_went_back(), Some((year_ago - 60, year_ago - 121)));
}

/// Lets time pass at the server; what it says to the liar is heard.
pub(crate) fn wait(fleet: &mut Fleet, liar: &mut Liar, millis: u64) {
    for _ in 0..millis / 10 {
        fleet.now += Duration::from_millis(10);
        for (to, mut datagram) in fleet.drain() {
            if to == liar.address {
                liar.endpoint.handle_datagram(fleet.now, server_address(), &mut datagram);
                liar.listen(&datagram);
            }
        }
        liar.exchange(fleet);
    }
}

// PROTOCOL S24
#[test]
fn a_member_that_finds_no_header_is_told_it_over_its_channel() {
    let mut fleet = Fleet::new(31);
    let (mut liar, _, group) = member(&mut fleet);
    liar.say(&mut fleet, &Up::Holds { releases: [].into_iter().collect(), more: false });
    send(&mut fleet, group, 1, false);
    wait(&mut fleet, &mut liar, 500);
    let invited = liar.heard.iter().find_map(|body| match decode::<Down<'_>>(body) {
        Ok(Down::Invitation(invitation)) => Some((invitation.session, invitation.epoch)),
        _ => None,
    });
    let (session, epoch) = invited.expect("an invitation");
    liar.say(&mut fleet, &Up::Joined { session, epoch, heard: true });
    wait(&mut fleet, &mut liar, 500);
    let told = |liar: &Liar| {
        let mut header = Vec::new();
        for body in &liar.heard {
            if let Ok(Down::Header { session: of, offset, total, bytes }) = decode(body) {
                assert_eq!((of, usize::from(offset)), (session, header.len()));
                header.extend(bytes);
                assert!(header.len() <= usize::from(total));
            }
        }
        header
    };
    let ask = |fleet: &mut Fleet, liar: &mut Liar| {
        liar.say(fleet, &Up::HeaderRequest { session, block: BlockIndex(0) });
        wait(fleet, liar, 50);
    };
    (0..3).for_each(|_| ask(&mut fleet, &mut liar));
    assert!(told(&liar).is_empty(), "the answers in the session may do");
    ask(&mut fleet, &mut liar);
    let header = told(&liar);
    let Ok(Body::Segment(view)) = Body::parse(&header) else { panic!("no header: {header:?}") };
    assert_eq!((view.first_block(), view.segment().0), (BlockIndex(0), 0));
    let key = SigningKey::from_seed(&fleet.admin.signing_seed).verifying_key();
    let of = fleet.admin.authority.1.document().fleet;
    let (session, epoch) = (session.0.to_le_bytes(), epoch.0.to_le_bytes());
    let parts = [&of.0[..], &session, &epoch, view.signed()];
    assert_eq!(verify(&key, Context::Session, &parts, &view.signature()), Ok(()));
}
