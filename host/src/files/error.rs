//! What can be wrong with what a person wants to send.

use std::io;
use std::path::{Path, PathBuf};

use fleetcast_core::limits::MAX_DEPTH;
use rustix::io::Errno;
use thiserror::Error;

use super::name::NameFault;
use crate::units::quoted_path;

/// Why something cannot be sent. Paths are shown escaped: names are data.
#[derive(Debug, Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("{} does not exist", quoted_path(.0))]
    Missing(PathBuf),
    /// The system does not let us read it.
    #[error("{} cannot be read: {cause}", quoted_path(path))]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Neither a regular file nor a directory.
    #[error("{} is {kind}", quoted_path(path))]
    Special {
        /// What.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// It became something else between listing and reading, or while it was read.
    #[error("{} changed while it was read", quoted_path(.0))]
    Changed(PathBuf),
    /// Its name may not travel.
    #[error("{} {fault}", quoted_path(path))]
    Name {
        /// What.
        path: PathBuf,
        /// What is wrong with its name.
        fault: NameFault,
    },
    /// Two names in one directory differ only by case.
    #[error("{} and {} differ only by case", quoted_path(one), quoted_path(other))]
    Collision {
        /// The first by bytes.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Two of the paths given would land under one name.
    #[error("{} and {} have the same name", quoted_path(one), quoted_path(other))]
    Repeated {
        /// The one given first.
        one: PathBuf,
        /// The one given later.
        other: PathBuf,
    },
    /// Deeper than `MAX_DEPTH` directories.
    #[error("{} lies more than {MAX_DEPTH} directories deep", quoted_path(.0))]
    TooDeep(PathBuf),
}

impl FileError {
    /// The code of the command line's contract.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "path-missing",
            Self::Unreadable { .. } | Self::Special { .. } => "path-unreadable",
            Self::Changed(_) => "path-changed",
            Self::Name { .. }
            | Self::Collision { .. }
            | Self::Repeated { .. }
            | Self::TooDeep(_) => "name-unsafe",
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "check the spelling of the path",
            Self::Unreadable { .. } => "check its permissions, or send as a user who may read it",
            Self::Special { .. } => "remove it, or leave such entries out with --skip-special",
            Self::Changed(_) => "send again when nothing writes to it, or send a copy",
            Self::Name { fault: NameFault::Nameless, .. } => "name the folder itself",
            Self::Name { fault: NameFault::Form, .. } => {
                "rename it in normal form C, for example with convmv --nfc"
            }
            Self::Name { .. } => "rename it",
            Self::Collision { .. } => "rename one of them",
            Self::Repeated { .. } => "rename one of them, or put both into a folder",
            Self::TooDeep(_) => "send it as an archive, or move it up",
        }
    }

    /// The reason behind an error that came through [`io::Read`].
    ///
    /// A [`Reader`](super::Reader) wraps its own in an [`io::Error`]; all others say that
    /// `path` is unreadable.
    #[must_use]
    pub fn from_read(error: io::Error, path: &Path) -> Self {
        let path = path.to_path_buf();
        error.downcast::<Self>().unwrap_or_else(|cause| Self::Unreadable { path, cause })
    }

    pub(super) fn unreadable(path: PathBuf, errno: Errno) -> Self {
        Self::Unreadable { path, cause: errno.into() }
    }

    /// For something that was there a moment ago.
    pub(super) fn gone_or_unreadable(path: PathBuf, errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => Self::Changed(path),
            other => Self::unreadable(path, other),
        }
    }
}
