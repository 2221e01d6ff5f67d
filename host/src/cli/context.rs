//! What every command knows: the global options, the settings file, where things are.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{prompt, servers};
use crate::api::client::Client;
use crate::error::Failure;
use crate::keys::{AdminKey, Keys};
use crate::state::{Settings, StateDir, own_default_directory};

pub(super) use super::prompt::on_terminal;

/// Environment variable that names the file of the admin key's passphrase, or of an
/// account's password.
pub(super) const PASSPHRASE_FILE: &str = "FLEETCAST_PASSPHRASE_FILE";

/// What a command ends with: its exit code.
pub(super) type Outcome = Result<u8, Failure>;

/// Exit code: done.
pub(super) const DONE: u8 = 0;

/// Options of every command; they may stand before it or after.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The directory of state: keys, catalog, socket
    #[arg(long, global = true, value_name = "DIR", env = "FLEETCAST_STATE")]
    pub(super) state: Option<PathBuf>,
    /// Print JSON documents; streams print one line per event
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The server: unix:PATH of its socket (the state directory's by default), or
    /// https://HOST:PORT#FINGERPRINT on another machine, with a token in FLEETCAST_TOKEN
    /// or after `fleetcast login`
    #[arg(long, global = true, value_name = "URL", env = "FLEETCAST_SERVER")]
    pub(super) server: Option<String>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Say more; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN")]
    pub(super) color: Option<Color>,
    /// Answer questions with yes
    #[arg(long, global = true)]
    pub(super) yes: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On terminals, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The surroundings of a command.
pub(super) struct Context {
    /// Path of the state directory; it may not exist yet.
    pub(super) state: PathBuf,
    /// `fleetcast.toml` of that directory.
    pub(super) settings: Settings,
    /// Print JSON.
    pub(super) json: bool,
    /// Results and errors only.
    pub(super) quiet: bool,
    /// How much to say.
    pub(super) verbose: u8,
    /// Questions are answered with yes.
    pub(super) yes: bool,
    /// The server, where one is named.
    pub(super) server: Option<String>,
}

impl Context {
    /// # Errors
    /// Usage failures `no-state-directory`, `settings-malformed`.
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let state = match &global.state {
            Some(state) => state.clone(),
            None => own_default_directory()?,
        };
        // Reading does not make the directory: only servers and receivers do.
        let settings = StateDir::at(&state).settings()?;
        let color = match (global.color, settings.color.as_deref()) {
            (Some(color), _) => color,
            (None, Some("always")) => Color::Always,
            (None, Some("never")) => Color::Never,
            (None, _) => Color::Auto,
        };
        match color {
            // It looks at NO_COLOR and at the terminal itself.
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Ok(Self {
            state,
            // An empty variable says nothing.
            server: global.server.clone().filter(|url| !url.is_empty()).or(settings.server.clone()),
            settings,
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            yes: global.yes,
        })
    }

    /// A client of the server.
    ///
    /// # Errors
    /// Those of [`servers::target`].
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::of(servers::target(&self.state, self.server.as_deref())?)
    }

    /// The admin key in the state directory, opened.
    ///
    /// # Errors
    /// `admin-key-missing`, and those of [`Keys::admin`].
    pub(super) fn admin_key(&self) -> Result<AdminKey, Failure> {
        let directory = StateDir::at(&self.state).keys();
        let missing = || {
            let message = format!("there is no admin key in {}", directory.display());
            let hint = "run this where the admin key is, or name its directory with --state DIR";
            Failure::failed("admin-key-missing", message, hint)
        };
        if !directory.is_dir() {
            return Err(missing());
        }
        let keys = Keys::open(&directory)?;
        let passphrase = match keys.admin_sealed_by_passphrase()? {
            Some(true) => passphrase(false)?,
            _ => None,
        };
        keys.admin(passphrase.as_deref())?.ok_or_else(missing)
    }

    /// Asks before something is destroyed.
    ///
    /// # Errors
    /// Usage failure `not-confirmed` without `--yes` and terminal; failure when the answer is no.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !on_terminal() {
            let message = format!("nobody is here to answer: {question}");
            return Err(Failure::usage("not-confirmed", message, "add --yes"));
        }
        if prompt::yes_or_no(question)? {
            return Ok(());
        }
        Err(Failure::failed("not-confirmed", "nothing was changed", "answer y, or add --yes"))
    }

    /// Whether progress bars and talk are welcome.
    pub(super) fn talks(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// The passphrase from the file that the environment names, or from the
/// terminal; `None` where there is neither. A `new` one is asked for twice.
///
/// # Errors
/// `io`, and `passphrase-differs` when the two are not the same.
pub(super) fn passphrase(new: bool) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(path) = std::env::var_os(PASSPHRASE_FILE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let text = std::fs::read(&path).map_err(|e| Failure::io(path.display(), &e))?;
        // Editors end files with a line break.
        let end = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
        return Ok(Some(text[..end].to_vec()));
    }
    if !on_terminal() {
        return Ok(None);
    }
    let first = prompt::secret("Passphrase of the admin key: ")?;
    if new && !first.is_empty() && prompt::secret("The same again: ")? != first {
        return Err(Failure::failed("passphrase-differs", "the two are not the same", "try again"));
    }
    Ok(Some(first))
}
