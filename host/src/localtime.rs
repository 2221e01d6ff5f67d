//! Local time: what people mean by an hour of the day.
//!
//! Everything that is kept or sent is seconds since 1970; only what a person writes as an
//! hour of the day is read by the clock on the wall, and answers name the zone. Zones come
//! from the system's database (`/usr/share/zoneinfo`), the own one from `TZ` or
//! `/etc/localtime`; where neither tells, it is UTC, as for every other program.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::model::UnixTime;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A moment of the week by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Days since Monday, 0 to 6.
    pub weekday: u8,
    /// Minutes since midnight as the clock shows them, 0 to 1,439.
    pub minute: u16,
}

/// An hour of the day that a day does not have, since clocks are put forward over it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{day} has no {time} in {zone}: clocks are put forward then")]
pub struct Skipped {
    day: String,
    time: String,
    zone: String,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of this machine.
    #[must_use]
    pub fn of_system() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// The zone of this name: `Europe/Berlin`, `UTC`, or `local` for this machine's;
    /// `None` where the system's database has none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::of_system()),
            "UTC" => Some(Self::UTC),
            name => TimeZone::get(name).ok().map(Self),
        }
    }

    /// Its name, or at least its abbreviation at a time.
    #[must_use]
    pub fn name(&self, time: UnixTime) -> String {
        match self.0.iana_name() {
            Some(name) => name.to_owned(),
            None => self.0.to_offset_info(timestamp(time)).abbreviation().to_owned(),
        }
    }

    /// What the clock on the wall shows at a time.
    #[must_use]
    pub fn at(&self, time: UnixTime) -> Local {
        let shown = self.0.to_datetime(timestamp(time));
        let (hour, minute) = (u16::from(shown.hour().unsigned_abs()), shown.minute());
        Local {
            weekday: shown.weekday().to_monday_zero_offset().unsigned_abs(),
            minute: hour * 60 + u16::from(minute.unsigned_abs()),
        }
    }

    /// A time for people, with the zone's abbreviation: `2026-11-22 08:00 CET`.
    #[must_use]
    pub fn show(&self, time: UnixTime) -> String {
        let time = timestamp(time);
        let shown = self.0.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string();
        format!("{shown} {}", self.0.to_offset_info(time).abbreviation())
    }

    /// The first time after `now` at which the clock on the wall shows `minute` of the day
    /// (0 to 1,439); of an hour that comes twice, when clocks are put back, the first one
    /// that is still to come.
    ///
    /// # Errors
    /// [`Skipped`] when the day in question does not have it.
    pub fn next(&self, minute: u16, now: UnixTime) -> Result<UnixTime, Skipped> {
        let (hour, minute) = ((minute / 60 % 24) as i8, (minute % 60) as i8);
        let mut day = self.0.to_datetime(timestamp(now)).date();
        loop {
            let wanted = day.at(hour, minute, 0, 0);
            let candidates = self.0.to_ambiguous_timestamp(wanted);
            let skipped = matches!(candidates.offset(), AmbiguousOffset::Gap { .. });
            let times = [candidates.earlier(), candidates.later()];
            let mut times = times.into_iter().filter_map(|time| seconds(time.ok()?));
            if let Some(time) = times.find(|time| *time > now) {
                return if skipped { Err(self.skipped(wanted, time)) } else { Ok(time) };
            }
            let Ok(next) = day.tomorrow() else { return Ok(now) };
            day = next;
        }
    }

    fn skipped(&self, wanted: DateTime, near: UnixTime) -> Skipped {
        Skipped {
            day: wanted.date().to_string(),
            time: wanted.strftime("%H:%M").to_string(),
            zone: self.name(near),
        }
    }
}

/// Beyond the year 9999 it is the last second that there is.
fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn seconds(time: Timestamp) -> Option<UnixTime> {
    UnixTime::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central European time by its rule, whatever zones this machine has.
    fn berlin() -> Zone {
        Zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    // All figures by `TZ=Europe/Berlin date -d TEXT +%s`.
    /// Saturday 28 March 2026, 12:00 CET; clocks go forward in the night that follows.
    const BEFORE_SPRING: UnixTime = 1_774_695_600;
    /// Saturday 24 October 2026, 12:00 CEST; clocks go back in the night that follows.
    const BEFORE_AUTUMN: UnixTime = 1_792_836_000;

    #[test]
    fn an_hour_of_the_day_is_that_of_the_clock_on_the_wall() {
        let zone = berlin();
        assert_eq!(zone.at(BEFORE_SPRING), Local { weekday: 5, minute: 720 });
        assert_eq!(Zone::UTC.at(BEFORE_SPRING), Local { weekday: 5, minute: 660 });
        assert_eq!(zone.show(BEFORE_SPRING), "2026-03-28 12:00 CET");
        assert_eq!(zone.show(BEFORE_AUTUMN), "2026-10-24 12:00 CEST");
        assert_eq!(Zone::UTC.show(BEFORE_AUTUMN), "2026-10-24 10:00 UTC");
        assert_eq!((zone.name(0), Zone::UTC.name(0)), ("CET".to_owned(), "UTC".to_owned()));
        // 31 December 9999 and later: no panic.
        assert_eq!(Zone::UTC.at(u64::MAX).minute, 22 * 60);
    }

    #[test]
    fn the_next_time_is_today_or_tomorrow() {
        let zone = berlin();
        assert_eq!(zone.next(12 * 60 + 1, BEFORE_SPRING), Ok(BEFORE_SPRING + 60));
        // Tomorrow's noon is 23 hours away in spring and 25 in autumn.
        assert_eq!(zone.next(12 * 60, BEFORE_SPRING), Ok(BEFORE_SPRING + 23 * 3_600));
        assert_eq!(zone.next(12 * 60, BEFORE_AUTUMN), Ok(BEFORE_AUTUMN + 25 * 3_600));
        assert_eq!(Zone::UTC.next(11 * 60, BEFORE_SPRING), Ok(BEFORE_SPRING + 86_400));
    }

    #[test]
    fn a_time_that_is_skipped_is_refused_and_one_that_comes_twice_is_the_next_of_both() {
        let zone = berlin();
        let skipped = zone.next(2 * 60 + 30, BEFORE_SPRING).unwrap_err();
        let told = "2026-03-29 has no 02:30 in CET: clocks are put forward then";
        assert_eq!(skipped.to_string(), told);
        // A day earlier, and when it is over, the next one exists.
        assert_eq!(
            zone.next(2 * 60 + 30, BEFORE_SPRING - 86_400),
            Ok(BEFORE_SPRING - 86_400 + 14 * 3_600 + 1_800)
        );
        // 29 March 2026, 04:00 CEST; 30 March, 02:30 CEST.
        let after = BEFORE_SPRING + 15 * 3_600;
        assert_eq!(zone.next(2 * 60 + 30, after), Ok(after + 22 * 3_600 + 1_800));
        // 25 October 2026: 02:30 CEST, an hour later 02:30 CET.
        let first = BEFORE_AUTUMN + 14 * 3_600 + 1_800;
        assert_eq!(zone.next(2 * 60 + 30, BEFORE_AUTUMN), Ok(first));
        assert_eq!(zone.next(2 * 60 + 30, first), Ok(first + 3_600));
        assert_eq!(zone.next(2 * 60 + 30, first + 3_600), Ok(first + 3_600 + 86_400));
    }

    #[test]
    fn zones_have_names() {
        assert_eq!(Zone::named("UTC"), Some(Zone::UTC));
        assert_eq!(Zone::named("Mars/Olympus"), None);
        assert!(Zone::named("local").is_some());
    }
}
