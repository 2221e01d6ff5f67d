//! Why a release cannot be staged, as told to the server.

use fleetcast_core::wire::control::FailCode;

use super::index::BadIndex;
use super::table::TableError;
use crate::disk::DiskError;

/// Why a release cannot be staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason, as told to the server.
    pub code: FailCode,
    /// The reason in words.
    pub reason: String,
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let code = match error {
            DiskError::NoSpace => FailCode::NoSpace,
            _ => FailCode::Storage,
        };
        Self { code, reason: error.to_string() }
    }
}

impl From<BadIndex> for Failure {
    fn from(bad: BadIndex) -> Self {
        match bad {
            BadIndex::Disk(error) => error.into(),
            bad => Self { code: FailCode::BadTree, reason: format!("index: {bad:?}") },
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Disk(error) => error.into(),
            TableError::TooLarge => {
                let reason = "more entries than this receiver can hold".to_owned();
                Self { code: FailCode::TooLarge, reason }
            }
            bad => Self { code: FailCode::BadTree, reason: format!("entry table: {bad:?}") },
        }
    }
}
