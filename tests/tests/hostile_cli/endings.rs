//! Interrupts and requests to end, at every stage.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Child, Fleet, SLOW, noise, program, signal};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn an_interrupted_send_exits_with_130_and_what_was_queued_goes_on() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = fleet.path("file");
    let mut last = Vec::new();
    // It is active and says nothing, so that no send is done too early.
    signal(receiver.process().id(), Signal::STOP);
    // While it starts, reads, uploads, and waits.
    for (number, pause) in [30_u64, 80, 150, 300, 2_000].into_iter().enumerate() {
        last = noise(number as u64, 8 << 20);
        fs::write(&file, &last).unwrap();
        let path = file.to_str().unwrap();
        let child = Child::start("send", fleet.command(["send", path, "--to", "g", "--wait"]));
        std::thread::sleep(Duration::from_millis(pause));
        let begin = Instant::now();
        let (answer, _) = child.end_by(Signal::INT);
        assert_eq!(answer.code, 130, "after {pause} ms: {answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
    let releases = fleet.run(["releases", "list"]).done();
    assert_ne!(releases["items"], serde_json::json!([]), "the last one was queued");
    signal(receiver.process().id(), Signal::CONT);
    fleet.settle("r", SLOW);
    assert!(fs::read(receiver.file("file")).unwrap() == last, "identical");
}

#[test]
fn an_interrupted_receiver_exits_with_130_and_resumes() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--group", "g"]);
    let mut receiver = fleet.absent("r");
    let bytes = noise(9, 8 << 20);
    let file = fleet.path("file");
    fs::write(&file, &bytes).unwrap();
    receiver.start(&["--name", "r", "--enrol", &code]);
    receiver.process().wait_for("connected");
    let path = file.to_str().unwrap();
    fleet.run(["send", path, "--to", "g", "--rate", "2MB/s"]).done();
    for stage in ["offered", "progress", "connected"] {
        receiver.process().wait_for(stage);
        let begin = Instant::now();
        let (answer, _) = receiver.process.take().unwrap().end_by(Signal::INT);
        assert_eq!(answer.code, 130, "at {stage}: {answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{stage}: {:?}", begin.elapsed());
        receiver.start(&[]);
    }
    receiver.process().wait_within("installed", 2 * SLOW);
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
}

#[test]
fn a_server_ends_in_time_idle_and_sending() {
    let mut fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let file = fleet.path("file");
    let bytes = noise(10, 8 << 20);
    fs::write(&file, &bytes).unwrap();
    let path = file.to_str().unwrap();
    let end = |fleet: &mut Fleet, signal| {
        let begin = Instant::now();
        let answer = fleet.stop_server(signal);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert!(!fleet.state().join("fleetcast.sock").exists());
        fleet.start_server();
    };
    end(&mut fleet, Signal::TERM);
    end(&mut fleet, Signal::INT);
    fleet.run(["send", path, "--to", "g", "--rate", "2MB/s"]).done();
    end(&mut fleet, Signal::TERM);
    fleet.settle("r", 2 * SLOW);
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fleet = Fleet::start();
    let mut command = fleet.command(["log"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status:?}");
}

#[test]
fn once_ends_after_the_first_installation() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--group", "g"]);
    let mut receiver = fleet.absent("r");
    receiver.start(&["--name", "r", "--enrol", &code, "--once"]);
    receiver.process().wait_for("connected");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
    let answer = receiver.process().wait(SLOW);
    assert_eq!(answer.code, 0, "{answer:?}");
    let named = |event: &Value| event["event"] == "installed";
    assert_eq!(receiver.process().seen().iter().filter(|e| named(e)).count(), 1);
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    // Before there is anything, while it sends, and as a terminal that closes does it.
    for (word, wanted) in
        [("server ready", Signal::INT), ("enrolled", Signal::TERM), ("enrolled", Signal::HUP)]
    {
        let room = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.args(["--json", "demo", "--loss", "5"]).env("TMPDIR", room.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut demo = command.spawn().unwrap();
        let mut talk = BufReader::new(demo.stderr.take().unwrap()).lines();
        assert!(talk.any(|line| line.unwrap().contains(word)), "no {word:?}");
        let inside = fs::read_dir(room.path()).unwrap().count();
        assert_eq!(inside, 1, "its directory");
        signal(demo.id(), wanted);
        let begin = Instant::now();
        let rest: Vec<String> = talk.map(Result::unwrap).collect();
        assert_eq!(demo.wait().unwrap().code(), Some(130), "{wanted:?}: {rest:?}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(rest.iter().any(|line| line.contains("\"interrupted\"")), "{rest:?}");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0, "{wanted:?}");
        // All of its processes had its directory in their command lines.
        let running = |entry: &fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(room.path().to_str().unwrap())
        };
        let left = fs::read_dir("/proc").unwrap().flatten().filter(running).count();
        assert_eq!(left, 0, "{wanted:?}");
    }
}
