//! `authority recover`: the recovery code stands in for an admin key that is lost.

use std::io::Read as _;

use clap::Args;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::VerifyingKey;
use serde::Serialize;

use super::change::Draft;
use super::items::{ProposalItem, describe_change};
use crate::api::client::Client;
use crate::cli::admin::{here, make_here};
use crate::cli::context::{Context, on_terminal};
use crate::cli::founding::SealBy;
use crate::cli::{printer, prompt};
use crate::error::Failure;
use crate::keys::AdminKey;
use crate::recovery::{NAME, RecoveryCode};

/// Most that is read of standard input, in bytes.
const MOST: u64 = 4_096;

/// Options of `authority recover`. The code is asked for on a terminal, else read from
/// standard input; the file that `FLEETCAST_PASSPHRASE_FILE` names seals the new key.
#[derive(Debug, Args)]
pub(in crate::cli) struct Options {
    /// The admin whose key is lost, where there are several: the beginning of its id, or its name
    #[arg(long, value_name = "ADMIN")]
    lost: Option<String>,
    /// What protects the new admin key [default: passphrase on a terminal, else file]
    #[arg(long, value_name = "HOW")]
    seal: Option<SealBy>,
}

/// What a recovery has done.
#[derive(Debug, Serialize)]
struct RecoveryItem {
    /// The change of the authority document.
    change: ProposalItem,
    /// The code in the place of the one that was used.
    code: String,
}

/// Lists a new key in the place of the lost one, and a new code in the place of the one
/// that was typed in; signs with both codes and the new key.
pub(super) fn run(context: &Context, client: &Client, options: &Options) -> Result<(), Failure> {
    let typed = typed()?;
    let code: RecoveryCode = typed.parse().map_err(|fault: crate::recovery::RecoveryError| {
        let hint = "type it as it was printed: FR1- and eight groups";
        Failure::usage("recovery-malformed", fault.to_string(), hint)
    })?;
    let mut draft = Draft::begin(context, client)?;
    let spare = code.key().signing();
    if !draft.present.admins().any(|admin| admin == spare.verifying_key()) {
        let message = "the fleet does not know this recovery code";
        let hint = "a newer one may have replaced it; another admin can sign instead";
        return Err(Failure::failed("recovery-unknown", message, hint));
    }
    let own = own_key(context, options)?.signing();
    let lost = lost_admin(&draft, options, [&spare, &own])?;
    let next_code = RecoveryCode::generate()?;
    let next_spare = next_code.key().signing();
    draft.next.admins.retain(|key| *key != lost && *key != spare.verifying_key());
    draft.add_admin(own.verifying_key(), "")?;
    draft.add_admin(next_spare.verifying_key(), NAME)?;
    let change = draft.hand_in(context, client, &[&spare, &next_spare])?;
    let item = RecoveryItem { change, code: next_code.to_string() };
    printer::item(context, "recovery", item, |item| {
        format!("{}{}\n", describe_change(&item.change), next_code.told())
    });
    Ok(())
}

/// What a person has typed, or what standard input gives.
fn typed() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    if on_terminal() {
        bytes = prompt::secret("Recovery code: ")?;
    } else {
        let read = std::io::stdin().lock().take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io("standard input", &error))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The key that this admin has from now on: the one that is here, or a new one.
fn own_key(context: &Context, options: &Options) -> Result<AdminKey, Failure> {
    match here(context)? {
        Some(key) => Ok(key),
        None => make_here(context, options.seal),
    }
}

/// Whose key is lost: as named, or the only admin besides code and new key.
fn lost_admin(
    draft: &Draft,
    options: &Options,
    others: [&SigningKey; 2],
) -> Result<VerifyingKey, Failure> {
    if let Some(lost) = &options.lost {
        return draft.admin(lost);
    }
    let others = others.map(SigningKey::verifying_key);
    let mut left = draft.next.admins.iter().filter(|key| !others.contains(key));
    match (left.next(), left.next()) {
        (Some(only), None) => Ok(*only),
        _ => {
            let message = "it is not clear whose key is lost";
            let hint = "name it with --lost ADMIN; fleetcast authority show lists them";
            Err(Failure::usage("admin-ambiguous", message, hint))
        }
    }
}
