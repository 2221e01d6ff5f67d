//! `status`: the fleet in one picture, once or for ever.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::health::Severity;
use crate::status::{SessionItem, StatusItem};
use crate::units::{format_rate, format_size, printable};

/// How often the picture is renewed.
const RENEW: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Show it again every second
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let client = context.client()?;
    if !options.watch {
        printer::item(context, "status", client.status()?, describe);
        return Ok(DONE);
    }
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let status = client.status()?;
        let text = format!("{clear}{}", describe(&status));
        printer::event(context, "status", &status, &text);
        std::thread::sleep(RENEW);
    }
}

fn describe(status: &StatusItem) -> String {
    let mut text = String::new();
    let (receivers, totals) = (&status.receivers, &status.totals);
    let up = humantime::format_duration(Duration::from_secs(status.uptime_s));
    // Writing to a string does not fail.
    let _ = writeln!(text, "fleetcast {}, up {up}", status.version);
    let _ = writeln!(
        text,
        "receivers: {} active, {} away, {} waiting",
        receivers.active, receivers.away, receivers.waiting
    );
    let _ = writeln!(
        text,
        "sent: {} ({} of chunks), {} saved",
        format_size(totals.wire_bytes),
        format_size(totals.payload_bytes),
        format_size(totals.saved_bytes)
    );
    if let Some(window) = status.rate.windows.iter().find(|window| window.active) {
        let (rate, zone) = (format_rate(status.rate.rate), &status.rate.zone);
        let _ = writeln!(text, "rate: {rate} by schedule, {} ({zone})", window.window);
    }
    if !status.sessions.is_empty() {
        let _ = write!(text, "\n{}", sessions(&status.sessions));
    }
    for health in &status.health {
        let color = match health.severity {
            Severity::Info => "\u{1b}[36m",
            Severity::Warning => "\u{1b}[33m",
            Severity::Error => "\u{1b}[1;31m",
        };
        let (title, subject) = (&health.title, printable(&health.subject));
        let _ = writeln!(text, "\n{color}{}\u{1b}[0m: {title} ({subject})", health.code);
        let _ = writeln!(text, "  {}", health.hint);
    }
    text
}

/// What limits a session, and why.
fn limiter(session: &SessionItem) -> String {
    match session.cause.as_str() {
        "" => session.limiter.clone(),
        cause => format!("{}: {cause}", session.limiter),
    }
}

fn sessions(sessions: &[SessionItem]) -> Table {
    let titles = [">SESSION", "GROUPS", "PATH", ">RATE", ">LOSS", "?>REPAIRS", "LIMITED BY"];
    let mut table = Table::new(&titles, "");
    for session in sessions {
        table.row([
            session.id.to_string(),
            session.groups.join(", "),
            session.path.clone(),
            format_rate(session.rate),
            format!("{:.1} %", session.loss * 100.0),
            session.repair_symbols.to_string(),
            limiter(session),
        ]);
    }
    table
}
