//! `log`: what happened, from the audit log of the catalog.

mod filter;

use std::time::Duration;

use clap::{Args, Subcommand};
use fleetcast_core::digest::Digest;

use self::filter::{Filter, Seen};
use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::api::client::{Client, misunderstood};
use crate::api::model::LogItem;
use crate::audit;
use crate::error::Failure;
use crate::model::{LogRecord, UnixTime};
use crate::units::{format_time, now, parse_duration, parse_time, printable};

/// How often to look for new lines.
const LOOK: Duration = Duration::from_millis(250);

/// Options of `log`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Go on with new lines as they come
    #[arg(long, conflicts_with = "csv")]
    follow: bool,
    /// From this time on: RFC 3339, or how long ago (24h)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<UnixTime>,
    /// As comma-separated values (RFC 4180)
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Commands of `log`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Check that no line was changed or taken out
    Verify,
}

pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let client = context.client()?;
    if let Some(Command::Verify) = options.command {
        return verify(context, &client);
    }
    let since = options.since.unwrap_or(0);
    let filter = options.filter.resolved(&client);
    if options.follow {
        return follow(context, &client, since, &filter);
    }
    let (mut lines, mut seen) = (Vec::new(), Seen::default());
    pages(&client, 0, &mut |page| {
        page.iter().for_each(|line| seen.note(&filter, line));
        let chosen = |line: &LogItem| line.time >= since && filter.takes(line);
        lines.extend(page.into_iter().filter(chosen));
        Ok(())
    })?;
    seen.check(&filter, &client)?;
    if options.csv && !context.json {
        printer::raw(&csv(&lines));
    } else {
        printer::items(context, "log", lines, table);
    }
    Ok(DONE)
}

/// Hands over the log after line `after`, page by page; returns its last number.
fn pages(
    client: &Client,
    mut after: u64,
    take: &mut dyn FnMut(Vec<LogItem>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    loop {
        let page = client.log_after(after)?;
        let Some(last) = page.last() else { return Ok(after) };
        after = last.number;
        take(page)?;
    }
}

fn follow(context: &Context, client: &Client, since: UnixTime, filter: &Filter) -> Outcome {
    let (mut after, mut seen) = (0, Seen::default());
    loop {
        after = pages(client, after, &mut |page| {
            page.iter().for_each(|line| seen.note(filter, line));
            let chosen = |line: &LogItem| line.time >= since && filter.takes(line);
            for line in page.into_iter().filter(chosen) {
                let text = format!(
                    "{} {} {} {} {}",
                    format_time(line.time),
                    printable(&line.actor),
                    printable(&line.action),
                    printable(&line.subject),
                    printable(&line.result)
                );
                printer::event(context, "log", &line, &text);
            }
            Ok(())
        })?;
        seen.check(filter, client)?;
        std::thread::sleep(LOOK);
    }
}

/// Checks the chain of digests from the first line to the last.
fn verify(context: &Context, client: &Client) -> Outcome {
    let lines = check(client)?;
    let item = serde_json::json!({ "ok": true, "lines": lines });
    printer::item(context, "log-verified", item, |_| format!("{lines} lines, unbroken\n"));
    Ok(DONE)
}

/// Checks the chain of digests; returns how many lines there are.
///
/// # Errors
/// `log-broken`.
pub(super) fn check(client: &Client) -> Result<u64, Failure> {
    let mut last: Option<LogRecord> = None;
    pages(client, 0, &mut |page| {
        let records = page.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
        audit::verify(last.as_ref(), &records).map_err(|broken| {
            let hint = "somebody has written to the catalog; compare it with a backup";
            Failure::failed("log-broken", broken.to_string(), hint)
        })?;
        last = records.into_iter().next_back();
        Ok(())
    })
}

fn record(line: LogItem) -> Result<LogRecord, Failure> {
    let digest = line.digest.array().map(Digest).ok_or_else(misunderstood)?;
    let LogItem { number, time, actor, action, subject, result, .. } = line;
    Ok(LogRecord { number, time, actor, action, subject, result, digest })
}

fn parse_since(text: &str) -> Result<UnixTime, crate::units::BadUnit> {
    match parse_duration(text) {
        Ok(ago) => Ok(now().saturating_sub(ago.as_secs())),
        Err(_) => parse_time(text),
    }
}

fn table(lines: &[LogItem]) -> Table {
    let titles = ["?>LINE", "TIME", "WHO", "WHAT", "WHOM", "RESULT"];
    let mut table = Table::new(&titles, "nothing has happened");
    for line in lines {
        table.row([
            line.number.to_string(),
            format_time(line.time),
            line.actor.clone(),
            line.action.clone(),
            line.subject.clone(),
            line.result.clone(),
        ]);
    }
    table
}

fn csv(lines: &[LogItem]) -> String {
    let mut text = "number,time,actor,action,subject,result\r\n".to_owned();
    for line in lines {
        let (number, time) = (line.number.to_string(), format_time(line.time));
        let fields = [&number, &time, &line.actor, &line.action, &line.subject, &line.result];
        text.push_str(&fields.map(|field| quoted(field)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// A field, quoted where RFC 4180 asks for it; one that a spreadsheet would take
/// for a formula gets an apostrophe in front.
fn quoted(field: &str) -> String {
    let field = printable(field);
    let guard = if field.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if guard.is_empty() && !field.contains([',', '"']) {
        return field.into_owned();
    }
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_by_rfc_4180_and_no_formula_is_run() {
        assert_eq!(quoted("kiosk-1"), "kiosk-1");
        assert_eq!(quoted("a,b \"c\""), "\"a,b \"\"c\"\"\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("two\nlines"), "two\\u{a}lines");
    }
}
