//! Rates by hour of the day: `mon-fri 08:00-18:00=50Mbit/s`.
//!
//! Hours are local ones. A window that ends before it begins goes on over midnight, and
//! belongs to the day on which it begins: `fri 22:00-06:00` ends on Saturday morning. Of
//! several windows that fit, the first counts; where none does, the server's own rate.

use std::fmt;
use std::str::FromStr;

use crate::localtime::{DAY, Local};
use crate::units::parse_rate;

/// Windows of one schedule at most.
pub const MOST: usize = 64;
/// Names of the days, from Monday on.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What stands between windows that are written together.
const BETWEEN: char = ';';

/// Why a schedule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// A window is not written as one.
    #[error("`{0}` is no window such as `mon-fri 08:00-18:00=50Mbit/s` or `22:00-06:00=100MB/s`")]
    Window(String),
    /// A window has another fault.
    #[error("`{window}`: {fault}")]
    Fault {
        /// The window.
        window: String,
        /// What is wrong with it.
        fault: String,
    },
    /// There are too many.
    #[error("there are {0} windows, and {MOST} at most")]
    TooMany(usize),
}

/// A rate that counts on some days between two times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit n: the n-th day from Monday on.
    days: u8,
    /// Minutes since midnight: the first that belongs to it, and the first that does not.
    from: u16,
    to: u16,
    /// Bytes per second.
    rate: u64,
    /// As it was written.
    text: String,
}

impl Window {
    /// Bytes per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Whether it holds at this time of the week.
    #[must_use]
    pub const fn holds(&self, now: Local) -> bool {
        let Local { weekday, minute } = now;
        let today = self.days & (1 << (weekday % 7)) != 0;
        let yesterday = self.days & (1 << ((weekday + 6) % 7)) != 0;
        if self.from < self.to {
            today && minute >= self.from && minute < self.to
        } else {
            (today && minute >= self.from) || (yesterday && minute < self.to)
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Window {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let malformed = || BadSchedule::Window(words.clone());
        let fault = |fault: String| BadSchedule::Fault { window: words.clone(), fault };
        let (when, rate) = words.split_once('=').ok_or_else(malformed)?;
        let (days, hours) = match when.trim().rsplit_once(' ') {
            Some((days, hours)) => (parse_days(days).ok_or_else(malformed)?, hours),
            None => (0x7F, when.trim()),
        };
        let (from, to) = hours.split_once('-').ok_or_else(malformed)?;
        let from = parse_minute(from).filter(|from| *from < DAY).ok_or_else(malformed)?;
        let to = parse_minute(to).ok_or_else(malformed)?;
        if from == to {
            return Err(fault("it begins when it ends; write 00:00-24:00 for a day".to_owned()));
        }
        let rate = parse_rate(rate).map_err(|error| fault(error.to_string()))?;
        Ok(Self { days, from, to, rate, text: words })
    }
}

/// `mon`, `mon-fri`, `sat,sun`, `fri-mon`, `daily`.
fn parse_days(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(0x7F);
    }
    let number = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    text.split([',', ' ']).filter(|part| !part.is_empty()).try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let count = (last + 7 - first) % 7 + 1;
        Some((first..first + count).fold(days, |days, day| days | 1 << (day % 7)))
    })
}

/// Minutes since midnight: `00:00` to `24:00`.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let plain = |digits: &str| digits.len() == 2 && digits.bytes().all(|d| d.is_ascii_digit());
    if !plain(hour) || !plain(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60).then_some(hour * 60 + minute).filter(|all| *all <= DAY)
}

/// Windows, the first of those that fit counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<Window>);

impl Schedule {
    /// A schedule of these windows.
    ///
    /// # Errors
    /// [`BadSchedule`] says which of them makes no sense.
    pub fn parse<T: AsRef<str>>(windows: &[T]) -> Result<Self, BadSchedule> {
        let split = windows.iter().flat_map(|text| text.as_ref().split(BETWEEN));
        let written = split.filter(|text| !text.trim().is_empty());
        let windows = written.map(str::parse).collect::<Result<Vec<Window>, _>>()?;
        if windows.len() > MOST {
            return Err(BadSchedule::TooMany(windows.len()));
        }
        Ok(Self(windows))
    }

    /// The window that counts at this time of the week.
    #[must_use]
    pub fn at(&self, now: Local) -> Option<&Window> {
        self.0.iter().find(|window| window.holds(now))
    }

    /// All windows, in their order.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.0
    }
}

/// One text of all windows, which [`Schedule::parse`] reads again.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (window, at) in self.0.iter().zip(0..) {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{window}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(weekday: u8, hour: u16, minute: u16) -> Local {
        Local { weekday, minute: hour * 60 + minute }
    }

    fn rate(schedule: &str, now: Local) -> Option<u64> {
        Schedule::parse(&[schedule]).unwrap().at(now).map(Window::rate)
    }

    #[test]
    fn a_window_holds_from_its_first_minute_to_the_one_before_its_end() {
        let office = "mon-fri 08:00-18:00=50Mbit/s";
        assert_eq!(rate(office, at(0, 7, 59)), None);
        assert_eq!(rate(office, at(0, 8, 0)), Some(6_250_000));
        assert_eq!(rate(office, at(4, 17, 59)), Some(6_250_000));
        assert_eq!(rate(office, at(4, 18, 0)), None);
        assert_eq!(rate(office, at(5, 12, 0)), None, "Saturday");
        assert_eq!(rate("00:00-24:00=1MB/s", at(6, 23, 59)), Some(1_000_000));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "fri 22:00-06:00=100MB/s";
        assert_eq!(rate(night, at(4, 22, 0)), Some(100_000_000));
        assert_eq!(rate(night, at(5, 5, 59)), Some(100_000_000), "Saturday morning");
        assert_eq!(rate(night, at(5, 6, 0)), None);
        assert_eq!(rate(night, at(4, 5, 0)), None, "Friday morning belongs to Thursday");
        // Sunday's goes on into Monday.
        assert_eq!(rate("sun 23:00-01:00=1MB/s", at(0, 0, 30)), Some(1_000_000));
    }

    #[test]
    fn the_first_window_that_fits_counts() {
        let both = "mon 12:00-13:00=2MB/s; 08:00-18:00=1MB/s";
        assert_eq!(rate(both, at(0, 12, 30)), Some(2_000_000));
        assert_eq!(rate(both, at(1, 12, 30)), Some(1_000_000));
        assert_eq!(rate(both, at(0, 19, 0)), None);
    }

    #[test]
    fn days_are_lists_and_ranges_and_ranges_may_cross_sunday() {
        let on = |days: &str| -> Vec<u8> {
            let text = format!("{days} 08:00-09:00=1MB/s");
            (0..7).filter(|day| rate(&text, at(*day, 8, 30)).is_some()).collect()
        };
        assert_eq!(on("sat,sun"), [5, 6]);
        assert_eq!(on("Fri-Mon"), [0, 4, 5, 6]);
        assert_eq!(on("mon,wed-thu"), [0, 2, 3]);
        assert_eq!(on("daily"), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(on("mon, wed"), [0, 2]);
    }

    #[test]
    fn what_is_written_is_read_again_and_what_makes_no_sense_is_refused() {
        let text = "mon-fri 08:00-18:00=50Mbit/s; 22:00-06:00=100MB/s";
        let schedule = Schedule::parse(&[text]).unwrap();
        assert_eq!(schedule.to_string(), text);
        assert_eq!(Schedule::parse(&[schedule.to_string()]).unwrap(), schedule);
        assert_eq!(Schedule::parse(&[" 08:00-09:00=1MB/s ", ""]).unwrap().windows().len(), 1);
        for text in [
            "08:00=1MB/s",
            "8:00-9:00=1MB/s",
            "25:00-26:00=1MB/s",
            "08:00-18:60=1MB/s",
            "24:00-08:00=1MB/s",
            "someday 08:00-09:00=1MB/s",
            "08:00-09:00",
            "soon",
            "=1MB/s",
        ] {
            let refused = Schedule::parse(&[text]).unwrap_err();
            assert!(matches!(refused, BadSchedule::Window(_)), "{text}: {refused}");
        }
        for text in ["08:00-08:00=1MB/s", "08:00-09:00=fast", "08:00-09:00=0"] {
            let refused = Schedule::parse(&[text]).unwrap_err();
            assert!(matches!(refused, BadSchedule::Fault { .. }), "{text}: {refused}");
        }
        assert_eq!(Schedule::parse(&["08:00-09:00=1MB/s"; 65]), Err(BadSchedule::TooMany(65)));
    }
}
