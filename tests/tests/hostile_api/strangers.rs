//! Who has shown nothing that counts: gets nothing, learns nothing, holds nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fleetcast_tests::http::{Door, Reply, tls};

use crate::remote::{add, by_token, door, fleet, listen, token};

/// What the server gives the header of a request; a busy machine takes a little longer.
const HEADERS: Duration = Duration::from_secs(15);

fn told(reply: &Reply) -> (u16, String) {
    // Whatever is refused, and however, has the form of all refusals.
    let failure = reply.json();
    assert_eq!((&failure["schema"], &failure["kind"]), (&1.into(), &"error".into()), "{reply:?}");
    assert!(failure["message"].is_string() && failure["hint"].is_string(), "{failure}");
    assert!(reply.header.contains("cache-control: no-store"), "{}", reply.header);
    reply.told()
}

#[test]
fn without_a_token_that_counts_there_is_nothing_to_be_seen() {
    let mut fleet = fleet();
    add(&fleet, "ann", "admin");
    let (right, brief) = (token(&fleet, "ann", &[]), token(&fleet, "ann", &["--expires", "1s"]));
    let door = door(&fleet);
    assert_eq!(door.ask("GET", "/api/v1/groups", Some(&right), "").status, 200);
    let wrong = format!("{}x", &right[..right.len() - 1]);
    for path in ["/api/v1/groups", "/api/v1/openapi.json", "/api/v1/nothing", "/", "*"] {
        let reply = door.ask("GET", path, None, "");
        assert_eq!(told(&reply), (401, "token-needed".into()), "{path}");
        assert!(reply.header.contains("www-authenticate: Bearer"), "{}", reply.header);
        let told = told(&door.ask("GET", path, Some(&wrong), ""));
        assert_eq!(told, (401, "token-refused".into()), "{path}");
    }
    for header in [
        "authorization: Bearer\r\n".to_owned(),
        format!("authorization: {right}\r\n"),
        format!("authorization: Basic {right}\r\n"),
        // Two are none: a proxy could believe the one, and the server the other.
        format!("authorization: Bearer {right}\r\nauthorization: Bearer {right}\r\n"),
        format!("x-authorization: Bearer {right}\r\n"),
        format!("cookie: token={right}\r\n"),
    ] {
        let reply = door.send("GET", "/api/v1/groups", &header, b"").unwrap();
        assert_eq!(told(&reply), (401, "token-needed".into()), "{header}");
    }
    std::thread::sleep(Duration::from_secs(2));
    let late = door.ask("GET", "/api/v1/groups", Some(&brief), "");
    assert_eq!(told(&late), (401, "token-expired".into()));
    // What is kept of a token is no token.
    for file in ["catalog.db", "catalog.db-wal"] {
        let bytes = std::fs::read(fleet.state().join(file)).unwrap();
        assert!(!bytes.windows(right.len()).any(|at| at == right.as_bytes()), "{file}");
    }
    // It survives a server that is killed, and counts no more once it is taken back.
    fleet.kill_server();
    fleet.start_server();
    by_token(&fleet, &right, &["groups", "list"]).done();
    let tokens = fleet.run(["users", "token", "list"]).done();
    for item in tokens["items"].as_array().unwrap() {
        fleet.run(["users", "token", "revoke", item["id"].as_str().unwrap()]).done();
    }
    by_token(&fleet, &right, &["groups", "list"]).refused(1, "token-refused");
    let log = fleet.run(["log", "--csv"]).stdout;
    assert!(log.contains("token-made") && log.contains("token-revoked"), "{log}");
    assert!(log.contains("127.0.0.1") && log.contains("token-refused"), "{log}");
    assert!(!log.contains(&right) && !log.contains(&wrong), "no token stands in the log");
    fleet.run(["log", "verify"]).done();
}

#[test]
fn tokens_that_are_guessed_are_limited_and_right_ones_are_not() {
    let fleet = fleet();
    add(&fleet, "ann", "operator");
    let right = token(&fleet, "ann", &[]);
    let door = door(&fleet);
    let guess = |n: u32| door.ask("GET", "/api/v1/status", Some(&format!("fct_{n}")), "").status;
    let begin = Instant::now();
    let answers: Vec<u16> = (0..40).map(guess).collect();
    // Twenty at once, and one more every ten seconds.
    let more = begin.elapsed().as_secs() as usize / 10 + 1;
    let heard = answers.iter().filter(|status| **status == 401).count();
    assert!((20..=20 + more).contains(&heard), "{answers:?}");
    assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
    assert_eq!(door.ask("GET", "/api/v1/status", Some(&right), "").status, 200);
    let log = fleet.run(["log"]).done();
    let lines = log["items"].as_array().unwrap().iter();
    let refused = lines.filter(|line| line["action"] == "token-refused").count();
    assert!((20..=20 + more).contains(&refused), "{refused} lines");
}

#[test]
fn paths_that_are_tricks_lead_nowhere() {
    let fleet = fleet();
    add(&fleet, "ann", "member");
    let member = token(&fleet, "ann", &[]);
    let door = door(&fleet);
    for path in [
        "/api/v1/users/",
        "//api/v1/users",
        "/api/v1//users",
        "/api/v1/./users",
        "/api/v1/me/../users",
        "/api/v1/%75sers/",
        "/api/v1/users%2f",
        "/api/v1/users%00",
        "/api/v1/users;x",
        "/api/v1/me/%2e%2e/users",
        "/API/v1/users",
        "/api/v1/USERS",
        "/api/v1/users/ann/..",
        "/api/v2/users",
        "/api/v1/groups/%ff",
        "/api/v1/groups/%2e%2e",
        "/api/v1/openapi.json/users",
        "http://fleet/api/v1/users",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let reply = door.send(method, path, &bearer(&member), b"").unwrap();
            let (status, code) = told(&reply);
            assert!([400, 403, 404, 405].contains(&status), "{method} {path}: {status} {code}");
        }
    }
    // Nor does any header lend a right.
    for header in [
        "x-forwarded-for: 127.0.0.1",
        "x-original-url: /api/v1/me",
        "x-user: admin",
        "x-http-method-override: GET",
        "x-role: admin",
    ] {
        let header = format!("{}{header}\r\n", bearer(&member));
        let reply = door.send("GET", "/api/v1/users", &header, b"").unwrap();
        assert_eq!(told(&reply), (403, "forbidden".into()), "{header}");
    }
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[test]
fn what_is_huge_is_refused_before_it_is_held() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    let admin = token(&fleet, "ann", &[]);
    let door = door(&fleet);
    // A login needs no token, so its body is what strangers can send.
    let json = "content-type: application/json\r\n";
    let log_in = |bytes: usize| {
        let body = format!("{{\"user\":\"{}\",\"password\":\"x\"}}", "a".repeat(bytes));
        told(&door.send("POST", "/api/v1/login", json, body.as_bytes()).unwrap())
    };
    assert_eq!(log_in(3 << 20), (413, "too-large".into()));
    assert_eq!(log_in(4 << 10), (413, "too-large".into()));
    assert_eq!(log_in(4_000), (401, "login-refused".into()));
    let name = format!("{{\"name\":\"{}\",\"open\":false}}", "a".repeat(1 << 20));
    let reply = door.ask("POST", "/api/v1/groups", Some(&admin), &name);
    assert_eq!(told(&reply), (400, "name-unsafe".into()));
    assert!(reply.body.len() < 2_000, "of a huge name little comes back");
    // Deep nesting, a promise of more than comes, no JSON at all, another media type.
    let deep = "[".repeat(100_000);
    for (header, body) in [(json, deep.as_str()), (json, "{"), ("", "{}"), (json, "")] {
        let header = format!("{}{header}", bearer(&admin));
        let reply = door.send("POST", "/api/v1/groups", &header, body.as_bytes()).unwrap();
        let (status, code) = told(&reply);
        assert!([400, 415, 422].contains(&status) && code == "malformed", "{status} {code}");
    }
    // A header without end.
    let header = format!("x-long: {}\r\n", "a".repeat(1 << 20));
    let reply = door.send("GET", "/api/v1/status", &header, b"");
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 431), "it is not read on");
    let reply = door.ask("GET", &format!("/api/v1/{}", "a/".repeat(30_000)), Some(&admin), "");
    assert!([404, 414, 431].contains(&reply.status), "{}", reply.status);
    by_token(&fleet, &admin, &["groups", "list"]).done();
}

/// How long the server bears a connection that sends these bytes and then a byte every
/// second, and what it says.
fn borne(mut stream: impl std::io::Read + std::io::Write, begin: &[u8]) -> (Duration, Vec<u8>) {
    let since = Instant::now();
    stream.write_all(begin).unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let mut answer = [0; 512];
        let sent = stream.write_all(b"a").and_then(|()| stream.flush());
        if sent.is_err() || since.elapsed() > 4 * HEADERS {
            let count = stream.read(&mut answer).unwrap_or(0);
            return (since.elapsed(), answer[..count].to_vec());
        }
    }
}

#[test]
fn who_dribbles_is_cut_and_others_are_served_meanwhile() {
    let fleet = fleet();
    add(&fleet, "ann", "operator");
    let (right, at) = (token(&fleet, "ann", &[]), listen(&fleet));
    // Bytes before TLS, a handshake, a header, and the body of a login.
    let raw = std::thread::spawn(move || borne(TcpStream::connect(at).unwrap(), &[22]));
    let head = b"GET /api/v1/status HTTP/1.1\r\nhost: f\r\nx-slow: ";
    let header = std::thread::spawn(move || borne(tls(at).unwrap(), head));
    let login = b"POST /api/v1/login HTTP/1.1\r\nhost: f\r\ncontent-type: application/json\r\n\
        content-length: 4000\r\n\r\n{";
    let body = std::thread::spawn(move || borne(tls(at).unwrap(), login));
    let mut silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(at).unwrap()).collect();
    by_token(&fleet, &right, &["status"]).done();
    let cut = |after: Duration| after < 3 * HEADERS;
    let (after, _) = raw.join().unwrap();
    assert!(cut(after), "a handshake was borne for {after:?}");
    let (after, _) = header.join().unwrap();
    assert!(cut(after) && after >= HEADERS / 2, "a header was borne for {after:?}");
    // A body may take thirty seconds, and brings no more than one byte in each.
    let (after, _) = body.join().unwrap();
    assert!(cut(after) && after >= 2 * HEADERS, "a body was borne for {after:?}");
    for stream in &mut silent {
        stream.set_read_timeout(Some(HEADERS)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "who says nothing is put out");
    }
}

#[test]
fn one_address_cannot_take_all_places() {
    let fleet = fleet();
    let at = listen(&fleet);
    let mut held: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(at).unwrap()).collect();
    std::thread::sleep(Duration::from_secs(2));
    let put_out = held.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        stream.read(&mut [0]).ok()
    });
    // 64 may stay for the time of a handshake.
    assert_eq!(put_out.count(), 36);
    // The owner is not among them.
    fleet.run(["groups", "list"]).done();
    drop(held);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(door(&fleet).ask("GET", "/api/v1/status", None, "").status, 401);
}

#[test]
fn plain_http_gets_a_word_and_nothing_else() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    let right = token(&fleet, "ann", &[]);
    let reply = Door::Plain(listen(&fleet)).ask("GET", "/api/v1/groups", Some(&right), "");
    assert_eq!(reply.told(), (400, "https-needed".into()));
    for junk in [&b"\x16\x03\x01"[..], b"\x16\xff\xff\xff\xff\xff", b"\0\0\0\0", b"SSH-2.0-x\r\n"] {
        let mut stream = TcpStream::connect(listen(&fleet)).unwrap();
        stream.write_all(junk).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // It may be reset: what was sent is not read.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 400, "{answer:?}");
    }
    by_token(&fleet, &right, &["groups", "list"]).done();
}
