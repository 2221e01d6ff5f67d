//! A process on a terminal of its own: what it shows, and what is typed to it.
//!
//! The terminal is a real one to the process, the kernel's pseudo-terminal, and
//! `setsid --ctty` (util-linux) makes it the one that controls it: so a typed Ctrl-C
//! is an interrupt.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::child::{LOOK, SLOW, code};

/// What Ctrl-C types.
pub const CTRL_C: &str = "\u{3}";

/// A process on a terminal; killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    process: process::Child,
    output: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    /// So much of it has been waited for.
    read: usize,
}

/// Where the process's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// To the terminal.
    Terminal,
    /// Into a file, as of `command > file`.
    Elsewhere,
}

impl Terminal {
    /// Starts a process on a new terminal.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        Self::start_with(command, Stdout::Terminal)
    }

    /// Starts a process on a new terminal, whose data may go elsewhere.
    ///
    /// # Panics
    /// When this machine gives no terminals.
    #[must_use]
    pub fn start_with(command: &Command, stdout: Stdout) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("our own terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("its name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let screen = open(&*name, flags, Mode::empty()).expect("its other side");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keyboard, size).expect("a size");
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        // Whoever runs the tests may not like colours.
        session.env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let copy = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        session.env("TERM", "xterm").stdin(copy(&screen)).stderr(copy(&screen));
        session.stdout(match stdout {
            Stdout::Terminal => copy(&screen),
            Stdout::Elsewhere => Stdio::null(),
        });
        let process = session.spawn().unwrap_or_else(|error| panic!("{session:?}: {error}"));
        let keyboard = File::from(keyboard);
        let output = listen(keyboard.try_clone().expect("a descriptor"));
        Self { keyboard, process, output, shown: Vec::new(), read: 0 }
    }

    /// Types this.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("its terminal");
    }

    /// Waits until it shows this, after what was waited for before.
    ///
    /// # Panics
    /// When it does not within [`SLOW`].
    pub fn wait_for(&mut self, text: &str) {
        let begin = Instant::now();
        loop {
            self.look();
            if let Some(at) = self.text()[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            assert!(begin.elapsed() < SLOW, "it does not show {text:?} but:\n{}", self.text());
            std::thread::sleep(LOOK);
        }
    }

    /// Whether the terminal shows what is typed.
    ///
    /// # Panics
    /// When the terminal is gone.
    #[must_use]
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).expect("its terminal").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for its end: the exit code, and all that it has shown.
    ///
    /// # Panics
    /// When it does not end within [`SLOW`].
    pub fn wait(&mut self) -> (i32, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("our own child") {
                break status;
            }
            self.look();
            assert!(begin.elapsed() < SLOW, "it goes on; it shows:\n{}", self.text());
            std::thread::sleep(LOOK);
        };
        // What it wrote last may still be on its way.
        while let Ok(bytes) = self.output.recv_timeout(LOOK) {
            self.shown.extend(bytes);
        }
        (code(status), self.text())
    }

    fn look(&mut self) {
        self.output.try_iter().for_each(|bytes| self.shown.extend(bytes));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// Reads what the terminal shows until nobody has it open any more.
fn listen(mut screen: File) -> Receiver<Vec<u8>> {
    let (sender, output) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(len) = screen.read(&mut buffer) {
            if len == 0 || sender.send(buffer[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
