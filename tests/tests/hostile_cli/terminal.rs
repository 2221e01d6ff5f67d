//! What only a person at a terminal sees: questions, bars, colours; and what such a
//! person may type.

use std::fs;
use std::process::{Command, Stdio};

use fleetcast_tests::processes::{CTRL_C, Child, Fleet, SLOW, Stdout, Terminal, noise, program};
use serde_json::json;

/// What begins every colour and every movement of the cursor.
const ESCAPE: char = '\u{1b}';
const RED: &str = "\u{1b}[1;31merror:";

#[test]
fn what_destroys_asks_a_person_and_only_a_yes_is_one() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let delete = fleet.command_of_a_person(["groups", "delete", "g"]);
    for (answer, exit) in [("n\n", 1), ("\n", 1), ("yess\n", 1), ("\u{4}", 1), (CTRL_C, 130)] {
        let mut terminal = Terminal::start(&delete);
        terminal.wait_for("[y/N] ");
        terminal.types(answer);
        let (code, shown) = terminal.wait();
        assert_eq!(code, exit, "{answer:?}: {shown}");
        assert!(exit == 130 || shown.contains("nothing was changed"), "{answer:?}: {shown}");
    }
    assert_eq!(fleet.listed("r")["groups"], json!(["g"]));
    // Where data goes does not matter to who is asked.
    let mut terminal = Terminal::start_with(&delete, Stdout::Elsewhere);
    terminal.wait_for("[y/N] ");
    terminal.types("y\n");
    assert_eq!(terminal.wait().0, 0);
    assert_eq!(fleet.listed("r")["groups"], json!([]));
    let remove = ["--yes", "receivers", "remove", "r"];
    let (code, shown) = Terminal::start(&fleet.command_of_a_person(remove)).wait();
    assert_eq!((code, shown.contains("[y/N]")), (0, false), "--yes has answered: {shown}");
}

#[test]
fn passwords_are_typed_twice_and_never_shown() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let file = fleet.path("other");
    fs::write(&file, "out of the file\n").unwrap();
    let mut add = fleet.command_of_a_person(["users", "add", "ann"]);
    // It may be the admin key's: a person is asked all the same.
    add.env("FLEETCAST_PASSPHRASE_FILE", &file);
    let typed = |first: &str, second: &str| {
        let mut terminal = Terminal::start(&add);
        for keys in [first, second] {
            terminal.wait_for(": ");
            assert!(!terminal.echoes(), "what is typed is shown");
            terminal.types(keys);
        }
        let (code, shown) = terminal.wait();
        assert!(terminal.echoes(), "what is typed afterwards is shown again");
        assert!(!shown.contains("horse"), "{shown}");
        (code, shown)
    };
    let (code, shown) = typed("correct horse\n", "correct horsf\n");
    assert!(code == 1 && shown.contains("not the same"), "{code}: {shown}");
    let (code, shown) = typed("correct horse\n", CTRL_C);
    assert!(code == 130 && shown.contains("interrupted"), "{code}: {shown}");
    // Nothing of all this made an account; corrected by keys, it is made.
    let (code, shown) = typed("korrect\u{15}correct horsf\u{7f}e\n", "correct horse\r");
    assert_eq!(code, 0, "{shown}");
    let password = |old: &str| {
        let command = receiver.my_command(["password", "--user", "ann"]);
        Child::start_with("my password", command, &format!("{old}\nbattery staple\n")).wait(SLOW)
    };
    password("out of the file").refused(1, "login-refused");
    password("correct horse").done();
}

/// `serve` as a person starts it, without a word about seals, in a new state directory.
fn first_run(fleet: &Fleet, name: &str) -> Command {
    let serve = fleet.serve_command(&fleet.path(name));
    let mut command = Command::new(serve.get_program());
    let words = serve.get_args().filter(|word| *word != "--json" && *word != "--seal");
    command.args(words.filter(|word| *word != "file")).args(["--listen", "127.0.0.1:0"]);
    command.env_remove("FLEETCAST_PASSPHRASE_FILE");
    command
}

#[test]
fn the_first_run_asks_for_a_passphrase_that_signatures_need() {
    let fleet = Fleet::start();
    let mut interrupted = Terminal::start(&first_run(&fleet, "interrupted"));
    interrupted.wait_for("Passphrase of the admin key: ");
    interrupted.types(CTRL_C);
    assert_eq!(interrupted.wait().0, 130);
    assert!(interrupted.echoes());
    let mut server = Terminal::start(&first_run(&fleet, "sealed"));
    for _ in 0..2 {
        server.wait_for(": ");
        assert!(!server.echoes());
        server.types("open sesame\n");
    }
    server.wait_for("ready ");
    let mut invite = Command::new(program());
    invite.arg("--state").arg(fleet.path("sealed")).arg("invite");
    invite.env_remove("FLEETCAST_PASSPHRASE_FILE");
    let signed = |passphrase: &str| {
        let mut terminal = Terminal::start(&invite);
        terminal.wait_for("Passphrase of the admin key: ");
        terminal.types(passphrase);
        terminal.wait()
    };
    let (code, shown) = signed("open barley\n");
    assert!(code == 1 && !shown.contains("FC1-"), "{code}: {shown}");
    let (code, shown) = signed("open sesame\n");
    assert!(code == 0 && shown.contains("FC1-"), "{code}: {shown}");
    // Without a terminal nobody is asked, and nothing waits for an answer.
    let alone = invite.stdin(Stdio::null()).output().unwrap();
    assert!(!alone.status.success() && alone.stdout.is_empty(), "{alone:?}");
    server.types(CTRL_C);
    let (code, shown) = server.wait();
    assert_eq!(code, 0, "a server that is interrupted ends in order: {shown}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn bars_and_colours_are_for_terminals() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, noise(1, 1 << 20)).unwrap();
    let path = file.to_str().unwrap();
    let send = ["send", path, "--to", "g", "--wait", "--rate", "1MB/s"];
    let (code, shown) = Terminal::start(&fleet.command_of_a_person(send)).wait();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("installed") && shown.contains("0/1"), "a bar: {shown}");
    fs::write(&file, noise(2, 1 << 20)).unwrap();
    let plain = fleet.command_of_a_person(send).output().unwrap();
    let text = String::from_utf8([plain.stdout, plain.stderr].concat()).unwrap();
    assert!(plain.status.success() && !text.contains("0/1"), "{text}");
    assert!(!text.contains(ESCAPE), "{text}");
    // A failure is red where somebody sees it, and nowhere else.
    let fails = |options: &[&str]| {
        fleet.command_of_a_person([options, &["groups", "members", "nobody"]].concat())
    };
    let on_terminal = |command| Terminal::start(&command).wait().1;
    assert!(on_terminal(fails(&[])).contains(RED));
    assert!(!on_terminal(fails(&["--color", "never"])).contains(ESCAPE));
    let mut unwanted = fails(&[]);
    unwanted.env("NO_COLOR", "1");
    assert!(!on_terminal(unwanted).contains(ESCAPE));
    let apart = |options| String::from_utf8(fails(options).output().unwrap().stderr).unwrap();
    assert!(apart(&[]).starts_with("error: "), "{}", apart(&[]));
    assert!(apart(&["--color", "always"]).starts_with(RED));
    // Documents are data, also on a terminal.
    let document = on_terminal(fleet.command(["groups", "list"]));
    assert!(!document.contains(ESCAPE), "{document}");
    serde_json::from_str::<serde_json::Value>(document.trim()).unwrap();
}

#[test]
fn ctrl_c_ends_commands_with_130_and_what_was_queued_goes_on() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, noise(3, 4 << 20)).unwrap();
    let path = file.to_str().unwrap();
    let send = ["send", path, "--to", "g", "--wait", "--rate", "2MB/s"];
    let mut sending = Terminal::start(&fleet.command_of_a_person(send));
    sending.wait_for("0/1");
    sending.types(CTRL_C);
    assert_eq!(sending.wait().0, 130);
    assert!(sending.echoes());
    receiver.process().wait_for("installed");
    receiver.kill();
    let mut receiving = Terminal::start(&receiver.command_of_a_person(&[]));
    receiving.wait_for("connected to ");
    receiving.types(CTRL_C);
    assert_eq!(receiving.wait().0, 130);
    let mut watching = Terminal::start(&fleet.command_of_a_person(["log", "--follow"]));
    watching.wait_for("installed");
    watching.types(CTRL_C);
    assert_eq!(watching.wait().0, 130);
}

#[test]
fn a_person_without_a_code_is_shown_servers_and_chooses_one() {
    let fleet = Fleet::start();
    let receiver = fleet.absent("r");
    // Other tests may have servers on this machine: it is found by its address.
    let mut looking = Terminal::start(&receiver.command_of_a_person(&["--name", "r"]));
    looking.wait_for(&fleet.address);
    looking.wait_for("Which one is yours?");
    looking.types("\n");
    let (code, shown) = looking.wait();
    assert_eq!(code, 1, "nothing is trusted that nobody has chosen: {shown}");
    // On a terminal of 80 columns each server is a block of lines.
    let blocks = shown.split("\r\n\r\n").flat_map(|block| block.split("\n\n"));
    let block = blocks.filter(|block| block.contains(&fleet.address)).collect::<String>();
    let fingerprint = fleet.run(["invite", "--fingerprint"]).done()["item"]["fingerprint"].clone();
    assert!(block.contains(fingerprint.as_str().unwrap()), "{shown}");
    assert!(!receiver.state.exists(), "looking makes nothing");
}

#[test]
fn tables_fit_the_terminal_and_are_whole_where_there_is_none() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("kiosk-entrance");
    let listed = |words: &[&str], columns: &str| {
        let mut command = fleet.command_of_a_person(words);
        command.env("COLUMNS", columns);
        let (code, shown) = Terminal::start(&command).wait();
        assert_eq!(code, 0, "{shown}");
        let bold = |text: &str| text.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        bold(&shown).replace('\r', "")
    };
    // The terminal itself has 80 columns.
    for (columns, room) in [("", 80), ("70", 70), ("40", 40)] {
        for words in [&["receivers", "list"][..], &["doctor"], &["log"]] {
            let shown = listed(words, columns);
            let widest = shown.lines().map(|line| line.chars().count()).max();
            // Blocks of lines do not break what is in them.
            assert!(columns == "40" || widest <= Some(room), "{words:?} in {room}:\n{shown}");
            assert!(words[0] == "doctor" || shown.contains("kiosk-entrance"), "{shown}");
        }
    }
    assert!(listed(&["receivers", "list"], "40").contains("ADDRESS    127.0.0.1:"));
    let mut piped = fleet.command_of_a_person(["receivers", "list"]);
    let piped = String::from_utf8(piped.env("COLUMNS", "40").output().unwrap().stdout).unwrap();
    assert_eq!(piped.lines().count(), 2, "{piped}");
}

#[test]
fn who_names_no_command_is_shown_them_all_by_what_they_are_for() {
    let bare = |words: &[&str]| Command::new(program()).args(words).output().unwrap();
    let told = bare(&[]);
    let text = String::from_utf8(told.stderr).unwrap();
    assert_eq!((told.status.code(), told.stdout.as_slice()), (Some(2), &b""[..]));
    for words in ["Usage: fleetcast", "Begin:\n  serve ", "People and trust:", "\nerror: "] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let groups = String::from_utf8(bare(&["groups"]).stderr).unwrap();
    assert!(groups.contains("approve ") && groups.contains("\nhelp: "), "{groups}");
    // Whoever asks for it gets it as data.
    let help = bare(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Secure distribution"));
    // A program is told in one line.
    assert_eq!(bare(&["--json"]).stderr.iter().filter(|byte| **byte == b'\n').count(), 1);
}
