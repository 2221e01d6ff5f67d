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
use crate::units::{now, quoted, quoted_path};

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

/// How names of what is being written end, here and in the state directory.
const PARTIAL: &str = ".fleetcast-partial";

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(PARTIAL);
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
    let is_whole = !name.ends_with(".tmp") && !name.ends_with(PARTIAL);
    !name.is_empty() && !name.starts_with('.') && is_whole && name.chars().all(plain)
}

/// Where a backup is unpacked; what is left of one that was interrupted is worth nothing.
const ROOM: &str = "restore.partial";
/// Its name when all of it is there and durable: from then on it only moves to its place.
const WHOLE: &str = "restore.whole";
/// What it was made from, within it.
const ORIGIN: &str = "origin.json";
/// What moves, in this order; the keys come last: with them a directory counts as a fleet's.
const MOVED: [&str; 5] = ["packs", "catalog.db-wal", "catalog.db", SETTINGS, "keys"];
/// The settings: those that are there already stay.
const SETTINGS: &str = "fleetcast.toml";

/// Puts a copy into a state directory without a fleet. Its catalog is in doubt then:
/// receivers may hold what was sent after the copy was made.
///
/// Interrupted before the copy is whole beside its place, it has changed nothing; after
/// that [`finish_restore`] completes it, and so does this.
///
/// # Errors
/// `state-not-empty`, `backup-damaged`, `io`, and those of the catalog: then nothing is in
/// the directory that was not there before. `restore-completed` when what it completed was
/// another file's.
pub async fn restore(state: &StateDir, from: &Path) -> Result<BackupItem, Failure> {
    if let Some(finished) = finish_restore(state)? {
        if finished.file == from.display().to_string() {
            return Ok(finished);
        }
        let message = format!("a restoration of {} was interrupted, and is complete now", {
            quoted(&finished.file)
        });
        let hint = "start the server with it, or name an empty directory with --state DIR";
        return Err(Failure::failed("restore-completed", message, hint));
    }
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
    let room = state.path().join(ROOM);
    remove_directory(&room)?;
    let prepared = match unpack(from, &room) {
        Ok(item) => doubt(&room).await.and_then(|()| seal(&room, state, &item)).map(|()| item),
        Err(failure) => Err(failure),
    };
    if prepared.is_err() {
        remove_directory(&room)?;
    }
    let item = prepared?;
    finish_restore(state)?;
    Ok(item)
}

/// Completes a restoration that was interrupted when its copy was whole; what it was made
/// from, if there was one. Whoever opens a state directory calls this first.
///
/// # Errors
/// Failure `io`; it may be called again.
pub fn finish_restore(state: &StateDir) -> Result<Option<BackupItem>, Failure> {
    finish(state, &mut |_| Ok(()))
}

/// The same; `step` is told before each change of a directory, and may end it there.
fn finish(
    state: &StateDir,
    step: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<Option<BackupItem>, Failure> {
    let room = state.path().join(WHOLE);
    if !room.exists() {
        return Ok(None);
    }
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::io(path, &error)
    };
    let origin = room.join(ORIGIN);
    let told = fs::read(&origin).map_err(io(&origin))?;
    let item: BackupItem = serde_json::from_slice(&told).map_err(|e| io(&origin)(e.into()))?;
    for name in MOVED {
        let (from, to) = (room.join(name), state.path().join(name));
        if !from.exists() || (name == SETTINGS && to.exists()) {
            continue;
        }
        step(name)?;
        fs::rename(&from, &to).map_err(io(&to))?;
        sync(state.path()).and_then(|()| sync(&room)).map_err(io(&to))?;
    }
    step("settings that stay")?;
    remove_file(&room.join(SETTINGS))?;
    step(ORIGIN)?;
    // Nothing else is in it, so that it goes with its last file or not at all.
    let done = state.path().join(ROOM);
    fs::rename(&room, &done).map_err(io(&done))?;
    sync(state.path()).map_err(io(state.path()))?;
    step("the empty room")?;
    remove_directory(&done)?;
    Ok(Some(item))
}

/// Makes an unpacked copy durable and whole.
fn seal(room: &Path, state: &StateDir, item: &BackupItem) -> Result<(), Failure> {
    let io = |error: io::Error| Failure::io(room.display(), &error);
    let origin = serde_json::to_vec(item).map_err(|error| io(error.into()))?;
    let mut file = File::create_new(room.join(ORIGIN)).map_err(io)?;
    file.write_all(&origin).and_then(|()| file.sync_all()).map_err(io)?;
    for folder in ["keys", "packs", ""] {
        sync(&room.join(folder)).map_err(io)?;
    }
    fs::rename(room, state.path().join(WHOLE)).map_err(io)?;
    sync(state.path()).map_err(io)
}

fn unpack(from: &Path, room: &Path) -> Result<BackupItem, Failure> {
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                _ => error.to_string(),
            };
            let message = format!("{} is not a whole backup: {why}", quoted_path(from));
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

fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

fn remove_directory(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(path.display(), &error))
        }
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(path.display(), &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files below a directory, with what is in them.
    fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let inner = contents(&path).into_iter();
                found.extend(inner.map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            } else {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
        found.sort();
        found
    }

    /// A state directory whose restoration was cut when the copy had become whole.
    fn whole(settings: bool) -> (tempfile::TempDir, StateDir, Vec<(String, Vec<u8>)>) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let room = folder.path().join(ROOM);
        for inner in ["keys", "packs"] {
            fs::create_dir_all(room.join(inner)).unwrap();
        }
        let mut expected = Vec::new();
        for name in ["catalog.db", "catalog.db-wal", "keys/admin.key", "packs/000001.pack"] {
            fs::write(room.join(name), name).unwrap();
            expected.push((name.to_owned(), name.as_bytes().to_vec()));
        }
        fs::write(room.join(SETTINGS), "of the copy").unwrap();
        if settings {
            fs::write(folder.path().join(SETTINGS), "of here").unwrap();
        }
        let text: &[u8] = if settings { b"of here" } else { b"of the copy" };
        expected.push((SETTINGS.to_owned(), text.to_vec()));
        expected.sort();
        let item = BackupItem { file: "/b.tar".to_owned(), bytes: 9, files: 5 };
        seal(&room, &state, &item).unwrap();
        (folder, state, expected)
    }

    #[test]
    fn a_restoration_that_was_cut_anywhere_is_completed_by_whoever_comes_next() {
        let cut = || Failure::failed("cut", "the power went", "");
        for settings in [false, true] {
            let mut steps = 0_usize;
            let (_folder, state, _) = whole(settings);
            let count = &mut |_: &str| {
                steps += 1;
                Ok(())
            };
            assert!(finish(&state, count).unwrap().is_some());
            assert!(steps >= 7, "packs, log, catalog, keys, and three to clear up: {steps}");
            // Cut at any step, and cut again at any one when it goes on.
            for (first, second) in (0..steps).flat_map(|a| (0..=steps).map(move |b| (a, b))) {
                let (folder, state, expected) = whole(settings);
                for at in [first, second] {
                    let mut left: usize = at;
                    let step = &mut |_: &str| {
                        left = left.checked_sub(1).ok_or_else(cut)?;
                        Ok(())
                    };
                    let done = finish(&state, step).is_ok();
                    // Keys without the rest would be taken for a fleet.
                    let has = |name: &str| folder.path().join(name).exists();
                    assert!(
                        !has("keys") || (has("packs") && has("catalog.db")),
                        "{first} {second}"
                    );
                    if done {
                        break;
                    }
                }
                finish_restore(&state).unwrap();
                remove_directory(&folder.path().join(ROOM)).unwrap();
                assert_eq!(contents(folder.path()), expected, "cut at {first}, then at {second}");
            }
        }
    }

    #[test]
    fn what_was_cut_before_it_was_whole_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        fs::create_dir_all(folder.path().join(ROOM).join("keys")).unwrap();
        assert_eq!(finish_restore(&state).unwrap(), None);
        assert!(!state.keys().exists());
    }
}
