//! `receipts`: what receivers have signed, to take away and to check anywhere.

use std::path::PathBuf;

use clap::Subcommand;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder, StaticKey, VerifyingKey};
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::control::ReleaseName;
use serde::Serialize;

use super::context::{Context, DONE, Outcome};
use super::printer;
use crate::api::model::ReceiptItem;
use crate::error::{EXIT_FAILED, Failure};
use crate::private;
use crate::status::Items;
use crate::units::{printable, quoted_path};

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
    /// Check the signatures of an exported file; needs no server
    Verify {
        /// What `receipts export` wrote
        file: PathBuf,
    },
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
        Command::Verify { file } => verify(context, file),
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
    let document = serde_json::to_string(&Items::new("receipts", receipts));
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

/// What checking an exported file has shown.
#[derive(Debug, Serialize)]
struct VerifiedItem {
    ok: bool,
    receipts: usize,
    /// Receipts whose signature does not fit what they say.
    bad: Vec<String>,
}

fn verify(context: &Context, file: &PathBuf) -> Outcome {
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?;
    let document: Items<ReceiptItem> = serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} holds no receipts: {error}", quoted_path(file));
        Failure::failed("receipts-malformed", message, "name what `receipts export` wrote")
    })?;
    let bad = document.items.iter().filter(|item| !is_signed(item));
    let bad: Vec<String> =
        bad.map(|item| format!("{} {}#{}", item.receiver, item.group, item.sequence)).collect();
    let item = VerifiedItem { ok: bad.is_empty(), receipts: document.items.len(), bad };
    let ok = item.ok;
    printer::item(context, "receipts-verified", item, |item| {
        let mut text = format!("{} receipts, {} bad\n", item.receipts, item.bad.len());
        for bad in &item.bad {
            text.push_str(&format!("bad: {}\n", printable(bad)));
        }
        text
    });
    Ok(if ok { DONE } else { EXIT_FAILED })
}

/// Whether the device that a receipt names has signed it.
fn is_signed(item: &ReceiptItem) -> bool {
    let parsed = || {
        let device = StaticKey(item.device_key.array()?);
        let signing = VerifyingKey(item.signing_key.array()?);
        let order = ReleaseOrder { reset_epoch: item.reset_epoch, sequence: item.sequence };
        let (group, digest) = (GroupId(item.group_id.array()?), Digest(item.release.array()?));
        let release = ReleaseName { group, order, digest };
        let receipt = Receipt { device, release, at: item.installed };
        Some((receipt, signing, item.signature.array()?))
    };
    let Some((receipt, signing, signature)) = parsed() else { return false };
    ReceiverId::of(&receipt.device).to_string() == item.id
        && receipt.verify(&signing, &signature).is_ok()
}
