//! Each role at each route. The lists here are the product's promise, written by hand; the
//! server's own description says which routes there are and what it believes of them.

use std::collections::BTreeMap;

use fleetcast_tests::http::Door;
use fleetcast_tests::processes::{Child, SLOW};
use serde_json::{Value, json};

use crate::remote::{PASSWORD, add, by_token, door, elsewhere, fleet, listen, token, url};

/// What who has no token may ask.
const ANYONE: [&str; 1] = ["POST /login"];
/// What concerns one's own account.
const MEMBER: [&str; 8] = [
    "GET /openapi.json",
    "GET /me",
    "POST /me/name",
    "POST /me/password",
    "GET /me/tokens",
    "POST /me/tokens",
    "POST /me/tokens/{token}/revoke",
    "POST /logout",
];
/// What an operator sees; of what changes something, only a ping and a proposal are theirs.
const OPERATOR: [&str; 23] = [
    "POST /groups/{group}/requests/{receiver}/propose",
    "GET /authority",
    "GET /rate",
    "GET /receipts/authority",
    "GET /fleet",
    "GET /status",
    "GET /log",
    "GET /receipts",
    "GET /vouchers",
    "GET /groups",
    "GET /groups/{group}/members",
    "GET /groups/{group}/next",
    "GET /requests",
    "GET /receivers",
    "GET /receivers/paths",
    "POST /receivers/ping",
    "GET /receivers/{receiver}",
    "GET /releases",
    "GET /releases/{release}",
    "GET /releases/{release}/document",
    "GET /releases/{release}/verify",
    "GET /deliveries",
    "GET /pending",
];
/// What has to do with the files of the server's machine.
const OWNER: [&str; 2] = ["POST /backup", "POST /restore/confirm"];
/// What only admins see: contents, and other people.
const ADMIN_SEES: [&str; 3] = ["GET /chunks/{id}", "GET /users", "GET /tokens"];

/// The rank that a route asks for: 0 for anyone, 4 for the owner. What is in no list and
/// changes something is an admin's.
fn rank(route: &str) -> usize {
    let lists: [&[&str]; 3] = [&ANYONE, &MEMBER, &OPERATOR];
    if let Some(rank) = lists.iter().position(|list| list.contains(&route)) {
        return rank;
    }
    if OWNER.contains(&route) {
        return 4;
    }
    let looks = route.starts_with("GET ");
    assert!(!looks || ADMIN_SEES.contains(&route), "who may see {route}? decide it here");
    3
}

/// All routes of the server's description, with who may use them at least.
fn routes(document: &Value) -> BTreeMap<String, String> {
    let mut routes = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for (method, operation) in operations.as_object().unwrap() {
            let least = operation["x-least-role"].as_str().unwrap().to_owned();
            routes.insert(format!("{} {path}", method.to_ascii_uppercase()), least);
        }
    }
    routes
}

/// A path with something in each of its variable segments.
fn filled(path: &str) -> String {
    let fill = |part: &str| if part.starts_with('{') { "0".to_owned() } else { part.to_owned() };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[test]
fn each_role_may_do_what_is_its_own_and_nothing_else_at_every_route() {
    let fleet = fleet();
    let roles = ["member", "operator", "admin"];
    roles.iter().for_each(|role| add(&fleet, role, role));
    let mut tokens: Vec<Option<String>> = vec![None];
    tokens.extend(roles.iter().map(|role| Some(token(&fleet, role, &[]))));
    let (door, socket) = (door(&fleet), Door::Socket(fleet.state().join("fleetcast.sock")));
    let document = socket.ask("GET", "/api/v1/openapi.json", None, "").json();
    let routes = routes(&document);
    assert!(routes.len() > 60, "{routes:?}");
    for list in [&ANYONE[..], &MEMBER, &OPERATOR, &OWNER, &ADMIN_SEES] {
        assert!(list.iter().all(|route| routes.contains_key(*route)), "{list:?}");
    }
    for (route, least) in &routes {
        let needed = rank(route);
        let words = ["anyone", "member", "operator", "admin", "owner"];
        assert_eq!(least, words[needed], "{route}: what the server believes of it");
        let (method, path) = route.split_once(' ').unwrap();
        // No body that anything could be made of: it is refused after the right was checked.
        let (path, body) = (format!("/api/v1{}", filled(path)), "[0]");
        for (held, token) in tokens.iter().enumerate() {
            if route == "POST /logout" && token.is_some() {
                continue;
            }
            let reply = door.ask(method, &path, token.as_deref(), body);
            let (status, code) = reply.told();
            if held >= needed {
                assert!(![401, 403].contains(&status), "{route} as {held}: {status} {code}");
            } else if held == 0 {
                assert_eq!((status, code.as_str()), (401, "token-needed"), "{route}");
            } else {
                assert_eq!((status, code.as_str()), (403, "forbidden"), "{route} as {held}");
                let message = reply.json()["message"].to_string();
                let names = if needed == 4 { "at the server itself" } else { words[needed] };
                assert!(message.contains(names), "{route}: {message}");
            }
        }
    }
    // Nothing of all that has changed anything.
    for (kind, expected) in [("groups", 1), ("receivers", 0), ("users", 3)] {
        let count = fleet.run([kind, "list"]).done()["items"].as_array().unwrap().len();
        assert_eq!(count, expected, "{kind}");
    }
}

#[test]
fn methods_that_a_path_does_not_have_are_no_way_around() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    let admin = token(&fleet, "ann", &[]);
    let socket = Door::Socket(fleet.state().join("fleetcast.sock"));
    let document = socket.ask("GET", "/api/v1/openapi.json", None, "").json();
    let routes = routes(&document);
    let door = door(&fleet);
    for path in document["paths"].as_object().unwrap().keys() {
        let below = path.strip_prefix("/api/v1").unwrap();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if routes.contains_key(&format!("{method} {below}")) {
                continue;
            }
            let told = |token| door.ask(method, &filled(path), token, "").told();
            assert_eq!(told(None), (401, "token-needed".into()), "{method} {path}");
            assert_eq!(told(Some(&admin)), (405, "method-wrong".into()), "{method} {path}");
        }
    }
}

#[test]
fn an_operator_neither_puts_anybody_into_a_group_nor_has_a_key_to_sign() {
    let fleet = fleet();
    add(&fleet, "otto", "operator");
    let operator = token(&fleet, "otto", &[]);
    let code = fleet.invite(&["--no-token"]);
    let mut receiver = fleet.absent("r");
    receiver.start(&["--enrol", &code, "--name", "r"]);
    receiver.process().wait_for("waiting");
    let run = |arguments: &[&str]| by_token(&fleet, &operator, arguments);
    assert_eq!(run(&["receivers", "list"]).done()["items"][0]["state"], "waiting");
    run(&["status"]).done();
    run(&["log"]).done();
    for arguments in [
        &["receivers", "approve", "r"][..],
        &["receivers", "remove", "r", "--yes"],
        &["groups", "create", "h"],
        &["groups", "delete", "g", "--yes"],
        &["groups", "remove", "g", "r", "--yes"],
        &["users", "list"],
        &["users", "role", "otto", "admin"],
        &["users", "token", "create", "ann"],
        &["backup", "never.tar"],
        &["restore", "--confirm", "--yes"],
    ] {
        let message = run(arguments).refused(1, "forbidden");
        assert!(message.contains("admin") || message.contains("server itself"), "{message}");
    }
    // What is signed needs a key, which only admins have on their machines.
    run(&["groups", "add", "g", "r"]).refused(1, "admin-key-missing");
    run(&["invite", "--group", "g"]).refused(1, "admin-key-missing");
    fleet.run(["receivers", "approve", "r"]).done();
    receiver.process().wait_for("connected");
    // And with a certificate of somebody else's making the way is closed all the same.
    let body = json!({ "receiver": "r", "certificate": "00" }).to_string();
    let reply = door(&fleet).ask("POST", "/api/v1/groups/g/members", Some(&operator), &body);
    assert_eq!(reply.told(), (403, "forbidden".into()));
    assert_eq!(fleet.listed("r")["groups"], json!([]));
}

#[test]
fn a_role_that_changes_and_an_account_that_goes_count_at_once() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    add(&fleet, "bob", "operator");
    let (ann, bob) = (token(&fleet, "ann", &[]), token(&fleet, "bob", &[]));
    let follow = |token: &str| {
        let mut command = elsewhere(&fleet, ["log", "--follow"]);
        command.env("FLEETCAST_SERVER", url(&fleet)).env("FLEETCAST_TOKEN", token);
        let mut child = Child::start("log --follow", command);
        child.wait_for("log");
        child
    };
    let mut followed = follow(&bob);
    by_token(&fleet, &ann, &["groups", "create", "h"]).done();
    fleet.run(["users", "role", "bob", "member"]).done();
    followed.wait(SLOW / 2).refused(1, "forbidden");
    by_token(&fleet, &bob, &["groups", "list"]).refused(1, "forbidden");
    fleet.run(["users", "role", "bob", "admin"]).done();
    by_token(&fleet, &bob, &["groups", "create", "i"]).done();
    let mut followed = follow(&bob);
    by_token(&fleet, &ann, &["users", "remove", "bob", "--yes"]).done();
    followed.wait(SLOW / 2).refused(1, "token-refused");
    by_token(&fleet, &bob, &["groups", "list"]).refused(1, "token-refused");
    // Whoever takes the name later does not take the tokens.
    add(&fleet, "bob", "admin");
    by_token(&fleet, &bob, &["groups", "list"]).refused(1, "token-refused");
    // The log says who did it.
    let log = fleet.run(["log"]).done();
    let lines: Vec<(&str, &str, &str)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| ["actor", "action", "subject"].map(|key| line[key].as_str().unwrap()))
        .map(|[actor, action, subject]| (actor, action, subject))
        .collect();
    for expected in [
        ("ann", "group-created", "h"),
        ("admin", "user-role-changed", "bob"),
        ("bob", "group-created", "i"),
        ("ann", "user-removed", "bob"),
    ] {
        assert!(lines.contains(&expected), "{expected:?} in {lines:?}");
    }
    fleet.run(["log", "verify"]).done();
}

#[test]
fn an_upload_under_way_ends_with_the_right_to_it() {
    use std::io::{Read as _, Write as _};
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    let ann = token(&fleet, "ann", &[]);
    let mut stream = Door::Tls(listen(&fleet)).open().unwrap();
    let head = format!(
        "PUT /api/v1/chunks HTTP/1.1\r\nhost: f\r\nauthorization: Bearer {ann}\r\n\
         content-length: 1000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The beginning of a chunk of 60,000 bytes (PROTOCOL §4): its id, its codec, its lengths.
    stream.write_all(&[0; 32]).unwrap();
    stream.write_all(&[0, 0x60, 0xea, 0, 0x60, 0xea, 0]).unwrap();
    stream.write_all(&[7; 500]).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    fleet.run(["users", "role", "ann", "operator"]).done();
    let begin = std::time::Instant::now();
    let mut answer = Vec::new();
    // It is closed with an answer, and not waited for.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("forbidden"), "{answer}");
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn while_the_catalog_is_in_doubt_nobody_is_heard_from_elsewhere() {
    let mut fleet = fleet();
    add(&fleet, "ann", "admin");
    let kept = token(&fleet, "ann", &[]);
    let backup = fleet.path("fleet.tar");
    fleet.run(["backup", backup.to_str().unwrap()]).done();
    // After the copy was made the token was found in a bin, and taken back.
    let id = fleet.run(["users", "token", "list"]).done()["items"][0]["id"].clone();
    fleet.run(["users", "token", "revoke", id.as_str().unwrap()]).done();
    let fingerprint = fleet.ready["api"]["fingerprint"].clone();
    fleet.kill_server();
    std::fs::remove_dir_all(fleet.state()).unwrap();
    fleet.run(["restore", backup.to_str().unwrap()]).done();
    fleet.start_server();
    assert_eq!(fleet.ready["api"]["fingerprint"], fingerprint, "the certificate is in the copy");
    by_token(&fleet, &kept, &["groups", "list"]).refused(1, "catalog-in-doubt");
    let login = format!("{{\"user\":\"ann\",\"password\":\"{PASSWORD}\"}}");
    let told = door(&fleet).ask("POST", "/api/v1/login", None, &login).told();
    assert_eq!(told, (409, "catalog-in-doubt".into()));
    fleet.run(["restore", "--confirm", "--yes"]).done();
    // The copy did not know: all tokens have ended.
    by_token(&fleet, &kept, &["groups", "list"]).refused(1, "token-refused");
    assert_eq!(door(&fleet).ask("POST", "/api/v1/login", None, &login).status, 200);
}
