//! How often receivers may ask for what people want to know.

use fleetcast_core::ids::ReceiverId;
use fleetcast_core::time::Duration;

use super::allowance::Allowances;

/// Receivers whose asking is counted.
const COUNTED: usize = 16_384;

/// How often receivers may ask.
#[derive(Debug)]
pub(super) struct Patience {
    /// For a page of groups.
    pub(super) pages: Allowances<ReceiverId>,
    /// For what is written down: to join, to leave, to want again what was there, to fail
    /// for another reason.
    pub(super) changes: Allowances<ReceiverId>,
    /// For lines of the log about what it reports.
    pub(super) lines: Allowances<ReceiverId>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Lists of 4,800 groups at once.
            pages: Allowances::new(400, Duration::from_millis(50), COUNTED),
            changes: Allowances::new(20, Duration::from_secs(6), COUNTED),
            lines: Allowances::new(20, Duration::from_secs(10), COUNTED),
        }
    }
}
