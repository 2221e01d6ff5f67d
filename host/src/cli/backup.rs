//! `backup` and `restore`: the state of a server as one file, and back.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::runtime::Builder;

use super::context::{Context, DONE, Outcome};
use super::founding::open_catalog;
use super::printer;
use crate::backup::{BackupItem, back_up, restore};
use crate::error::Failure;
use crate::health::Condition;
use crate::state::StateDir;
use crate::units::{format_count, format_size, printable};

/// Options of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupOptions {
    /// The new file; whoever has it has the fleet's keys
    file: PathBuf,
}

/// Options of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreOptions {
    /// A backup; its state goes into the state directory, which must hold no fleet
    #[arg(required_unless_present = "confirm", conflicts_with = "confirm")]
    file: Option<PathBuf>,
    /// The restored catalog was looked at: the running server may send and change again
    #[arg(long)]
    confirm: bool,
}

/// Makes a backup: by the server where one runs, else by itself.
pub(super) fn run_backup(context: &Context, options: &BackupOptions) -> Outcome {
    let io = |error: std::io::Error| Failure::io(options.file.display(), &error);
    let file = std::path::absolute(&options.file).map_err(io)?;
    let made = match context.client()?.back_up(&file.to_string_lossy()) {
        Err(failure) if failure.code == "server-not-running" => alone(context, &file)?,
        answer => answer?,
    };
    printer::item(context, "backup", made, describe);
    Ok(DONE)
}

fn alone(context: &Context, file: &Path) -> Result<BackupItem, Failure> {
    let state = StateDir::at(&context.state);
    if !state.catalog().exists() {
        let message = format!("there is no fleet in {}", context.state.display());
        return Err(Failure::failed("no-fleet", message, "name its directory with --state DIR"));
    }
    let _lock = state.lock()?;
    runtime()?.block_on(async {
        let catalog = open_catalog(&state).await?;
        let made = back_up(&state, &catalog, file).await;
        catalog.close().await;
        made
    })
}

/// Puts a backup into an empty state directory, or confirms the catalog of a running server.
pub(super) fn run_restore(context: &Context, options: &RestoreOptions) -> Outcome {
    let Some(file) = &options.file else {
        return confirm(context);
    };
    if !context.state.exists() {
        // Before a directory is made for nothing.
        std::fs::File::open(file).map_err(|error| Failure::io(file.display(), &error))?;
    }
    let state = StateDir::create(&context.state)?;
    let _lock = state.lock()?;
    let restored = runtime()?.block_on(restore(&state, file))?;
    printer::item(context, "restore", restored, describe);
    let next = "start the server, compare its groups and receivers with what should be, and \
                then: fleetcast restore --confirm";
    printer::say(context, next);
    Ok(DONE)
}

/// A catalog that nobody doubts counts already: then nobody is asked.
fn confirm(context: &Context) -> Outcome {
    let client = context.client()?;
    let status = client.status().map_err(|failure| match failure.code.as_ref() {
        "server-not-running" => {
            let hint = "start it on the restored catalog with `fleetcast serve`, compare its \
                groups and receivers with what should be, and repeat this";
            Failure { hint: hint.to_owned(), ..failure }
        }
        _ => failure,
    })?;
    let doubted = Condition::CatalogInDoubt.code();
    let told = if status.health.iter().any(|health| health.code == doubted) {
        context.confirm("Send and change again with the restored catalog?")?;
        "the catalog counts again\n"
    } else {
        "the catalog counts: nothing had to be confirmed\n"
    };
    // In any case the server's word: whoever may not confirm is told so.
    client.confirm_catalog()?;
    let item = serde_json::json!({ "ok": true });
    printer::item(context, "restore-confirmed", item, |_| told.into());
    Ok(DONE)
}

fn describe(item: &BackupItem) -> String {
    let files = format_count(item.files, "file");
    format!("{}: {files}, {}\n", printable(&item.file), format_size(item.bytes))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::io("runtime", &error))
}
