//! What a `send` did, or would do.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

use super::plan::GroupPlan;
use crate::api::client::Client;
use crate::api::model::Submitted;
use crate::cli::context::{Context, DONE, Outcome};
use crate::cli::table::Table;
use crate::cli::upload::Upload;
use crate::cli::{deliveries, printer};
use crate::error::EXIT_BEHIND;
use crate::files::{Kind, Walk};
use crate::status::{DeliveryItem, InstalledItem, SendItem, UnsignedItem};
use crate::units::{format_count, format_size, printable};

/// What a dry run tells.
#[derive(Debug, Serialize)]
struct DryRunItem {
    groups: Vec<GroupPlan>,
    /// Files that would be sent.
    files: u64,
    /// Bytes of them.
    bytes: u64,
    /// Chunks that the server lacks.
    lacking_chunks: u64,
    /// Bytes of their records.
    lacking_bytes: u64,
}

/// Tells what would be sent.
pub(super) fn dry_run(context: &Context, groups: Vec<GroupPlan>, walked: &Walk, sink: &Upload<'_>) {
    let sizes = walked.entries.iter().filter_map(|entry| match entry.kind {
        Kind::File { size, .. } => Some(size),
        Kind::Directory => None,
    });
    let (files, bytes) = sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size));
    let (lacking_chunks, lacking_bytes) = (sink.chunks, sink.bytes);
    let item = DryRunItem { groups, files, bytes, lacking_chunks, lacking_bytes };
    printer::item(context, "dry-run", item, |item| {
        let mut text = format!(
            "{}, {}; the server lacks {}, {}\n",
            format_count(item.files, "file"),
            format_size(item.bytes),
            format_count(item.lacking_chunks, "chunk"),
            format_size(item.lacking_bytes)
        );
        for group in &item.groups {
            text.push_str(&describe_plan(group));
        }
        text
    });
}

fn describe_plan(group: &GroupPlan) -> String {
    let mut table = Table::new(&["RECEIVER", "PATH", ">BYTES"], "no receivers");
    for plan in &group.plan {
        table.row([plan.receiver.clone(), plan.path.clone(), format_size(plan.bytes)]);
    }
    format!(
        "\n{}#{}: {} once by multicast, {} to single receivers, {:.1} s at least; {} later\n\
         {table}",
        printable(&group.name),
        group.sequence,
        format_size(group.multicast_bytes),
        format_size(group.unicast_bytes),
        group.seconds,
        format_size(group.later_bytes)
    )
}

/// Tells what was sent; exit code 3 when it was waited for and not all have it.
pub(super) fn sent(
    context: &Context,
    client: &Client,
    submitted: &[Submitted],
    begin: Instant,
    ingest_seconds: f64,
    waited: bool,
) -> Outcome {
    let releases: Vec<String> = submitted.iter().map(|s| s.release.release.clone()).collect();
    let found = client.deliveries(&releases)?;
    let traffic = found.traffic;
    // Whose delivery is gone, with its group or its receiver, has not got it either.
    let is_known = |owed: &DeliveryItem| found.deliveries.iter().any(|known| known.id == owed.id);
    let gone = submitted.iter().flat_map(|sent| &sent.deliveries).any(|owed| !is_known(owed));
    let behind = gone || found.deliveries.iter().any(|delivery| delivery.state != "installed");
    let item = SendItem {
        releases: submitted.iter().map(|submitted| submitted.release.clone()).collect(),
        deliveries: found.deliveries,
        payload_bytes: traffic.payload_bytes,
        wire_bytes: traffic.multicast_bytes + traffic.unicast_bytes,
        multicast_bytes: traffic.multicast_bytes,
        unicast_bytes: traffic.unicast_bytes,
        seconds: begin.elapsed().as_secs_f64(),
        ingest_seconds,
        unsigned: submitted.iter().filter_map(unsigned).collect(),
    };
    let behind = behind || !item.unsigned.is_empty();
    printer::item(context, "send", item, |item| describe(item, waited));
    Ok(if waited && behind { EXIT_BEHIND } else { DONE })
}

/// A release that lacks signatures, if it does.
fn unsigned(submitted: &Submitted) -> Option<UnsignedItem> {
    let (signatures, threshold) = submitted.signatures?;
    Some(UnsignedItem { release: submitted.release.clone(), signatures, threshold })
}

fn describe_unsigned(item: &UnsignedItem) -> String {
    let title = format!("{}#{}", printable(&item.release.group), item.release.sequence);
    let (has, needs) = (item.signatures, item.threshold);
    format!("{title}: waits for signatures ({has} of {needs}): fleetcast releases sign {title}\n")
}

/// Tells what waits from now on.
pub(super) fn queued(context: &Context, submitted: Vec<Submitted>) -> Outcome {
    for item in submitted.iter().filter_map(unsigned) {
        printer::say(context, describe_unsigned(&item).trim_end());
    }
    let deliveries: Vec<DeliveryItem> =
        submitted.into_iter().flat_map(|submitted| submitted.deliveries).collect();
    printer::items(context, "deliveries", deliveries, deliveries::table);
    Ok(DONE)
}

fn describe(item: &SendItem, waited: bool) -> String {
    let mut text = String::new();
    item.unsigned.iter().for_each(|item| text.push_str(&describe_unsigned(item)));
    let waits = |release: &InstalledItem| item.unsigned.iter().any(|item| item.release == *release);
    for release in item.releases.iter().filter(|release| !waits(release)) {
        let (group, sequence) = (printable(&release.group), release.sequence);
        let of_it = item.deliveries.iter().filter(|d| d.release == release.release);
        let (mut all, mut installed) = (0, 0);
        for delivery in of_it {
            all += 1;
            installed += u32::from(delivery.state == "installed");
        }
        // Writing to a string does not fail.
        let all = format_count(all, "receiver");
        let _ = match waited {
            true => writeln!(text, "{group}#{sequence}: installed by {installed} of {all}"),
            false => writeln!(text, "{group}#{sequence}: queued for {all}"),
        };
    }
    if !waited {
        return text;
    }
    let _ = writeln!(
        text,
        "{} on the wire ({} multicast, {} unicast) in {:.1} s",
        format_size(item.wire_bytes),
        format_size(item.multicast_bytes),
        format_size(item.unicast_bytes),
        item.seconds
    );
    let behind: Vec<DeliveryItem> =
        item.deliveries.iter().filter(|d| d.state != "installed").cloned().collect();
    if !behind.is_empty() {
        let _ = write!(text, "\n{}", deliveries::table(&behind));
    }
    text
}
