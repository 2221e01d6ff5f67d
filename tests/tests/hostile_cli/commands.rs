//! Commands that make no sense, or name what is not there.

use std::fs;

use fleetcast_tests::processes::{Child, Fleet, SLOW};

#[test]
fn what_the_server_does_not_know_is_named_and_cured() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    fleet.run(["groups", "create", "empty"]).done();
    let long = "n".repeat(300);
    let huge = "n".repeat(10_000);
    let cases: [(&[&str], &str); 31] = [
        (&["send", file, "--to", "empty"], "group-empty"),
        (&["send", file, "--to", "nobody"], "group-unknown"),
        (&["send", file, "--to", "g", "--to", "nobody"], "group-unknown"),
        (&["groups", "create", "g"], "group-exists"),
        (&["groups", "create", "../g"], "name-unsafe"),
        (&["groups", "create", "a\nb"], "name-unsafe"),
        (&["groups", "create", &long], "name-unsafe"),
        (&["groups", "create", ""], "name-unsafe"),
        (&["groups", "rename", "empty", "g"], "group-exists"),
        (&["groups", "rename", "nobody", "x"], "group-unknown"),
        (&["groups", "members", "nobody"], "group-unknown"),
        (&["groups", "delete", "nobody", "--yes"], "group-unknown"),
        (&["groups", "add", "g", "nobody"], "receiver-unknown"),
        (&["groups", "add", "nobody", "r"], "group-unknown"),
        (&["groups", "create", &huge], "name-unsafe"),
        (&["groups", "create", "<script>alert(1)</script>"], "name-unsafe"),
        (&["groups", "rename", "empty", "<b>"], "name-unsafe"),
        (&["groups", "rename", "empty", "G"], "group-exists"),
        (&["receivers", "rename", "r", "<b>"], "name-unsafe"),
        (&["groups", "remove", "g", "nobody"], "receiver-unknown"),
        (&["receivers", "show", "nobody"], "receiver-unknown"),
        (&["receivers", "remove", "nobody", "--yes"], "receiver-unknown"),
        (&["invite", "--group", "nobody"], "group-unknown"),
        (&["releases", "list", "nobody"], "group-unknown"),
        (&["groups", "create", "a#1"], "name-unsafe"),
        (&["groups", "create", "--", "-a"], "name-unsafe"),
        (&["groups", "rename", "empty", " a"], "name-unsafe"),
        (&["receivers", "rename", "r", "a "], "name-unsafe"),
        (&["receipts", "export", "--group", "nobody"], "group-unknown"),
        (&["receipts", "export", "--receiver", "nobody"], "receiver-unknown"),
        (&["log", "--follow", "--group", "nobody"], "group-unknown"),
    ];
    for (arguments, code) in cases {
        fleet.run(arguments).refused(1, code);
    }
    for name in ["../x", "a\nb", "..", &long] {
        fleet.run(["send", file, "--to", "g", "--name", name]).refused(1, "name-unsafe");
    }
    let message = fleet.run(["groups", "create", "../g"]).refused(1, "name-unsafe");
    assert_eq!(message, "\"../g\" cannot be a name: it holds a slash, a backslash or a colon");
    let message = fleet.run(["groups", "create", "a\nb\u{1b}[2J"]).refused(1, "name-unsafe");
    assert_eq!(message, "\"a\\nb\\u{1b}[2J\" cannot be a name: it holds a control character");
    // Repeating is no failure, and nothing of all this changed anything.
    fleet.run(["groups", "add", "g", "r"]).done();
    let groups = fleet.run(["groups", "list"]).done();
    let names: Vec<_> = groups["items"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
    assert_eq!(names, ["empty", "g"]);
    fleet.send(file.as_ref(), &[]);
}

#[test]
fn deliveries_releases_and_files_that_are_not_there_are_named() {
    let fleet = Fleet::start();
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    fleet.run(["releases", "show", "feed"]).refused(1, "release-unknown");
    for verb in ["send", "cancel", "pause", "resume", "retry"] {
        fleet.run(["pending", verb, "99"]).refused(1, "delivery-unknown");
    }
    for verb in ["verify", "cancel"] {
        fleet.run(["--yes", "releases", verb, "g#99"]).refused(1, "release-unknown");
    }
    fleet.run(["releases", "diff", "g#1", "g#2"]).refused(1, "release-unknown");
    fleet.run(["releases", "rollback", "nobody", "1"]).refused(1, "release-unknown");
    fleet.run(["pending", "add", file, "--to", "g", "--wait"]).refused(2, "usage");
    let nowhere = fleet.path("no/where");
    let nowhere = nowhere.to_str().unwrap();
    fleet.run(["backup", nowhere]).refused(1, "io");
    fleet.run(["receipts", "verify", nowhere]).refused(1, "io");
}

#[test]
fn what_is_gone_can_still_be_looked_up_where_it_left_its_name() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
    let id = fleet.listed("r")["id"].as_str().unwrap()[..6].to_owned();
    let count = |arguments: &[&str]| {
        let items = fleet.run(arguments).done()["items"].clone();
        items.as_array().unwrap().len()
    };
    let of_receiver = count(&["log", "--receiver", "r"]);
    assert!(of_receiver > 0);
    // The beginning of an identity means the same receiver, as everywhere.
    assert_eq!(count(&["log", "--receiver", &id]), of_receiver);
    assert_eq!(count(&["receipts", "export", "--receiver", &id]), 1);
    // There is one, and nothing has happened to it: that is no mistake.
    fleet.run(["users", "list"]).done();
    receiver.kill();
    fleet.run(["receivers", "remove", "r", "--yes"]).done();
    fleet.run(["groups", "delete", "g", "--yes"]).done();
    assert!(count(&["log", "--receiver", "r"]) >= of_receiver);
    assert!(count(&["log", "--group", "g"]) > 0);
    assert_eq!(count(&["log", "--group", "g", "--since", "2100-01-01T00:00:00Z"]), 0);
    fleet.run(["receivers", "show", "r"]).refused(1, "receiver-unknown");
}

#[test]
fn who_confirms_what_nobody_doubts_is_told_so_and_asked_nothing() {
    let mut fleet = Fleet::start();
    let answer = fleet.run(["restore", "--confirm"]).done();
    assert_eq!(answer["item"]["ok"], true);
    let person = fleet.command_of_a_person(["restore", "--confirm"]).output().unwrap();
    assert_eq!(person.stdout, b"the catalog counts: nothing had to be confirmed\n");
    fleet.stop_server(rustix::process::Signal::TERM);
    let failure = fleet.run(["restore", "--confirm", "--yes"]);
    failure.refused(1, "server-not-running");
    assert!(failure.failure()["hint"].as_str().unwrap().contains("restored catalog"));
    // A file that is not there makes no directory for its state.
    let (nowhere, state) = (fleet.path("no.tar"), fleet.path("fresh"));
    let mut restore = std::process::Command::new(fleetcast_tests::processes::program());
    restore.args(["--json", "restore"]).arg(&nowhere).arg("--state").arg(&state);
    Child::start("restore", restore).wait(SLOW).refused(1, "io");
    assert!(!state.exists());
}

#[test]
fn usage_errors_exit_with_two() {
    let fleet = Fleet::start();
    let cases: [&[&str]; 20] = [
        &[],
        &["fly"],
        &["groups"],
        &["groups", "fly"],
        &["groups", "create"],
        &["groups", "create", "x", "--fly"],
        &["send"],
        &["send", "x"],
        &["send", "x", "--to", "g", "--rate", "fast"],
        &["send", "x", "--to", "g", "--rate", "50"],
        &["rate", "set", "22:00-06:00=50"],
        &["send", "x", "--to", "g", "--wait=soon"],
        &["invite", "--uses", "0"],
        &["invite", "--expires", "never"],
        &["invite", "--expires", "0s"],
        &["invite", "--expires", "900ms"],
        &["invite", "--address", "nowhere"],
        &["pending", "cancel", "one"],
        &["log", "--since", "tomorrow"],
        &["groups", "list", "--color", "pink"],
    ];
    for arguments in cases {
        let answer = fleet.run(arguments);
        assert_eq!(answer.code, 2, "{arguments:?}: {answer:?}");
        let _ = answer.failure();
    }
    let mut receiver = fleet.absent("r");
    let enrolled = |receiver: &mut fleetcast_tests::processes::Receiver, options: &[&str]| {
        receiver.start(options);
        receiver.process().wait(SLOW)
    };
    enrolled(&mut receiver, &[]).refused(2, "not-enrolled");
    for options in [["--drop", "2"], ["--drop", "-1"], ["--enrol", "FC2-0"]] {
        assert_eq!(enrolled(&mut receiver, &options).code, 2, "{options:?}");
    }
    for options in
        [["--listen", "here"], ["--multicast", "10.0.0.0/8:1"], ["--rate", "0"], ["--rate", "50"]]
    {
        let mut command = fleet.serve_command(&fleet.path("other"));
        command.args(options);
        let answer = Child::start("serve", command).wait(SLOW);
        assert_eq!(answer.code, 2, "{options:?}: {answer:?}");
        let _ = answer.failure();
    }
}

#[test]
fn a_fleet_that_is_there_keeps_its_seal_and_whoever_wants_another_is_told() {
    let mut fleet = Fleet::start();
    fleet.stop_server(rustix::process::Signal::TERM);
    let command = fleet.serve_command(&fleet.state());
    let mut again = std::process::Command::new(command.get_program());
    let other = |word| if word == "file" { "passphrase".as_ref() } else { word };
    again.args(command.get_args().map(other)).args(["--listen", "127.0.0.1:0"]);
    let answer = Child::start("serve", again).wait(SLOW);
    answer.refused(2, "seal-differs");
    let hint = answer.failure()["hint"].to_string();
    assert!(hint.contains("fleetcast admin seal passphrase"), "{hint}");
    // The seal that it has is no contradiction.
    fleet.start_server();
}

#[test]
fn a_time_that_is_over_is_refused_with_the_clocks_and_sends_nothing() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    let answer = fleet.run(["send", path, "--to", "g", "--at", "2020-01-01T00:00:00Z"]);
    answer.refused(1, "time-over");
    let message = answer.failure()["message"].to_string();
    for word in ["2020-01-01T00:00:00Z", "the server's clock shows 2", "this machine's 2"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(fleet.run(["releases", "list"]).done()["items"], serde_json::json!([]));
    // What is just over is due now: clocks differ a little.
    let now = fleetcast::units::format_time(fleetcast::units::now() - 10);
    fleet.send(&file, &["--at", &now]);
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"x");
}

#[test]
fn what_destroys_asks_first_and_does_nothing_without_an_answer() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let cases: [&[&str]; 2] = [&["groups", "delete", "g"], &["receivers", "remove", "r"]];
    for arguments in cases {
        let answer = fleet.run(arguments);
        answer.refused(2, "not-confirmed");
        assert_eq!(answer.failure()["hint"], "add --yes");
    }
    assert_eq!(fleet.listed("r")["groups"][0], "g");
}

#[test]
fn without_a_server_commands_say_so_at_once() {
    let mut fleet = Fleet::start();
    fleet.stop_server(rustix::process::Signal::TERM);
    for arguments in [&["groups", "list"][..], &["status"], &["send", "/etc", "--to", "g"]] {
        let answer = fleet.run(arguments);
        answer.refused(1, "server-not-running");
        assert!(answer.took.as_secs() < 15, "{answer:?}");
    }
}

#[test]
fn a_second_server_does_not_disturb_the_first() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let refused = |state: &std::path::Path, options: &[&str], code: &str| {
        let mut command = fleet.serve_command(state);
        command.args(options);
        Child::start("second server", command).wait(SLOW).refused(1, code);
    };
    refused(&fleet.state(), &["--listen", "127.0.0.1:0"], "state-locked");
    refused(&fleet.path("other"), &["--listen", &fleet.address], "address-in-use");
    let nowhere = fleet.path("third");
    let mut command = fleet.serve_command(&nowhere);
    // Of two, clap takes none: the helper's own is replaced.
    command = {
        let mut again = std::process::Command::new(command.get_program());
        let arguments = command.get_args().map(|a| if a == "lo" { "none0".as_ref() } else { a });
        again.args(arguments).args(["--listen", "127.0.0.1:0"]);
        again
    };
    Child::start("third server", command).wait(SLOW).refused(1, "interface-unknown");
    for state in [fleet.path("other"), nowhere] {
        assert!(!state.join("catalog.db").exists(), "no fleet was made in {state:?}");
        assert!(!state.join("keys/admin.key").exists(), "and no key");
    }
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
}
