//! `groups`: create, list, change, delete; who is in them.

use clap::Subcommand;
use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::ids::{FleetId, GroupId, StaticKey};
use fleetcast_core::trust::membership::Membership;

use super::context::{Context, DONE, Outcome};
use super::signing::signed;
use super::table::Table;
use super::{printer, receivers};
use crate::api::client::{Client, misunderstood};
use crate::api::model::{Hex, NewMember};
use crate::error::Failure;
use crate::status::GroupItem;
use crate::units::{now, printable, quoted};

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
            let item = client.create_group(&group, open)?;
            printer::item(context, "group", item, |g| format!("created {}\n", printable(&g.name)));
        }
        Command::List => printer::items(context, "groups", client.groups()?, table),
        Command::Delete { group } => {
            let item = find(&client, &group)?;
            let many = item.receivers;
            context
                .confirm(&format!("Delete the group {} with {many} receivers?", quoted(&group)))?;
            client.delete_group(&group)?;
            printer::item(context, "group", item, |g| format!("deleted {}\n", printable(&g.name)));
        }
        Command::Rename { group, name } => {
            let item = client.rename_group(&group, &name)?;
            printer::item(context, "group", item, |g| {
                format!("renamed {} to {}\n", printable(&group), printable(&g.name))
            });
        }
        Command::Members { group } => {
            printer::items(context, "receivers", client.members(&group)?, receivers::table);
        }
        Command::Add { group, receivers } => {
            add(context, &client, &group, &receivers)?;
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

/// Signs memberships for receivers that have none yet.
fn add(
    context: &Context,
    client: &Client,
    group: &str,
    receivers: &[String],
) -> Result<(), Failure> {
    let next = client.next_release(group)?;
    let fleet = FleetId(next.fleet.array().ok_or_else(misunderstood)?);
    let id = GroupId(next.group.array().ok_or_else(misunderstood)?);
    // Each is known before the first is added.
    let known = receivers.iter().map(|receiver| client.receiver(receiver));
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let key = context.admin_key()?.signing();
    for receiver in known {
        let issued = now();
        let membership = Membership {
            fleet,
            device: StaticKey(receiver.key.array().ok_or_else(misunderstood)?),
            group: id,
            // Grows with every one that is signed.
            serial: issued,
            issued,
            not_after: 0,
            voucher: None,
        };
        let certificate = Hex(signed(&membership, Purpose::Membership, &key)?);
        let receiver = receiver.item.id;
        client.add_member(group, &NewMember { receiver, certificate })?;
    }
    Ok(())
}

fn tell_members(context: &Context, client: &Client, group: &str) -> Result<(), Failure> {
    let item = find(client, group)?;
    printer::item(context, "group", item, |group| {
        format!("{} has {} receivers\n", printable(&group.name), group.receivers)
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
