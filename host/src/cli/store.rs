//! `store`: what a board keeps, read from an image of its card. Nothing is written to it.

mod check;
mod failure;
mod image;

use std::io::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use fleetcast_core::store::{Kept, KeptAs, Store, StoreError};
use fleetcast_core::tree::entry::TreeEvent;
use fleetcast_core::tree::path::Component;
use fleetcast_core::wire::control::ReleaseName;
use serde::Serialize;

use self::failure::failure;
use self::image::{Image, Lent, directory, open};
use super::context::{Context, DONE, Outcome};
use super::printer;
use super::table::Table;
use crate::error::Failure;
use crate::model::UnixTime;
use crate::units::{format_size, format_time, quoted, rfc3339};

/// Commands of `store`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the files of the active releases
    Ls {
        /// An image of the card: the store alone, or a disk with partitions
        image: PathBuf,
        /// Those of the kept predecessors instead
        #[arg(long)]
        previous: bool,
    },
    /// Write the bytes of a file to stdout
    Cat {
        /// An image of the card
        image: PathBuf,
        /// The file, as `ls` names it: GROUP/PATH
        path: String,
        /// From the kept predecessor instead
        #[arg(long)]
        previous: bool,
    },
    /// Verify everything that is kept
    Check {
        /// An image of the card
        image: PathBuf,
    },
}

/// A file of a board.
#[derive(Debug, Serialize)]
struct FileItem {
    group: String,
    sequence: u64,
    release: String,
    path: String,
    bytes: u64,
    executable: bool,
    #[serde(with = "rfc3339")]
    modified: UnixTime,
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let mut lent = Lent::new();
    match command {
        Command::Ls { image, previous } => {
            let mut store = open(image, &mut lent)?;
            let mut files = Vec::new();
            for kept in chosen(&store, *previous) {
                list(&mut store, &kept.name, &mut files)?;
            }
            printer::items(context, "store-files", files, table);
        }
        Command::Cat { image, path, previous } => {
            let mut store = open(image, &mut lent)?;
            let releases = chosen(&store, *previous);
            cat(&mut store, &releases, path)?;
        }
        Command::Check { image } => {
            let mut store = open(image, &mut lent)?;
            return check::run(context, &mut store);
        }
    }
    Ok(DONE)
}

/// The releases that are active, or were before.
fn chosen(store: &Store<'_, Image>, previous: bool) -> Vec<Kept> {
    let wanted = if previous { KeptAs::Previous } else { KeptAs::Active };
    store.releases().filter(|kept| kept.kept_as == wanted).collect()
}

fn list(
    store: &mut Store<'_, Image>,
    name: &ReleaseName,
    files: &mut Vec<FileItem>,
) -> Result<(), Failure> {
    let group = directory(store, name)?;
    let mut walk = store.walk(name).map_err(failure)?;
    let mut inside: Vec<String> = Vec::new();
    while let Some(event) = store.next_entry(&mut walk).map_err(failure)? {
        match event {
            TreeEvent::Directory { depth, name, .. } => {
                inside.truncate(usize::from(depth));
                inside.push(name.as_str().to_owned());
            }
            TreeEvent::File { depth, name: file, executable, mtime, size, .. } => {
                inside.truncate(usize::from(depth));
                let mut path = inside.clone();
                path.push(file.as_str().to_owned());
                files.push(FileItem {
                    group: group.clone(),
                    sequence: name.order.sequence,
                    release: name.digest.to_string(),
                    path: path.join("/"),
                    bytes: size,
                    executable,
                    modified: UnixTime::try_from(mtime).unwrap_or(0),
                });
            }
            TreeEvent::Chunk(_) => {}
        }
    }
    Ok(())
}

fn table(files: &[FileItem]) -> Table {
    let titles = ["FILE", ">BYTES", "MODIFIED", "RELEASE"];
    let mut table = Table::new(&titles, "no release is active on this card");
    for file in files {
        table.row([
            format!("{}/{}", file.group, file.path),
            format_size(file.bytes),
            format_time(file.modified),
            format!("{}#{}", file.group, file.sequence),
        ]);
    }
    table
}

fn cat(store: &mut Store<'_, Image>, releases: &[Kept], path: &str) -> Result<(), Failure> {
    let unknown = || {
        let message = format!("there is no file {} on this card", quoted(path));
        Failure::failed("file-unknown", message, "`fleetcast store ls IMAGE` lists them")
    };
    let mut names = path.split('/');
    let group = names.next().unwrap_or_default();
    let parsed: Result<Vec<Component<'_>>, _> =
        names.map(|name| Component::parse(name.as_bytes())).collect();
    let components = parsed.map_err(|_| unknown())?;
    for kept in releases {
        if directory(store, &kept.name)? != group {
            continue;
        }
        let mut file = match store.open_file(&kept.name, &components) {
            Err(StoreError::Unknown) => return Err(unknown()),
            opened => opened.map_err(failure)?,
        };
        let mut out = std::io::stdout().lock();
        while let Some(chunk) = store.next_chunk(&mut file).map_err(failure)? {
            match out.write_all(chunk.bytes()) {
                // A reader of stdout that goes away is no failure.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(|error| Failure::io("stdout", &error))?,
            }
        }
        return out.flush().map_err(|error| Failure::io("stdout", &error));
    }
    Err(unknown())
}
