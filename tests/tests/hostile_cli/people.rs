//! People who ask for what is not there, or too much; and strangers at the
//! receiver's socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, Receiver};
use serde_json::{Value, json};

/// Says something to a receiver's socket; what it answers.
fn talk(receiver: &Receiver, words: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(receiver.state.join("agent.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A receiver that has heard enough closes the socket.
    let _ = stream.write_all(words);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    serde_json::from_str(&answer).ok()
}

#[test]
fn groups_that_are_not_there_are_named_and_nothing_is_asked() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let huge = "n".repeat(10_000);
    for name in ["nobody", "", "../g", "<script>", "a\nb\u{1b}[2J", &"ü".repeat(33), &huge] {
        for verb in ["join", "leave"] {
            let message = receiver.my([verb, name]).refused(1, "group-unknown");
            assert!(message.len() < 400 && !message.contains(['\n', '\u{1b}']), "{message}");
        }
    }
    assert_eq!(fleet.run(["groups", "requests"]).done()["items"], json!([]));
    fleet.absent("nowhere").my(["groups"]).refused(1, "agent-not-running");
}

#[test]
fn decisions_about_what_nobody_asked_for_are_named() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "empty"]).done();
    let cases: [(&[&str], &str); 7] = [
        (&["groups", "requests", "nobody"], "group-unknown"),
        (&["groups", "approve", "nobody", "r"], "group-unknown"),
        (&["groups", "approve", "g", "nobody"], "receiver-unknown"),
        (&["groups", "approve", "empty", "r"], "request-unknown"),
        (&["groups", "deny", "g", "nobody"], "receiver-unknown"),
        (&["groups", "deny", "empty", "r"], "request-unknown"),
        (&["groups", "open", "nobody"], "group-unknown"),
    ];
    for (arguments, code) in cases {
        fleet.run(arguments).refused(1, code);
    }
}

#[test]
fn reasons_are_short_and_plain() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    fleet.run(["groups", "create", "nord"]).done();
    receiver.my(["join", "nord"]).done();
    for reason in [&"x".repeat(201), "a\nb", "\u{1b}[31m", &"x".repeat(10_000)] {
        let answer = fleet.run(["groups", "deny", "nord", "r", "--reason", reason]);
        answer.refused(1, "reason-unsafe");
    }
    let longest = "ü".repeat(100);
    fleet.run(["groups", "deny", "nord", "r", "--reason", &longest]).done();
    let list = receiver.my(["groups"]).done();
    assert_eq!(list["items"][1]["reason"], longest.as_str(), "{list}");
}

#[test]
fn requests_are_bounded_and_asking_too_often_is_refused() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let other = fleet.receiver("other");
    for n in 0..18 {
        fleet.run(["groups", "create", &format!("g{n}")]).done();
    }
    // PROTOCOL G2: sixteen wait at most, and a denied one gives way.
    for n in 0..16 {
        receiver.my(["join", &format!("g{n}")]).done();
    }
    receiver.my(["join", "g16"]).refused(1, "requests-full");
    fleet.run(["groups", "deny", "g3", "r"]).done();
    receiver.my(["join", "g16"]).done();
    assert_eq!(fleet.run(["groups", "requests"]).done()["items"].as_array().unwrap().len(), 16);
    // Eighteen of twenty are used up: leaving and coming back has its end too.
    let mut codes = Vec::new();
    for _ in 0..4 {
        for verb in ["leave", "join"] {
            let answer = receiver.my([verb, "g0"]);
            codes.push(answer.code);
            if answer.code != 0 {
                answer.refused(1, "asked-too-often");
            }
        }
    }
    assert!(codes.contains(&1), "{codes:?}");
    // Nobody else is held up by it.
    other.my(["join", "g0"]).done();
    fleet.run(["log", "verify"]).done();
}

#[test]
fn strangers_at_the_socket_disturb_nobody() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let code = |answer: Option<Value>| answer.map(|a| a["failure"]["code"].clone());
    let malformed = Some(json!("malformed"));
    let nested = "[".repeat(4_000) + "\n";
    for words in ["\n", "{}\n", "hello\n", "{\"ask\":\"approve\"}\n", "\0\0\n", &nested] {
        assert_eq!(code(talk(&receiver, words.as_bytes())), malformed, "{words:?}");
    }
    // Whoever goes on and on is cut off, with or without a word.
    let endless = code(talk(&receiver, &vec![b'x'; 100_000]));
    assert!(endless.is_none() || endless == malformed, "{endless:?}");
    // Forty that say nothing do not keep out who has something to say.
    let path = receiver.state.join("agent.sock");
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&path).unwrap()).collect();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(receiver.my(["status"]).done()["item"]["name"], "r");
    drop(silent);
}
