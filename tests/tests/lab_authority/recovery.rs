//! A lost admin key, and the code on paper that stands in for it.

use std::fs;

use fleetcast_tests::processes::Fleet;
use serde_json::json;

use crate::office::{Office, file, health, send, shows, text, trusted_by};

/// Where the admin key of a fleet lies.
fn key_of(fleet: &Fleet) -> std::path::PathBuf {
    fleet.state().join("keys/admin.key")
}

/// No file of a server holds a code, nor the seed that follows from it.
fn is_nowhere(fleet: &Fleet, code: &str) -> bool {
    let bare: String = code[4..].chars().filter(|c| *c != '-').collect();
    let mut open = vec![fleet.state()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
                if holds(code) || holds(&bare) {
                    return false;
                }
            }
        }
    }
    true
}

#[test]
fn a_lost_admin_key_is_replaced_by_the_code_on_paper() {
    let fleet = Fleet::start();
    assert!(!health(&fleet).contains(&"no-spare-key".to_owned()), "nobody could be lost yet");
    let receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    fleet.run(["groups", "add", "nord", "r"]).done();
    assert!(health(&fleet).contains(&"no-spare-key".to_owned()));
    let made = fleet.run(["recovery", "create"]).done()["item"].clone();
    let code = text(&made["code"]);
    assert_eq!((made["state"].as_str(), &code[..4]), (Some("in-force"), "FR1-"));
    assert!(is_nowhere(&fleet, &code) && !health(&fleet).contains(&"no-spare-key".to_owned()));
    send(&fleet, &file(&fleet, "file", "before"));
    shows(&receiver, "file", "before");

    fs::remove_file(key_of(&fleet)).unwrap();
    let path = file(&fleet, "file", "after");
    fleet.run(["send", path.to_str().unwrap(), "--to", "g"]).refused(1, "admin-key-missing");
    for (typed, exit, refused) in [
        ("FR1-0000", 2, "recovery-malformed"),
        ("hello", 2, "recovery-malformed"),
        ("FR1-000G-40R4-0M30-E209-185G-R38E-1WRV-WJCY", 1, "recovery-unknown"),
    ] {
        fleet.run_with(typed, ["authority", "recover"]).refused(exit, refused);
        assert!(!key_of(&fleet).exists(), "no key is made for nothing");
    }
    // As a person types it.
    let typed = code.to_lowercase().replace('-', " ").replacen("fr1 ", "fr1-", 1);
    let done = fleet.run_with(&typed, ["authority", "recover"]).done()["item"].clone();
    assert_eq!(done["change"]["state"], "in-force", "{done}");
    let next = text(&done["code"]);
    assert!(next != code && is_nowhere(&fleet, &next));
    let shown = trusted_by(&fleet, 1);
    assert_eq!(shown["admins"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["doubtful_memberships"], 0, "signed anew: {shown}");
    send(&fleet, &path);
    shows(&receiver, "file", "after");
    fleet.run(["send", path.to_str().unwrap(), "--to", "nord", "--wait"]).done();
    // The used code is none any more; the new one is.
    fs::remove_file(key_of(&fleet)).unwrap();
    fleet.run_with(&code, ["authority", "recover"]).refused(1, "recovery-unknown");
    fleet.run_with(&next, ["authority", "recover"]).done();
    fleet.run(["log", "verify"]).done();
}

#[test]
fn the_code_counts_as_one_signature_and_not_as_more() {
    let fleet = Fleet::start();
    let bea = Office::new(&fleet, "bea");
    fleet.run(["authority", "add-admin", &bea.key, "--name", "bea"]).done();
    let code = text(&fleet.run(["recovery", "create"]).done()["item"]["code"]);
    let id = text(&fleet.run(["authority", "threshold", "2"]).done()["item"]["id"]);
    bea.run(["authority", "sign", &id]).done();
    fs::remove_file(key_of(&fleet)).unwrap();
    // Two besides the code could be the lost one.
    fleet.run_with(&code, ["authority", "recover"]).refused(2, "admin-ambiguous");
    let admins = fleet.run(["authority", "show"]).done()["item"]["admins"].clone();
    let lost = text(&admins[0]["id"]);
    let done = fleet.run_with(&code, ["authority", "recover", "--lost", &lost]).done();
    let change = done["item"]["change"].clone();
    assert_eq!(
        (&change["state"], &change["before"]),
        (&json!("waiting"), &json!([1, 2])),
        "{change}"
    );
    let signed = bea.run(["authority", "sign", &text(&change["id"])]).done();
    assert_eq!(signed["item"]["state"], "in-force", "{signed}");
    let shown = fleet.run(["authority", "show"]).done()["item"].clone();
    let ids: Vec<&str> =
        shown["admins"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert!(!ids.contains(&lost.as_str()) && ids.contains(&bea.id.as_str()), "{shown}");
    assert_eq!(ids.len(), 3);
}
