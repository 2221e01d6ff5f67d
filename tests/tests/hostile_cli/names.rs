//! Names that receivers give themselves: they come from outside, and stand in lists,
//! logs and terminals.

use std::collections::BTreeSet;

use fleetcast_tests::processes::{Fleet, SLOW};

/// Longest name of anything, in bytes.
const MOST: usize = 64;

#[test]
fn receivers_get_names_that_harm_nobody_and_no_two_the_same() {
    let fleet = Fleet::start();
    let long = "n".repeat(MOST);
    let wanted = [
        "kiosk",
        "kiosk",
        "KIOSK",
        "",
        ".",
        "../kiosk",
        "a\nb",
        "\u{1b}[2J\u{1b}[31mred",
        "<script>",
        "'; drop table receivers; --",
        "\u{202e}gnp.exe",
        &long,
    ];
    let code = fleet.invite(&["--group", "g", "--uses", "12"]);
    // What can be no name is a mistake of the command line, and makes nothing.
    let mut huge = fleet.absent("huge");
    huge.start(&["--enrol", &code, "--name", &"n".repeat(10_000)]);
    huge.process().wait(SLOW).refused(2, "name-unsafe");
    assert!(!huge.state.exists() && !huge.into.exists());
    let mut receivers: Vec<_> =
        (0..wanted.len()).map(|n| fleet.absent(&format!("place{n}"))).collect();
    for (receiver, name) in receivers.iter_mut().zip(wanted) {
        receiver.start(&["--enrol", &code, "--name", name]);
        receiver.process().wait_for("connected");
    }
    let list = fleet.run(["receivers", "list"]).done();
    let names: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), wanted.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    for name in &names {
        assert!(!name.is_empty() && name.len() <= MOST, "{name:?}");
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        assert!(name.chars().all(plain), "{name:?}");
        // Each can be named as it is listed.
        fleet.run(["receivers", "show", name]).done();
    }
    for name in ["kiosk", "kiosk-2"] {
        assert!(names.iter().any(|listed| listed == name), "{names:?}");
    }
    fleet.run(["receivers", "rename", "kiosk", "kiosk-2"]).refused(1, "name-taken");
    // What people see on a terminal, and the log, hold nothing that commands it.
    for words in [&["receivers", "list"][..], &["log"], &["log", "--csv"], &["status"]] {
        let told = fleet.command_of_a_person(words).output().unwrap().stdout;
        let told = String::from_utf8(told).unwrap();
        let harmful = |c: char| c.is_control() && c != '\n' && c != '\r' || c == '\u{202e}';
        assert!(!told.contains(harmful), "{words:?}: {told:?}");
    }
}
