//! Servers on other machines: which one is meant, by which certificate it is known, with
//! which token. What this state directory has learnt of them stands in `servers.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::prompt;
use crate::api::client::{Target, unpinned};
use crate::api::pinned::{ServerUrl, fingerprint, look};
use crate::error::Failure;
use crate::model::UnixTime;
use crate::private;
use crate::state::StateDir;
use crate::units::rfc3339;

/// Environment variable of a token.
const TOKEN: &str = "FLEETCAST_TOKEN";

/// What is known of servers on other machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The one that is meant where none is named.
    current: Option<String>,
    servers: Vec<KnownServer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownServer {
    url: String,
    /// SHA-256 of its certificate, in hex; empty without TLS.
    fingerprint: String,
    login: Option<Login>,
}

/// A token that a login has brought.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) token: String,
    #[serde(with = "rfc3339")]
    pub(super) expires: UnixTime,
}

/// Secrets are never printed.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("servers.json")
}

impl Known {
    /// What is known; nothing where there is no file.
    pub(super) fn read(state: &Path) -> Result<Self, Failure> {
        let path = file(state);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::io(path.display(), &error)),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let message = format!("{} is damaged: {error}", path.display());
                let hint = "remove it, and log in again";
                Failure::failed("servers-damaged", message, hint)
            }),
        }
    }

    fn write(&self, state: &Path) -> Result<(), Failure> {
        StateDir::create(state)?;
        let path = file(state);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        private::write(&path, &text).map_err(|error| Failure::io(path.display(), &error))
    }

    fn of(&self, url: &ServerUrl) -> Option<&KnownServer> {
        let url = url.to_string();
        self.servers.iter().find(|known| known.url == url)
    }

    /// The server that is meant where none is named.
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// The login at a server, which is for the one with the same certificate only.
    pub(super) fn login(&self, url: &ServerUrl) -> Option<&Login> {
        let known = self.of(url)?;
        let same = url.pin.is_none_or(|pin| known.fingerprint == pin.to_string());
        known.login.as_ref().filter(|_| same)
    }

    /// Notes a server with its certificate, and a login there, which makes it the one
    /// that is meant.
    pub(super) fn note(
        &mut self,
        state: &Path,
        url: &ServerUrl,
        login: Option<Login>,
    ) -> Result<(), Failure> {
        let fingerprint = url.pin.map(|pin| pin.to_string()).unwrap_or_default();
        if login.is_some() {
            self.current = Some(url.to_string());
        }
        let server = KnownServer { url: url.to_string(), fingerprint, login };
        self.servers.retain(|known| known.url != server.url);
        self.servers.push(server);
        self.write(state)
    }

    /// Forgets the login at a server; its certificate stays known.
    pub(super) fn forget(&mut self, state: &Path, url: &ServerUrl) -> Result<(), Failure> {
        let url = url.to_string();
        self.current = self.current.take().filter(|current| *current != url);
        let login = self.servers.iter_mut().find(|known| known.url == url);
        if let Some(known) = login {
            known.login = None;
        }
        self.write(state)
    }
}

/// The server that this command goes to.
///
/// In this order: `--server`, its variable, the settings; this directory's own server;
/// the one that the last `login` was at.
///
/// # Errors
/// Usage failures of malformed addresses, and `server-unknown`.
pub(super) fn target(state: &Path, server: Option<&str>) -> Result<Target, Failure> {
    let own = || Target::Socket(StateDir::at(state).socket());
    match named_server(state, server)? {
        None => Ok(own()),
        Some(Named::Socket(path)) => Ok(Target::Socket(path)),
        Some(Named::Remote(url)) => {
            let known = Known::read(state)?;
            let url = trusted(state, url, &known)?;
            let token = token().or_else(|| Some(known.login(&url)?.token.clone()));
            Ok(Target::Remote(url, token))
        }
    }
}

/// A server that was named.
pub(super) enum Named {
    /// By its socket.
    Socket(PathBuf),
    /// On another machine.
    Remote(ServerUrl),
}

/// The server that is named for this command; `None`: this directory's own.
pub(super) fn named_server(state: &Path, server: Option<&str>) -> Result<Option<Named>, Failure> {
    if let Some(text) = server {
        return Ok(Some(match text.strip_prefix("unix:") {
            Some(path) => Named::Socket(PathBuf::from(path)),
            None => Named::Remote(text.parse()?),
        }));
    }
    if StateDir::at(state).catalog().exists() {
        return Ok(None);
    }
    let known = Known::read(state)?;
    known.current().map(|url| url.parse().map(Named::Remote)).transpose()
}

/// The token of the environment.
pub(super) fn token() -> Option<String> {
    std::env::var(TOKEN).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The same address with the certificate that it is known by: the one that stands in it,
/// or that was noted, or that a person has just compared.
///
/// # Errors
/// `server-unknown` where nobody can be asked, or does not agree.
pub(super) fn trusted(
    state: &Path,
    mut url: ServerUrl,
    known: &Known,
) -> Result<ServerUrl, Failure> {
    if url.plain || url.pin.is_some() {
        return Ok(url);
    }
    if let Some(noted) = known.of(&url) {
        url.pin = Some(fingerprint(&noted.fingerprint)?);
        return Ok(url);
    }
    if !prompt::on_terminal() {
        return Err(unpinned(&url));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
    let shown = runtime.block_on(look(&url))?;
    let question = format!(
        "{url} is not known here. Its certificate has the fingerprint\n\n    {shown}\n\n\
         `fleetcast whoami` prints it at the server, at the end of its address.\n\
         Are the two the same?"
    );
    if !prompt::yes_or_no(&question)? {
        return Err(unpinned(&url));
    }
    url.pin = Some(shown);
    Known::read(state)?.note(state, &url, None)?;
    Ok(url)
}
