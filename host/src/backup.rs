//! Copies of a server's state: catalog, keys, packs; and putting one back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveReader, ArchiveWriter};
use crate::catalog::Catalog;
use crate::error::Failure;
use crate::model::{Change, DOUBT};
use crate::state::StateDir;
use crate::units::{now, quoted_path};

/// What a backup or a restoration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupItem {
    /// The archive.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Files in it.
    pub files: u64,
}

/// Writes a copy of a state directory to the new file `to` (mode 0600): whole, or not at all.
///
/// The server may run: the catalog is copied as it is at one moment, and of packs what
/// they hold then; nothing is taken out of packs meanwhile, for which the caller cares.
///
/// # Errors
/// `file-exists`, `io`, and those of the catalog.
pub async fn back_up(
    state: &StateDir,
    catalog: &Catalog,
    to: &Path,
) -> Result<BackupItem, Failure> {
    // One at a time: two would write the same copy.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let copy = state.path().join("catalog.copy");
    remove_file(&copy)?;
    if to.symlink_metadata().is_ok() {
        let message = format!("{} exists already", quoted_path(to));
        return Err(Failure::failed("file-exists", message, "name a new file"));
    }
    catalog.copy_to(&copy).await?;
    let (room, target, source) = (state.clone(), to.to_owned(), copy.clone());
    let writing = move || write_archive(&room, &source, &target);
    let written = tokio::task::spawn_blocking(writing).await;
    let written = written.map_err(|error| Failure::io(to.display(), &error.into()))?;
    remove_file(&copy)?;
    if written.is_err() {
        remove_file(&partial(to))?;
    }
    written
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn write_archive(state: &StateDir, copy: &Path, to: &Path) -> Result<BackupItem, Failure> {
    let partial = partial(to);
    remove_file(&partial)?;
    let io = |error: io::Error| Failure::io(to.display(), &error);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&partial).map_err(io)?;
    let mut archive = ArchiveWriter::new(BufWriter::new(file), now());
    let mut files = 0;
    let mut add = |name: &str, path: &Path| -> Result<(), Failure> {
        let io = |error: io::Error| Failure::io(path.display(), &error);
        let mut from = File::open(path).map_err(io)?;
        // A pack that grows meanwhile is copied as far as it was whole now.
        let length = from.metadata().map_err(io)?.len();
        files += 1;
        archive.add(name, length, &mut from).map_err(io)
    };
    add("catalog.db", copy)?;
    let settings = state.path().join("fleetcast.toml");
    if settings.is_file() {
        add("fleetcast.toml", &settings)?;
    }
    for (folder, path) in [("keys", state.keys()), ("packs", state.packs())] {
        for name in names(&path)? {
            add(&format!("{folder}/{name}"), &path.join(&name))?;
        }
    }
    let file = archive.finish().and_then(|out| out.into_inner().map_err(|e| e.into_error()));
    let file = file.map_err(io)?;
    file.sync_all().map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    fs::rename(&partial, to).map_err(io)?;
    sync(to.parent().unwrap_or(Path::new("."))).map_err(io)?;
    Ok(BackupItem { file: to.display().to_string(), bytes, files })
}

/// The plain files of a directory that are worth a copy; none where there is none.
fn names(directory: &Path) -> Result<Vec<String>, Failure> {
    let io = |error: io::Error| Failure::io(directory.display(), &error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if is_ours(&name) && entry.file_type().map_err(io)?.is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a name is one that we give to keys, packs and their indexes.
fn is_ours(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && !name.starts_with('.') && !name.ends_with(".tmp") && name.chars().all(plain)
}

/// Puts a copy into a state directory without a fleet. Its catalog is in doubt then:
/// receivers may hold what was sent after the copy was made.
///
/// # Errors
/// `state-not-empty`, `backup-damaged`, `io`, and those of the catalog. Then nothing is in
/// the directory that was not there before.
pub async fn restore(state: &StateDir, from: &Path) -> Result<BackupItem, Failure> {
    // The log of a catalog that is gone would be played into the restored one.
    let beside = |end: &str| {
        let mut name = state.catalog().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let taken = [state.catalog(), beside("-wal"), beside("-shm"), state.keys(), state.packs()];
    if let Some(path) = taken.iter().find(|path| path.exists()) {
        let message = format!("{} holds a fleet already", quoted_path(path));
        let hint = "name an empty directory with --state DIR, or move what is there away";
        return Err(Failure::failed("state-not-empty", message, hint));
    }
    let room = state.path().join("restore.partial");
    let clear = || match fs::remove_dir_all(&room) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(room.display(), &error))
        }
        _ => Ok(()),
    };
    clear()?;
    let unpacked = unpack(from, &room);
    let doubted = match unpacked {
        Ok(item) => doubt(&room).await.map(|()| item),
        Err(failure) => Err(failure),
    };
    if doubted.is_err() {
        clear()?;
    }
    let item = doubted?;
    move_in(&room, state)?;
    clear()?;
    Ok(item)
}

fn unpack(from: &Path, room: &Path) -> Result<BackupItem, Failure> {
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            let message = format!("{} is not a whole backup: {error}", quoted_path(from));
            Failure::failed("backup-damaged", message, "use another backup")
        }
        _ => Failure::io(from.display(), &error),
    };
    let file = File::open(from).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    for folder in ["", "keys", "packs"] {
        let builder = &mut fs::DirBuilder::new();
        builder.mode(0o700).create(room.join(folder)).map_err(io)?;
    }
    let mut archive = ArchiveReader::new(BufReader::new(file));
    let mut files = 0;
    let mut take = |name: &str| -> io::Result<Box<dyn Write>> {
        // Only what we write ourselves: no name leads anywhere else.
        let known = match name.split_once('/') {
            None => matches!(name, "catalog.db" | "fleetcast.toml"),
            Some((folder, name)) => matches!(folder, "keys" | "packs") && is_ours(name),
        };
        if !known {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds something else"));
        }
        files += 1;
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(room.join(name))?;
        Ok(Box::new(Durable(file)))
    };
    while archive.next(&mut take).map_err(io)? {}
    if !room.join("catalog.db").exists() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidData, "it holds no catalog")));
    }
    Ok(BackupItem { file: from.display().to_string(), bytes, files })
}

/// A file that is durable when it was flushed.
struct Durable(File);

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Marks an unpacked catalog.
async fn doubt(room: &Path) -> Result<(), Failure> {
    let catalog = Catalog::open(&room.join("catalog.db")).await?;
    catalog.apply(&[Change::Mark(DOUBT.to_owned(), Some(now()))]).await?;
    catalog.close().await;
    Ok(())
}

/// The keys come last: with them a directory counts as a fleet's.
fn move_in(room: &Path, state: &StateDir) -> Result<(), Failure> {
    let settings = state.path().join("fleetcast.toml");
    for name in ["packs", "catalog.db", "fleetcast.toml", "keys"] {
        let (from, to) = (room.join(name), state.path().join(name));
        if !from.exists() || (name == "fleetcast.toml" && settings.exists()) {
            continue;
        }
        fs::rename(&from, &to).map_err(|error| Failure::io(to.display(), &error))?;
        sync(state.path()).map_err(|error| Failure::io(state.path().display(), &error))?;
    }
    Ok(())
}

fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(path.display(), &error))
        }
        _ => Ok(()),
    }
}
