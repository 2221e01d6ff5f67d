//! fleetcast as a user runs it: a server, receivers that enrolled by code, `send --wait`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fleetcast_lab::Lan;
use serde_json::{Map, Value, json};

use crate::bench::meter::Wire;
use crate::bench::process::Process;
use crate::bench::run::{Job, Transfer};
use crate::shell;

/// How long its processes may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(6);
/// What `stopped` tells of a receiver.
const COUNTS: [&str; 4] = ["received", "lost", "repaired", "nacks"];

/// A running server with its receivers, one on each host but the first.
pub(crate) struct Fleet<'a> {
    lan: &'a Lan,
    room: PathBuf,
    server: Process,
    receivers: Vec<Process>,
}

/// Brings the file and stops all again.
pub(super) fn run(job: &Job<'_>) -> Result<Transfer, String> {
    let mut fleet = Fleet::start(job.lan, job.room, job.deadline)?;
    let mut transfer = fleet.send(job.file, &[], job.deadline)?;
    transfer.notes.extend(fleet.stop());
    Ok(transfer)
}

impl<'a> Fleet<'a> {
    /// Starts a new fleet with all receivers in one group, connected.
    ///
    /// # Errors
    /// What a process said that failed, or was too slow.
    pub(crate) fn start(lan: &'a Lan, room: &Path, deadline: Instant) -> Result<Self, String> {
        let room = room.to_owned();
        let mut serve = program(lan, 0, &room.join("admin"));
        serve.args(["serve", "--web", "off", "--seal", "file"]);
        let mut server = Process::start("serve", serve)?;
        server.wait_for("event `ready`", deadline, |line| event(line, "ready"))?;
        let mut fleet = Self { lan, room, server, receivers: Vec::new() };
        fleet.ask(&["groups", "create", "g"], deadline)?;
        let uses = (lan.hosts() - 1).to_string();
        let invited = fleet.ask(&["invite", "--group", "g", "--uses", &uses], deadline)?;
        let code = invited["item"]["code"].as_str().ok_or("`invite` printed no code")?;
        for host in 1..lan.hosts() {
            let mut receive = program(lan, host, &fleet.room.join(format!("{host}-state")));
            receive.arg("receive").arg("--into").arg(fleet.room.join(host.to_string()));
            receive.args(["--enrol", code, "--name", &format!("r{host}")]);
            fleet.receivers.push(Process::start(&format!("receive {host}"), receive)?);
        }
        for receiver in &mut fleet.receivers {
            receiver.wait_for("event `connected`", deadline, |line| event(line, "connected"))?;
        }
        Ok(fleet)
    }

    /// Sends a file with these further options and waits until all have installed it.
    ///
    /// # Errors
    /// What a process said that failed, or was too slow.
    pub(crate) fn send(
        &mut self,
        file: &Path,
        options: &[&str],
        deadline: Instant,
    ) -> Result<Transfer, String> {
        let mut command = program(self.lan, 0, &self.room.join("admin"));
        command.arg("send").arg(file).args(["--to", "g", "--wait"]).args(options);
        let wire = Wire::begin(self.lan)?;
        let mut send = Process::start("send", command)?;
        let mut transfer = Transfer::default();
        for receiver in &mut self.receivers {
            let verified = |line: &str| failed(line).or_else(|| event(line, "verified").map(Ok));
            let (at, told) = receiver.wait_for("event `verified`", deadline, verified)?;
            told?;
            transfer.complete.push(at - wire.begin);
        }
        for receiver in &mut self.receivers {
            let installed = |line: &str| failed(line).or_else(|| event(line, "installed").map(Ok));
            let (at, told) = receiver.wait_for("event `installed`", deadline, installed)?;
            told?;
            transfer.durable = transfer.durable.max(at - wire.begin);
        }
        let (_, lines) = send.wait(deadline)?;
        transfer.crossed = wire.crossed()?;
        let document = lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let item = &document.unwrap_or_default()["item"];
        for name in ["ingest_seconds", "payload_bytes", "multicast_bytes", "unicast_bytes"] {
            transfer.notes.insert(name.to_owned(), item[name].clone());
        }
        let name = file.file_name().unwrap_or_default();
        transfer.received = (1..self.lan.hosts())
            .map(|host| self.room.join(host.to_string()).join("g").join(name))
            .collect();
        Ok(transfer)
    }

    /// Ends all processes; what the receivers have counted.
    pub(crate) fn stop(self) -> Map<String, Value> {
        let mut sums = Map::new();
        for receiver in self.receivers {
            let lines = receiver.stop(PATIENCE);
            let stopped = lines.iter().find_map(|line| event(line, "stopped"));
            let stopped = stopped.unwrap_or_default();
            for name in COUNTS {
                let sum = sums.get(name).and_then(Value::as_u64).unwrap_or(0);
                sums.insert(name.into(), json!(sum + stopped[name].as_u64().unwrap_or(0)));
            }
        }
        self.server.stop(PATIENCE);
        sums
    }

    /// Runs a command to its end; its document.
    fn ask(&self, arguments: &[&str], deadline: Instant) -> Result<Value, String> {
        let mut command = program(self.lan, 0, &self.room.join("admin"));
        command.args(arguments);
        let mut process = Process::start(arguments[0], command)?;
        let (_, lines) = process.wait(deadline)?;
        let document = lines.iter().find_map(|line| serde_json::from_str(line).ok());
        document.ok_or_else(|| format!("{arguments:?} printed no document"))
    }
}

/// The program on a host with its state directory, speaking JSON.
fn program(lan: &Lan, host: usize, state: &Path) -> Command {
    let mut command = lan.command(host, path());
    for name in ["STATE", "SERVER", "TOKEN", "PASSPHRASE_FILE"] {
        command.env_remove(format!("FLEETCAST_{name}"));
    }
    command.args([OsStr::new("--json"), "--state".as_ref(), state.as_os_str()]);
    command
}

/// Where `cargo build --release` puts it.
fn path() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| shell::root().join("target")).join("release/fleetcast")
}

/// The event, if the line is one of that name.
fn event(line: &str, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["event"] == name).then_some(value)
}

/// The reason, if the line tells of a failure.
fn failed(line: &str) -> Option<Result<Value, String>> {
    event(line, "failed").map(|event| Err(format!("failed: {event}")))
}
