//! A process of a run: what it says and when, how it ends; killed at the latest
//! when its owner goes.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often to look whether one has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Last lines that are shown when it disappoints.
const LAST: usize = 8;

/// A line, and when it came.
pub(crate) type Line = (Instant, String);

/// A running process.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<Line>,
    seen: Vec<String>,
}

impl Process {
    /// Starts one; both its outputs are listened to.
    ///
    /// # Errors
    /// When there is no such program.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            listen(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            listen(stderr, sender);
        }
        Ok(Self { name: name.to_owned(), child, lines, seen: Vec::new() })
    }

    /// Waits for a line in which `pick` finds something.
    ///
    /// # Errors
    /// When none came until `deadline`, or it has ended: its last lines.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Instant,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<(Instant, T), String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) => {
                    let picked = pick(&line);
                    self.seen.push(line);
                    if let Some(picked) = picked {
                        return Ok((at, picked));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.complain(&format!("no {what} in time")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.complain(&format!("ended without {what}")));
                }
            }
        }
    }

    /// Waits until it has ended; when that was, and all its lines.
    ///
    /// # Errors
    /// When it did not until `deadline`, or failed: its last lines.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<(Instant, &[String]), String> {
        loop {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            let now = Instant::now();
            match ended {
                Some(status) => {
                    self.seen.extend(self.lines.iter().map(|(_, line)| line));
                    return if status.success() {
                        Ok((now, &self.seen))
                    } else {
                        Err(self.complain(&status.to_string()))
                    };
                }
                None if now >= deadline => return Err(self.complain("did not end in time")),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn has_ended(&mut self) -> Result<bool, String> {
        let ended = self.child.try_wait();
        ended.map(|ended| ended.is_some()).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Asks it to end, and waits at most `patience`; its last lines.
    pub(crate) fn stop(mut self, patience: Duration) -> Vec<String> {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(id, Signal::TERM);
        }
        // What does not end when asked is killed below.
        let _ = self.wait(Instant::now() + patience);
        self.end();
        self.seen.extend(self.lines.try_iter().map(|(_, line)| line));
        std::mem::take(&mut self.seen)
    }

    /// What went wrong, with its last lines.
    fn complain(&mut self, what: &str) -> String {
        self.seen.extend(self.lines.try_iter().map(|(_, line)| line));
        let mut text = format!("{}: {what}", self.name);
        for line in self.seen.iter().rev().take(LAST).rev() {
            // Writing to a string does not fail.
            let _ = write!(text, "\n    {line}");
        }
        text
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(stream: impl Read + Send + 'static, lines: Sender<Line>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if lines.send((Instant::now(), line)).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}
