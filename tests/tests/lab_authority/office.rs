//! An admin on a PC of their own: a state directory with a sealed key, and a way to the
//! server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Answer, Child, Fleet, Receiver, SLOW, program};
use serde_json::Value;

/// An admin beside the one whose key lies at the server.
pub(crate) struct Office {
    /// The state directory.
    pub(crate) state: PathBuf,
    server: String,
    passphrase: PathBuf,
    /// The admin's public key.
    pub(crate) key: String,
    /// The beginning of what the fleet calls it.
    pub(crate) id: String,
}

impl Office {
    /// A new admin with a sealed key, whom the fleet does not know yet.
    pub(crate) fn new(fleet: &Fleet, name: &str) -> Self {
        let passphrase = fleet.path(&format!("{name}-passphrase"));
        fs::write(&passphrase, format!("the secret of {name}\n")).unwrap();
        let server = format!("unix:{}", fleet.state().join("fleetcast.sock").display());
        let state = fleet.path(&format!("{name}-office"));
        let (key, id) = (String::new(), String::new());
        let mut office = Self { state, server, passphrase, key, id };
        let made = office.run(["admin", "create", "--seal", "passphrase"]).done();
        assert_eq!(made["item"]["seal"], "passphrase");
        office.key = text(&made["item"]["key"]);
        office.id = text(&made["item"]["id"]);
        office
    }

    /// Runs a command as this admin, with `--json`.
    pub(crate) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Answer {
        let mut command = self.command();
        command.args(arguments);
        Child::start("an admin's command", command).wait(2 * SLOW)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        for name in ["FLEETCAST_STATE", "FLEETCAST_SERVER", "FLEETCAST_TOKEN"] {
            command.env_remove(name);
        }
        command.env("FLEETCAST_PASSPHRASE_FILE", &self.passphrase);
        command.arg("--state").arg(&self.state).args(["--server", &self.server, "--json"]);
        command
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Writes a file to be sent.
pub(crate) fn file(fleet: &Fleet, name: &str, content: &str) -> PathBuf {
    let path = fleet.path(name);
    fs::write(&path, content).unwrap();
    path
}

/// Sends a file to the group `g` without waiting; the item.
pub(crate) fn send(fleet: &Fleet, path: &Path) -> Value {
    fleet.run(["send", path.to_str().unwrap(), "--to", "g"]).done()["item"].clone()
}

/// Waits until a receiver shows this content under a name.
pub(crate) fn shows(receiver: &Receiver, name: &str, content: &str) {
    let end = Instant::now() + SLOW;
    while fs::read_to_string(receiver.file(name)).unwrap_or_default() != content {
        assert!(Instant::now() < end, "{} does not show {content:?}", receiver.name);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until so many receivers trust the newest authority document; returns it.
pub(crate) fn trusted_by(fleet: &Fleet, receivers: u64) -> Value {
    let end = Instant::now() + SLOW;
    loop {
        let shown = fleet.run(["authority", "show"]).done()["item"].clone();
        if shown["receivers"]["current"] == receivers {
            return shown;
        }
        assert!(Instant::now() < end, "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Codes of the health conditions that a server shows.
pub(crate) fn health(fleet: &Fleet) -> Vec<String> {
    let status = fleet.run(["status"]).done();
    let items = status["item"]["health"].as_array().unwrap().iter();
    items.map(|item| text(&item["code"])).collect()
}
