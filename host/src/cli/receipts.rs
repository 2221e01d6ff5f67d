//! `receipts`: what receivers have signed, to take away and to check anywhere.

mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use self::verify::Document;
use super::context::{Context, DONE, Outcome};
use super::printer;
use crate::api::model::ReceiptItem;
use crate::error::Failure;
use crate::private;
use crate::status::SCHEMA;

/// Commands of `receipts`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write all receipts as one JSON document, on stdout or to a file
    Export {
        /// Of this group only
        #[arg(long, value_name = "G")]
        group: Option<String>,
        /// Of this receiver only
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
            let wanted = |item: &ReceiptItem| {
                group.as_ref().is_none_or(|group| item.group == *group)
                    && receiver.as_ref().is_none_or(|receiver| item.receiver == *receiver)
            };
            export(context, &wanted, to.as_ref())
        }
        Command::Verify(options) => verify::run(context, options),
    }
}

fn export(
    context: &Context,
    wanted: &dyn Fn(&ReceiptItem) -> bool,
    to: Option<&PathBuf>,
) -> Outcome {
    let client = context.client()?;
    let mut receipts: Vec<ReceiptItem> = Vec::new();
    let mut offset = 0;
    loop {
        let page = client.receipts(offset)?;
        offset += page.len();
        if page.is_empty() {
            break;
        }
        receipts.extend(page.into_iter().filter(wanted));
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
            printer::item(context, "receipts-exported", item, |_| format!("{count} receipts\n"));
        }
    }
    Ok(DONE)
}
