//! The file of one key: JSON, so that a person can see what it is without seeing the key.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::private;

/// Largest key file that is read, in bytes; real ones have some 300.
const MAX_FILE: u64 = 4_096;

/// Why a key could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Group or others have rights to the file or directory.
    #[error("{} is open to others (mode {mode:04o})", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key.
    #[error("{} holds no key: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A passphrase seals the key, and none was given.
    #[error("the key is sealed by a passphrase")]
    PassphraseNeeded,
    /// The passphrase is another, or the file was changed.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Entropy,
}

/// What stands in a key file. Bytes are lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyDocument {
    /// 1.
    pub(super) schema: u32,
    /// `admin`, `controller` or `device`.
    pub(super) kind: String,
    /// How the secret was sealed; absent: only by the file's mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) argon2id: Option<Argon2Parameters>,
    /// The secret, or its ciphertext and tag.
    pub(super) secret: String,
}

/// Parameters of Argon2id (RFC 9106).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argon2Parameters {
    /// Memory in KiB.
    pub(super) memory_kib: u32,
    /// Passes.
    pub(super) passes: u32,
    /// Lanes.
    pub(super) lanes: u32,
    /// 16 bytes, new at every sealing.
    pub(super) salt: String,
}

impl KeyDocument {
    pub(super) fn has_passphrase(&self) -> bool {
        self.argon2id.is_some()
    }
}

/// Reads a key file, or `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<KeyDocument>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // Of the open file, so that it is the one that is read.
    check_mode(path, &file.metadata().map_err(io)?)?;
    let text = io::read_to_string(io::Read::take(file, MAX_FILE)).map_err(io)?;
    let damaged = |reason| KeyError::Damaged { path: path.to_owned(), reason };
    let document: KeyDocument =
        serde_json::from_str(&text).map_err(|_| damaged("it is malformed"))?;
    if document.schema != 1 {
        return Err(damaged("a newer version wrote it"));
    }
    Ok(Some(document))
}

/// Writes a key file, whole or not at all, with mode 0600.
pub(super) fn write(path: &Path, document: &KeyDocument) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(document).map_err(|error| io(error.into()))?;
    text.push('\n');
    private::write(path, text.as_bytes()).map_err(io)
}

/// Removes a key file; none is as good.
pub(super) fn remove(path: &Path) -> Result<(), KeyError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(KeyError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Refuses what group or others have any right to.
pub(super) fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), KeyError> {
    match private::exposed(metadata) {
        Some(mode) => Err(KeyError::Exposed { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}
