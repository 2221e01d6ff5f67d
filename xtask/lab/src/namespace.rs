//! A network namespace that a process holds open.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool;

/// What a holder does: it says that it is there, and ends with the pipe on its
/// stdin unless it is told to stay.
const HOLD: &str = "echo here; read stay && exec sleep infinity";

/// A network namespace.
///
/// It lasts as long as this value, unless it was told to [`Namespace::stay`].
#[derive(Debug)]
pub struct Namespace {
    /// The process in it that holds it.
    holder: u32,
    /// That process, where it is ours to end.
    child: Option<Child>,
}

impl Namespace {
    /// A new one. Its holder has `environment` in its environment, for whoever
    /// looks for it later.
    ///
    /// # Errors
    /// When this process may not make one.
    pub fn new(environment: &[(&str, &str)]) -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", HOLD]).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A key pressed on the terminal is for who holds the pipe.
        command.process_group(0);
        let child = command.spawn();
        let mut child = child.map_err(|e| format!("unshare: {e}; install util-linux"))?;
        let mut word = String::new();
        if let Some(stdout) = child.stdout.take() {
            // No word is the failure that is told below.
            let _ = BufReader::new(stdout).read_line(&mut word);
        }
        let mut namespace = Self { holder: child.id(), child: Some(child) };
        if word.trim() == "here" {
            return Ok(namespace);
        }
        let mut said = String::new();
        if let Some(mut stderr) = namespace.child.as_mut().and_then(|child| child.stderr.take()) {
            let _ = stderr.read_to_string(&mut said);
        }
        let cure = tool::cure(&said);
        Err(format!("no network namespace can be made: {}{cure}", said.trim()))
    }

    /// One that the process `holder` holds, and that stays when this value goes.
    #[must_use]
    pub const fn of(holder: u32) -> Self {
        Self { holder, child: None }
    }

    /// The process that holds it.
    #[must_use]
    pub const fn holder(&self) -> u32 {
        self.holder
    }

    /// Lets it outlive this value and this process.
    ///
    /// # Errors
    /// When its holder has ended.
    pub fn stay(&mut self) -> Result<(), String> {
        let gone = |_| format!("the holder {} of a network namespace has ended", self.holder);
        if let Some(mut child) = self.child.take() {
            let mut stdin = child.stdin.take().ok_or_else(|| gone(()))?;
            stdin.write_all(b"stay\n").map_err(|_| gone(()))?;
        }
        Ok(())
    }

    /// The file that is this namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder).into()
    }

    /// This namespace, for a thread that shall enter it.
    ///
    /// # Errors
    /// When its holder has ended.
    pub fn door(&self) -> Result<Door, String> {
        let path = self.path();
        File::open(&path).map(Door).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Does something in here, on a thread of its own: sockets that it makes stay
    /// here, whoever uses them.
    ///
    /// # Errors
    /// When it cannot be entered.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> Result<T, String> {
        let door = self.door()?;
        let made =
            std::thread::scope(|scope| scope.spawn(move || door.enter().map(|()| make())).join());
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that becomes `program`, in here: its process id stays.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder)).arg("--").arg(program);
        command.env("PATH", tool::search_path());
        command
    }

    /// The same, and it is killed when the thread that starts it ends; not when
    /// that ends in the milliseconds until `program` begins.
    #[must_use]
    pub fn mortal(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Runs a program in here to its end, with `input` on its stdin.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
        let mut command = self.command(program);
        command.args(arguments);
        tool::run(program, command, input)
    }
}

/// A way into a namespace.
#[derive(Debug)]
pub struct Door(File);

impl Door {
    /// Moves the calling thread, and no other, into it.
    ///
    /// # Errors
    /// When this process may not.
    pub fn enter(&self) -> Result<(), String> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("a network namespace cannot be entered: {error}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
