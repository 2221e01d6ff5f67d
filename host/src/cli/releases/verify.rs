//! `releases verify`: the signatures are checked here, the chunks at the server.

use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::document::SignedDocument;
use serde::Serialize;

use crate::api::client::{Client, misunderstood};
use crate::api::model::{Checked, FleetInfo};
use crate::cli::context::{Context, DONE, Outcome};
use crate::cli::printer;
use crate::error::{EXIT_FAILED, Failure};
use crate::units::{format_count, format_size, printable};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VerifyItem {
    release: String,
    group: String,
    sequence: u64,
    /// Signatures, digest and all chunks are as they should be.
    ok: bool,
    /// Valid signatures of the fleet's admins.
    signatures: u8,
    /// How many it needs.
    threshold: u8,
    /// Chunks read again.
    chunks: u64,
    /// Bytes of them, as they are stored.
    bytes: u64,
    /// Chunks that are missing or rotten.
    bad: u64,
    /// The first hundred of them.
    bad_chunks: Vec<String>,
    /// What is wrong besides, or empty.
    fault: String,
}

pub(super) fn run(context: &Context, client: &Client, wanted: &str) -> Outcome {
    let checked = client.verify_release(wanted)?;
    let item = judge(&client.fleet()?, checked)?;
    let ok = item.ok;
    printer::item(context, "release-verified", item, describe);
    Ok(if ok { DONE } else { EXIT_FAILED })
}

fn judge(fleet: &FleetInfo, checked: Checked) -> Result<VerifyItem, Failure> {
    let release = checked.release.ok_or_else(misunderstood)?;
    let mut fault = checked.fault;
    let mut signatures = 0;
    match SignedDocument::parse(&checked.document.0, MAX_ROOT) {
        Ok(signed) => {
            let keys = fleet.admins.iter().filter_map(|key| key.array().map(VerifyingKey));
            let judged = signed.verify_threshold(Purpose::Release, keys, u8::MAX);
            signatures = judged.err().map_or(u8::MAX, |found| found.valid);
            if signed.digest(Purpose::Release).to_string() != release.release {
                fault = "its root is that of another release".to_owned();
            }
        }
        Err(broken) => fault = format!("its root is damaged: {broken:?}"),
    }
    let signed = signatures >= fleet.threshold.max(1);
    Ok(VerifyItem {
        ok: signed && fault.is_empty() && checked.bad == 0,
        release: release.release,
        group: release.group,
        sequence: release.sequence,
        signatures,
        threshold: fleet.threshold,
        chunks: checked.chunks,
        bytes: checked.bytes,
        bad: checked.bad,
        bad_chunks: checked.bad_chunks,
        fault,
    })
}

fn describe(item: &VerifyItem) -> String {
    let verdict = if item.ok { "whole and signed" } else { "NOT as it should be" };
    let mut text = format!(
        "{}#{} is {verdict}: {} of {}, {}, {}\n",
        printable(&item.group),
        item.sequence,
        item.signatures,
        format_count(item.threshold.into(), "signature"),
        format_count(item.chunks, "chunk"),
        format_size(item.bytes)
    );
    if item.bad > 0 {
        let bad = format_count(item.bad, "chunk");
        text.push_str(&format!("missing or rotten: {bad}\n"));
    }
    if !item.fault.is_empty() {
        text.push_str(&format!("{}\n", printable(&item.fault)));
    }
    text
}
