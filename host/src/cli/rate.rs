//! `rate`: the cap of all that is sent, by hour of the day.

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::api::model::NewSchedule;
use crate::error::Failure;
use crate::schedule::Schedule;
use crate::status::RateItem;
use crate::units::format_rate;

/// Commands of `rate`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the rate of now, and the windows
    Show,
    /// Set all windows; the first that holds counts, and where none does, serve --rate.
    /// Takes effect at once, also in mid-session
    Set {
        /// Such as 'mon-fri 08:00-18:00=50Mbit/s' or '22:00-06:00=100MB/s'
        #[arg(required = true, value_name = "[DAYS] HH:MM-HH:MM=RATE")]
        windows: Vec<String>,
        /// The zone of their hours: local (the server's), UTC, or a name such as Europe/Berlin
        #[arg(long, value_name = "ZONE", default_value = "local")]
        zone: String,
    },
    /// Take the windows back: those of fleetcast.toml count again, or serve --rate
    Clear,
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let client = context.client()?;
    let item = match command {
        Command::Show => client.rate()?,
        Command::Set { windows, zone } => {
            // Before anybody is asked: what is malformed is a fault of the command line.
            Schedule::parse(windows).map_err(|fault| {
                let hint = "fleetcast rate set 'mon-fri 08:00-18:00=50Mbit/s'";
                Failure::usage("schedule-malformed", fault.to_string(), hint)
            })?;
            client.set_rate(&NewSchedule { windows: windows.clone(), zone: zone.clone() })?
        }
        Command::Clear => {
            let (windows, zone) = (Vec::new(), "local".to_owned());
            client.set_rate(&NewSchedule { windows, zone })?
        }
    };
    printer::item(context, "rate", item, describe);
    Ok(DONE)
}

fn describe(item: &RateItem) -> String {
    let mut text = format!("rate now: {}\n", format_rate(item.rate));
    if item.windows.is_empty() {
        return text;
    }
    text.push_str(&format!("hours are those of {}: it is {} there\n", item.zone, item.local_time));
    let mut table = Table::new(&["WINDOW", ">RATE", "NOW"], "");
    for window in &item.windows {
        let now = if window.active { "counts" } else { "" };
        table.row([window.window.clone(), format_rate(window.rate), now.to_owned()]);
    }
    let now = if item.windows.iter().any(|window| window.active) { "" } else { "counts" };
    table.row(["else".to_owned(), format_rate(item.server_rate), now.to_owned()]);
    text.push_str(&table.to_string());
    text
}
