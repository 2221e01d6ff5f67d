//! Room on a disk.

use std::fmt::{self, Display};
use std::path::Path;

use crate::units::format_size;

/// Share of a disk, in per cent, below which it counts as nearly full.
const LEAST_FREE: u64 = 5;

/// What a disk has room for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For whoever is not root.
    pub free: u64,
    /// In all.
    pub all: u64,
}

impl Room {
    /// The room of the disk that `path` lies on; `None` where the system does not tell.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { free: bytes(found.f_bavail), all: bytes(found.f_blocks) })
    }

    /// Whether the disk is nearly full.
    #[must_use]
    pub const fn is_scarce(&self) -> bool {
        self.free.saturating_mul(100) < self.all.saturating_mul(LEAST_FREE)
    }
}

impl Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free of {}", format_size(self.free), format_size(self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_nearly_full_when_less_than_a_twentieth_is_free() {
        let room = |free| Room { free, all: 1_000 };
        assert!(!room(50).is_scarce() && room(49).is_scarce());
        assert!(!Room { free: 0, all: 0 }.is_scarce(), "a disk without size is none");
    }
}
