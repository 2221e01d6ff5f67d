//! A child process: its JSON lines as they come, its end, its exit code.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything takes that works, also on a busy machine.
pub const SLOW: Duration = Duration::from_secs(60);

/// How often to look whether a process has ended.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// A running process that prints JSON lines; killed when dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: process::Child,
    lines: Receiver<Value>,
    /// All lines so far, for the words of a failure.
    seen: Vec<Value>,
    errors: Option<JoinHandle<String>>,
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; 128 and the signal where one ended it.
    pub code: i32,
    /// What is on stdout.
    pub stdout: String,
    /// What is on stderr.
    pub stderr: String,
    /// From its start to its end.
    pub took: Duration,
}

/// Sends a signal to a child of this test.
pub fn signal(child: u32, signal: Signal) {
    let child = i32::try_from(child).ok().and_then(Pid::from_raw).expect("a process id");
    // One that has ended already gets none.
    let _ = kill_process(child, signal);
}

impl Child {
    /// Starts a process.
    pub fn start(name: &str, command: Command) -> Self {
        Self::start_with(name, command, "")
    }

    /// Starts a process that reads this from standard input.
    pub fn start_with(name: &str, mut command: Command, input: &str) -> Self {
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        if let Some(mut pipe) = process.stdin.take() {
            // It may end without having read all of it.
            let _ = pipe.write_all(input.as_bytes());
        }
        let (sender, lines) = channel();
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut stderr = process.stderr.take().expect("a pipe");
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What was read until then is all there is to tell.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { name: name.to_owned(), process, lines, seen: Vec::new(), errors: Some(errors) }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line within `limit`; `None` when none came, or it has ended.
    pub fn next_within(&mut self, limit: Duration) -> Option<Value> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits for an event, within [`SLOW`].
    pub fn wait_for(&mut self, event: &str) -> Value {
        self.wait_within(event, SLOW)
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn wait_within(&mut self, event: &str, limit: Duration) -> Value {
        let end = Instant::now() + limit;
        while let Some(line) = self.next_within(end.saturating_duration_since(Instant::now())) {
            if line["event"] == event {
                return line;
            }
        }
        let seen: Vec<String> = self.seen.iter().map(Value::to_string).collect();
        panic!("{}: no {event:?} in {limit:?}; it said:\n{}", self.name, seen.join("\n"));
    }

    /// All lines so far.
    pub fn seen(&mut self) -> &[Value] {
        while let Ok(line) = self.lines.try_recv() {
            self.seen.push(line);
        }
        &self.seen
    }

    /// Asks it to end by a signal; returns how it did, and after how long.
    pub fn end_by(mut self, wanted: Signal) -> (Answer, Vec<Value>) {
        signal(self.id(), wanted);
        let answer = self.wait(SLOW);
        let seen = self.seen().to_vec();
        (answer, seen)
    }

    /// Ends it without asking: it can do nothing more, not even say so.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Answer {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("our own child") {
                let took = begin.elapsed();
                let stderr = self.errors.take().map(|e| e.join().unwrap_or_default());
                let mut stdout = String::new();
                while let Ok(line) = self.lines.recv_timeout(SLOW) {
                    stdout.push_str(&format!("{line}\n"));
                    self.seen.push(line);
                }
                let stderr = stderr.unwrap_or_default();
                return Answer { code: code(status), stdout, stderr, took };
            }
            assert!(begin.elapsed() < limit, "{} did not end in {limit:?}", self.name);
            std::thread::sleep(LOOK);
        }
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
        if let Some(errors) = self.errors.take().filter(|_| std::thread::panicking()) {
            let said = errors.join().unwrap_or_default();
            let seen: Vec<String> = self.seen().iter().map(Value::to_string).collect();
            eprintln!("--- {} said:\n{}\n{said}", self.name, seen.join("\n"));
        }
    }
}

/// An exit code; 128 and the signal where one ended it.
pub(super) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

impl Answer {
    /// The one document on stdout.
    #[must_use]
    pub fn document(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Its document, when it is done.
    ///
    /// # Panics
    /// When the exit code is another than 0.
    pub fn done(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        self.document()
    }

    /// Checks that it failed as it should: exit code, a document with this code,
    /// a message and a cure, on stderr. Returns the message.
    ///
    /// # Panics
    /// When it did otherwise.
    pub fn refused(&self, exit: i32, code: &str) -> String {
        let failure = self.failure();
        assert_eq!((self.code, failure["code"].as_str()), (exit, Some(code)), "{self:?}");
        failure["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The failure on stderr, and only there, whole: with a code, a message and a cure.
    ///
    /// # Panics
    /// When there is none, or a part is missing.
    pub fn failure(&self) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
        let told = self.stdout.lines().filter_map(parsed).any(|line| line["kind"] == "error");
        assert!(!told, "stdout is data: {self:?}");
        let failures = self.stderr.lines().filter_map(parsed);
        let failure = failures.rev().find(|f| f["kind"] == "error");
        let failure = failure.unwrap_or_else(|| panic!("no failure on stderr: {self:?}"));
        assert_eq!(failure["schema"], 1, "{self:?}");
        for key in ["code", "message", "hint"] {
            let text = failure[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {key}: {self:?}");
        }
        failure
    }
}
