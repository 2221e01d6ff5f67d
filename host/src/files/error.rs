//! What can be wrong with what a person wants to send.

use std::io;
use std::path::{Path, PathBuf};

use fleetcast_core::limits::MAX_DEPTH;
use rustix::io::Errno;
use thiserror::Error;

use super::name::NameFault;

/// Why something cannot be sent. Paths are shown escaped: names are data.
#[derive(Debug, Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("{0:?} does not exist")]
    Missing(PathBuf),
    /// The system does not let us read it.
    #[error("{path:?} cannot be read: {cause}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Neither a regular file nor a directory.
    #[error("{path:?} is {kind}")]
    Special {
        /// What.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// It became something else between listing and reading, or while it was read.
    #[error("{0:?} changed while it was read")]
    Changed(PathBuf),
    /// Its name may not travel.
    #[error("{path:?} {fault}")]
    Name {
        /// What.
        path: PathBuf,
        /// What is wrong with its name.
        fault: NameFault,
    },
    /// Two names in one directory differ only by case.
    #[error("{one:?} and {other:?} differ only by case")]
    Collision {
        /// The first by bytes.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Two of the paths given would land under one name.
    #[error("{one:?} and {other:?} have the same name")]
    Repeated {
        /// The one given first.
        one: PathBuf,
        /// The one given later.
        other: PathBuf,
    },
    /// Deeper than `MAX_DEPTH` directories.
    #[error("{0:?} lies more than {MAX_DEPTH} directories deep")]
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
            Self::Unreadable { .. } => "check the permissions, or send as a user who may read it",
            Self::Special { .. } => "remove it, or leave such entries out with --skip-special",
            Self::Changed(_) => "send again when nothing writes to it, or send a copy",
            Self::Name { fault: NameFault::Nameless, .. } => "name the folder itself",
            Self::Name { fault: NameFault::Form, .. } => {
                "rename it in normal form C, for example with convmv --nfc"
            }
            Self::Name { .. } | Self::Collision { .. } => "rename it",
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
