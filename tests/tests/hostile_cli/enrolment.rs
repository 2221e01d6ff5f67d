//! Codes that are malformed, forged, late or used up; servers that are not there.

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use fleetcast::code::EnrolmentCode;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;
use fleetcast_tests::processes::{Answer, Fleet, SLOW};
use serde_json::json;

/// What the contract gives a receiver that cannot enrol.
const LIMIT: Duration = Duration::from_secs(15);

/// Enrols a new receiver, which shall fail and leave nothing in the fleet.
fn enrol(fleet: &Fleet, name: &str, code: &str) -> Answer {
    let answer = try_to_enrol(fleet, name, code);
    assert_eq!(fleet.listed(name), json!(null), "{name} is not in the fleet");
    answer
}

fn try_to_enrol(fleet: &Fleet, name: &str, code: &str) -> Answer {
    let mut receiver = fleet.absent(name);
    let begin = Instant::now();
    receiver.start(&["--name", name, "--enrol", code]);
    let answer = receiver.process().wait(SLOW);
    assert!(begin.elapsed() < LIMIT, "{name}: {:?}", begin.elapsed());
    answer
}

#[test]
fn who_is_turned_away_while_it_waits_ends_with_a_word_of_its_own() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--no-token"]);
    let mut receiver = fleet.absent("r");
    receiver.start(&["--name", "r", "--enrol", &code]);
    receiver.process().wait_for("waiting");
    fleet.run(["--yes", "receivers", "deny", "r"]).done();
    receiver.process().wait(SLOW).refused(1, "receiver-denied");
}

#[test]
fn malformed_codes_are_usage_errors_and_leave_nothing_behind() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--group", "g"]);
    let mistyped = |at: usize| {
        let mut letters: Vec<char> = code.chars().collect();
        letters[at] = if letters[at] == '7' { '8' } else { '7' };
        letters.into_iter().collect::<String>()
    };
    let codes = [
        code[..code.len() - 1].to_owned(),
        code[..code.len() / 2].to_owned(),
        mistyped(4),
        mistyped(30),
        mistyped(code.len() - 3),
        format!("{code}00000000"),
        code.replace("FC1-", "FC9-"),
        "FC1-".to_owned(),
        String::new(),
        "FC1-\u{1b}[31m".to_owned(),
    ];
    for code in codes {
        let answer = enrol(&fleet, "r", &code);
        assert_eq!(answer.code, 2, "{code}: {answer:?}");
        let _ = answer.failure();
        assert!(!fleet.path("r").exists() && !fleet.path("r-state").exists(), "{code}");
    }
    // Not one of these has used it.
    let mut receiver = fleet.absent("r");
    receiver.start(&["--name", "r", "--enrol", &code]);
    receiver.process().wait_for("connected");
}

#[test]
fn forged_codes_enrol_nobody_and_an_outdated_one_finds_its_server() {
    let fleet = Fleet::start();
    let _bystander = fleet.receiver("bystander");
    let code: EnrolmentCode = fleet.invite(&["--group", "g", "--uses", "2"]).parse().unwrap();
    let token = EnrolmentCode { token: Some([7; 16]), ..code.clone() };
    // PROTOCOL H4: the secret is mixed into the handshake, so a wrong one gets no answer;
    // the hint names that possibility.
    let answer = enrol(&fleet, "token", &token.to_string());
    answer.refused(1, "server-unreachable");
    assert!(answer.failure()["hint"].as_str().unwrap().contains("code"), "{answer:?}");
    // A server key that is not ours any more, or never was: the authority document that
    // the code pins names the right one (PROTOCOL A3), so nobody else can take its place.
    let controller = EnrolmentCode { controller: StaticKey([7; 32]), ..code.clone() };
    let mut outdated = fleet.absent("controller");
    outdated.start(&["--name", "controller", "--enrol", &controller.to_string()]);
    outdated.process().wait_for("connected");
    // Neither the key nor the document: nobody is found.
    let both = EnrolmentCode { authority: Digest([7; 32]), ..controller };
    enrol(&fleet, "both", &both.to_string()).refused(1, "server-unreachable");
    let authority = EnrolmentCode { authority: Digest([7; 32]), ..code.clone() };
    // Its token is right, so the server has taken it in before it could refuse the server.
    try_to_enrol(&fleet, "authority", &authority.to_string()).refused(1, "authority-mismatch");
    assert_eq!(fleet.listed("authority")["state"], "away");
    let _ = fleet.run(["receivers", "remove", "authority", "--yes"]).done();
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
}

#[test]
fn codes_end_by_time_and_by_use() {
    let fleet = Fleet::start();
    let expired = fleet.invite(&["--group", "g", "--expires", "1s"]);
    let used = fleet.invite(&["--group", "g", "--uses", "1"]);
    let mut first = fleet.absent("first");
    first.start(&["--name", "first", "--enrol", &used]);
    first.process().wait_for("connected");
    enrol(&fleet, "second", &used).refused(1, "invite-used");
    std::thread::sleep(Duration::from_millis(1_500));
    enrol(&fleet, "late", &expired).refused(1, "invite-expired");
    assert_eq!(fleet.listed("first")["state"], "active");
}

#[test]
fn a_code_that_was_taken_back_enrols_nobody_and_who_came_before_stays() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--group", "g", "--uses", "3"]);
    let mut first = fleet.absent("first");
    first.start(&["--name", "first", "--enrol", &code]);
    first.process().wait_for("connected");
    let list = fleet.run(["invite", "--list"]).done();
    let item = &list["items"][0];
    let told = [&item["groups"], &item["uses"], &item["used"], &item["revoked"]];
    assert_eq!(told, [&json!(["g"]), &json!(3), &json!(1), &json!(false)], "{list}");
    assert!(!list.to_string().contains(&code), "a list gives no codes away");
    for _ in 0..2 {
        let revoked = fleet.run(["invite", "--revoke", &code]).done();
        assert_eq!(revoked["item"]["id"], item["id"]);
    }
    enrol(&fleet, "second", &code).refused(1, "invite-revoked");
    assert_eq!(fleet.listed("first")["state"], "active");
    for unknown in ["nobody", "", "0123456789abcdef"] {
        fleet.run(["invite", "--revoke", unknown]).refused(1, "invite-unknown");
    }
    // An open group lists none, and its voucher cannot be taken back as one.
    fleet.run(["groups", "create", "offen", "--open"]).done();
    assert_eq!(fleet.run(["invite", "--list"]).done()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_receiver_that_was_copied_is_noticed() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    receiver.kill();
    let copy = fleet.path("copy");
    let copied = |to: &std::path::Path| {
        let mut copy = std::process::Command::new("cp");
        copy.arg("-a").arg(fleet.path("r-state")).arg(to).status().unwrap()
    };
    assert!(copied(&copy).success());
    for _ in 0..2 {
        receiver.start(&[]);
        receiver.process().wait_for("connected");
        receiver.kill();
    }
    let mut clone = fleet.absent("clone");
    clone.state = copy;
    clone.start(&[]);
    // PROTOCOL H3: it must prove its address once more, and is no worse off else.
    clone.process().wait_for("connected");
    let status = fleet.run(["status"]).done();
    let health = status["item"]["health"].as_array().unwrap();
    let found = health.iter().find(|item| item["code"] == "order-regressed");
    let found = found.unwrap_or_else(|| panic!("{status}"));
    assert_eq!((&found["subject"], &found["severity"]), (&json!("r"), &json!("warning")));
}

#[test]
fn an_unreachable_server_is_given_up_in_time() {
    let fleet = Fleet::start();
    let code: EnrolmentCode = fleet.invite(&[]).parse().unwrap();
    // Somebody who does not answer, and nobody at all.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [silent.local_addr().unwrap().port(), closed] {
        let code = EnrolmentCode { port, ..code.clone() };
        enrol(&fleet, "r", &code.to_string()).refused(1, "server-unreachable");
    }
}
