//! `authority`: whom the fleet trusts, and how that changes.
//!
//! Every change is a new version of the authority document. It is made and signed here,
//! from what this admin trusts, and waits at the server until enough admins have signed.

mod change;
mod items;
mod kept;
mod recover;
mod renew;
mod subjects;

use clap::Subcommand;
use fleetcast_core::trust::authority::{AuthorityDocument, Controller};
use fleetcast_core::trust::document::Fingerprint;

use self::change::Draft;
pub(super) use self::change::added;
use self::items::{AuthorityItem, ProposalItem};
pub(super) use self::kept::verified;
use super::context::{Context, DONE, Outcome};
use super::{number, printer};
use crate::api::client::{Client, misunderstood};
use crate::error::Failure;
use crate::ids::{exchange_key, signing_key};
use crate::units::quoted;

/// Commands of `authority`. An ADMIN is the beginning of its id, or its name.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the newest authority document, and who trusts it
    Show,
    /// List changes that wait for signatures
    List,
    /// Let another admin's key sign
    AddAdmin {
        /// The public key, or a file of it, as `fleetcast admin create` makes them
        #[arg(value_name = "KEY|FILE")]
        key: String,
        /// What to call the admin
        #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Let an admin's key sign no more
    RemoveAdmin {
        /// The admin
        admin: String,
        /// The key may be in other hands: what only it has signed counts no more
        #[arg(long)]
        distrust: bool,
    },
    /// Set how many admins must sign releases and changes like this one
    Threshold {
        /// How many
        #[arg(value_parser = number::between::<u8>(1, 8))]
        count: u8,
    },
    /// Give the server another key; receivers follow by themselves, also when the old is lost
    RotateController {
        /// The server whose key is replaced, where there are several: the beginning of its id
        #[arg(long, value_name = "ID")]
        lost: Option<String>,
    },
    /// Turn a device away for ever: it is out of all groups and cannot enrol again
    Revoke {
        /// A receiver, or the id of a key
        device: String,
    },
    /// Let a revoked key in again
    Unrevoke {
        /// The id of the key
        key: String,
    },
    /// Sign a change that waits
    Sign {
        /// The beginning of its id, or a file of the document
        #[arg(value_name = "ID|FILE")]
        change: String,
    },
    /// Take a change back that waits
    Drop {
        /// The beginning of its id
        id: String,
    },
    /// Sign anew what no present admin stands behind: memberships, open groups, releases
    Renew,
    /// Replace a lost admin key by a new one, with the recovery code
    Recover(recover::Options),
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let client = context.client()?;
    match command {
        Command::Show => show(context, &client)?,
        Command::List => printer::items(
            context,
            "authority-changes",
            items::waiting(context, &client)?,
            items::table,
        ),
        Command::Sign { change } => tell(context, subjects::sign(context, &client, change)?),
        Command::Drop { id } => {
            let state = client.authority()?;
            let present = verified(context, &state)?;
            let found = subjects::proposal(&state, id)?;
            client.drop_proposal(&found.digest)?;
            tell(context, ProposalItem::waiting(&present, &state, found)?.dropped());
        }
        Command::Renew => renew::all(context, &client)?,
        Command::Recover(options) => recover::run(context, &client, options)?,
        change => tell(context, propose(context, &client, change)?),
    }
    Ok(DONE)
}

/// Makes a change, signs it and hands it in.
fn propose(context: &Context, client: &Client, command: &Command) -> Result<ProposalItem, Failure> {
    let mut draft = Draft::begin(context, client)?;
    match command {
        Command::AddAdmin { key, name } => {
            let key = subjects::public_key(key)?;
            draft.add_admin(key, name)?;
        }
        Command::RemoveAdmin { admin, distrust } => {
            let admin = draft.admin(admin)?;
            context.confirm(&format!("Remove the admin {}?", draft.called(&admin)))?;
            draft.remove_admin(admin)?;
            draft.renews = !distrust;
        }
        Command::Threshold { count } => draft.next.threshold = *count,
        Command::RotateController { lost } => rotate(&mut draft, client, lost.as_deref())?,
        Command::Revoke { device } => {
            let key = subjects::device(client, device)?;
            context.confirm(&format!("Turn {} away for ever?", quoted(device)))?;
            revoke(&mut draft.next, key)?;
        }
        Command::Unrevoke { key } => {
            let before = draft.next.revoked.len();
            draft.next.revoked.retain(|revoked| !items::id(revoked).starts_with(key.as_str()));
            if before != draft.next.revoked.len() + 1 {
                let message = format!("{} is not one revoked key", quoted(key));
                return Err(Failure::failed("key-unknown", message, "fleetcast authority show"));
            }
        }
        _ => {}
    }
    draft.hand_in(context, client, &[])
}

/// The server's own key is replaced by one that it makes now.
fn rotate(draft: &mut Draft, client: &Client, lost: Option<&str>) -> Result<(), Failure> {
    let own = exchange_key(&draft.state.controller).ok_or_else(misunderstood)?;
    let new = client.next_controller()?;
    let exchange = exchange_key(&new.exchange).ok_or_else(misunderstood)?;
    let signing = signing_key(&new.signing).ok_or_else(misunderstood)?;
    let controllers = &mut draft.next.controllers;
    let is_lost = |named: &Controller| match lost {
        Some(id) => items::id(&Fingerprint::of(&named.exchange.0)).starts_with(id),
        None => named.exchange == own,
    };
    let mut places = (0..controllers.len()).filter(|&at| is_lost(&controllers[at]));
    let place = match (places.next(), places.next(), controllers.len()) {
        (Some(place), None, _) => place,
        // The server runs under a key that nobody knows: the only one named is the lost one.
        (None, None, 1) if lost.is_none() => 0,
        _ => {
            let message = "several servers are named, and it is not clear which is replaced";
            let hint = "name it with --lost ID; fleetcast authority show lists them";
            return Err(Failure::failed("controller-ambiguous", message, hint));
        }
    };
    controllers[place] = Controller { exchange, signing };
    Ok(())
}

fn revoke(next: &mut AuthorityDocument, key: Fingerprint) -> Result<(), Failure> {
    if next.revoked.contains(&key) {
        return Ok(());
    }
    next.revoked.push(key).map_err(|_| {
        let message = "the authority document revokes as many keys as it can";
        let hint = "`fleetcast authority unrevoke` one that is out of use";
        Failure::failed("revocations-full", message, hint)
    })
}

fn show(context: &Context, client: &Client) -> Result<(), Failure> {
    let state = client.authority()?;
    let trusted = verified(context, &state)?;
    printer::item(context, "authority", AuthorityItem::of(&trusted, &state), items::describe);
    Ok(())
}

/// Tells what has become of a change.
fn tell(context: &Context, item: ProposalItem) {
    printer::item(context, "authority-change", item, items::describe_change);
}
