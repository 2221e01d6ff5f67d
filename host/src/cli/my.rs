//! `my`: for the person at a receiver, through the receiver's own socket.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fleetcast_core::limits::MAX_NAME;

use super::context::{Context, DONE, Outcome};
use super::password::old_and_new;
use super::printer;
use super::table::Table;
use crate::accounts::{is_strong, weak};
use crate::api::model::Password;
use crate::error::Failure;
use crate::my::client::{ask, misunderstood};
use crate::my::model::{MyAnswer, MyGroupItem, MyRequestItem, MyState, MyStatusItem, Question};
use crate::my::unknown;
use crate::person;
use crate::state::{ROOT_STATE, StateDir, own_default_directory};
use crate::units::{format_size, printable};

/// Commands of `my`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the groups there are, and how this receiver stands to each
    Groups,
    /// Ask that this receiver be in a group
    Join {
        /// The group
        group: String,
    },
    /// Leave a group, or take a request back; files stay
    Leave {
        /// The group
        group: String,
    },
    /// How this receiver is
    Status,
    /// Give your account another password: the present one and the new one are asked
    /// for, or read as two lines
    Password {
        /// The account [default: your name on this machine]
        #[arg(long, value_name = "USER", env = "USER", hide_env = true)]
        user: Option<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    let own = own_default_directory().is_ok_and(|default| default == context.state);
    let socket = socket(&context.state, own.then_some(Path::new(ROOT_STATE)));
    let ask = |question: Question| ask(&socket, &question);
    match command {
        Command::Groups => match ask(Question::Groups {})? {
            MyAnswer::Groups(groups) => printer::items(context, "groups", groups, table),
            _ => return Err(misunderstood()),
        },
        Command::Join { group } => request(context, ask(Question::Join { group: name(group)? })?)?,
        Command::Leave { group } => {
            request(context, ask(Question::Leave { group: name(group)? })?)?
        }
        Command::Status => match ask(Question::Status {})? {
            MyAnswer::Status(status) => printer::item(context, "receiver", *status, describe),
            _ => return Err(misunderstood()),
        },
        Command::Password { user } => match ask(change_password(context, user)?)? {
            MyAnswer::Password(item) => printer::item(context, "user", item, |user| {
                format!("changed the password of {}\n", printable(&user.user))
            }),
            _ => return Err(misunderstood()),
        },
    }
    Ok(DONE)
}

/// The receiver's socket: in this directory; else, where nobody has named one, in that
/// of the machine's own receiver.
fn socket(state: &Path, machines: Option<&Path>) -> PathBuf {
    let here = StateDir::at(state).agent_socket();
    let there = machines.map(|state| StateDir::at(state).agent_socket());
    there.filter(|there| !here.exists() && there.exists()).unwrap_or(here)
}

fn change_password(context: &Context, user: Option<String>) -> Result<Question, Failure> {
    // Services and containers have no USER.
    let user = user.filter(|user| !user.is_empty()).or_else(|| person::name_of(person::own()));
    let user = user.ok_or_else(|| {
        let message = "nothing says whose password: this user has no name on this machine";
        Failure::usage("usage", message, "add --user NAME, the name of the account")
    })?;
    printer::say(context, &format!("changing the password of {}", printable(&user)));
    let (password, new) = old_and_new()?;
    if !is_strong(&user, new.as_bytes()) {
        return Err(weak());
    }
    Ok(Question::Password { user, password: Password(password), new: Password(new) })
}

/// A name that a group may have.
fn name(group: String) -> Result<String, Failure> {
    if group.len() > MAX_NAME { Err(unknown(&group)) } else { Ok(group) }
}

fn request(context: &Context, answer: MyAnswer) -> Result<(), Failure> {
    let MyAnswer::Request(item) = answer else { return Err(misunderstood()) };
    printer::item(context, "request", item, |item: &MyRequestItem| {
        let group = printable(&item.group);
        match item.state {
            MyState::Member => format!("this receiver is in {group}\n"),
            MyState::Asked => format!("asked to be in {group}; an admin decides\n"),
            MyState::None | MyState::Denied => format!("this receiver is not in {group}\n"),
        }
    });
    Ok(())
}

fn table(groups: &[MyGroupItem]) -> Table {
    let titles = ["GROUP", "JOINING", "THIS RECEIVER", "REASON"];
    let mut table = Table::new(&titles, "there are no groups yet");
    for group in groups {
        let state = match group.state {
            MyState::None => "",
            MyState::Asked => "has asked",
            MyState::Denied => "was denied",
            MyState::Member => "member",
        };
        let joining = if group.open { "open" } else { "by approval" };
        table.row([group.name.clone(), joining.to_owned(), state.to_owned(), group.reason.clone()]);
    }
    table
}

fn describe(status: &MyStatusItem) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<12} {}", printable(value));
    };
    line("name", &status.name);
    let server = if status.connected { "connected" } else { "not connected" };
    line("server", &format!("{} ({server})", status.server));
    line("id", &status.id);
    line("fingerprint", &status.fingerprint);
    line("version", &status.version);
    line("groups", &status.groups.join(", "));
    let installed = status.installed.iter().map(|one| format!("{}#{}", one.group, one.sequence));
    line("installed", &installed.collect::<Vec<_>>().join(", "));
    line("free", &format_size(status.free_bytes));
    for condition in &status.health {
        line("health", &format!("{}: {}", condition.code, condition.title));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_no_directory_reaches_the_machines_own_receiver() {
        let folder = tempfile::tempdir().unwrap();
        let [own, machines] = ["own", "machines"].map(|name| folder.path().join(name));
        let sockets = [own.join("agent.sock"), machines.join("agent.sock")];
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(&machines).unwrap();
        assert_eq!(socket(&own, Some(&machines)), sockets[0], "there is none at all");
        std::fs::write(&sockets[1], "").unwrap();
        assert_eq!(socket(&own, Some(&machines)), sockets[1]);
        assert_eq!(socket(&own, None), sockets[0], "whoever names one means that");
        std::fs::write(&sockets[0], "").unwrap();
        assert_eq!(socket(&own, Some(&machines)), sockets[0]);
    }
}
