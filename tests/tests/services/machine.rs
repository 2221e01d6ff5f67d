//! A machine that boots systemd as its process 1, in namespaces of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes that works, also on a busy machine.
const SLOW: Duration = Duration::from_secs(90);
/// How often to look.
const LOOK: Duration = Duration::from_millis(50);

/// A running systemd; all of it goes when dropped.
pub(crate) struct Machine {
    /// The process outside that waits for the machine's first.
    holder: Child,
    /// The machine's first process, by its number outside.
    first: u32,
    /// The control group that all of it is in.
    group: PathBuf,
    _copy: TempDir,
}

impl Machine {
    /// Boots.
    ///
    /// # Errors
    /// Why this machine cannot have one inside it.
    pub(crate) fn boot() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        if !Path::new("/lib/systemd/systemd").exists() {
            return Err("needs the package systemd".to_owned());
        }
        let group = control_groups()?.join(format!("fleetcast-{}", std::process::id()));
        fs::create_dir(&group).map_err(|error| format!("no control group: {error}"))?;
        let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
        // It steps into the group before it makes that the root of all groups.
        let step = "echo $$ > \"$1/cgroup.procs\" && exec unshare --mount --pid --fork --uts \
                    --ipc --net --cgroup --kill-child sh -s \"$2\"";
        let script = include_str!("boot.sh");
        let mut holder = Command::new("sh");
        holder.args(["-c", step, "sh"]).arg(&group).arg(copy.path());
        holder.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut holder = holder.spawn().map_err(|error| error.to_string())?;
        let mut input = holder.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, script.as_bytes()).map_err(|e| e.to_string())?;
        drop(input);
        let mut machine = Self { first: 0, holder, group, _copy: copy };
        machine.wait_until_up()?;
        Ok(machine)
    }

    fn wait_until_up(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            self.first = child_of(self.holder.id()).unwrap_or(0);
            if self.first != 0 && self.run("systemctl is-system-running").is_ok_and(is_up) {
                return Ok(());
            }
            let ended = self.holder.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || begin.elapsed() > SLOW {
                // It ends with its holder's pipe.
                let _ = self.holder.kill();
                let mut said = String::new();
                if let Some(mut pipe) = self.holder.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut pipe, &mut said);
                }
                return Err(format!("no systemd comes up in namespaces here: {said}"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Runs words of a shell in it.
    fn run(&self, words: &str) -> std::io::Result<Output> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--all", "--root", "--wdns=/"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", words]);
        command.stdin(Stdio::null()).output()
    }

    /// Runs words of a shell that must succeed; what they print.
    pub(crate) fn does(&self, words: &str) -> String {
        let output = self.run(words).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {said}{errors}\n{}", self.journal());
        said.trim_end().to_owned()
    }

    /// Whether words of a shell succeed.
    pub(crate) fn can(&self, words: &str) -> bool {
        self.run(words).unwrap().status.success()
    }

    /// Waits until words of a shell succeed.
    pub(crate) fn waits_until(&self, words: &str) {
        let begin = Instant::now();
        while !self.can(words) {
            assert!(begin.elapsed() < SLOW, "{words}\n{}", self.journal());
            std::thread::sleep(LOOK);
        }
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.does(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// A path in it, as it is reached from outside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    fn journal(&self) -> String {
        let output = self.run("journalctl --no-pager --lines=60 --output=short-monotonic");
        output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its first process the namespace's others end.
        if let Some(first) = i32::try_from(self.first).ok().and_then(Pid::from_raw) {
            let _ = kill_process(first, Signal::KILL);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let begin = Instant::now();
        while remove_groups(&self.group).is_err() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(LOOK);
        }
    }
}

fn is_up(output: Output) -> bool {
    // What it runs besides our services is not ours to judge.
    matches!(String::from_utf8_lossy(&output.stdout).trim(), "running" | "degraded")
}

/// Where the unified hierarchy of control groups is: alone, or beside the older ones.
fn control_groups() -> Result<PathBuf, String> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let found = places.into_iter().find(|place| place.join("cgroup.controllers").exists());
    found.ok_or_else(|| "needs control groups, version 2".to_owned())
}

/// The one child of a process.
fn child_of(process: u32) -> Option<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Removes a control group and those in it.
fn remove_groups(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
