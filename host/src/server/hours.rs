//! Which windows of the rate there are, and which counts now.

use crate::localtime::Zone;
use crate::model::UnixTime;
use crate::schedule::Schedule;

/// A schedule, and what it says now.
pub(super) struct Hours {
    pub(super) schedule: Schedule,
    pub(super) zone: Zone,
    /// It was set by a command, and not by the file of settings.
    pub(super) set: bool,
    /// What that file says.
    pub(super) suggested: Option<(Schedule, Zone)>,
    /// The second that was looked at last.
    pub(super) looked: Option<UnixTime>,
    /// The window that counts: its rate, and how it is written.
    pub(super) counts: Option<(u64, String)>,
}

impl Default for Hours {
    fn default() -> Self {
        let (schedule, zone) = (Schedule::default(), Zone::UTC);
        Self { schedule, zone, set: false, suggested: None, looked: None, counts: None }
    }
}

impl Hours {
    /// Takes windows that a command has set.
    pub(super) fn adopt(&mut self, schedule: Schedule, zone: Zone) {
        (self.schedule, self.zone, self.set, self.looked) = (schedule, zone, true, None);
    }

    /// Takes those of the settings.
    pub(super) fn adopt_suggested(&mut self) {
        let (schedule, zone) = self.suggested.clone().unwrap_or((Schedule::default(), Zone::UTC));
        (self.schedule, self.zone, self.set, self.looked) = (schedule, zone, false, None);
    }
}
