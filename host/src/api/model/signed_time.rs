//! For `#[serde(with = "signed_time")]`: seconds that a device has signed, as RFC 3339.
//!
//! What is read must be to the second what was signed, whatever the device's clock showed:
//! 0, which stands for no clock, is null, and what RFC 3339 cannot write stays a number.
//! Numbers are read too: files of older versions hold nothing else.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::units::{LAST_TIME, format_time, parse_time};

/// Writes a time.
///
/// # Errors
/// Those of the serializer.
// By reference, as serde calls it.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn serialize<S: Serializer>(time: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match *time {
        0 => serializer.serialize_none(),
        1..=LAST_TIME => serializer.serialize_str(&format_time(*time)),
        later => serializer.serialize_u64(later),
    }
}

/// What may stand there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Reads a time.
///
/// # Errors
/// Those of the deserializer, and for text that is no time.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Option::<Written>::deserialize(deserializer)? {
        None => Ok(0),
        Some(Written::Number(seconds)) => Ok(seconds),
        Some(Written::Text(text)) => parse_time(&text).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Of(#[serde(with = "super")] u64);

    fn read(json: Value) -> u64 {
        serde_json::from_value::<Of>(json).unwrap().0
    }

    #[test]
    fn a_receipts_time_is_read_as_what_was_signed_in_the_old_form_too() {
        // date -u -d @1700000000; the last second of 9999, and the next.
        for (seconds, written) in [
            (1_700_000_000, json!("2023-11-14T22:13:20Z")),
            (0, json!(null)),
            (1, json!("1970-01-01T00:00:01Z")),
            (253_402_300_799, json!("9999-12-31T23:59:59Z")),
            (253_402_300_800, json!(253_402_300_800_u64)),
            (u64::MAX, json!(u64::MAX)),
        ] {
            assert_eq!(serde_json::to_value(Of(seconds)).unwrap(), written);
            assert_eq!((read(written), read(json!(seconds))), (seconds, seconds));
        }
        assert!(serde_json::from_value::<Of>(json!("yesterday")).is_err());
    }
}
