//! `releases`: what was sent, whether it is whole, and what becomes of it.

mod describe;
mod diff;
mod sign;
mod verify;

use clap::Subcommand;

use self::describe::describe;
use super::context::{Context, DONE, Outcome};
use super::table::Table;
use super::{number, printer, send};
use crate::api::client::Client;
use crate::api::model::{PruneRequest, Pruned};
use crate::status::ReleaseItem;
use crate::units::{format_size, format_time};

/// Commands of `releases`. X is the beginning of a digest, or GROUP#SEQUENCE.
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
    /// Tell what differs between two releases
    Diff {
        /// The one before
        from: String,
        /// The one after
        to: String,
    },
    /// Check a release's signatures, and read all of its chunks at the server again
    Verify {
        /// The beginning of its digest, or GROUP#SEQUENCE
        release: String,
    },
    /// Take a release back: who has not installed it gets it no more
    Cancel {
        /// The beginning of its digest, or GROUP#SEQUENCE
        release: String,
    },
    /// Sign a release that waits for further admins, once it was shown
    Sign {
        /// The beginning of its digest, or GROUP#SEQUENCE
        release: String,
        /// It was overtaken while it waited: make a new release with its content
        #[arg(long)]
        anew: bool,
    },
    /// Send a group what an older release of it contains, as a new release
    Rollback(send::RollbackOptions),
    /// Forget old releases that nobody holds or waits for, and free their room
    Prune {
        /// How many releases of each group stay at least
        #[arg(long, value_name = "N", default_value_t = PruneRequest::KEEP,
              allow_negative_numbers = true,
          value_parser = number::from::<u32>(1))]
        keep: u32,
        /// Tell what would go, and take nothing away
        #[arg(long)]
        dry_run: bool,
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
        Command::Diff { from, to } => return diff::run(context, &client, from, to),
        Command::Verify { release } => return verify::run(context, &client, release),
        Command::Cancel { release } => {
            let found = client.release(release)?;
            let question = format!("Take {}#{} back?", found.group, found.sequence);
            context.confirm(&question)?;
            printer::item(context, "release", client.cancel_release(&found.release)?, describe);
        }
        Command::Sign { release, anew } => return sign::run(context, &client, release, *anew),
        Command::Rollback(options) => return send::rollback(context, options),
        Command::Prune { keep, dry_run } => prune(context, &client, *keep, *dry_run)?,
    }
    Ok(DONE)
}

fn prune(
    context: &Context,
    client: &Client,
    keep: u32,
    dry_run: bool,
) -> Result<(), crate::error::Failure> {
    let request = PruneRequest { keep: Some(keep), dry_run: true };
    let mut pruned = client.prune(request)?;
    if !dry_run && !pruned.releases.is_empty() {
        let question = format!("Forget {} releases for ever?", pruned.releases.len());
        context.confirm(&question)?;
    }
    if !dry_run {
        pruned = client.prune(PruneRequest { dry_run, ..request })?;
    }
    printer::item(context, "pruned", pruned, |pruned: &Pruned| {
        if pruned.releases.is_empty() {
            return format!("nothing to forget; {} freed\n", format_size(pruned.freed_bytes));
        }
        let freed = format_size(pruned.freed_bytes);
        let verb = if dry_run { "would be freed" } else { "freed" };
        format!("{}\n{freed} {verb}\n", table(&pruned.releases))
    });
    Ok(())
}

fn table(releases: &[ReleaseItem]) -> Table {
    let titles = ["RELEASE", "NAME", "?>FILES", ">BYTES", "CREATED", "STATE", "?DIGEST"];
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
