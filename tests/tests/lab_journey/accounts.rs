//! People with accounts: they stand behind receivers by logging in.

use fleetcast_tests::processes::{Answer, Child, Fleet, Receiver, SLOW};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

fn add(fleet: &Fleet, user: &str, role: &str) {
    fleet.run_with(&format!("{PASSWORD}\n"), ["users", "add", user, "--role", role]).done();
}

/// Starts a receiver that is to be taken in by a login.
fn log_in(fleet: &Fleet, name: &str, user: &str, password: &str) -> Receiver {
    let code = fleet.invite(&["--no-token"]);
    let mut receiver = fleet.absent(name);
    let options = ["--enrol", &code, "--name", name, "--login", user];
    receiver.start_with(&format!("{password}\n"), &options);
    receiver
}

fn change(receiver: &Receiver, user: &str, old: &str, new: &str) -> Answer {
    let command = receiver.my_command(["password", "--user", user]);
    Child::start_with("my password", command, &format!("{old}\n{new}\n")).wait(SLOW)
}

fn names(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|i| (i["name"].as_str().unwrap(), i["role"].as_str().unwrap())).collect()
}

#[test]
fn accounts_are_made_changed_and_removed() {
    let fleet = Fleet::start();
    assert_eq!(fleet.run(["users", "list"]).done()["items"], json!([]), "no default account");
    add(&fleet, "ann", "admin");
    add(&fleet, "Jürgen", "member");
    fleet.run(["users", "role", "jürgen", "operator"]).done();
    fleet.run(["users", "role", "jürgen", "operator"]).done();
    let list = fleet.run(["users", "list"]).done();
    assert_eq!(names(&list), [("Jürgen", "operator"), ("ann", "admin")]);
    // Not even the hash is shown.
    assert!(!list.to_string().contains("argon2"), "{list}");
    fleet.run(["users", "remove", "ann", "--yes"]).done();
    assert_eq!(names(&fleet.run(["users", "list"]).done()), [("Jürgen", "operator")]);
}

#[test]
fn who_logs_in_is_taken_in_and_who_does_not_know_the_password_is_not() {
    let mut fleet = Fleet::start();
    add(&fleet, "ann", "member");
    let mut wrong = log_in(&fleet, "wrong", "ann", "wrong horse");
    wrong.process().wait(SLOW).refused(1, "login-refused");
    // An account that is not there is refused in the same words.
    let mut nobody = log_in(&fleet, "nobody", "bob", PASSWORD);
    let answer = nobody.process().wait(SLOW);
    answer.refused(1, "login-refused");
    assert_eq!(fleet.listed("wrong")["state"], "waiting", "as without a login");
    let mut right = log_in(&fleet, "right", "Ann", PASSWORD);
    assert_eq!(right.process().wait_for("logged-in")["user"], "Ann");
    right.process().wait_for("connected");
    let events: Vec<Value> = right.process().seen().iter().map(|e| e["event"].clone()).collect();
    assert!(!events.contains(&json!("waiting")), "{events:?}");
    assert_eq!(fleet.listed("right")["state"], "active");
    assert_eq!(fleet.listed("right")["groups"], json!([]), "an account is no membership");
    right.my(["join", "g"]).done();
    fleet.run(["groups", "approve", "g", "right"]).done();
    // It needs no password again, and all of it survives a server that is killed.
    right.kill();
    fleet.kill_server();
    fleet.start_server();
    right.start(&[]);
    right.process().wait_for("connected");
    assert_eq!(fleet.listed("right")["groups"], json!(["g"]));
    let users = fleet.run(["users", "list"]).done();
    assert_eq!(users["items"][0]["receivers"], json!(["right"]), "{users}");
    let state = std::fs::read_to_string(right.state.join("receiver.json")).unwrap();
    assert!(!state.contains(PASSWORD), "PROTOCOL G5: a receiver keeps no password");
    let catalog = std::fs::read(fleet.state().join("catalog.db-wal")).unwrap();
    assert!(!catalog.windows(PASSWORD.len()).any(|at| at == PASSWORD.as_bytes()));
    fleet.run(["log", "verify"]).done();
}

#[test]
fn a_person_changes_the_password_where_the_receiver_is() {
    let fleet = Fleet::start();
    add(&fleet, "ann", "member");
    let receiver = fleet.receiver("r");
    change(&receiver, "ann", "wrong horse", "battery staple").refused(1, "login-refused");
    change(&receiver, "bob", PASSWORD, "battery staple").refused(1, "login-refused");
    change(&receiver, "ann", PASSWORD, "short").refused(1, "password-weak");
    assert_eq!(change(&receiver, "ann", PASSWORD, "battery staple").done()["item"]["user"], "ann");
    let mut late = log_in(&fleet, "late", "ann", PASSWORD);
    late.process().wait(SLOW).refused(1, "login-refused");
    let mut knows = log_in(&fleet, "knows", "ann", "battery staple");
    knows.process().wait_for("connected");
    // An admin needs not know the old one.
    fleet.run_with(&format!("{PASSWORD}\n"), ["users", "passwd", "ann"]).done();
    change(&receiver, "ann", "battery staple", PASSWORD).refused(1, "login-refused");
    change(&receiver, "ann", PASSWORD, "battery staple").done();
    // Who is gone is gone.
    fleet.run(["users", "remove", "ann", "--yes"]).done();
    change(&receiver, "ann", "battery staple", PASSWORD).refused(1, "login-refused");
    assert_eq!(fleet.listed("knows")["state"], "active", "its receivers stay");
}
