//! `receivers`: who is there, who may stay.

use std::fmt::Write as _;

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::api::client::Client;
use crate::api::model::PingItem;
use crate::error::{EXIT_BEHIND, Failure};
use crate::status::{ReceiverItem, ReceiverState};
use crate::units::{format_size, format_time, printable, quoted};

/// Commands of `receivers`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all receivers
    List,
    /// Show one receiver
    Show {
        /// Its name, or the beginning of its identity
        receiver: String,
    },
    /// Take a waiting receiver in; compare its fingerprint first
    Approve {
        /// Its name, or the beginning of its identity
        receiver: String,
    },
    /// Turn a waiting receiver away
    Deny {
        /// Its name, or the beginning of its identity
        receiver: String,
    },
    /// Rename a receiver
    Rename {
        /// Its name, or the beginning of its identity
        receiver: String,
        /// Its new name
        name: String,
    },
    /// Forget a receiver: it gets nothing more and must enrol anew
    Remove {
        /// Its name, or the beginning of its identity
        receiver: String,
    },
    /// Ask receivers whether they are there; all where none is named
    Ping {
        /// Names, or beginnings of identities
        receivers: Vec<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client()?;
    match command {
        Command::List => printer::items(context, "receivers", client.receivers()?, table),
        Command::Show { receiver } => {
            printer::item(context, "receiver", client.receiver(&receiver)?.item, describe);
        }
        Command::Approve { receiver } => {
            let id = client.receiver(&receiver)?.item.id;
            client.approve_receiver(&id)?;
            done(context, client.receiver(&id)?.item, "approved");
        }
        Command::Deny { receiver } => deny(context, &client, &receiver)?,
        Command::Rename { receiver, name } => {
            let before = client.receiver(&receiver)?.item;
            client.rename_receiver(&before.id, &name)?;
            let what = format!("renamed {} to", printable(&before.name));
            done(context, client.receiver(&before.id)?.item, &what);
        }
        Command::Remove { receiver } => {
            let item = client.receiver(&receiver)?.item;
            context
                .confirm(&format!("Remove the receiver {} from the fleet?", quoted(&item.name)))?;
            client.remove_receiver(&item.id)?;
            done(context, item, "removed");
        }
        Command::Ping { receivers } => return ping(context, &client, &receivers),
    }
    Ok(DONE)
}

fn deny(context: &Context, client: &Client, receiver: &str) -> Result<(), Failure> {
    let item = client.receiver(receiver)?.item;
    if item.state != ReceiverState::Waiting {
        let message = format!("{} does not wait for approval", item.name);
        let hint = format!("fleetcast receivers remove {}", item.name);
        return Err(Failure::failed("receiver-approved", message, hint));
    }
    client.remove_receiver(&item.id)?;
    done(context, item, "denied");
    Ok(())
}

fn ping(context: &Context, client: &Client, receivers: &[String]) -> Outcome {
    let items = client.ping(receivers)?;
    let silent = items.iter().any(|item| !item.answered);
    printer::items(context, "pings", items, ping_table);
    Ok(if silent { EXIT_BEHIND } else { DONE })
}

fn done(context: &Context, item: ReceiverItem, what: &str) {
    printer::item(context, "receiver", item, |r| format!("{what} {}\n", printable(&r.name)));
}

/// Receivers, as lists show them.
pub(super) fn table(receivers: &[ReceiverItem]) -> Table {
    let hint = "no receivers yet; `fleetcast invite` prints a code for them";
    let titles = ["RECEIVER", "STATE", "GROUPS", "INSTALLED", "?>FREE", "?ADDRESS", "LAST SEEN"];
    let mut table = Table::new(&titles, hint);
    for receiver in receivers {
        table.row([
            receiver.name.clone(),
            state(receiver.state).to_owned(),
            receiver.groups.join(", "),
            installed(receiver),
            format_size(receiver.free_bytes),
            receiver.address.clone().unwrap_or_default(),
            format_time(receiver.last_seen),
        ]);
    }
    table
}

fn describe(receiver: &ReceiverItem) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<12} {}", printable(value));
    };
    line("name", &receiver.name);
    line("state", state(receiver.state));
    line("id", &receiver.id);
    line("fingerprint", &receiver.fingerprint);
    line("address", receiver.address.as_deref().unwrap_or("unknown"));
    line("last seen", &format_time(receiver.last_seen));
    line("version", &receiver.version);
    line("groups", &receiver.groups.join(", "));
    line("installed", &installed(receiver));
    line("free", &format_size(receiver.free_bytes));
    text
}

fn installed(receiver: &ReceiverItem) -> String {
    let names = receiver.installed.iter().map(|one| format!("{}#{}", one.group, one.sequence));
    names.collect::<Vec<_>>().join(", ")
}

const fn state(state: ReceiverState) -> &'static str {
    match state {
        ReceiverState::Active => "active",
        ReceiverState::Away => "away",
        ReceiverState::Waiting => "waiting",
        ReceiverState::Revoked => "revoked",
    }
}

fn ping_table(pings: &[PingItem]) -> Table {
    let mut table = Table::new(&["RECEIVER", ">ROUND TRIP"], "no receivers yet");
    for ping in pings {
        let time = match ping.round_trip_us {
            Some(micros) => format!("{}.{:03} ms", micros / 1_000, micros % 1_000),
            None => "no answer".to_owned(),
        };
        table.row([ping.receiver.clone(), time]);
    }
    table
}
