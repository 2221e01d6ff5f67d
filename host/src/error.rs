//! The one error type at the edges: what a person, a script and the API see.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::CatalogError;
use crate::code::CodeError;
use crate::keys::KeyError;
use crate::packs::StoreError;
use crate::units::{BadUnit, printable};

/// Exit code: the job failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line, or what it names, makes no sense.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: finished, with some receivers behind.
pub const EXIT_BEHIND: u8 = 3;
/// Exit code: interrupted by the user.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The cure of what only a copy can bring back.
pub const BACKUP: &str = "put a backup of the state directory in its place; \
    without one, begin a new fleet in an empty directory";

/// A failure as it is told: a code for scripts, words for people, and the cure.
///
/// The code is borrowed where it is made, and owned where a client repeats what
/// the server's API answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// A short code such as `state-locked`; scripts may rely on it.
    pub code: Cow<'static, str>,
    /// What went wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The exit code of a command that ends by it.
    #[serde(skip, default = "failed")]
    pub exit: u8,
}

/// What a command or the API prints for a failure with `--json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    failure: &'a Failure,
}

impl Failure {
    /// The job failed.
    #[must_use]
    pub fn failed(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { code: Cow::Borrowed(code), message, hint, exit: EXIT_FAILED }
    }

    /// The command line, or what it names, makes no sense.
    #[must_use]
    pub fn usage(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit: EXIT_USAGE, ..Self::failed(code, message, hint) }
    }

    /// Reading or writing `what` failed.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "check who owns it, and its permissions",
            std::io::ErrorKind::StorageFull => "make room on that disk, then try again",
            std::io::ErrorKind::NotFound => "check that it exists",
            std::io::ErrorKind::NotADirectory => "a part of this path is no directory",
            std::io::ErrorKind::AlreadyExists => "choose another name, or remove it first",
            _ => "try again; if it stays, the system's own log may tell more",
        };
        Self::failed("io", format!("{what}: {error}"), hint)
    }

    /// Exit with this code instead.
    #[must_use]
    pub fn with_exit(self, exit: u8) -> Self {
        Self { exit, ..self }
    }

    /// The document `{"schema":1,"kind":"error","code","message","hint"}` in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = Document { schema: 1, kind: "error", failure: self };
        // Strings and a number always have a JSON form.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The lines for people: `error: …` and, where there is a cure, `help: …`.
    ///
    /// Names from devices and file systems may be inside: they are escaped.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let message = printable(&self.message);
        if self.hint.is_empty() {
            return format!("error: {message}\n");
        }
        format!("error: {message}\nhelp: {}\n", printable(&self.hint))
    }
}

fn failed() -> u8 {
    EXIT_FAILED
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        let (code, hint) = match error {
            CatalogError::Corrupt(_) => ("catalog-damaged", BACKUP),
            CatalogError::Migration(_) => ("catalog-newer", "use the newest fleetcast"),
            CatalogError::Database(_) => ("catalog", "check the disk of the state directory"),
        };
        Self::failed(code, error.to_string(), hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, hint) = match &error {
            StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                ("no-space", "make room on the disk of the state directory")
            }
            StoreError::Io { .. } => ("store", "check the disk of the state directory"),
            StoreError::Missing(_) | StoreError::Damaged(_) => {
                ("store-damaged", "send the files again, with --mirror if that is not enough")
            }
            StoreError::BadRecord(_) | StoreError::Room { .. } => {
                ("bad-chunk", "server and command line should be of one version")
            }
        };
        Self::failed(code, error.to_string(), hint)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let (code, hint) = match &error {
            KeyError::Io { .. } => ("io", "check who owns the state directory"),
            KeyError::Exposed { .. } => {
                ("key-exposed", "`chmod -R go= STATE/keys`; if others used it, make a new key")
            }
            KeyError::Damaged { .. } => ("key-damaged", BACKUP),
            KeyError::PassphraseNeeded => {
                ("passphrase-needed", "name its file in FLEETCAST_PASSPHRASE_FILE")
            }
            KeyError::WrongPassphrase => ("passphrase-wrong", "try again"),
            KeyError::Entropy => ("no-entropy", "check that /dev/urandom can be read"),
        };
        Self::failed(code, error.to_string(), hint)
    }
}

impl From<BadUnit> for Failure {
    fn from(error: BadUnit) -> Self {
        Self::usage("malformed", error.to_string(), error.hint())
    }
}

impl From<CodeError> for Failure {
    fn from(error: CodeError) -> Self {
        let hint = "copy the whole code again, from FC1- to its end";
        Self::usage("code-malformed", error.to_string(), hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_the_contract() {
        let failure = Failure::failed("state-locked", "it is \"in use\"", "stop the other");
        let expected = concat!(
            r#"{"schema":1,"kind":"error","code":"state-locked","#,
            r#""message":"it is \"in use\"","hint":"stop the other"}"#,
        );
        assert_eq!(failure.to_json(), expected);
        let back: Failure = serde_json::from_str(expected).unwrap();
        assert_eq!(back, failure);
    }

    #[test]
    fn every_error_has_its_cure() {
        use std::io::{Error, ErrorKind};

        let id = fleetcast_core::digest::Digest::of(b"x");
        let path = || std::path::PathBuf::from("x");
        let source = || Error::from(ErrorKind::Other);
        let failures: Vec<Failure> = vec![
            Failure::io("x", &source()),
            Failure::io("x", &Error::from(ErrorKind::StorageFull)),
            CatalogError::Corrupt("x".into()).into(),
            CatalogError::Migration("x".into()).into(),
            CatalogError::Database(sqlx::Error::PoolClosed).into(),
            StoreError::Io { path: path(), source: source() }.into(),
            StoreError::Missing(id).into(),
            StoreError::Damaged(id).into(),
            StoreError::BadRecord(crate::codec::BadRecord::Encoding).into(),
            StoreError::Room { needed: 1 }.into(),
            KeyError::Io { path: path(), source: source() }.into(),
            KeyError::Damaged { path: path(), reason: "x" }.into(),
            KeyError::PassphraseNeeded.into(),
            KeyError::WrongPassphrase.into(),
            KeyError::Entropy.into(),
            BadUnit::Number("x".into()).into(),
            BadUnit::Unit { found: "x".into(), wanted: "size" }.into(),
            BadUnit::Range("0".into()).into(),
            BadUnit::Slow { found: "50".into(), rate: 50 }.into(),
        ];
        for failure in failures {
            assert!(!failure.code.is_empty() && !failure.hint.is_empty(), "{failure:?}");
        }
    }

    #[test]
    fn people_see_two_lines_and_no_escape_codes() {
        let failure = Failure::usage("x", "no receiver \u{1b}[2J", "name another");
        assert_eq!(failure.exit, 2);
        assert_eq!(failure.to_lines(), "error: no receiver \\u{1b}[2J\nhelp: name another\n");
        assert_eq!(Failure::failed("x", "m", "").to_lines(), "error: m\n");
    }
}
