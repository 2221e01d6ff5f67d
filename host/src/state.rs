//! The state directory: where it is, what lies in it, and who may use it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

use crate::error::Failure;
use crate::person::refused;
use crate::private;

/// Where root's state lies.
pub const ROOT_STATE: &str = "/var/lib/fleetcast";

/// The default state directory, given who runs and a look at the environment:
/// root's is `/var/lib/fleetcast`; others' is `$XDG_STATE_HOME/fleetcast`, or
/// `~/.local/state/fleetcast` where that variable is no absolute path (as the
/// XDG Base Directory Specification asks).
///
/// # Errors
/// Usage failure `no-state-directory` when nothing says where it could be.
pub fn default_directory(
    root: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Failure> {
    if root {
        return Ok(PathBuf::from(ROOT_STATE));
    }
    let absolute =
        |name| variable(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("fleetcast"))
        .ok_or_else(|| {
            let hint = "name one with --state DIR";
            Failure::usage("no-state-directory", "neither XDG_STATE_HOME nor HOME is set", hint)
        })
}

/// The default state directory of this process.
///
/// # Errors
/// See [`default_directory`].
pub fn own_default_directory() -> Result<PathBuf, Failure> {
    default_directory(rustix::process::geteuid().is_root(), |name| std::env::var_os(name))
}

/// A state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory at `path`, which may not exist; nothing is made.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the directory, with mode 0700, unless it exists; parents get the usual mode.
    ///
    /// # Errors
    /// Failure `io`.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        private::make_directory(path).map_err(|error| refused(path, &error))?;
        Ok(Self(path.to_owned()))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The catalog's database.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.0.join("catalog.db")
    }

    /// The directory of chunk packs.
    #[must_use]
    pub fn packs(&self) -> PathBuf {
        self.0.join("packs")
    }

    /// The directory of keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The server's API socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("fleetcast.sock")
    }

    /// Lets others through to the agent's socket: they may neither list the directory
    /// nor read what else is in it, which has modes of its own.
    ///
    /// # Errors
    /// Failure `io`, where it belongs to somebody else.
    pub fn let_through(&self) -> Result<(), Failure> {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o711))
            .map_err(|error| Failure::io(self.0.display(), &error))
    }

    /// The receiver agent's socket.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// Reads `fleetcast.toml`; none is as good as an empty one.
    ///
    /// # Errors
    /// Failures `io`, `state-foreign`; usage failure `settings-malformed`.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let path = self.0.join("fleetcast.toml");
        match fs::read_to_string(&path) {
            Ok(text) => Settings::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(error) => Err(refused(&path, &error)),
        }
    }

    /// Takes the directory for this process alone, until the lock is dropped or
    /// the process ends.
    ///
    /// # Errors
    /// Failure `state-locked` when another process has it, `state-foreign`, `io`.
    pub fn lock(&self) -> Result<StateLock, Failure> {
        let path = self.0.join("lock");
        let io = |error: std::io::Error| refused(&path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(self.locked_by(&mut file)),
            Err(error) => return Err(io(error.into())),
        }
        // For the message of whoever comes second.
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
        Ok(StateLock { _file: file })
    }

    fn locked_by(&self, file: &mut File) -> Failure {
        let mut owner = String::new();
        let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut owner));
        let owner = match (read, owner.trim().parse::<u32>()) {
            (Ok(_), Ok(process)) => format!("process {process}"),
            _ => "another process".into(),
        };
        let message = format!("{} is in use by {owner}", self.0.display());
        Failure::failed("state-locked", message, "stop it, or name another with --state DIR")
    }
}

/// Proof that this process alone uses a state directory.
#[derive(Debug)]
pub struct StateLock {
    /// The kernel lets go of the lock when the file is closed.
    _file: File,
}

/// `fleetcast.toml`: options without their dashes, for those who start a
/// service; an option or an environment variable outranks each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `--server URL`.
    pub server: Option<String>,
    /// `--color auto|always|never`.
    pub color: Option<String>,
    /// `--interface IF`.
    pub interface: Option<String>,
    /// `serve --listen ADDR`.
    pub listen: Option<String>,
    /// `serve --web ADDR|off`.
    pub web: Option<String>,
    /// `serve --api ADDR|off`.
    pub api: Option<String>,
    /// `serve --multicast RANGE:PORT`.
    pub multicast: Option<String>,
    /// `serve --ttl N`.
    pub ttl: Option<u32>,
    /// `serve --rate R`.
    pub rate: Option<String>,
    /// Windows of `rate set`; those that the command has set outrank them.
    pub schedule: Option<Vec<String>>,
    /// The zone of their hours: `local`, `UTC`, or a name such as `Europe/Berlin`.
    pub zone: Option<String>,
    /// `serve --dscp N`.
    pub dscp: Option<u8>,
    /// `serve --seal file|passphrase`.
    pub seal: Option<String>,
    /// `receive --into DIR`.
    pub into: Option<PathBuf>,
    /// `receive --name N`.
    pub name: Option<String>,
    /// `receive --others none|read|join|leave`.
    pub others: Option<String>,
}

impl Settings {
    /// Reads settings from TOML.
    ///
    /// # Errors
    /// Usage failure `settings-malformed`, with the place.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
            });
            let message = format!("fleetcast.toml, line {line}: {}", error.message());
            let hint = "correct it; it is in the state directory";
            Failure::usage("settings-malformed", message, hint)
        })
    }
}

/// The value that counts: the option's, else the environment's, else the file's, else the default.
pub fn choose<T>(
    option: Option<T>,
    environment: Option<T>,
    file: Option<T>,
    default: impl FnOnce() -> T,
) -> T {
    option.or(environment).or(file).unwrap_or_else(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn default_with(root: bool, variables: Variables<'_>) -> Option<PathBuf> {
        let look = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        default_directory(root, look).ok()
    }

    #[test]
    fn the_default_directory_is_that_of_the_contract() {
        let home = ("HOME", "/home/ann");
        let cases: [(bool, Variables<'_>, Option<&str>); 5] = [
            (true, &[home], Some("/var/lib/fleetcast")),
            (false, &[home], Some("/home/ann/.local/state/fleetcast")),
            (false, &[home, ("XDG_STATE_HOME", "/s")], Some("/s/fleetcast")),
            (false, &[home, ("XDG_STATE_HOME", "s")], Some("/home/ann/.local/state/fleetcast")),
            (false, &[], None),
        ];
        for (root, variables, expected) in cases {
            assert_eq!(default_with(root, variables), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn a_new_directory_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        StateDir::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        StateDir::create(&path).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(StateDir::create(&folder.path().join("file")).is_err());
    }

    #[test]
    fn a_second_user_is_told_who_the_first_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        let lock = state.lock().unwrap();
        let refused = state.lock().unwrap_err();
        assert_eq!((refused.code.as_ref(), refused.exit), ("state-locked", 1));
        assert!(refused.message.ends_with(&format!("process {}", std::process::id())));
        drop(lock);
        state.lock().unwrap();
    }

    #[test]
    fn settings_are_read_and_strangers_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        assert_eq!(state.settings().unwrap(), Settings::default());
        fs::write(folder.path().join("fleetcast.toml"), "rate = \"50MB/s\"\nttl = 2\n").unwrap();
        let expected =
            Settings { rate: Some("50MB/s".into()), ttl: Some(2), ..Settings::default() };
        assert_eq!(state.settings().unwrap(), expected);
        let refused = Settings::parse("rat = 5").unwrap_err();
        assert_eq!((refused.code.as_ref(), refused.exit), ("settings-malformed", 2));
    }

    #[test]
    fn the_example_file_names_every_setting() {
        let example = include_str!("../package/fleetcast.toml");
        let settings: Vec<&str> = example
            .lines()
            .filter_map(|line| {
                line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic))
            })
            .collect();
        let Settings {
            server: Some(_),
            color: Some(_),
            interface: Some(_),
            listen: Some(_),
            web: Some(_),
            api: Some(_),
            multicast: Some(_),
            ttl: Some(1),
            rate: Some(_),
            schedule: Some(_),
            zone: Some(_),
            dscp: Some(1),
            seal: Some(_),
            into: Some(_),
            name: Some(_),
            others: Some(_),
        } = Settings::parse(&settings.join("\n")).unwrap()
        else {
            panic!("a setting is missing: {settings:?}");
        };
        // As it is it changes nothing.
        assert_eq!(Settings::parse(example).unwrap(), Settings::default());
    }

    #[test]
    fn an_option_outranks_the_environment_the_file_and_the_default() {
        assert_eq!(choose(Some(1), Some(2), Some(3), || 4), 1);
        assert_eq!(choose(None, Some(2), Some(3), || 4), 2);
        assert_eq!(choose(None, None, Some(3), || 4), 3);
        assert_eq!(choose(None, None, None, || 4), 4);
    }
}
