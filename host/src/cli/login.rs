//! `login`, `logout`, `whoami`: a person at a server on another machine.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::context::{Context, DONE, Outcome, on_terminal};
use super::invite::reachable;
use super::password::password;
use super::servers::{Known, Login, Named, named_server, token, trusted};
use super::{printer, prompt};
use crate::api::client::{Client, Target};
use crate::api::pinned::ServerUrl;
use crate::error::Failure;
use crate::model::{Role, UnixTime};
use crate::status::{ApiItem, MeItem};
use crate::units::{format_time, printable, rfc3339};

/// Options of `login`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The server: https://HOST:PORT#FINGERPRINT, as `whoami` prints it there; where the
    /// fingerprint is missing it is shown, to be compared [default: as --server]
    url: Option<String>,
    /// Name of the account [default: asked for]
    #[arg(long, value_name = "U")]
    user: Option<String>,
}

/// What a login has brought.
#[derive(Debug, Serialize)]
struct LoginItem {
    server: String,
    user: String,
    role: Role,
    #[serde(with = "rfc3339")]
    expires: UnixTime,
}

/// Gets a token by a password, and keeps it in the state directory.
pub(super) fn run(context: &Context, options: Options) -> Outcome {
    let mut known = Known::read(&context.state)?;
    let url = match &options.url {
        Some(text) => text.parse()?,
        None => remote(context)?,
    };
    let url = trusted(&context.state, url, &known)?;
    let user = match options.user {
        Some(user) => user,
        None if on_terminal() => prompt::line("User: ")?,
        None => return Err(Failure::usage("user-needed", "nobody is named", "add --user U")),
    };
    let password = password("Password: ")?;
    let issued = Client::of(Target::Remote(url.clone(), None))?.log_in(&user, password)?;
    let (user, role, expires) = (issued.item.user, issued.role, issued.item.expires);
    let login = Login { user: user.clone(), token: issued.token, expires };
    known.note(&context.state, &url, Some(login))?;
    if token().is_some() {
        printer::say(context, "FLEETCAST_TOKEN is set: it counts more than this login");
    }
    let item = LoginItem { server: url.to_string(), user, role, expires };
    printer::item(context, "login", item, |item| {
        let (user, role) = (printable(&item.user), item.role.word());
        format!("{user} ({role}) at {} until {}\n", item.server, format_time(item.expires))
    });
    Ok(DONE)
}

/// Ends the login, at the server and here.
pub(super) fn run_out(context: &Context) -> Outcome {
    let mut known = Known::read(&context.state)?;
    let url = remote(context)?;
    let Some(login) = known.login(&url).cloned() else {
        let message = format!("nobody is logged in at {url}");
        return Err(Failure::failed("login-unknown", message, "fleetcast login"));
    };
    let url = trusted(&context.state, url, &known)?;
    let ended = Client::of(Target::Remote(url.clone(), Some(login.token)))?.log_out();
    // Whatever the server says, it is forgotten here.
    known.forget(&context.state, &url)?;
    match ended {
        Err(failure) if !failure.code.starts_with("token-") => {
            let until = format_time(login.expires);
            let hint = format!("forgotten here; at the server it counts until {until}");
            return Err(Failure { hint, ..failure });
        }
        _ => {}
    }
    let item = serde_json::json!({ "server": url.to_string(), "user": login.user });
    printer::item(context, "logout", item, |_| format!("logged out at {url}\n"));
    Ok(DONE)
}

/// The server on another machine that is meant.
fn remote(context: &Context) -> Result<ServerUrl, Failure> {
    match named_server(&context.state, context.server.as_deref())? {
        Some(Named::Remote(url)) => Ok(url),
        _ => {
            let message = "no server on another machine is named";
            let hint = "write its address: fleetcast login https://HOST:PORT#FINGERPRINT; \
                        the owner of this machine's server needs no login";
            Err(Failure::usage("server-needed", message, hint))
        }
    }
}

/// Who somebody is, and where others reach the server.
#[derive(Debug, Serialize)]
struct WhoItem {
    #[serde(flatten)]
    me: MeItem,
    /// The server that was asked; none: this machine's own.
    server: Option<String>,
    /// The address for `login` and `--server` on other machines, or none.
    url: Option<String>,
}

/// Tells who I am at the server.
pub(super) fn run_whoami(context: &Context) -> Outcome {
    let server = match named_server(&context.state, context.server.as_deref())? {
        Some(Named::Remote(url)) => {
            Some(trusted(&context.state, url, &Known::read(&context.state)?)?)
        }
        _ => None,
    };
    let me = context.client()?.me()?;
    let url = me.api.as_ref().map(|api| match &server {
        Some(server) => address(server, api),
        None => own_address(api),
    });
    let item = WhoItem { me, server: server.map(|server| server.to_string()), url };
    printer::item(context, "whoami", item, describe);
    Ok(DONE)
}

fn address(server: &ServerUrl, api: &ApiItem) -> String {
    if api.fingerprint.is_empty() {
        server.to_string()
    } else {
        format!("{server}#{}", api.fingerprint)
    }
}

/// The address of a server on this machine, as others see it.
pub(super) fn own_address(api: &ApiItem) -> String {
    let (host, port) = reachable(&api.listen).unwrap_or_else(|_| ("HOST".to_owned(), 0));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    if api.fingerprint.is_empty() {
        return format!("http://{host}:{port}");
    }
    format!("https://{host}:{port}#{}", api.fingerprint)
}

fn describe(item: &WhoItem) -> String {
    let mut text = String::new();
    let me = &item.me;
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<8} {}", printable(value));
    };
    line("user", if me.owner { "the owner of this server's socket" } else { &me.user });
    line("role", me.role.word());
    if let Some(token) = &me.token {
        let name = if token.name.is_empty() { &token.id } else { &token.name };
        line("token", &format!("{name}, until {}", format_time(token.expires)));
    }
    if let Some(server) = &item.server {
        line("server", server);
    }
    match &item.url {
        Some(url) => line("address", url),
        None => line("address", "none: for other machines start it with `serve --api`"),
    }
    text
}
