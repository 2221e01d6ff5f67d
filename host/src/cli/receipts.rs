//! `receipts`: what receivers have signed, to take away and to check anywhere.

mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use self::verify::Document;
use super::context::{Context, DONE, Outcome};
use super::{known, printer};
use crate::api::model::ReceiptItem;
use crate::error::Failure;
use crate::private;
use crate::status::SCHEMA;
use crate::units::format_count;

/// Shortest beginning of an identity that is taken for one, in hexadecimal digits.
const SHORTEST: usize = 4;

/// Commands of `receipts`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write all receipts as one JSON document, on stdout or to a file
    Export {
        /// Of this group only
        #[arg(long, value_name = "G")]
        group: Option<String>,
        /// Of this receiver only: its name, or the beginning of its identity
        #[arg(long, value_name = "R")]
        receiver: Option<String>,
        /// The file
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Check an exported file: signatures, devices, memberships; needs no server
    Verify(verify::Options),
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Export { group, receiver, to } => {
            export(context, (group.as_deref(), receiver.as_deref()), to.as_ref())
        }
        Command::Verify(options) => verify::run(context, options),
    }
}

fn export(
    context: &Context,
    (group, receiver): (Option<&str>, Option<&str>),
    to: Option<&PathBuf>,
) -> Outcome {
    let client = context.client()?;
    let of_group = |item: &ReceiptItem| group.is_none_or(|group| item.group == group);
    let of_receiver = |item: &ReceiptItem| {
        let own = |name: &str| item.receiver == name || is_beginning(name, &item.id);
        receiver.is_none_or(own)
    };
    let mut receipts: Vec<ReceiptItem> = Vec::new();
    let (mut offset, mut group_seen, mut receiver_seen) = (0, false, false);
    loop {
        let page = client.receipts(offset)?;
        offset += page.len();
        if page.is_empty() {
            break;
        }
        group_seen |= page.iter().any(of_group);
        receiver_seen |= page.iter().any(of_receiver);
        receipts.extend(page.into_iter().filter(|item| of_group(item) && of_receiver(item)));
    }
    // What is gone has left its receipts, and its name in them.
    if let Some(group) = group.filter(|_| !group_seen) {
        known::group(&client, group)?;
    }
    if let Some(receiver) = receiver.filter(|_| !receiver_seen) {
        client.receiver(receiver)?;
    }
    let count = receipts.len();
    let authority = client.authority_chain()?;
    let (schema, kind) = (SCHEMA, "receipts".to_owned());
    let document = serde_json::to_string(&Document { schema, kind, items: receipts, authority });
    let document = document.map_err(|error| Failure::io("receipts", &error.into()))? + "\n";
    match to {
        None => printer::raw(&document),
        Some(file) => {
            private::write(file, document.as_bytes())
                .map_err(|error| Failure::io(file.display(), &error))?;
            let item = serde_json::json!({ "file": file, "receipts": count });
            printer::item(context, "receipts-exported", item, |_| {
                format!("{}\n", format_count(count as u64, "receipt"))
            });
        }
    }
    Ok(DONE)
}

/// Whether a text is the beginning of an identity, and no name.
fn is_beginning(text: &str, id: &str) -> bool {
    text.len() >= SHORTEST && id.starts_with(text)
}
