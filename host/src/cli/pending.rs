//! `pending`: deliveries that wait, run, or have failed.

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::status::DeliveryItem;
use crate::units::format_size;

/// Commands of `pending`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List deliveries that are not final, and failed ones
    List,
    /// Take deliveries back
    Cancel {
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
    let items = match command {
        Command::List => client.pending()?,
        Command::Cancel { ids } => {
            ids.iter().map(|id| client.cancel(*id)).collect::<Result<_, _>>()?
        }
        Command::Retry { ids } => {
            ids.iter().map(|id| client.retry(*id)).collect::<Result<_, _>>()?
        }
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
            delivery.state.clone(),
            format_size(delivery.bytes),
            reason,
        ]);
    }
    table
}
