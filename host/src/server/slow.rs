//! What is known of a receiver that cannot follow the others.

use std::fmt;

use fleetcast_core::time::Instant;

use crate::model::UnixTime;
use crate::units::format_rate;

/// A receiver that cannot follow the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// Bytes per second that it takes.
    pub(super) pace: u64,
    /// Bytes per second that the others took then.
    pub(super) others: u64,
    /// When that was noticed.
    pub(super) noticed: Instant,
    /// The same by the wall clock.
    pub(super) since: UnixTime,
}

/// What that costs: how much it takes of how much.
impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pace >= self.others {
            return f.write_str("loses more than the others could repair, the rest by itself");
        }
        let (pace, others) = (format_rate(self.pace), format_rate(self.others));
        write!(f, "takes {pace} of {others}, the rest again by itself")
    }
}
