//! Questions on the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::Failure;

/// Whether there is a person to ask.
pub(super) fn on_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question; only `y` and `yes` are a yes.
pub(super) fn yes_or_no(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N] ")).map_err(|e| Failure::io("terminal", &e))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line that is not shown.
pub(super) fn secret(question: &str) -> Result<Vec<u8>, Failure> {
    let hidden = || -> io::Result<String> {
        let terminal = io::stdin();
        let shown = tcgetattr(&terminal)?;
        let mut quiet = shown.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        let answer = ask(question);
        tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
        // The line break of the answer was not shown either.
        writeln!(io::stderr())?;
        answer
    };
    hidden().map(String::into_bytes).map_err(|error| Failure::io("terminal", &error))
}

/// Asks for a line.
pub(super) fn line(question: &str) -> Result<String, Failure> {
    ask(question).map_err(|error| Failure::io("terminal", &error))
}

fn ask(question: &str) -> io::Result<String> {
    let mut talk = io::stderr();
    write!(talk, "{question}")?;
    talk.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}
