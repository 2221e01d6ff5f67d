//! The rate by hour of the day: which window counts now, looked at once a second, so that
//! sessions that run follow it.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::wire::control::ReleaseName;

use super::ServerNode;
use super::hours::Hours;
use crate::localtime::Zone;
use crate::schedule::Schedule;
use crate::status::{RateItem, WindowItem};
use crate::units::format_rate;

/// The setting that keeps the windows.
const WINDOWS: &str = "rate-windows";
/// The setting that keeps the name of their zone.
const ZONE: &str = "rate-zone";

impl<A: Aead> ServerNode<A> {
    /// Cap of all that is sent now, in bytes per second: that of the hour, else the server's.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.hours.counts.as_ref().map_or(self.config.rate, |(rate, _)| *rate)
    }

    /// The cap now, and all windows.
    #[must_use]
    pub fn rate_item(&self) -> RateItem {
        let Hours { schedule, zone, set, .. } = &self.hours;
        let time = self.registry.time();
        let active = schedule.at(zone.at(time));
        let windows = schedule.windows().iter().map(|window| WindowItem {
            window: window.to_string(),
            rate: window.rate(),
            active: active.is_some_and(|active| std::ptr::eq(active, window)),
        });
        RateItem {
            rate: self.rate(),
            server_rate: self.config.rate,
            windows: windows.collect(),
            zone: zone.name(time),
            local_time: zone.show(time),
            from: if *set { "command" } else { "settings" }.to_owned(),
        }
    }

    /// What says how high the cap of a session of these releases is.
    pub(super) fn cause_of_cap(&self, releases: &[ReleaseName]) -> String {
        let own = |name: &ReleaseName| Some((self.registry.terms(&name.digest).rate?, *name));
        match releases.iter().filter_map(own).min_by_key(|(rate, _)| *rate) {
            Some((rate, name)) if rate < self.rate() => {
                format!("--rate of {}, {}", self.registry.release_title(&name), format_rate(rate))
            }
            _ => self.cause_of_rate(),
        }
    }

    /// What says how much all sessions together may send.
    fn cause_of_rate(&self) -> String {
        match &self.hours.counts {
            Some((_, window)) => {
                format!("{window} ({})", self.hours.zone.name(self.registry.time()))
            }
            None => format!("rate of the server, {}", format_rate(self.config.rate)),
        }
    }

    /// Takes the windows of the settings; those that a command has set outrank them.
    pub fn suggest_schedule(&mut self, schedule: Schedule, zone: Zone) {
        self.hours.suggested = Some((schedule, zone));
        if !self.hours.set {
            self.hours.adopt_suggested();
        }
    }

    /// Sets the windows, in hours of a zone that was found by this name; `None` takes them
    /// back, and what the settings say holds again.
    pub fn set_schedule(&mut self, actor: &str, schedule: Option<(Schedule, &str, Zone)>) {
        let (windows, name) = match &schedule {
            Some((schedule, name, _)) => (Some(schedule.to_string()), Some((*name).to_owned())),
            None => (None, None),
        };
        let told = windows.clone().unwrap_or_default();
        self.registry.put_setting(WINDOWS, windows);
        self.registry.put_setting(ZONE, name);
        self.registry.log(actor, "rate-schedule-set", "server", &told);
        match schedule {
            Some((schedule, _, zone)) => self.hours.adopt(schedule, zone),
            None => self.hours.adopt_suggested(),
        }
        self.follow_hours();
    }

    /// Takes the windows that were set before a restart.
    pub(super) fn recall_schedule(&mut self) {
        let windows = self.registry.setting(WINDOWS);
        let zone = self.registry.setting(ZONE).and_then(Zone::named);
        if let (Some(windows), Some(zone)) = (windows, zone)
            && let Ok(schedule) = Schedule::parse(&[windows])
        {
            self.hours.adopt(schedule, zone);
        }
    }

    /// Goes over to the window of this second; sessions that run get other shares then.
    pub(super) fn follow_hours(&mut self) {
        let time = self.registry.time();
        if self.hours.looked.replace(time) == Some(time) {
            return;
        }
        let window = self.hours.schedule.at(self.hours.zone.at(time));
        let counts = window.map(|window| (window.rate(), window.to_string()));
        if counts == self.hours.counts {
            return;
        }
        self.hours.counts = counts;
        let (rate, cause) = (format_rate(self.rate()), self.cause_of_rate());
        self.registry.log("server", "rate-changed", &rate, &cause);
        self.share_rate();
    }
}
