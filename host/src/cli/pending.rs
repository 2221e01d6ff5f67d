//! `pending`: deliveries that wait, run, or have failed.

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::table::Table;
use super::{printer, send};
use crate::api::client::Client;
use crate::error::Failure;
use crate::status::DeliveryItem;
use crate::units::{format_size, format_time};

/// Commands of `pending`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Queue files and folders; they go by `pending send`, or when a receiver appears
    Add(Box<send::Options>),
    /// List deliveries that are not final, and failed ones
    List,
    /// Let deliveries go now: all that were only queued, or those named, whatever they wait for
    Send {
        /// Numbers of deliveries
        ids: Vec<u64>,
    },
    /// Take deliveries back
    Cancel {
        /// Numbers of deliveries
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Stop deliveries until they are resumed
    Pause {
        /// Numbers of deliveries
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Let paused deliveries go on where they were
    Resume {
        /// Numbers of deliveries
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Queue failed deliveries once more
    Retry {
        /// Numbers of deliveries
        #[arg(required = true)]
        ids: Vec<u64>,
    },
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let client = context.client()?;
    let each = |ids: &[u64], act: fn(&Client, u64) -> Result<DeliveryItem, Failure>| {
        ids.iter().map(|id| act(&client, *id)).collect::<Result<Vec<_>, _>>()
    };
    let items = match command {
        Command::Add(options) => return send::queue(context, options),
        Command::List => client.pending()?,
        Command::Send { ids } => client.send_pending(ids)?,
        Command::Cancel { ids } => each(ids, Client::cancel)?,
        Command::Pause { ids } => each(ids, Client::pause)?,
        Command::Resume { ids } => each(ids, Client::resume)?,
        Command::Retry { ids } => each(ids, Client::retry)?,
    };
    printer::items(context, "deliveries", items, table);
    Ok(DONE)
}

/// Deliveries, as lists show them.
pub(super) fn table(deliveries: &[DeliveryItem]) -> Table {
    let titles = [">ID", "RECEIVER", "RELEASE", "STATE", ">BYTES", "REASON"];
    let mut table = Table::new(&titles, "nothing is pending");
    for delivery in deliveries {
        let reason = match (delivery.code.as_str(), delivery.reason.as_str()) {
            ("", reason) => reason.to_owned(),
            (code, "") => code.to_owned(),
            (code, reason) => format!("{code}: {reason}"),
        };
        table.row([
            delivery.id.to_string(),
            delivery.receiver.clone(),
            format!("{}#{}", delivery.group, delivery.sequence),
            state(delivery),
            format_size(delivery.bytes),
            reason,
        ]);
    }
    table
}

/// How far a delivery is, and what it waits for.
fn state(delivery: &DeliveryItem) -> String {
    let state = &delivery.state;
    let when = || delivery.at.map_or_else(|| "enough receivers".to_owned(), format_time);
    match delivery.waits.as_str() {
        "" => state.clone(),
        "send" => format!("{state}, until sent"),
        "resume" => format!("{state}, paused"),
        "activation" => format!("{state}, for {}", when()),
        "staged" => format!("staged, for {}", when()),
        other => format!("{state}, for {other}"),
    }
}
