//! Where a bench puts its files, and that they go when it ends, however it ends.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What outlives us: it waits until the pipe on its stdin closes, then removes.
const SWEEP: &str =
    "cat > /dev/null; for try in 1 2 3 4 5; do rm -rf -- \"$1\" && break; sleep 1; done";
/// Bytes compared at a time.
const PIECE: usize = 1 << 20;

/// A directory that is removed when this value goes, also when we are killed.
pub(crate) struct Room {
    path: PathBuf,
    sweeper: Child,
}

impl Room {
    /// A new directory in `parent`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(parent: &Path) -> Result<Self, String> {
        let path = parent.join(format!("bench-{}", std::process::id()));
        let shown = path.display();
        fs::create_dir_all(&path).map_err(|error| format!("{shown}: {error}"))?;
        let path = path.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
        let mut sweeper = Command::new("sh");
        sweeper.args(["-c", SWEEP, "sweeper"]).arg(&path);
        // Interrupted at a terminal, we end and it does not.
        sweeper.stdin(Stdio::piped()).process_group(0);
        let sweeper = sweeper.spawn().map_err(|error| format!("sh: {error}"))?;
        Ok(Self { path, sweeper })
    }

    /// Its path, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The type of the file system that it lies on, such as `ext4` or `tmpfs`.
    pub(crate) fn file_system(&self) -> String {
        let mut stat = Command::new("stat");
        stat.args(["-f", "-c", "%T"]).arg(&self.path);
        crate::shell::stdout(stat).unwrap_or_else(|| "unknown".to_owned())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The end of the pipe is its sign; then it is waited for.
        drop(self.sweeper.stdin.take());
        let _ = self.sweeper.wait();
    }
}

/// Makes a directory, empty.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn fresh_directory(path: &Path) -> Result<(), String> {
    // Usually there is none.
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file of `bytes` random bytes: no compression, no two alike.
///
/// # Errors
/// When there is no room.
pub(crate) fn noise(path: &Path, bytes: u64) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut source = File::open("/dev/urandom")?.take(bytes);
        let mut file = File::create(path)?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = source.read(&mut piece)?;
            if read == 0 {
                return file.sync_all();
            }
            file.write_all(&piece[..read])?;
        }
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether two files have the same bytes; one that cannot be read has not.
pub(crate) fn identical(one: &Path, other: &Path) -> bool {
    let compare = || -> io::Result<bool> {
        let (mut one, mut other) = (File::open(one)?, File::open(other)?);
        if one.metadata()?.len() != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let read = one.read(&mut left)?;
            if read == 0 {
                return Ok(true);
            }
            other.read_exact(&mut right[..read])?;
            if left[..read] != right[..read] {
                return Ok(false);
            }
        }
    };
    compare().unwrap_or(false)
}

/// Makes what was written to a file durable.
///
/// # Errors
/// When it is not there, or the disk fails.
pub(crate) fn sync(path: &Path) -> Result<(), String> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_goes_with_its_owner_and_files_are_compared_by_their_bytes() {
        let room = Room::new(&std::env::temp_dir()).expect("a directory");
        let path = room.path().to_owned();
        let [one, two, short] = ["one", "two", "short"].map(|name| path.join(name));
        noise(&one, 3_000_000).expect("room for it");
        fs::copy(&one, &two).expect("room for it");
        assert!(identical(&one, &two));
        let mut bytes = fs::read(&two).expect("a file");
        bytes[2_999_999] ^= 1;
        fs::write(&two, &bytes).expect("room for it");
        fs::write(&short, &bytes[..2_000_000]).expect("room for it");
        assert!(!identical(&one, &two) && !identical(&one, &short));
        assert!(!identical(&one, &path.join("none")));
        drop(room);
        assert!(!path.exists());
    }
}
