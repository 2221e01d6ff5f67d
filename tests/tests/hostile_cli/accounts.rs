//! Names and passwords that cannot be, and passwords that are guessed.

use std::fs;
use std::time::Instant;

use fleetcast_tests::processes::{Child, Fleet, SLOW};

const PASSWORD: &str = "correct horse\n";

#[test]
fn names_and_passwords_that_cannot_be_are_refused_with_a_reason() {
    let fleet = Fleet::start();
    let huge = "n".repeat(10_000);
    for name in ["", "a b", "a\nb", "\u{1b}[2J", "<script>", "../ann", "'; --", &huge] {
        let answer = fleet.run_with(PASSWORD, ["users", "add", name]);
        let message = answer.refused(1, "name-unsafe");
        assert!(message.len() < 400 && !message.contains(['\n', '\u{1b}']), "{message}");
    }
    for password in ["short\n", "ann\n", "Annabelle\n", &format!("{}\n", "x".repeat(129))] {
        fleet.run_with(password, ["users", "add", "annabelle"]).refused(1, "password-weak");
    }
    for password in ["\n", ""] {
        fleet.run_with(password, ["users", "add", "ann"]).refused(2, "password-needed");
    }
    fleet.run_with(PASSWORD, ["users", "add", "ann"]).done();
    fleet.run_with(PASSWORD, ["users", "add", "ANN"]).refused(1, "user-exists");
    fleet.run(["users", "passwd", "bob"]).refused(1, "user-unknown");
    fleet.run(["users", "role", "bob", "admin"]).refused(1, "user-unknown");
    fleet.run(["users", "remove", "bob", "--yes"]).refused(1, "user-unknown");
    fleet.run(["users", "remove", "ann"]).refused(2, "not-confirmed");
    for arguments in [&["users", "add", "x", "--role", "king"][..], &["users", "add", "x", "pw"]] {
        assert_eq!(fleet.run(arguments).code, 2, "{arguments:?}");
    }
    // The file that the environment names serves where nobody types.
    let file = fleet.path("password");
    fs::write(&file, PASSWORD).unwrap();
    let mut command = fleet.command(["users", "add", "bob"]);
    command.env("FLEETCAST_PASSPHRASE_FILE", &file);
    Child::start("users add", command).wait(SLOW).done();
}

#[test]
fn who_guesses_is_slowed_down_and_logged_and_others_are_not() {
    let fleet = Fleet::start();
    for user in ["ann", "bob"] {
        fleet.run_with(PASSWORD, ["users", "add", user]).done();
    }
    let receiver = fleet.receiver("r");
    let guess = |user: &str, password: &str| {
        let command = receiver.my_command(["password", "--user", user]);
        let input = format!("{password}\nbattery staple\n");
        let answer = Child::start_with("my password", command, &input).wait(SLOW);
        if answer.code == 0 { "done".to_owned() } else { answer.failure()["code"].to_string() }
    };
    // PROTOCOL G5: of an account that is there and of one that is not, the tenth
    // wrong one is the last for a while.
    for user in ["ann", "nobody"] {
        let begin = Instant::now();
        let answers: Vec<String> = (0..16).map(|n| guess(user, &format!("guess {n} x"))).collect();
        let refused = answers.iter().filter(|code| code.contains("login-refused")).count();
        // One more is heard after each half minute, which a slow machine may take.
        let more = begin.elapsed().as_secs() as usize / 30 + 1;
        assert!((10..=10 + more).contains(&refused), "{user}: {answers:?}");
        assert!(answers.iter().any(|code| code.contains("login-limited")), "{user}: {answers:?}");
    }
    assert_eq!(guess("bob", "correct horse"), "done");
    let log = fleet.run(["log"]).stdout;
    assert!(log.matches("login-refused").count() >= 20, "{log}");
    assert!(!log.contains("guess 3"), "what was tried stands in no log");
    fleet.run(["log", "verify"]).done();
}
