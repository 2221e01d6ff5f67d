//! `recovery`: a code on paper that counts as one more admin key.

use clap::Subcommand;
use serde::Serialize;

use super::authority::added;
use super::context::{Context, DONE, Outcome};
use super::printer;
use crate::recovery::{NAME, RecoveryCode};

/// Commands of `recovery`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a new code, once, and let its key count as an admin's
    Create,
}

/// A code that was made.
#[derive(Debug, Serialize)]
struct CodeItem {
    code: String,
    /// The id of the change that lists its key.
    change: String,
    /// `in-force`, or `waiting` for signatures of further admins.
    state: String,
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let Command::Create = command;
    let code = RecoveryCode::generate()?;
    let key = code.key().signing().verifying_key();
    let change = added(context, &context.client()?, key, NAME)?;
    let (id, state) = change.outcome();
    let item = CodeItem { code: code.to_string(), change: id, state };
    printer::item(context, "recovery", item, |_| format!("{}\n", code.told()));
    Ok(DONE)
}
