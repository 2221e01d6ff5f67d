//! What operators propose, and admins decide.

use serde_json::{Value, json};

use crate::remote::{add, by_token, fleet, token};

/// What a line of the requests tells besides the fingerprint.
fn told(items: &Value) -> Vec<Value> {
    let item = |item: &Value| json!([item["receiver"], item["asked"], item["proposed_by"]]);
    items["items"].as_array().unwrap().iter().map(item).collect()
}

#[test]
fn an_operator_proposes_who_is_to_be_in_a_group_and_nobody_is_until_an_admin_has_signed() {
    let mut fleet = fleet();
    for (user, role) in [("otto", "operator"), ("mia", "member")] {
        add(&fleet, user, role);
    }
    let (otto, mia) = (token(&fleet, "otto", &[]), token(&fleet, "mia", &[]));
    fleet.run(["groups", "create", "h"]).done();
    let mut member = fleet.receiver("member");
    let code = fleet.invite(&["--no-token"]);
    let mut waiting = fleet.absent("waiting");
    waiting.start(&["--enrol", &code, "--name", "waiting"]);
    waiting.process().wait_for("waiting");
    let run = |arguments: &[&str]| by_token(&fleet, &otto, arguments);
    let proposed = run(&["groups", "propose", "h", "member", "waiting"]).done();
    let both = [json!(["member", false, "otto"]), json!(["waiting", false, "otto"])];
    assert_eq!(told(&proposed), both);
    // Again, also by somebody else, is fine.
    fleet.run(["groups", "propose", "h", "member"]).done();
    assert_eq!(told(&run(&["groups", "requests"]).done()), both);
    // Nothing has changed by that, and its person is not told to have asked.
    assert_eq!(fleet.listed("waiting")["state"], "waiting");
    assert_eq!(fleet.listed("member")["groups"], json!(["g"]));
    let mine = member.my(["groups"]).done();
    let of_h = mine["items"].as_array().unwrap().iter().find(|item| item["name"] == "h");
    assert_eq!(of_h.unwrap()["state"], "none", "{mine}");
    // Who may not decide decides nothing, and who may not propose proposes nothing.
    run(&["groups", "approve", "h", "member"]).refused(1, "admin-key-missing");
    run(&["groups", "deny", "h", "member"]).refused(1, "forbidden");
    by_token(&fleet, &mia, &["groups", "propose", "h", "member"]).refused(1, "forbidden");
    run(&["groups", "propose", "h", "nobody"]).refused(1, "receiver-unknown");
    run(&["groups", "propose", "nowhere", "member"]).refused(1, "group-unknown");
    // It survives the server.
    fleet.kill_server();
    fleet.start_server();
    assert_eq!(told(&fleet.run(["groups", "requests", "h"]).done()), both);
    // An admin who lets in who waits has compared the fingerprint that stands there.
    fleet.run(["groups", "approve", "h", "waiting"]).done();
    waiting.process().wait_for("connected");
    assert_eq!(fleet.listed("waiting")["groups"], json!(["h"]));
    // A denial of what nobody there has asked for ends it; asking stays possible.
    fleet.run(["groups", "deny", "h", "member", "--reason", "no"]).done();
    assert_eq!(told(&fleet.run(["groups", "requests"]).done()), [] as [Value; 0]);
    member.process().wait_for("connected");
    member.my(["join", "h"]).done();
    let asked = fleet.run(["groups", "requests"]).done();
    assert_eq!(told(&asked), [json!(["member", true, null])]);
    // The log says who did what.
    let log = fleet.run(["log"]).done();
    let lines = log["items"].as_array().unwrap().iter();
    let lines: Vec<_> = lines.map(|l| json!([l["actor"], l["action"], l["subject"]])).collect();
    for line in [
        json!(["otto", "membership-proposed", "waiting"]),
        json!(["otto", "membership-proposed", "member"]),
        json!(["admin", "request-approved", "waiting"]),
        json!(["admin", "request-denied", "member"]),
    ] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
    fleet.run(["log", "verify"]).done();
}

// PROTOCOL G2
#[test]
fn proposals_have_the_bound_of_requests() {
    let fleet = fleet();
    add(&fleet, "otto", "operator");
    let otto = token(&fleet, "otto", &[]);
    let receiver = fleet.receiver("r");
    for number in 0..17 {
        fleet.run(["groups", "create", &format!("h{number}")]).done();
        let answer = by_token(&fleet, &otto, &["groups", "propose", &format!("h{number}"), "r"]);
        if number < 16 {
            answer.done();
        } else {
            answer.refused(1, "requests-full");
        }
    }
    // They keep nobody at the receiver from asking.
    receiver.my(["join", "h16"]).done();
    let requests = told(&fleet.run(["groups", "requests"]).done());
    assert_eq!(requests.len(), 16);
    assert!(requests.contains(&json!(["r", true, null])), "{requests:?}");
}
