//! The house of the story: a LAN, the admin's PC, ten places with a receiver each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::processes::{Answer, Child, Fleet, Receiver, SLOW, noise, skip};
use rustix::process::Signal;
use serde_json::Value;

/// The group that everybody wants to be in.
pub(crate) const GROUP: &str = "kiosks";
pub(crate) const MIB: u64 = 1 << 20;

/// A house on a day.
pub(crate) struct Day {
    pub(crate) fleet: Fleet,
    places: BTreeMap<&'static str, Receiver>,
    /// The cables' numbers: host 0 is the admin's PC.
    ports: BTreeMap<&'static str, usize>,
    /// What the admin has made to be sent.
    files: BTreeMap<&'static str, Vec<u8>>,
    /// Goes last: processes die with their namespaces otherwise.
    lan: Lan,
}

impl Day {
    /// A server that runs, and receivers that were never started; `None`, and counted as
    /// skipped, where no LAN can be made.
    pub(crate) fn begin(test: &str, places: &[&'static str]) -> Option<Self> {
        let lan = Lan::new(&Plan::gigabit(places.len() + 1));
        let lan = lan.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()?;
        let fleet = Fleet::between(lan.host(0), lan.host(1));
        fleet.run(["groups", "create", GROUP]).done();
        let ports: BTreeMap<_, _> = places.iter().copied().zip(1..).collect();
        let receiver = |(&place, &port)| (place, fleet.absent_on(lan.host(port), place));
        let places = ports.iter().map(receiver).collect();
        Some(Self { fleet, places, ports, files: BTreeMap::new(), lan })
    }

    // --- the admin ---

    /// A command of the admin that must succeed.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Value {
        self.fleet.run(arguments).done()
    }

    /// Makes a file of noise to be sent; its path.
    pub(crate) fn file(&mut self, name: &'static str, len: u64) -> String {
        let bytes = noise(self.files.len() as u64 + 1, len as usize);
        let path = self.fleet.path(name);
        fs::write(&path, &bytes).unwrap();
        self.files.insert(name, bytes);
        path.into_os_string().into_string().unwrap()
    }

    /// Makes a file, sends it to the group and waits for whoever is here.
    pub(crate) fn send(&mut self, name: &'static str, len: u64, options: &[&str]) -> Answer {
        let path = self.file(name, len);
        let send = ["send", &path, "--to", GROUP, "--wait"];
        self.fleet.run_within(2 * SLOW, [&send, options].concat())
    }

    /// Whom something is owed, by name; each once for each delivery.
    pub(crate) fn owed(&self) -> Vec<String> {
        let list = self.admin(&["pending", "list"]);
        let items = list["items"].as_array().unwrap().iter();
        let mut names: Vec<String> = items.map(|item| text(&item["receiver"])).collect();
        names.sort();
        names
    }

    /// Codes of the conditions that `status` shows.
    pub(crate) fn health(&self) -> Vec<String> {
        let status = self.admin(&["status"]);
        let found = status["item"]["health"].as_array().unwrap().iter();
        found.map(|condition| text(&condition["code"])).collect()
    }

    /// How often something stands in the log, and about whom the last time.
    pub(crate) fn logged(&self, action: &str) -> (usize, String) {
        let log = self.admin(&["log"]);
        let lines = log["items"].as_array().unwrap().iter();
        let lines: Vec<&Value> = lines.filter(|line| line["action"] == action).collect();
        let last = lines.last().map(|line| format!("{} {}", line["subject"], line["result"]));
        (lines.len(), last.unwrap_or_default().replace('"', ""))
    }

    // --- places ---

    /// The receiver at a place.
    pub(crate) fn at(&mut self, place: &str) -> &mut Receiver {
        self.places.get_mut(place).unwrap()
    }

    /// Starts the receiver at a place.
    pub(crate) fn start(&mut self, place: &str, options: &[&str]) {
        self.at(place).start(&[options, &["--name", place]].concat());
    }

    /// Waits until the receiver at a place tells this.
    pub(crate) fn hears(&mut self, place: &str, event: &str) -> Value {
        self.at(place).process().wait_for(event)
    }

    /// What a person at a place is told, who must succeed.
    pub(crate) fn person(&mut self, place: &str, arguments: &[&str]) -> Value {
        self.at(place).my(arguments).done()
    }

    /// How a person at a place sees the group.
    pub(crate) fn standing(&mut self, place: &str) -> String {
        let groups = self.person(place, &["groups"]);
        let mut groups = groups["items"].as_array().unwrap().iter();
        text(&groups.find(|group| group["name"] == GROUP).unwrap()["state"])
    }

    /// Switches a place off in order.
    pub(crate) fn switch_off(&mut self, place: &str) {
        let (answer, _) = self.at(place).process.take().unwrap().end_by(Signal::TERM);
        assert_eq!(answer.code, 0, "{place}: {answer:?}");
    }

    /// All power fails: nobody can say a word more.
    pub(crate) fn power_fails(&mut self) {
        self.places.values_mut().for_each(Receiver::kill);
        self.fleet.kill_server();
    }

    /// The files of the group at a place, by name; each is whole and as it was sent.
    pub(crate) fn shows(&self, place: &str) -> Vec<String> {
        let folder: PathBuf = self.places[place].into.join(GROUP);
        let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let bytes = fs::read(folder.join(&name)).unwrap();
            assert!(self.files[name.as_str()] == bytes, "{place}: {name} is identical");
            names.push(name);
        }
        names.sort();
        names
    }

    /// The most that a place has told to hold of what it was offered last, in bytes.
    pub(crate) fn held(&mut self, place: &str) -> u64 {
        let lately = self.at(place).process().seen().iter().rev();
        let lately = lately.take_while(|line| line["event"] != "offered");
        let progress = lately.filter(|line| line["event"] == "progress");
        progress.filter_map(|line| line["bytes"].as_u64()).max().unwrap_or(0)
    }

    // --- the network ---

    /// Bytes that have left the admin's PC.
    pub(crate) fn sent(&self) -> u64 {
        self.lan.traffic(0).unwrap().sent
    }

    /// Bytes that have come to a place.
    pub(crate) fn arrived(&self, place: &str) -> u64 {
        self.lan.traffic(self.ports[place]).unwrap().received
    }

    /// Starts a command of the admin and does not wait for it.
    pub(crate) fn begin_command(&self, arguments: &[&str]) -> Child {
        Child::start("the admin", self.fleet.command(arguments))
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
