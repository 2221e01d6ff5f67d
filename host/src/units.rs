//! Rates, sizes, durations and times as people write and read them, and names
//! of others made safe to print.

mod escape;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::localtime::{Skipped, Zone};
use crate::model::UnixTime;

pub use self::escape::{printable, quoted, quoted_path};

/// Why a quantity could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// No number stands at the beginning, or a malformed one.
    #[error("`{0}` does not begin with a number")]
    Number(String),
    /// The unit is none of those known.
    #[error("`{found}` is no {wanted}")]
    Unit {
        /// What was written.
        found: String,
        /// What would have been right, with examples.
        wanted: &'static str,
    },
    /// So slow that nothing would ever arrive: most likely a unit is missing.
    #[error("`{found}` is {rate} bytes per second; the least is {SLOWEST}")]
    Slow {
        /// What was written.
        found: String,
        /// What it means, in bytes per second.
        rate: u64,
    },
    /// Zero, or beyond 64 bits.
    #[error("`{0}` is out of range")]
    Range(String),
    /// The clock does not show it on that day.
    #[error(transparent)]
    Skipped(#[from] Skipped),
}

impl BadUnit {
    /// What to write instead.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Number(_) => "write a number and its unit, such as 50MB/s, 64MiB or 24h",
            Self::Unit { .. } => "write it as one of the examples",
            Self::Slow { .. } => "write its unit too: 50MB/s, 400Mbit/s or 8MiB/s",
            Self::Range(_) => "choose a value above zero that is not astronomic",
            Self::Skipped(_) => "choose an hour before or after, or write it in UTC: 01:30Z",
        }
    }
}

const RATE: &str = "rate such as 50MB/s, 400Mbit/s or 8MiB/s";
const SIZE: &str = "size such as 500MB or 64MiB";
const DURATION: &str = "duration such as 90s or 24h";
const MOMENT: &str = "moment such as 18:00 (local), 18:00Z, 90m or 2026-11-30T18:00:00Z";
const TIME: &str = "time such as 2026-11-30T18:00:00Z";

/// Slowest rate that may be asked for, in bytes per second: a line of 64 kbit/s.
const SLOWEST: u64 = 8_000;
/// Last second of the year 9999, the last that RFC 3339 can write.
pub(crate) const LAST_TIME: UnixTime = 253_402_300_799;

/// Reads a rate in bytes per second: `50MB/s`, `400Mbit/s`, `8MiB/s`, or plain bytes.
///
/// # Errors
/// [`BadUnit`]; [`BadUnit::Slow`] for what is not even a slow line's, such as `50`.
pub fn parse_rate(text: &str) -> Result<u64, BadUnit> {
    let (number, unit) = split(text)?;
    let unknown = || BadUnit::Unit { found: text.into(), wanted: RATE };
    let (factor, divisor) = if unit.is_empty() {
        (1, 1)
    } else {
        let unit = unit.strip_suffix("/s").ok_or_else(unknown)?;
        match unit.strip_suffix("bit") {
            Some(prefix) => (prefix_factor(prefix).ok_or_else(unknown)?, 8),
            None => (byte_factor(unit).ok_or_else(unknown)?, 1),
        }
    };
    let rate = scale(number, factor, divisor).ok_or_else(|| BadUnit::Range(text.into()))?;
    match rate {
        0 => Err(BadUnit::Range(text.into())),
        1..SLOWEST => Err(BadUnit::Slow { found: text.into(), rate }),
        rate => Ok(rate),
    }
}

/// Reads a size in bytes: `500MB`, `64MiB`, `1.5GB`, or plain bytes.
///
/// # Errors
/// [`BadUnit`].
pub fn parse_size(text: &str) -> Result<u64, BadUnit> {
    let (number, unit) = split(text)?;
    let unknown = || BadUnit::Unit { found: text.into(), wanted: SIZE };
    let factor = if unit.is_empty() { 1 } else { byte_factor(unit).ok_or_else(unknown)? };
    scale(number, factor, 1).ok_or_else(|| BadUnit::Range(text.into()))
}

/// Reads a duration: `90s`, `24h`, `1h 30m`.
///
/// # Errors
/// [`BadUnit::Unit`].
pub fn parse_duration(text: &str) -> Result<Duration, BadUnit> {
    let unknown = |_| BadUnit::Unit { found: text.into(), wanted: DURATION };
    humantime::parse_duration(text.trim()).map_err(unknown)
}

/// Reads an RFC 3339 time in UTC as seconds since 1970; fractions are cut off.
///
/// # Errors
/// [`BadUnit::Unit`], also for times before 1970.
pub fn parse_time(text: &str) -> Result<UnixTime, BadUnit> {
    let unknown = || BadUnit::Unit { found: text.into(), wanted: TIME };
    let time = humantime::parse_rfc3339(text.trim()).map_err(|_| unknown())?;
    time.duration_since(UNIX_EPOCH).map(|span| span.as_secs()).map_err(|_| unknown())
}

/// Reads a moment after `now`, all in seconds since 1970: RFC 3339, the next time that it is
/// `HH:MM` in `zone` (or `HH:MMZ` in UTC), or a duration from now such as `90m`. One that is
/// over is now.
///
/// # Errors
/// [`BadUnit::Unit`]; [`BadUnit::Skipped`] for an hour that the day does not have.
pub fn parse_moment(text: &str, now: UnixTime, zone: &Zone) -> Result<UnixTime, BadUnit> {
    let unknown = || BadUnit::Unit { found: text.into(), wanted: MOMENT };
    let text = text.trim();
    if let Ok(span) = parse_duration(text) {
        return now.checked_add(span.as_secs()).filter(|at| *at <= LAST_TIME).ok_or_else(unknown);
    }
    let (hour, zone) = match text.strip_suffix('Z').filter(|hour| hour.len() == 5) {
        Some(hour) => (hour, &Zone::UTC),
        None => (text, zone),
    };
    let Some((hours, minutes)) = hour.split_once(':').filter(|_| hour.len() == 5) else {
        return parse_time(text).map_err(|_| unknown());
    };
    let part = |digits: &str, below: u16| {
        let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|part| plain && *part < below).ok_or_else(unknown)
    };
    Ok(zone.next(part(hours, 24)? * 60 + part(minutes, 60)?, now)?)
}

/// Writes seconds since 1970 as RFC 3339 in UTC: `2023-11-14T22:13:20Z`.
///
/// Times after the year 9999 are shown as its last second.
#[must_use]
pub fn format_time(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.min(LAST_TIME));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Seconds since 1970 by the system's clock; 0 when that clock stands before 1970.
#[must_use]
pub fn now() -> UnixTime {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

/// The schema of a time that is written by [`rfc3339`]: text, not a number.
#[derive(Clone, Copy, Debug)]
pub struct Moment;

impl schemars::JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// For `#[serde(with = "…")]`: a [`UnixTime`] as RFC 3339 text.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::UnixTime;

    /// Writes a time.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_time(*time))
    }

    /// Reads a time.
    ///
    /// # Errors
    /// Those of the deserializer, and for text that is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
        super::parse_time(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The same for a time that may be none: `#[serde(with = "maybe_time")]`.
pub mod maybe_time {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{UnixTime, format_time, parse_time};

    /// Writes a time, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        time: &Option<UnixTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(format_time).serialize(serializer)
    }

    /// Reads a time, or null.
    ///
    /// # Errors
    /// Those of the deserializer, and for text that is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UnixTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let time = text.map(|text| parse_time(&text)).transpose();
        time.map_err(serde::de::Error::custom)
    }
}

/// Writes how many there are of something: `1 file`, `2 files`.
#[must_use]
pub fn format_count(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Writes bytes with three digits and a decimal unit: `999 B`, `12.3 MB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut unit = 1_000_u64;
    let mut names = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut name = names.next().unwrap_or_default();
    // 999.95 kB would be rounded to 1000.0 kB: the next unit begins there.
    while bytes >= unit.saturating_mul(1_000) - unit / 20 {
        let Some(next) = names.next() else { break };
        (name, unit) = (next, unit * 1_000);
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Writes a rate in bytes per second: `12.3 MB/s`.
#[must_use]
pub fn format_rate(bytes_per_second: u64) -> String {
    format!("{}/s", format_size(bytes_per_second))
}

/// A decimal number: its digits without the point, and how many stand behind it.
type Decimal = (u64, u32);

fn split(text: &str) -> Result<(Decimal, &str), BadUnit> {
    let text = text.trim();
    let bad = || BadUnit::Number(text.into());
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 6 {
        return Err(bad());
    }
    let digits = format!("{whole}{fraction}").parse().map_err(|_| bad())?;
    Ok(((digits, fraction.len() as u32), unit.trim_start()))
}

/// `number * factor / divisor`, rounded down, if it has 64 bits.
fn scale((digits, decimals): Decimal, factor: u64, divisor: u64) -> Option<u64> {
    let divisor = u128::from(divisor) * 10_u128.pow(decimals);
    u64::try_from(u128::from(digits) * u128::from(factor) / divisor).ok()
}

fn byte_factor(unit: &str) -> Option<u64> {
    let prefix = unit.strip_suffix('B')?;
    match prefix.strip_suffix('i') {
        Some("K" | "k") => Some(1 << 10),
        Some("M") => Some(1 << 20),
        Some("G") => Some(1 << 30),
        Some("T") => Some(1 << 40),
        Some(_) => None,
        None => prefix_factor(prefix),
    }
}

fn prefix_factor(prefix: &str) -> Option<u64> {
    match prefix {
        "" => Some(1),
        "k" | "K" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "T" => Some(1_000_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_per_second() {
        let cases = [
            ("50MB/s", 50_000_000),
            ("400Mbit/s", 50_000_000),
            ("8MiB/s", 8_388_608),
            ("1.5 GB/s", 1_500_000_000),
            ("100kbit/s", 12_500),
            ("64kbit/s", 8_000),
            ("120000", 120_000),
        ];
        for (text, rate) in cases {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_reason() {
        for text in ["50MB", "50Mb/s", "50 parsecs/s", "1MiBit/s", "50mB/s"] {
            assert!(matches!(parse_rate(text), Err(BadUnit::Unit { .. })), "{text}");
        }
        for text in ["", "fast", ".5MB/s", "5.MB/s", "1.2.3MB/s", "-5MB/s"] {
            assert!(matches!(parse_rate(text), Err(BadUnit::Number(_))), "{text}");
        }
        for text in ["0", "0.0MB/s", "7bit/s", "99999999999TB/s"] {
            assert!(matches!(parse_rate(text), Err(BadUnit::Range(_))), "{text}");
        }
    }

    #[test]
    fn a_rate_that_lacks_its_unit_is_not_taken_for_bytes() {
        for (text, rate) in [("50", 50), ("400", 400), ("7999", 7_999), ("50kbit/s", 6_250)] {
            let refused = parse_rate(text).unwrap_err();
            assert_eq!(refused, BadUnit::Slow { found: text.into(), rate });
            assert!(refused.to_string().contains(text) && refused.hint().contains("50MB/s"));
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        assert_eq!(parse_size("64MiB"), Ok(67_108_864));
        assert_eq!(parse_size("64MB"), Ok(64_000_000));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("0.5KiB"), Ok(512));
        assert!(parse_size("64Mbit").is_err());
    }

    #[test]
    fn durations_are_those_of_the_contract() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("").is_err());
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        // date -u -d @1700000000; and the example of RFC 3339, section 5.8.
        assert_eq!(format_time(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(parse_time("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
        assert_eq!(parse_time("1985-04-12T23:20:50.52Z"), Ok(482_196_050));
        assert_eq!(format_time(u64::MAX), "9999-12-31T23:59:59Z");
        assert!(parse_time("tomorrow").is_err());
    }

    #[test]
    fn moments_are_times_hours_of_the_day_or_durations() {
        // 1700000000 is 22:13:20 on its day.
        let moment = |text| parse_moment(text, 1_700_000_000, &Zone::UTC);
        assert_eq!(moment("2023-11-14T22:13:21Z"), Ok(1_700_000_001));
        assert_eq!(moment("90m"), Ok(1_700_005_400));
        assert_eq!(moment("22:14"), Ok(1_700_000_040));
        // That was 20 s ago: tomorrow then.
        assert_eq!(moment("22:13"), Ok(1_700_000_000 - 20 + 86_400));
        assert_eq!(moment("22:14Z"), Ok(1_700_000_040));
        for text in ["24:00", "7:00", "07:60", "+7:00", "soon", "", "900000000000h", "7:00Z"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_of_other_than_one_are_plural() {
        let shown = [0, 1, 2].map(|count| format_count(count, "file"));
        assert_eq!(shown, ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn sizes_are_shown_with_one_decimal() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(format_rate(12_300_000), "12.3 MB/s");
    }
}
