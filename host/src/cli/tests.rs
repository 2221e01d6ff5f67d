//! The command line as it is written, and what it ends with.

use std::time::Duration;

use super::context::Color;
use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    super::parse(line.split(' '))
}

#[test]
fn the_definitions_of_all_commands_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in [
        "fleetcast --json --state /s -q -vv --yes --color never groups list",
        "fleetcast groups list --json --state /s -q -vv --yes --color never",
        "fleetcast --json groups --state /s -q list -vv --yes --color never",
    ] {
        let global = parse(line).unwrap().global;
        assert!(global.json && global.quiet && global.yes, "{line}");
        assert_eq!((global.verbose, global.color), (2, Some(Color::Never)), "{line}");
        assert_eq!(global.state, Some("/s".into()), "{line}");
    }
}

#[test]
fn every_command_line_of_the_contract_that_exists_is_understood() {
    for line in [
        "fleetcast serve --listen 0.0.0.0:7411 --web 127.0.0.1:7412 --interface lo --ttl 1",
        "fleetcast serve --multicast 239.77.0.0/16:7413 --rate 50MB/s --seal file --web off",
        "fleetcast invite --group a --group b --uses 1 --expires 24h --qr --address h:1",
        "fleetcast invite --no-token",
        "fleetcast receive --enrol FC1-0 --into d --interface lo --name n --once --drop 0.05",
        "fleetcast groups create g --open",
        "fleetcast groups delete g --yes",
        "fleetcast groups rename g n",
        "fleetcast groups members g",
        "fleetcast groups add g r s",
        "fleetcast groups remove g r s",
        "fleetcast receivers list",
        "fleetcast receivers show r",
        "fleetcast receivers approve r",
        "fleetcast receivers deny r",
        "fleetcast receivers rename r n",
        "fleetcast receivers remove r",
        "fleetcast receivers ping",
        "fleetcast receivers ping r s",
        "fleetcast send p q --to g --to h --name n --mirror --rate 400Mbit/s --wait --dry-run",
        "fleetcast send --to g --no-delta --no-compress --skip-special --wait=90s p",
        "fleetcast pending list",
        "fleetcast pending cancel 1",
        "fleetcast pending retry 1 2",
        "fleetcast releases list",
        "fleetcast releases list g",
        "fleetcast releases show g#1",
        "fleetcast status --watch",
        "fleetcast log --follow --since 24h",
        "fleetcast log --since 2026-11-30T18:00:00Z --csv",
        "fleetcast log verify",
        "fleetcast demo --receivers 3 --loss 0.05 --keep",
        "fleetcast completions bash",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn command_lines_about_people_are_understood() {
    for line in [
        "fleetcast invite --list",
        "fleetcast invite --fingerprint",
        "fleetcast receive --into d --discover",
        "fleetcast serve --no-beacon",
        "fleetcast invite --revoke 0123456",
        "fleetcast receive --into d --others read",
        "fleetcast groups open g",
        "fleetcast groups close g",
        "fleetcast groups requests",
        "fleetcast groups requests g",
        "fleetcast groups approve g r",
        "fleetcast groups deny g r --reason because",
        "fleetcast my groups",
        "fleetcast my join g",
        "fleetcast my leave g",
        "fleetcast my status",
        "fleetcast my password --user ann",
        "fleetcast users add ann --role admin",
        "fleetcast users list",
        "fleetcast users passwd ann",
        "fleetcast users role ann operator",
        "fleetcast users remove ann",
        "fleetcast receive --enrol FC1-0 --into d --login ann",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn command_lines_about_other_machines_are_understood() {
    for line in [
        "fleetcast serve --api 0.0.0.0:7414",
        "fleetcast serve --api off",
        "fleetcast serve --api http://127.0.0.1:7414",
        "fleetcast login https://192.0.2.7:7414#ab --user ann",
        "fleetcast login",
        "fleetcast logout",
        "fleetcast whoami",
        "fleetcast openapi",
        "fleetcast users rename ann anna",
        "fleetcast users token create ann --expires 90d --name nightly",
        "fleetcast users token create ann",
        "fleetcast users token list",
        "fleetcast users token revoke 0123456789ab",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "fleetcast",
        "fleetcast groups",
        "fleetcast send p",
        "fleetcast send --to g",
        "fleetcast send p --to g --wait=soon",
        "fleetcast send p --to g --rate fast",
        "fleetcast send p --to g --at soon",
        "fleetcast send p --to g --priority 10",
        "fleetcast send p --to g --ready 0",
        "fleetcast pending pause",
        "fleetcast invite --no-token --group g",
        "fleetcast invite --uses 0",
        "fleetcast serve --web 7412",
        "fleetcast serve --api http://0.0.0.0:7414",
        "fleetcast users token create ann --expires never",
        "fleetcast serve --multicast 10.0.0.0/8:7413",
        "fleetcast receive --into d --drop 101",
        "fleetcast pending cancel x",
    ] {
        let refused = usage_failure(&parse(line).unwrap_err());
        assert_eq!((refused.code.as_ref(), refused.exit), ("usage", 2), "{line}");
        assert!(!refused.message.is_empty() && !refused.hint.is_empty(), "{line}");
        assert!(!refused.message.contains('\n'), "{line}: {}", refused.message);
    }
}

#[test]
fn what_is_refused_names_the_option_the_value_and_what_is_taken() {
    for (line, words, cure) in [
        (
            "fleetcast send p --to g --rate 50",
            "'50' for '--rate <RATE>': `50` is 50 bytes per second; the least is 8000",
            "50MB/s",
        ),
        ("fleetcast serve --rate 50", "`50` is 50 bytes per second", "50MB/s"),
        (
            "fleetcast demo --receivers x",
            "'x' for '--receivers <N>': it takes a whole number from 1 to 64",
            "--help",
        ),
        (
            "fleetcast invite --uses 0",
            "'0' for '--uses <N>': it takes a whole number, 1 or more",
            "--help",
        ),
        ("fleetcast pending cancel one", "'one' for '<ID>...': it takes a whole number", "--help"),
        ("fleetcast send p --to g --ready 101", "a whole number from 1 to 100", "--help"),
        ("fleetcast send p --to g --priority -1", "'-1' for '--priority <P>': it takes", "--help"),
        ("fleetcast serve --ttl 256", "a whole number from 1 to 255", "--help"),
        ("fleetcast serve --dscp 64", "a whole number from 0 to 63", "--help"),
        ("fleetcast releases prune --keep many", "a whole number, 1 or more", "--help"),
        ("fleetcast authority threshold 9", "a whole number from 1 to 8", "--help"),
        ("fleetcast serve --listen 7411", "such as 0.0.0.0:7411", "--help"),
    ] {
        let refused = usage_failure(&parse(line).err().unwrap());
        assert_eq!((refused.code.as_ref(), refused.exit), ("usage", 2), "{line}");
        assert!(refused.message.contains(words), "{line}: {}", refused.message);
        assert!(refused.hint.contains(cure), "{line}: {}", refused.hint);
        let foreign = ["invalid digit", "..=", "is not in", "invalid socket"];
        assert!(!foreign.iter().any(|words| refused.message.contains(words)), "{line}");
    }
}

#[test]
fn waiting_is_for_ever_unless_a_duration_is_told() {
    let waits = |line: &str| match parse(line).unwrap().command {
        Command::Send(options) => options.wait(),
        _ => None,
    };
    assert_eq!(waits("fleetcast send p --to g"), None);
    assert_eq!(waits("fleetcast send p --to g --wait"), Some(None));
    // A path may follow: a duration takes the equals sign.
    assert_eq!(waits("fleetcast send --to g --wait p"), Some(None));
    let minute = Some(Some(Duration::from_secs(60)));
    assert_eq!(waits("fleetcast send p --to g --wait=1m"), minute);
}

#[test]
fn help_and_version_are_no_errors() {
    for line in ["fleetcast --help", "fleetcast --version", "fleetcast send --help"] {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert_eq!(run(&arguments), DONE, "{line}");
    }
}

#[test]
fn a_command_without_its_server_fails_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut arguments: Vec<OsString> = vec!["fleetcast".into(), "--state".into()];
    arguments.extend([state.clone().into(), "groups".into(), "list".into()]);
    assert_eq!(run(&arguments), 1);
    // Only servers and receivers make the directory.
    assert!(!state.exists());
    arguments.push("--server".into());
    // Nobody is asked: there is no certificate to be sure of, or no TLS at all.
    for url in ["https://127.0.0.1:1#12", "http://192.0.2.7:7414", "192.0.2.7:7414"] {
        arguments.push(url.into());
        assert_eq!(run(&arguments), 2, "{url}");
        arguments.pop();
    }
}

#[test]
fn a_malformed_code_is_a_usage_error_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (state, into) = (folder.path().join("state"), folder.path().join("into"));
    let mut arguments: Vec<OsString> = vec!["fleetcast".into(), "receive".into()];
    arguments.extend(["--state".into(), state.clone().into()]);
    arguments.extend(["--into".into(), into.clone().into()]);
    // Neither a code nor anything remembered.
    assert_eq!(run(&arguments), 2);
    arguments.extend(["--enrol".into(), "FC1-07SHR29H74S2WC1E68".into()]);
    assert_eq!(run(&arguments), 2);
    assert!(!state.exists() && !into.exists());
}

#[test]
fn who_begins_a_command_is_shown_how_it_goes_on_whatever_options_are_set() {
    let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    // An option counts as an argument for clap, and so does its environment variable.
    for (line, goes_on) in [
        ("fleetcast", "groups"),
        ("fleetcast --state /s", "groups"),
        ("fleetcast --state /s groups", "propose"),
        ("fleetcast users --state /s token", "revoke"),
    ] {
        let error = super::parse(words(line)).map(drop).unwrap_err();
        assert!(is_incomplete(&error), "{line}: {:?}", error.kind());
        let help = help_of(&words(line));
        // Bold, as on a terminal.
        assert!(help.contains(&format!("\u{1b}[1m{goes_on}")), "{line}: {help}");
        assert_eq!(usage_failure(&error).message, "the command is incomplete");
    }
    assert!(!is_incomplete(&parse("fleetcast groups create").map(drop).unwrap_err()));
}
