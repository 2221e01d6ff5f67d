//! One file or directory to be sent, and reading it without being fooled.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::error::FileError;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory; what is in it follows it.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
}

/// A file or directory to be sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path below the release's root: at least one component, each fit to travel.
    pub components: Vec<String>,
    /// What it is.
    pub kind: Kind,
    /// When it was modified last, in seconds since 1970.
    pub modified: i64,
    pub(super) base: Arc<Base>,
    pub(super) identity: Identity,
}

/// The directory that one of the given paths lies in, held open.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) directory: OwnedFd,
    pub(super) path: PathBuf,
}

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    // Each platform has its own integers for these.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) const fn modified_seconds(&self) -> i64 {
        self.modified.0
    }
}

impl Entry {
    /// Where it lies, to be shown.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.components.iter().fold(self.base.path.clone(), |path, name| path.join(name))
    }

    /// Opens a file for reading. Every component is opened below the one before, and none
    /// may be a symbolic link.
    ///
    /// # Errors
    /// [`FileError::Changed`] when it is not any more what was listed,
    /// [`FileError::Unreadable`] when the system does not let us read it.
    pub fn open(&self) -> Result<Reader, FileError> {
        let failed = |errno| FileError::gone_or_unreadable(self.source(), errno);
        let mut below: Option<OwnedFd> = None;
        for (at, name) in self.components.iter().enumerate() {
            let last = at + 1 == self.components.len();
            let directory = below.as_ref().map_or(self.base.directory.as_fd(), AsFd::as_fd);
            let flags = if last { FILE } else { DIRECTORY };
            let opened =
                rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(failed)?;
            below = Some(opened);
        }
        let changed = || FileError::Changed(self.source());
        let file = below.ok_or_else(changed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || Identity::of(&stat) != self.identity {
            return Err(changed());
        }
        Ok(Reader { file: file.into(), path: self.source(), identity: self.identity, read: 0 })
    }
}

/// How directories are opened: never through a link.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How files are opened: never through a link, never waiting for the other end of
/// a pipe that took the file's place.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Reads a file, and fails at its end unless it is still the one that was listed.
///
/// Its own error arrives inside an [`io::Error`]; [`FileError::from_read`] takes it out.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
    identity: Identity,
    read: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        let at_end = read == 0 && !buffer.is_empty();
        // More than was listed means growth: a log would never come to its end.
        if self.read > self.identity.size || at_end && !self.is_unchanged()? {
            return Err(io::Error::other(FileError::Changed(self.path.clone())));
        }
        Ok(read)
    }
}

impl Reader {
    fn is_unchanged(&self) -> io::Result<bool> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(self.read == self.identity.size && Identity::of(&stat) == self.identity)
    }
}
