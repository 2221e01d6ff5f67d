//! People at a server on another machine: logins, passwords, names, tokens of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use serde_json::json;

use crate::remote::{PASSWORD, add, by_login, by_token, door, elsewhere, fleet, token, url};

#[test]
fn a_person_logs_in_works_and_logs_out() {
    let fleet = fleet();
    assert_eq!(fleet.run(["users", "list"]).done()["items"], json!([]), "no default account");
    add(&fleet, "Ann", "admin");
    let url = url(&fleet);
    let login = by_login(&fleet, &format!("{PASSWORD}\n"), &["login", &url, "--user", "ann"]);
    let item = login.done()["item"].clone();
    assert_eq!((&item["user"], &item["role"]), (&json!("Ann"), &json!("admin")));
    assert!(!login.stdout.contains("fct_"), "the token is kept, not shown");
    let kept = fleet.path("elsewhere").join("servers.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&kept).unwrap().contains(PASSWORD));
    // From now on nothing needs to be said.
    let run = |arguments: &[&str]| by_login(&fleet, "", arguments);
    run(&["groups", "create", "h"]).done();
    let me = run(&["whoami"]).done()["item"].clone();
    assert_eq!(
        (&me["user"], &me["owner"], &me["token"]["login"]),
        (&json!("Ann"), &json!(false), &json!(true))
    );
    assert_eq!(me["url"], url);
    let owner = fleet.run(["whoami"]).done()["item"].clone();
    assert_eq!((&owner["owner"], &owner["url"]), (&json!(true), &json!(url)));
    run(&["logout"]).done();
    run(&["logout"]).refused(2, "server-needed");
    run(&["groups", "list"]).refused(1, "server-not-running");
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert_eq!(kept["servers"][0]["login"], json!(null));
    assert_eq!(fleet.run(["users", "token", "list"]).done()["items"], json!([]));
    let log = fleet.run(["log", "--actor", "Ann"]).done();
    let actions: Vec<&str> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["logged-in", "group-created", "logged-out"]);
}

#[test]
fn passwords_that_are_guessed_are_limited_logged_and_all_alike() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    add(&fleet, "bob", "admin");
    let door = door(&fleet);
    let login = |user: &str, password: &str| {
        let body = json!({ "user": user, "password": password }).to_string();
        let reply = door.ask("POST", "/api/v1/login", None, &body);
        (reply.status, reply.json()["message"].to_string())
    };
    let mut words = Vec::new();
    for user in ["ann", "nobody"] {
        let begin = Instant::now();
        let answers: Vec<(u16, String)> =
            (0..14).map(|n| login(user, &format!("guess {n}"))).collect();
        let more = begin.elapsed().as_secs() as usize / 30 + 1;
        let heard = answers.iter().filter(|(status, _)| *status == 401).count();
        assert!((10..=10 + more).contains(&heard), "{user}: {answers:?}");
        assert!(answers.iter().all(|(status, _)| [401, 429].contains(status)), "{answers:?}");
        words.push(answers[0].1.clone());
        // Not even the right one counts now, or guessing would go on.
        assert!(heard > 10 || login(user, PASSWORD).0 == 429);
    }
    assert_eq!(words[0], words[1], "whether there is an account is not told");
    assert_eq!(login("bob", PASSWORD).0, 200, "others are not disturbed");
    for (user, password) in [("a".repeat(100_000), "x".into()), ("bob".into(), "p".repeat(100_000))]
    {
        // Longer than any login can be.
        assert_eq!(login(&user, &password).0, 413);
    }
    let log = fleet.run(["log"]).stdout;
    assert!(log.matches("login-refused").count() >= 20, "{}", log.len());
    assert!(!log.contains("guess 3") && !log.contains("nobody"), "what was tried is not kept");
    // By a receiver it would be the same bucket: one cannot go from door to door.
    fleet.run(["log", "verify"]).done();
}

#[test]
fn name_and_password_change_from_elsewhere_and_need_the_password() {
    let fleet = fleet();
    add(&fleet, "ann", "member");
    add(&fleet, "bob", "member");
    let (url, tokens) = (url(&fleet), token(&fleet, "ann", &["--name", "script"]));
    let run = |input: &str, arguments: &[&str]| by_login(&fleet, input, arguments);
    run(&format!("{PASSWORD}\n"), &["login", &url, "--user", "ann"]).done();
    // Others' names and passwords are an admin's matter.
    run("a new password\n", &["users", "passwd", "bob"]).refused(1, "forbidden");
    run("", &["users", "rename", "bob", "rob"]).refused(1, "forbidden");
    // A token alone changes nothing.
    run("wrong horse\n", &["users", "rename", "ann", "anna"]).refused(1, "login-refused");
    run("wrong horse\nbattery staple\n", &["users", "passwd", "ann"]).refused(1, "login-refused");
    run("wrong horse\n", &["users", "token", "create", "ann"]).refused(1, "login-refused");
    run(&format!("{PASSWORD}\n"), &["users", "rename", "ann", "BOB"]).refused(1, "user-exists");
    run(&format!("{PASSWORD}\n"), &["users", "rename", "ann", "a b"]).refused(1, "name-unsafe");
    run(&format!("{PASSWORD}\n"), &["users", "rename", "ann", "anna"]).done();
    assert_eq!(run("", &["whoami"]).done()["item"]["user"], "anna", "its tokens stay with it");
    by_token(&fleet, &tokens, &["whoami"]).done();
    run(&format!("{PASSWORD}\nshort\n"), &["users", "passwd", "anna"]).refused(1, "password-weak");
    run(&format!("{PASSWORD}\nbattery staple\n"), &["users", "passwd", "anna"]).done();
    // Logins end with the password that opened them; scripts are not meant.
    run("", &["whoami"]).refused(1, "token-refused");
    by_token(&fleet, &tokens, &["whoami"]).done();
    run(&format!("{PASSWORD}\n"), &["login", &url, "--user", "anna"]).refused(1, "login-refused");
    run("battery staple\n", &["login", &url, "--user", "anna"]).done();
    let own = run("battery staple\n", &["users", "token", "create", "anna", "--name", "mine"]);
    assert_eq!(own.done()["item"]["name"], "mine");
    let list = run("", &["users", "token", "list"]).done();
    assert_eq!(list["items"].as_array().unwrap().len(), 3, "{list}");
    // One's own only.
    let bobs = token(&fleet, "bob", &[]);
    let id = by_token(&fleet, &bobs, &["whoami"]).done()["item"]["token"]["id"].clone();
    run("", &["users", "token", "revoke", id.as_str().unwrap()]).refused(1, "token-unknown");
    by_token(&fleet, &bobs, &["whoami"]).done();
    run("", &["users", "token", "create", "bob"]).refused(1, "forbidden");
}

#[test]
fn tokens_are_bounded_and_what_makes_no_sense_is_refused() {
    let fleet = fleet();
    add(&fleet, "ann", "member");
    fleet.run(["users", "token", "create", "nobody"]).refused(1, "user-unknown");
    fleet.run(["users", "token", "create", "ann", "--expires", "11y"]).refused(1, "malformed");
    fleet.run(["users", "token", "create", "ann", "--expires", "0s"]).refused(1, "malformed");
    fleet
        .run(["users", "token", "create", "ann", "--name", "a\u{1b}[2J"])
        .refused(1, "name-unsafe");
    fleet.run(["users", "token", "revoke", "0123"]).refused(1, "token-unknown");
    for _ in 0..64 {
        token(&fleet, "ann", &["--expires", "1h"]);
    }
    fleet.run(["users", "token", "create", "ann"]).refused(1, "tokens-full");
    // A token that is cut, or holds what a header cannot.
    for broken in ["fct_", "a b", "fct_\u{e4}"] {
        let answer = by_token(&fleet, broken, &["groups", "list"]);
        assert_ne!(answer.code, 0, "{broken}");
        answer.failure();
    }
    let mut command = elsewhere(&fleet, ["groups", "list"]);
    command.env("FLEETCAST_SERVER", url(&fleet)).env("FLEETCAST_TOKEN", "");
    let answer = fleetcast_tests::processes::Child::start("groups", command);
    let mut answer = answer;
    answer.wait(fleetcast_tests::processes::SLOW).refused(1, "token-needed");
}
