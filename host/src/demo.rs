//! The main job, shown on one machine: a server and receivers as processes of
//! their own, real multicast on loopback, files compared byte by byte.

mod brake;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{EXIT_INTERRUPTED, Failure};
use crate::status::{DemoItem, DemoReceiverItem};
use crate::units::format_count;

pub use self::brake::Brake;

/// Length of the file that is made when none is given.
const SAMPLE: u64 = 64 * 1024 * 1024;
/// How long a process may take to say that it is ready.
const READY: Duration = Duration::from_secs(20);
/// The group that the demo sends to.
const GROUP: &str = "demo";

/// What to show.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The file or folder to send; a made-up one where there is none.
    pub file: Option<PathBuf>,
    /// How many receivers.
    pub receivers: u32,
    /// Share of datagrams that each receiver loses, 0 to 1.
    pub loss: f64,
    /// Leave the directories behind.
    pub keep: bool,
    /// The program to run: this one.
    pub program: PathBuf,
    /// Whoever pulls it ends the demo.
    pub brake: Arc<Brake>,
}

/// Runs the demo; `say` is told each step.
///
/// # Errors
/// When a process does not start or fails, `interrupted` when the brake was pulled: the
/// processes have ended then, and the directory is gone. `ok` of the item says whether all
/// files are identical and came by multicast.
pub fn run(options: &DemoOptions, say: &mut dyn FnMut(&str)) -> Result<DemoItem, Failure> {
    show(options, say).map_err(|failure| {
        if !options.brake.is_pulled() {
            return failure;
        }
        let hint = match options.keep {
            true => "its processes have ended; its directories are in the temporary directory",
            false => "its processes have ended, and nothing is left of it",
        };
        Failure::failed("interrupted", "interrupted", hint).with_exit(EXIT_INTERRUPTED)
    })
}

fn show(options: &DemoOptions, say: &mut dyn FnMut(&str)) -> Result<DemoItem, Failure> {
    let home = Home::new(options.keep)?;
    let file = match &options.file {
        Some(file) => file.clone(),
        None => sample(&home.path)?,
    };
    let server = Fleet::serve(options, &home.path)?;
    say(&format!("server ready on {}", server.address));
    server.command(&["groups", "create", GROUP])?;
    let mut receivers = Vec::new();
    for number in 1..=options.receivers {
        receivers.push(server.receive(options, &home.path, number)?);
    }
    for receiver in &mut receivers {
        receiver.wait_for("connected")?;
    }
    let count = format_count(receivers.len() as u64, "receiver");
    say(&format!("{count} enrolled and connected"));
    let begin = Instant::now();
    let path = file.to_string_lossy().into_owned();
    let sent = server.command(&["send", &path, "--to", GROUP, "--wait", "--name", "demo"]);
    let seconds = begin.elapsed().as_secs_f64();
    let sent = sent?;
    say(&format!("sent and installed everywhere in {seconds:.1} s; comparing"));
    let name = file.file_name().map(PathBuf::from).unwrap_or_default();
    let mut item = summary(&sent["item"], seconds);
    for receiver in receivers {
        let copy = receiver.directory.join(GROUP).join(&name);
        let identical = same(&file, &copy, &options.brake).unwrap_or(false);
        ended(options)?;
        let (name, dir) = (receiver.name.clone(), receiver.directory.display().to_string());
        let (lost, repaired) = receiver.finish()?;
        item.lost += lost;
        item.repaired += repaired;
        item.receivers.push(DemoReceiverItem { name, dir, identical });
    }
    server.stop();
    let mostly = item.multicast_data >= item.payload_bytes
        && item.unicast_data * 20 < item.multicast_data.max(1);
    item.ok = mostly && item.receivers.iter().all(|receiver| receiver.identical);
    if options.keep {
        say(&format!("kept: {}", home.path.display()));
    }
    Ok(item)
}

/// Fails when the brake was pulled, which no process has told.
fn ended(options: &DemoOptions) -> Result<(), Failure> {
    if !options.brake.is_pulled() {
        return Ok(());
    }
    Err(Failure::failed("interrupted", "interrupted", "run it again"))
}

fn summary(sent: &Value, seconds: f64) -> DemoItem {
    let number = |key: &str| sent[key].as_u64().unwrap_or(0);
    let payload = number("payload_bytes");
    let session = sent["seconds"].as_f64().unwrap_or(seconds).max(1e-6);
    DemoItem {
        ok: false,
        seconds,
        goodput: (payload as f64 / session) as u64,
        payload_bytes: payload,
        wire_bytes: number("wire_bytes"),
        multicast_data: number("multicast_bytes"),
        unicast_data: number("unicast_bytes"),
        lost: 0,
        repaired: 0,
        receivers: Vec::new(),
    }
}

/// A directory for everything, removed at the end.
struct Home {
    path: PathBuf,
    keep: bool,
}

impl Home {
    fn new(keep: bool) -> Result<Self, Failure> {
        let number = u64::from_le_bytes(crate::keys::random()?);
        let path = std::env::temp_dir().join(format!("fleetcast-demo-{number:016x}"));
        crate::private::make_directory(&path)
            .map_err(|error| Failure::io(path.display(), &error))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.keep {
            // Installed files are read-only; their directories are ours.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The server's process.
struct Fleet {
    program: PathBuf,
    brake: Arc<Brake>,
    state: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Fleet {
    fn serve(options: &DemoOptions, home: &Path) -> Result<Self, Failure> {
        let state = home.join("server");
        let mut command = Command::new(&options.program);
        command.arg("--state").arg(&state).args(["--json", "serve", "--listen", "127.0.0.1:0"]);
        command.args(["--interface", "lo", "--web", "off", "--seal", "file"]);
        let (child, mut output) = spawn(command, &options.brake)?;
        let mut fleet = Self {
            program: options.program.clone(),
            brake: Arc::clone(&options.brake),
            state,
            address: String::new(),
            child: Some(child),
        };
        let ready = wait_for(&mut output, "ready")?;
        drain(output);
        fleet.address = ready["listen"].as_str().unwrap_or_default().to_owned();
        Ok(fleet)
    }

    /// Runs a command of the client and returns its JSON document.
    fn command(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(&self.state).arg("--json").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let io = |error: io::Error| Failure::io("fleetcast", &error);
        let child = command.spawn().map_err(io)?;
        self.brake.hold(&child);
        let output = child.wait_with_output().map_err(io)?;
        let parse = |bytes: &[u8]| -> Value {
            serde_json::from_str(String::from_utf8_lossy(bytes).trim()).unwrap_or(Value::Null)
        };
        if output.status.success() {
            return Ok(parse(&output.stdout));
        }
        let document = parse(&output.stderr);
        let message = document["message"].as_str().unwrap_or("it failed").to_owned();
        let hint = document["hint"].as_str().unwrap_or_default().to_owned();
        Err(Failure::failed("demo-failed", format!("{}: {message}", arguments[0]), hint))
    }

    fn receive(&self, options: &DemoOptions, home: &Path, number: u32) -> Result<Copy, Failure> {
        let name = format!("receiver-{number}");
        let code = self.command(&["invite", "--group", GROUP])?;
        let code = code["item"]["code"].as_str().unwrap_or_default().to_owned();
        let directory = home.join(&name);
        fs::create_dir(&directory).map_err(|e| Failure::io(directory.display(), &e))?;
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(home.join(format!("{name}-state")));
        command.args(["--json", "receive", "--once", "--name", &name, "--enrol", &code]);
        command.args(["--interface", "lo", "--drop", &options.loss.to_string(), "--into"]);
        command.arg(&directory);
        let (child, output) = spawn(command, &options.brake)?;
        Ok(Copy { name, directory, child: Some(child), output })
    }

    fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            terminate(child);
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end();
    }
}

/// A receiver's process.
struct Copy {
    name: String,
    directory: PathBuf,
    child: Option<Child>,
    output: BufReader<ChildStdout>,
}

impl Copy {
    fn wait_for(&mut self, event: &str) -> Result<Value, Failure> {
        wait_for(&mut self.output, event)
    }

    /// Waits for its end; datagrams lost, and how many of them repairs made good.
    fn finish(mut self) -> Result<(u64, u64), Failure> {
        let last = wait_for(&mut self.output, "stopped")?;
        let lost = last["lost"].as_u64().unwrap_or(0);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        Ok((lost, last["repaired"].as_u64().unwrap_or(0)))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            terminate(child);
        }
    }
}

fn spawn(mut command: Command, brake: &Brake) -> Result<(Child, BufReader<ChildStdout>), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Failure::io("fleetcast", &error))?;
    brake.hold(&child);
    let output = child.stdout.take();
    let lacking = || Failure::failed("demo-failed", "no output to read", "run it again");
    let output = output.ok_or_else(lacking)?;
    Ok((child, BufReader::new(output)))
}

/// Ends a process in order; by force if it does not within a few seconds.
fn terminate(mut child: Child) {
    if let Some(id) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    for _ in 0..100 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads event lines until one of this name.
fn wait_for(output: &mut BufReader<ChildStdout>, event: &str) -> Result<Value, Failure> {
    let begin = Instant::now();
    let mut line = String::new();
    loop {
        line.clear();
        let read = output.read_line(&mut line).map_err(|error| Failure::io("output", &error))?;
        let document: Value = serde_json::from_str(line.trim()).unwrap_or(Value::Null);
        if document["event"] == event {
            return Ok(document);
        }
        if read == 0 || begin.elapsed() > READY * 30 {
            let hint = "look at what it said above";
            return Err(Failure::failed("demo-failed", "a process ended early", hint));
        }
    }
}

/// Keeps a pipe from filling up.
fn drain(mut output: BufReader<ChildStdout>) {
    std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
}

/// A file of pseudo-random bytes.
fn sample(home: &Path) -> Result<PathBuf, Failure> {
    let path = home.join("sample.bin");
    let write = || -> io::Result<()> {
        let mut file = io::BufWriter::new(File::create(&path)?);
        let mut state = 1_u64;
        for _ in 0..SAMPLE / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes())?;
        }
        file.flush()
    };
    write().map_err(|error| Failure::io(path.display(), &error))?;
    Ok(path)
}

/// Whether two files, or two folders with all that is in them, are the same; who pulls the
/// brake does not wait for the answer.
fn same(a: &Path, b: &Path, brake: &Brake) -> io::Result<bool> {
    let (about_a, about_b) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    if about_a.is_dir() != about_b.is_dir() {
        return Ok(false);
    }
    if about_a.is_dir() {
        let names = |path: &Path| -> io::Result<Vec<std::ffi::OsString>> {
            let mut names: Vec<_> =
                fs::read_dir(path)?.map(|e| Ok(e?.file_name())).collect::<io::Result<_>>()?;
            names.sort_unstable();
            Ok(names)
        };
        let listed = names(a)?;
        if listed != names(b)? {
            return Ok(false);
        }
        for name in listed {
            if !same(&a.join(&name), &b.join(&name), brake)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if about_a.len() != about_b.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = a.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] || brake.is_pulled() {
            return Ok(false);
        }
    }
}
