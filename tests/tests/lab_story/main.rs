//! The story of a house with ten receivers, told from the morning to the evening, on a
//! LAN of namespaces with real processes: how they come into the fleet, who is let in
//! and who is not, what is owed to whom, what is lost and how it is brought back.
//!
//! Each step is a sentence; what it stands on is in `day.rs`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::time::Instant;

use fleetcast_tests::processes::SLOW;
use rustix::process::Signal;
use serde_json::{Value, json};

use day::{Day, GROUP, MIB, text};

mod day;

const BY_CODE: [&str; 3] = ["entrance", "desk", "hall"];
const BY_FINGERPRINT: [&str; 3] = ["lift", "stairs", "roof"];
const BY_LOGIN: [&str; 2] = ["cafe", "shop"];
const BY_BEACON: [&str; 2] = ["garden", "gate"];

/// Who must ask to be in the group: a code puts its receivers there at once.
const ASK: [&str; 7] = ["cafe", "garden", "gate", "lift", "roof", "shop", "stairs"];
/// Who is not let in.
const DENIED: &str = "roof";
const REASON: &str = "there is no screen on the roof";
/// Who is switched off at noon, and who is not, by name.
const OFF: [&str; 5] = ["desk", "garden", "gate", "lift", "shop"];
const ON: [&str; 4] = ["cafe", "entrance", "hall", "stairs"];
/// Who is removed while it receives, and what it has by then: menu, map and prices.
const REMOVED: &str = "shop";
const HAD: u64 = 12 * MIB;
/// Bytes of a segment: 16 blocks of 192 symbols at most.
const SEGMENT: u64 = 16 * 192 * 1_434;

#[test]
fn ten_receivers_live_through_a_day_with_their_admin() {
    let places = [&BY_CODE[..], &BY_FINGERPRINT, &BY_LOGIN, &BY_BEACON].concat();
    let test = "ten_receivers_live_through_a_day_with_their_admin";
    let morning = Instant::now();
    let Some(mut day) = Day::begin(test, &places) else { return };
    three_come_with_a_code(&mut day);
    three_wait_until_their_fingerprints_were_compared(&mut day);
    two_are_taken_in_by_a_login(&mut day);
    two_find_the_server_by_its_beacon(&mut day);
    they_look_around_and_ask(&mut day);
    six_are_let_in_and_one_is_told_why_not(&mut day);
    the_first_release_crosses_the_network_once(&mut day);
    let backup = a_backup_is_made(&day);
    files_are_queued_while_half_are_off(&mut day);
    the_server_is_killed_and_remembers_what_it_owes(&mut day);
    half_come_back_and_the_queue_empties_in_one_multicast(&mut day);
    one_is_removed_during_a_send_and_opens_nothing_more(&mut day);
    the_catalog_is_lost_and_an_old_one_put_in_its_place(&mut day, &backup);
    nothing_is_sent_before_somebody_has_looked(&mut day);
    what_was_done_since_the_backup_is_done_again(&mut day);
    receipts_and_log_tell_what_happened(&mut day);
    println!("the day took {:.1?}", morning.elapsed());
}

// --- how they come into the fleet ---

fn three_come_with_a_code(day: &mut Day) {
    let code = day.fleet.invite(&["--group", GROUP, "--uses", "3"]);
    BY_CODE.iter().for_each(|place| day.start(place, &["--enrol", &code]));
    for place in BY_CODE {
        day.hears(place, "connected");
        assert_eq!(day.fleet.listed(place)["groups"], json!([GROUP]), "in the group at once");
    }
}

fn three_wait_until_their_fingerprints_were_compared(day: &mut Day) {
    let code = day.fleet.invite(&["--no-token"]);
    BY_FINGERPRINT.iter().for_each(|place| day.start(place, &["--enrol", &code]));
    BY_FINGERPRINT.iter().for_each(|place| is_compared_and_approved(day, place));
}

fn is_compared_and_approved(day: &mut Day, place: &str) {
    let shown = day.hears(place, "waiting")["fingerprint"].clone();
    let listed = day.fleet.listed(place);
    assert_eq!((&listed["state"], &listed["fingerprint"]), (&json!("waiting"), &shown));
    day.admin(&["receivers", "approve", place]);
    day.hears(place, "connected");
}

fn two_are_taken_in_by_a_login(day: &mut Day) {
    day.fleet.run_with("correct horse\n", ["users", "add", "ann", "--role", "member"]).done();
    let code = day.fleet.invite(&["--no-token"]);
    for place in BY_LOGIN {
        let options = ["--enrol", &code, "--name", place, "--login", "ann"];
        day.at(place).start_with("correct horse\n", &options);
    }
    for place in BY_LOGIN {
        assert_eq!(day.hears(place, "logged-in")["user"], "ann");
        day.hears(place, "connected");
        assert_eq!(day.fleet.listed(place)["groups"], json!([]), "a login is no membership");
    }
}

fn two_find_the_server_by_its_beacon(day: &mut Day) {
    BY_BEACON.iter().for_each(|place| day.start(place, &["--discover"]));
    let fingerprint = day.admin(&["invite", "--fingerprint"])["item"]["fingerprint"].clone();
    for place in BY_BEACON {
        let found = day.at(place).process().wait(SLOW).done();
        let found = found["items"].as_array().unwrap();
        assert_eq!(found.len(), 1, "there is one server in this house: {found:?}");
        assert_eq!(found[0]["fingerprint"], fingerprint, "and it is this one");
        day.start(place, &["--enrol", &text(&found[0]["code"])]);
        is_compared_and_approved(day, place);
    }
}

// --- who is let in ---

fn they_look_around_and_ask(day: &mut Day) {
    for place in ASK {
        assert_eq!(day.standing(place), "none");
        assert_eq!(day.person(place, &["join", GROUP])["item"]["state"], "asked");
    }
    let asking = day.admin(&["groups", "requests", GROUP]);
    let asking = asking["items"].as_array().unwrap().iter();
    let mut asking: Vec<String> = asking.map(|request| text(&request["receiver"])).collect();
    asking.sort();
    assert_eq!(asking, ASK);
}

fn six_are_let_in_and_one_is_told_why_not(day: &mut Day) {
    for place in ASK.into_iter().filter(|place| *place != DENIED) {
        day.admin(&["groups", "approve", GROUP, place]);
        assert_eq!(day.hears(place, "joined")["group"], GROUP);
    }
    day.admin(&["groups", "deny", GROUP, DENIED, "--reason", REASON]);
    assert_eq!(day.hears(DENIED, "denied")["reason"], REASON);
    assert_eq!(day.standing(DENIED), "denied");
    assert_eq!(day.admin(&["groups", "members", GROUP])["items"].as_array().unwrap().len(), 9);
}

// --- what they get ---

fn the_first_release_crosses_the_network_once(day: &mut Day) {
    let before = day.sent();
    let item = day.send("menu", 4 * MIB, &[]).done()["item"].clone();
    let deliveries = item["deliveries"].as_array().unwrap();
    let is_done = |d: &Value| d["state"] == "installed" && d["path"] == "multicast";
    assert!(deliveries.len() == 9 && deliveries.iter().all(is_done), "{item}");
    assert!(copies(day.sent() - before, 4 * MIB) < 1.2);
    members().for_each(|place| assert_eq!(day.shows(place), ["menu"], "{place}"));
    assert_eq!(day.shows(DENIED), [""; 0]);
}

/// All who were let in.
fn members() -> impl Iterator<Item = &'static str> {
    ON.into_iter().chain(OFF)
}

/// How many copies have left, headers, repairs and all that belongs to them counted in.
fn copies(sent: u64, payload: u64) -> f64 {
    let copies = sent as f64 / payload as f64;
    println!("{sent} bytes for {payload}: {copies:.3} copies");
    assert!(copies >= 1.0, "more came than was sent");
    copies
}

fn a_backup_is_made(day: &Day) -> String {
    let path = day.fleet.path("fleet.backup").into_os_string().into_string().unwrap();
    day.admin(&["backup", &path]);
    path
}

fn files_are_queued_while_half_are_off(day: &mut Day) {
    OFF.iter().for_each(|place| day.switch_off(place));
    for file in ["map", "prices"] {
        // Slowly: who comes back while it runs takes part in what is left of it.
        let sent = day.send(file, 4 * MIB, &["--rate", "2MiB/s"]);
        assert_eq!(sent.code, 3, "done, with some behind: {sent:?}");
    }
    ON.iter().for_each(|place| assert_eq!(day.shows(place), ["map", "menu", "prices"]));
    OFF.iter().for_each(|place| assert_eq!(day.shows(place), ["menu"]));
    assert_eq!(day.owed(), OFF, "of what is queued, each is owed the newest");
}

fn the_server_is_killed_and_remembers_what_it_owes(day: &mut Day) {
    day.fleet.kill_server();
    day.fleet.start_server();
    assert_eq!(day.owed(), OFF);
}

fn half_come_back_and_the_queue_empties_in_one_multicast(day: &mut Day) {
    let (before, came) = (day.sent(), OFF.map(|place| day.arrived(place)));
    OFF.iter().for_each(|place| day.start(place, &[]));
    for place in OFF {
        assert_eq!(day.hears(place, "installed")["sequence"], 3);
        assert_eq!(day.shows(place), ["map", "menu", "prices"]);
        day.fleet.settle(place, SLOW);
    }
    // Both files are owed to each of five, who lack nothing else. Who starts a second
    // later than the first on a busy machine misses the beginning, and gets that after it.
    assert!(copies(day.sent() - before, 8 * MIB) < 1.8);
    for (place, came) in OFF.iter().zip(came) {
        assert!(day.arrived(place) - came >= 8 * MIB, "{place} heard all of that copy");
    }
    assert_eq!(day.owed(), [""; 0]);
}

// --- who is taken out ---

fn one_is_removed_during_a_send_and_opens_nothing_more(day: &mut Day) {
    let film = day.file("film", 16 * MIB);
    let came = day.arrived(REMOVED);
    let send = ["send", &film, "--to", GROUP, "--rate", "1MiB/s", "--wait"];
    let mut send = day.begin_command(&send);
    while day.hears(REMOVED, "progress")["bytes"].as_u64().unwrap() < HAD + MIB {}
    day.admin(&["groups", "remove", GROUP, REMOVED]);
    let had = day.held(REMOVED);
    // Whoever has not noticed the restart of the server yet is behind, and gets it then.
    assert!([0, 3].contains(&send.wait(SLOW).code));
    for place in OFF.into_iter().filter(|place| *place != REMOVED) {
        assert_eq!(day.shows(place), ["film", "map", "menu", "prices"], "{place}");
    }
    // The cable carries it to the end: what is lacking is the key.
    let held = day.held(REMOVED);
    println!("{REMOVED} had {} bytes of 16 MiB, and read {} more", had - HAD, held - had);
    // The key is another one after a second: what was under way then was one segment,
    // whose blocks are complete all at once.
    assert!(held - had <= SEGMENT, "{held} after {had}");
    assert!(day.arrived(REMOVED) - came >= 16 * MIB);
    assert_eq!(day.shows(REMOVED), ["map", "menu", "prices"], "it keeps what it has");
    assert_eq!(day.standing(REMOVED), "none");
}

// --- what is lost ---

fn the_catalog_is_lost_and_an_old_one_put_in_its_place(day: &mut Day, backup: &str) {
    day.power_fails();
    fs::rename(day.fleet.state(), day.fleet.path("broken-disk")).unwrap();
    day.admin(&["restore", backup]);
    day.fleet.start_server();
    for place in ASK.into_iter().chain(BY_CODE) {
        day.start(place, &[]);
    }
    for place in ASK.into_iter().chain(BY_CODE) {
        day.hears(place, "connected");
    }
}

fn nothing_is_sent_before_somebody_has_looked(day: &mut Day) {
    assert!(day.health().contains(&"catalog-in-doubt".to_owned()));
    day.send("evening", MIB, &[]).refused(1, "catalog-in-doubt");
    let refused = day.fleet.run(["groups", "remove", GROUP, REMOVED]);
    refused.refused(1, "catalog-in-doubt");
    assert_eq!(day.shows("desk"), ["film", "map", "menu", "prices"], "nobody is set back");
    day.admin(&["--yes", "restore", "--confirm"]);
    assert!(!day.health().contains(&"catalog-in-doubt".to_owned()));
}

fn what_was_done_since_the_backup_is_done_again(day: &mut Day) {
    // The backup is of the time before.
    assert_eq!(day.fleet.listed(REMOVED)["groups"], json!([GROUP]));
    day.admin(&["groups", "remove", GROUP, REMOVED]);
    let sent = day.send("evening", MIB, &[]).done()["item"].clone();
    // 2, 3 and 4 are somebody else's for ever: the numbers go on far above.
    assert_eq!(sent["releases"][0]["sequence"], 1_005, "{sent}");
    for place in members().filter(|place| *place != REMOVED) {
        assert_eq!(day.shows(place), ["evening", "menu"], "{place}");
    }
    assert_eq!(day.shows(REMOVED), ["map", "menu", "prices"], "and nothing after its removal");
    assert_eq!(day.shows(DENIED), [""; 0], "nor anything where nobody was let in");
}

// --- what is left of the day ---

fn receipts_and_log_tell_what_happened(day: &mut Day) {
    day.admin(&["log", "verify"]);
    assert_eq!(day.logged("enrolled").0, 3);
    assert_eq!(day.logged("enrolled-by-login").0, 2);
    assert_eq!(day.logged("receiver-approved").0, 5);
    assert_eq!(day.logged("join-requested").0, 7);
    assert_eq!(day.logged("request-approved").0, 6);
    assert_eq!(day.logged("request-denied"), (1, format!("{DENIED} {GROUP}: {REASON}")));
    assert_eq!(day.logged("catalog-confirmed").0, 1);
    assert_eq!(day.logged("member-removed"), (1, format!("{REMOVED} {GROUP}")));
    // Nine of the first release, eight of the last; those between went with the disk.
    assert_eq!(day.logged("installed").0, 17);
    let file = day.fleet.path("receipts.json").into_os_string().into_string().unwrap();
    assert_eq!(day.admin(&["receipts", "export", "--to", &file])["item"]["receipts"], 17);
    assert_eq!(day.fleet.stop_server(Signal::TERM).code, 0);
    // Each device has signed its own, and admins of this fleet have made each a member.
    let authority = day.admin(&["receipts", "verify", &file])["item"]["authority"].clone();
    let authority = authority.as_str().unwrap();
    let verified = day.admin(&["receipts", "verify", &file, "--strict", "--authority", authority]);
    let found = ["ok", "receipts", "bad", "unbound", "unproven"].map(|key| &verified["item"][key]);
    assert_eq!(found, [&json!(true), &json!(17), &json!([]), &json!([]), &json!([])]);
}
