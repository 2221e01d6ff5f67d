//! Passwords of people: asked for on a terminal without being shown, else from
//! the file that the environment names, else from standard input. Never from
//! the command line, which every user of the machine can read.

use std::io::Read as _;
use std::path::PathBuf;

use super::context::{PASSPHRASE_FILE, on_terminal};
use super::prompt;
use crate::error::Failure;

/// Most that is read, in bytes.
const MOST: u64 = 4_096;

/// A password that is there already: the first line of what is given.
///
/// # Errors
/// `password-needed`, `io`.
pub(super) fn password(question: &str) -> Result<String, Failure> {
    match given()? {
        Some(text) => line(&text, 0),
        None => text_of(prompt::secret(question)?),
    }
}

/// A new password, asked for twice on a terminal.
///
/// # Errors
/// `password-needed`, `password-differs`, `io`.
pub(super) fn new_password(question: &str) -> Result<String, Failure> {
    match given()? {
        Some(text) => line(&text, 0),
        None => twice(question),
    }
}

/// A password and the one in its place: two lines of what is given.
///
/// # Errors
/// `password-needed`, `password-differs`, `io`.
pub(super) fn old_and_new() -> Result<(String, String), Failure> {
    match given()? {
        Some(text) => Ok((line(&text, 0)?, line(&text, 1)?)),
        None => Ok((text_of(prompt::secret("Present password: ")?)?, twice("New password: ")?)),
    }
}

fn twice(question: &str) -> Result<String, Failure> {
    let first = prompt::secret(question)?;
    if prompt::secret("The same again: ")? != first {
        return Err(Failure::failed("password-differs", "the two are not the same", "try again"));
    }
    text_of(first)
}

/// What a file or standard input gives; `None`: a person is to be asked.
fn given() -> Result<Option<String>, Failure> {
    if on_terminal() {
        // The variable may name the admin key's passphrase: a person is asked.
        return Ok(None);
    }
    let named = std::env::var_os(PASSPHRASE_FILE).filter(|path| !path.is_empty());
    let mut bytes = Vec::new();
    if let Some(path) = named.map(PathBuf::from) {
        let file = std::fs::File::open(&path).and_then(|f| f.take(MOST).read_to_end(&mut bytes));
        file.map_err(|error| Failure::io(path.display(), &error))?;
    } else {
        let read = std::io::stdin().lock().take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io("standard input", &error))?;
    }
    text_of(bytes).map(Some)
}

fn line(text: &str, number: usize) -> Result<String, Failure> {
    let found = text.lines().nth(number).filter(|line| !line.is_empty());
    found.map(str::to_owned).ok_or_else(|| {
        let hint =
            "write it to standard input, or to the file that FLEETCAST_PASSPHRASE_FILE names";
        Failure::usage("password-needed", "there is no password", hint)
    })
}

fn text_of(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage("password-needed", "the password is not UTF-8", "choose another one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_password_and_its_end_is_not() {
        assert_eq!(line("one two\r\nthree\n", 0).unwrap(), "one two");
        assert_eq!(line("one two\nthree", 1).unwrap(), "three");
        for (text, number) in [("", 0), ("\n", 0), ("one\n", 1)] {
            let refused = line(text, number).unwrap_err();
            assert_eq!((refused.code.as_ref(), refused.exit), ("password-needed", 2), "{text:?}");
        }
    }
}
