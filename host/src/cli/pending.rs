//! `pending`: deliveries that wait, run, or have failed.

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::deliveries::table;
use super::{number, printer, send};
use crate::api::client::Client;
use crate::error::Failure;
use crate::status::DeliveryItem;

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
        #[arg(value_name = "ID", value_parser = number::from::<u64>(0))]
        ids: Vec<u64>,
    },
    /// Take deliveries back
    Cancel {
        /// Numbers of deliveries
        #[arg(required = true, value_name = "ID", value_parser = number::from::<u64>(0))]
        ids: Vec<u64>,
    },
    /// Stop deliveries until they are resumed
    Pause {
        /// Numbers of deliveries
        #[arg(required = true, value_name = "ID", value_parser = number::from::<u64>(0))]
        ids: Vec<u64>,
    },
    /// Let paused deliveries go on where they were
    Resume {
        /// Numbers of deliveries
        #[arg(required = true, value_name = "ID", value_parser = number::from::<u64>(0))]
        ids: Vec<u64>,
    },
    /// Queue failed deliveries once more
    Retry {
        /// Numbers of deliveries
        #[arg(required = true, value_name = "ID", value_parser = number::from::<u64>(0))]
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
