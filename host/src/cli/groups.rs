//! `groups`: create, list, change, delete; who is in them.

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::table::Table;
use super::{joining, printer, receivers};
use crate::api::client::Client;
use crate::error::Failure;
use crate::status::GroupItem;
use crate::units::{format_count, printable, quoted};

/// Commands of `groups`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a group
    Create {
        /// Its name, which becomes a directory at its receivers
        group: String,
        /// Receivers may join without approval
        #[arg(long)]
        open: bool,
    },
    /// List all groups
    List,
    /// Delete a group; files at receivers stay
    Delete {
        /// The group
        group: String,
    },
    /// Rename a group; receivers follow with its next release
    Rename {
        /// The group
        group: String,
        /// Its new name
        name: String,
    },
    /// Open a group: whoever asks is in at once
    Open {
        /// The group
        group: String,
    },
    /// Close an open group: from now on an admin decides; members stay
    Close {
        /// The group
        group: String,
    },
    /// List the requests to join that wait, and what operators propose
    Requests {
        /// Only of this group
        group: Option<String>,
    },
    /// Propose that receivers be in a group, for an admin to approve
    Propose {
        /// The group
        group: String,
        /// Names of receivers, or beginnings of their identities
        #[arg(required = true)]
        receivers: Vec<String>,
    },
    /// Let a receiver in that has asked, or was proposed
    Approve {
        /// The group
        group: String,
        /// Name of the receiver, or the beginning of its identity
        receiver: String,
    },
    /// Deny a request; the person at the receiver is told
    Deny {
        /// The group
        group: String,
        /// Name of the receiver, or the beginning of its identity
        receiver: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// List the receivers of a group
    Members {
        /// The group
        group: String,
    },
    /// Add receivers to a group
    Add {
        /// The group
        group: String,
        /// Names of receivers, or beginnings of their identities
        #[arg(required = true)]
        receivers: Vec<String>,
    },
    /// Remove receivers from a group, at once
    Remove {
        /// The group
        group: String,
        /// Names of receivers, or beginnings of their identities
        #[arg(required = true)]
        receivers: Vec<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client()?;
    match command {
        Command::Create { group, open } => {
            let item = create(context, &client, &group, open)?;
            printer::item(context, "group", item, |g| format!("created {}\n", printable(&g.name)));
        }
        Command::List => printer::items(context, "groups", client.groups()?, table),
        Command::Delete { group } => {
            let item = find(&client, &group)?;
            let many = format_count(item.receivers, "receiver");
            context.confirm(&format!("Delete the group {} with {many}?", quoted(&group)))?;
            client.delete_group(&group)?;
            printer::item(context, "group", item, |g| format!("deleted {}\n", printable(&g.name)));
        }
        Command::Rename { group, name } => {
            let item = client.rename_group(&group, &name)?;
            printer::item(context, "group", item, |g| {
                format!("renamed {} to {}\n", printable(&group), printable(&g.name))
            });
        }
        Command::Open { group } => {
            joining::open(&client, &group, &[&context.admin_key()?.signing()])?;
            tell_joining(context, &client, &group, "everybody")?;
        }
        Command::Close { group } => {
            client.close_group(&group)?;
            tell_joining(context, &client, &group, "nobody without approval")?;
        }
        Command::Requests { group } => {
            return joining::requests(context, &client, group.as_deref());
        }
        Command::Propose { group, receivers } => {
            return joining::propose(context, &client, &group, &receivers);
        }
        Command::Approve { group, receiver } => {
            return joining::approve(context, &client, &group, &receiver);
        }
        Command::Deny { group, receiver, reason } => {
            return joining::deny(context, &client, (&group, &receiver), &reason);
        }
        Command::Members { group } => {
            printer::items(context, "receivers", client.members(&group)?, receivers::table);
        }
        Command::Add { group, receivers } => {
            joining::admit(context, &client, &group, &receivers)?;
            tell_members(context, &client, &group)?;
        }
        Command::Remove { group, receivers } => {
            for receiver in &receivers {
                client.remove_member(&group, receiver)?;
            }
            tell_members(context, &client, &group)?;
        }
    }
    Ok(DONE)
}

fn create(
    context: &Context,
    client: &Client,
    group: &str,
    open: bool,
) -> Result<GroupItem, Failure> {
    // Whoever cannot sign makes no group that is open in name only.
    let key = if open { Some(context.admin_key()?.signing()) } else { None };
    let item = client.create_group(group, false)?;
    if let Some(key) = key {
        joining::open(client, group, &[&key])?;
    }
    Ok(GroupItem { open, ..item })
}

fn tell_members(context: &Context, client: &Client, group: &str) -> Result<(), Failure> {
    let item = find(client, group)?;
    printer::item(context, "group", item, |group| {
        let receivers = format_count(group.receivers, "receiver");
        format!("{} has {receivers}\n", printable(&group.name))
    });
    Ok(())
}

fn tell_joining(context: &Context, client: &Client, group: &str, who: &str) -> Result<(), Failure> {
    let item = find(client, group)?;
    printer::item(context, "group", item, |group| {
        format!("{} is open to {who}\n", printable(&group.name))
    });
    Ok(())
}

fn find(client: &Client, name: &str) -> Result<GroupItem, Failure> {
    client.groups()?.into_iter().find(|group| group.name == name).ok_or_else(|| {
        let message = format!("there is no group {}", quoted(name));
        Failure::failed("group-unknown", message, "fleetcast groups list")
    })
}

fn table(groups: &[GroupItem]) -> Table {
    let hint = "no groups yet; `fleetcast groups create NAME` makes one";
    let mut table = Table::new(&["GROUP", ">RECEIVERS", ">RELEASE", "JOINING"], hint);
    for group in groups {
        let joining = if group.open { "open" } else { "by approval" };
        let sequence = match group.sequence {
            0 => "none".to_owned(),
            sequence => format!("#{sequence}"),
        };
        table.row([group.name.clone(), group.receivers.to_string(), sequence, joining.to_owned()]);
    }
    table
}
