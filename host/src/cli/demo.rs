//! `demo`: the main job, shown on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::context::{Context, DONE, Outcome};
use super::receive::parse_share;
use super::{interrupt, number, printer};
use crate::demo::{Brake, DemoOptions, run as show};
use crate::error::{EXIT_FAILED, Failure};
use crate::status::DemoItem;
use crate::units::{format_count, format_rate, format_size};

/// Options of `demo`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A file or folder to send; a made-up one by default
    file: Option<PathBuf>,
    /// How many receivers
    #[arg(long, value_name = "N", default_value_t = 3,
          allow_negative_numbers = true,
          value_parser = number::between::<u32>(1, 64))]
    receivers: u32,
    /// Datagrams that each receiver loses: 5 or 5% is a percentage, 0.05 a share
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    loss: f64,
    /// Leave the directories behind
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(context: &Context, options: Options) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Failure::io("fleetcast", &error))?;
    let Options { file, receivers, loss, keep } = options;
    let brake = Arc::new(Brake::default());
    let pulled = Arc::clone(&brake);
    interrupt::when_told_to_end(move || pulled.pull())?;
    let options = DemoOptions { file, receivers, loss, keep, program, brake };
    let item = show(&options, &mut |step| printer::say(context, step))?;
    let ok = item.ok;
    printer::item(context, "demo", item, describe);
    Ok(if ok { DONE } else { EXIT_FAILED })
}

fn describe(item: &DemoItem) -> String {
    let identical = item.receivers.iter().filter(|receiver| receiver.identical).count();
    format!(
        "identical files at {identical} of {}: {} in {:.1} s, {} each\n\
         {} on the wire, {} by multicast, {} by unicast\n",
        format_count(item.receivers.len() as u64, "receiver"),
        format_size(item.payload_bytes),
        item.seconds,
        format_rate(item.goodput),
        format_size(item.wire_bytes),
        format_size(item.multicast_data),
        format_size(item.unicast_data)
    )
}
