//! `releases`: what was sent.

use std::fmt::Write as _;

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::status::ReleaseItem;
use crate::units::{format_size, format_time, printable};

/// Commands of `releases`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List releases, newest first
    List {
        /// Of this group only
        group: Option<String>,
    },
    /// Show one release
    Show {
        /// The beginning of its digest, or GROUP#SEQUENCE
        release: String,
    },
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let client = context.client()?;
    match command {
        Command::List { group } => {
            printer::items(context, "releases", client.releases(group.as_deref())?, table);
        }
        Command::Show { release } => {
            printer::item(context, "release", client.release(release)?, describe);
        }
    }
    Ok(DONE)
}

fn table(releases: &[ReleaseItem]) -> Table {
    let titles = ["RELEASE", "NAME", ">FILES", ">BYTES", "CREATED", "STATE", "DIGEST"];
    let mut table = Table::new(&titles, "no releases yet; `fleetcast send` makes one");
    for release in releases {
        table.row([
            format!("{}#{}", release.group, release.sequence),
            release.name.clone(),
            release.files.to_string(),
            format_size(release.bytes),
            format_time(release.created),
            release.state.clone(),
            release.release.chars().take(12).collect(),
        ]);
    }
    table
}

fn describe(release: &ReleaseItem) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<12} {}", printable(value));
    };
    line("release", &format!("{}#{}", release.group, release.sequence));
    line("name", &release.name);
    line("digest", &release.release);
    line("state", &release.state);
    line("files", &release.files.to_string());
    line("bytes", &format_size(release.bytes));
    line("created", &format_time(release.created));
    line("expires", &format_time(release.expires));
    line("signatures", &format!("{} of {}", release.signatures, release.threshold));
    text
}
