//! A server and its receivers, in a temporary directory.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fleetcast_lab::Namespace;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::child::{Answer, Child, SLOW};
use super::program::program;

/// The port of all sessions.
const MULTICAST_PORT: u16 = 7_413;

/// Where processes run: on loopback, or in network namespaces of the server and
/// of the receivers, named by their holders.
#[derive(Clone, Copy, Debug, Default)]
struct Where {
    server: Option<u32>,
    receivers: Option<u32>,
}

/// A server, its state, and room for receivers. All of it goes when dropped.
#[derive(Debug)]
pub struct Fleet {
    server: Option<Child>,
    /// `HOST:PORT` of the server.
    pub address: String,
    /// What the server said when it was ready.
    pub ready: Value,
    /// Options of the server besides those of all.
    options: Vec<String>,
    listen: String,
    pool: String,
    places: Where,
    home: TempDir,
}

/// A receiver: its process, and what stays when that ends.
#[derive(Debug)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Where files land.
    pub into: PathBuf,
    /// Its state directory.
    pub state: PathBuf,
    /// Its process, unless it was ended.
    pub process: Option<Child>,
    namespace: Option<u32>,
}

impl Fleet {
    /// A server on loopback, with one group `g`.
    #[must_use]
    pub fn start() -> Self {
        Self::serve("127.0.0.1:0", Where::default(), &[])
    }

    /// The same, with these options of `serve`.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        Self::serve("127.0.0.1:0", Where::default(), options)
    }

    /// A server in one network namespace, receivers in another; no interface is
    /// named, as README has it.
    #[must_use]
    pub fn between(server: &Namespace, receivers: &Namespace) -> Self {
        let places = Where { server: Some(server.holder()), receivers: Some(receivers.holder()) };
        Self::serve("0.0.0.0:7411", places, &[])
    }

    fn serve(listen: &str, places: Where, options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Fleets that run at the same time hear nothing of each other: four addresses for
        // each, by process and, where tests share one, by number.
        let process = std::process::id() % (1 << 14);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) % 32;
        let first = Ipv4Addr::new(239, 78, 0, 0).to_bits() + (number << 16) + process * 4;
        let pool = format!("{}/30:{MULTICAST_PORT}", Ipv4Addr::from_bits(first));
        let home = tempfile::tempdir().expect("a temporary directory");
        let listen = listen.to_owned();
        let (address, ready) = (listen.clone(), Value::Null);
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut fleet = Self { server: None, address, ready, options, listen, pool, places, home };
        fleet.start_server();
        fleet.run(["groups", "create", "g"]).done();
        fleet
    }

    /// A path in its temporary directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where its sessions may be.
    ///
    /// # Panics
    /// Never: the pool is our own.
    #[must_use]
    pub fn multicast(&self) -> Vec<SocketAddrV4> {
        let first = self.pool.split('/').next().and_then(|first| first.parse().ok());
        let first: Ipv4Addr = first.expect("our own pool");
        let address = |n| Ipv4Addr::from_bits(first.to_bits() + n);
        (0..4).map(|n| SocketAddrV4::new(address(n), MULTICAST_PORT)).collect()
    }

    /// The server's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path("server")
    }

    /// Starts the server, or starts it again at its old address.
    pub fn start_server(&mut self) {
        let mut command = self.serve_command(&self.state());
        command.args(["--listen", &self.listen, "--multicast", &self.pool]).args(&self.options);
        let mut server = Child::start("server", command);
        let ready = server.wait_for("ready");
        self.ready = ready.clone();
        self.address = ready["listen"].as_str().expect("an address").to_owned();
        self.listen.clone_from(&self.address);
        self.server = Some(server);
    }

    /// `serve` with a state directory, without an address.
    #[must_use]
    pub fn serve_command(&self, state: &Path) -> Command {
        let mut command = inside(self.places.server);
        command.arg("--state").arg(state).args(["--json", "serve", "--web", "off"]);
        command.args(["--seal", "file"]);
        if self.places.server.is_none() {
            command.args(["--interface", "lo"]);
        }
        command
    }

    /// Gives an option of the server another value, from its next start on.
    pub fn set_option(&mut self, option: &str, value: &str) {
        let place = self.options.iter().position(|known| known == option).expect("it was given");
        value.clone_into(&mut self.options[place + 1]);
    }

    /// The server's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn server_id(&self) -> u32 {
        self.server.as_ref().expect("a server").id()
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        self.server.take().expect("a server").kill();
    }

    /// Asks the server to end.
    pub fn stop_server(&mut self, signal: Signal) -> Answer {
        self.server.take().expect("a server").end_by(signal).0
    }

    /// A client command with `--json`, not started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command_of_a_person(["--json"]);
        command.args(arguments);
        command
    }

    /// A client command as a person writes it, not started.
    pub fn command_of_a_person<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = inside(self.places.server);
        command.arg("--state").arg(self.state()).args(arguments);
        command
    }

    /// Runs a client command with `--json`.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        self.run_within(SLOW, arguments)
    }

    /// Runs a client command that reads this from standard input.
    pub fn run_with<A: AsRef<OsStr>>(
        &self,
        input: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Answer {
        Child::start_with("a command", self.command(arguments), input).wait(SLOW)
    }

    /// Runs a client command that may take long.
    pub fn run_within<A: AsRef<OsStr>>(
        &self,
        limit: Duration,
        arguments: impl IntoIterator<Item = A>,
    ) -> Answer {
        let command = self.command(arguments);
        let name = format!("{:?}", command.get_args().skip(3).collect::<Vec<_>>());
        Child::start(&name, command).wait(limit)
    }

    /// Sends to the group `g`, waits, and returns the item.
    ///
    /// # Panics
    /// Unless all have installed.
    pub fn send(&self, path: &Path, options: &[&str]) -> Value {
        let mut arguments: Vec<&OsStr> = vec!["send".as_ref(), path.as_os_str()];
        arguments.extend(["--to", "g", "--wait"].map(OsStr::new));
        arguments.extend(options.iter().map(OsStr::new));
        self.run_within(4 * SLOW, arguments).done()["item"].clone()
    }

    /// A code to enrol with.
    #[must_use]
    pub fn invite(&self, options: &[&str]) -> String {
        let answer = self.run([&["invite"], options].concat()).done();
        answer["item"]["code"].as_str().expect("a code").to_owned()
    }

    /// A receiver that is in the group `g` and connected.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Receiver {
        self.enrol(self.absent(name))
    }

    /// The same, in a network namespace of its own.
    #[must_use]
    pub fn receiver_on(&self, host: &Namespace, name: &str) -> Receiver {
        self.enrol(self.absent_on(host, name))
    }

    fn enrol(&self, mut receiver: Receiver) -> Receiver {
        let code = self.invite(&["--group", "g"]);
        let name = receiver.name.clone();
        receiver.start(&["--enrol", &code, "--name", &name]);
        receiver.process().wait_for("connected");
        receiver
    }

    /// A receiver that was not started and is not enrolled.
    #[must_use]
    pub fn absent(&self, name: &str) -> Receiver {
        let (into, state) = (self.path(name), self.path(&format!("{name}-state")));
        let namespace = self.places.receivers;
        Receiver { name: name.to_owned(), into, state, process: None, namespace }
    }

    /// The same, in a network namespace of its own.
    #[must_use]
    pub fn absent_on(&self, host: &Namespace, name: &str) -> Receiver {
        Receiver { namespace: Some(host.holder()), ..self.absent(name) }
    }

    /// How a receiver stands in the server's list; null when it is not there.
    #[must_use]
    pub fn listed(&self, name: &str) -> Value {
        let list = self.run(["receivers", "list"]).done();
        let mut items = list["items"].as_array().into_iter().flatten();
        items.find(|item| item["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until all deliveries of receiver `name` are final.
    pub fn settle(&self, name: &str, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let list = self.run(["pending", "list"]).done();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            if !items.iter().any(|item| item["receiver"] == name) {
                return;
            }
            assert!(Instant::now() < end, "still pending after {limit:?}: {list}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Receiver {
    /// Starts its process with these options besides directories and interface.
    pub fn start(&mut self, options: &[&str]) {
        let command = self.command(options);
        self.process = Some(Child::start(&self.name, command));
    }

    /// Its command line, not started.
    #[must_use]
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = self.command_of_a_person(options);
        command.arg("--json");
        command
    }

    /// Its command line as a person writes it, not started.
    #[must_use]
    pub fn command_of_a_person(&self, options: &[&str]) -> Command {
        let mut command = inside(self.namespace);
        command.arg("--state").arg(&self.state).args(["receive", "--into"]);
        command.arg(&self.into).args(options);
        if self.namespace.is_none() {
            command.args(["--interface", "lo"]);
        }
        command
    }

    /// The same, with this on its standard input.
    pub fn start_with(&mut self, input: &str, options: &[&str]) {
        let command = self.command(options);
        self.process = Some(Child::start_with(&self.name, command, input));
    }

    /// Runs `my` at it, with `--json`.
    pub fn my<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        Child::start("my", self.my_command(arguments)).wait(SLOW)
    }

    /// `my` at it, not started.
    pub fn my_command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = inside(self.namespace);
        command.arg("--state").arg(&self.state).args(["--json", "my"]).args(arguments);
        command
    }

    /// Its process.
    ///
    /// # Panics
    /// When it was ended.
    pub fn process(&mut self) -> &mut Child {
        self.process.as_mut().expect("it runs")
    }

    /// Kills it and starts it again: it connects at once, where one that goes on takes as
    /// long to notice that its server was started again as a silent peer is given.
    pub fn restart(&mut self) {
        self.kill();
        self.start(&[]);
        self.process().wait_for("connected");
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// What was installed for the group `g`, below its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.into.join("g").join(name)
    }
}

/// The program, in a network namespace where one is named by its holder.
fn inside(namespace: Option<u32>) -> Command {
    clean(match namespace {
        Some(holder) => Namespace::of(holder).mortal(program()),
        None => Command::new(program()),
    })
}

/// Without settings of whoever runs the tests.
fn clean(mut command: Command) -> Command {
    for name in ["STATE", "SERVER", "TOKEN", "PASSPHRASE_FILE"] {
        command.env_remove(format!("FLEETCAST_{name}"));
    }
    command
}
