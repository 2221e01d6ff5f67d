//! Questions on the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use crate::error::{EXIT_INTERRUPTED, Failure};

/// Keys as a terminal hands them over.
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_H: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7F;
/// Longest secret in bytes; what is typed beyond is not taken.
const MOST: usize = 4_096;

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
///
/// The terminal hands over every key and makes no signals of them, so that it is left
/// as it was found also when somebody interrupts.
pub(super) fn secret(question: &str) -> Result<Vec<u8>, Failure> {
    let hidden = || -> io::Result<Option<Vec<u8>>> {
        let terminal = io::stdin();
        let shown = tcgetattr(&terminal)?;
        let mut quiet = shown.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        let answer = say(question).and_then(|()| typed(terminal.lock().bytes()));
        tcsetattr(&terminal, OptionalActions::Now, &shown)?;
        // The line break of the answer was not shown either.
        writeln!(io::stderr())?;
        answer
    };
    let answer = hidden().map_err(|error| Failure::io("terminal", &error))?;
    answer.ok_or_else(|| {
        let interrupted = Failure::failed("interrupted", "interrupted", "nothing was changed");
        interrupted.with_exit(EXIT_INTERRUPTED)
    })
}

/// A line made of keys; `None` when somebody interrupts.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => return Ok(None),
            CTRL_U => line.clear(),
            // A character, which may be of several bytes.
            DELETE | CTRL_H => while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
            key if line.len() < MOST => line.push(key),
            _ => {}
        }
    }
    Ok(Some(line))
}

/// Asks for a line.
pub(super) fn line(question: &str) -> Result<String, Failure> {
    ask(question).map_err(|error| Failure::io("terminal", &error))
}

fn ask(question: &str) -> io::Result<String> {
    say(question)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

fn say(question: &str) -> io::Result<()> {
    let mut talk = io::stderr();
    write!(talk, "{question}")?;
    talk.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line_that_can_be_corrected_and_given_up() {
        let line = |keys: &str| typed(keys.bytes().map(Ok)).unwrap();
        let text = |keys: &str| line(keys).map(|line| String::from_utf8(line).unwrap());
        assert_eq!(text("horse\nmore").as_deref(), Some("horse"));
        assert_eq!(text("hörs\u{7f}\u{7f}\u{7f}orse\r").as_deref(), Some("horse"));
        assert_eq!(text("wrong\u{15}horse\u{4}").as_deref(), Some("horse"));
        assert_eq!(text("\u{8}\u{8}\n").as_deref(), Some(""));
        // The end of what is typed ends the line.
        assert_eq!(text("horse").as_deref(), Some("horse"));
        assert_eq!(line("hor\u{3}se\n"), None);
        assert_eq!(line(&"x".repeat(5_000)).unwrap().len(), MOST);
    }
}
