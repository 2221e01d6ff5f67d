//! The chain of the audit log: every line's digest covers the line before, so
//! that a line cannot be changed or taken out without all later ones.

use fleetcast_core::digest::{Digest, Hasher};

use crate::model::{LogRecord, UnixTime};

/// What stands before the first line.
pub const CHAIN_START: Digest = Digest([0; 32]);

/// Stands before what is hashed, so that no other digest is ever one of a line.
const CONTEXT: &[u8] = b"fleetcast log v1\0";

/// Where a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A line is missing, or one stands twice.
    #[error("line {expected} of the log is missing: line {found} follows instead")]
    Number {
        /// The number that had to follow.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A line, or one before it, was changed.
    #[error("line {0} of the log was changed, or one before it")]
    Digest(u64),
}

/// What a line says, without its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFields<'a> {
    /// Position, from 1.
    pub number: u64,
    /// When.
    pub time: UnixTime,
    /// Who.
    pub actor: &'a str,
    /// What.
    pub action: &'a str,
    /// To whom or what.
    pub subject: &'a str,
    /// With what result.
    pub result: &'a str,
}

impl<'a> From<&'a LogRecord> for LogFields<'a> {
    fn from(record: &'a LogRecord) -> Self {
        Self {
            number: record.number,
            time: record.time,
            actor: &record.actor,
            action: &record.action,
            subject: &record.subject,
            result: &record.result,
        }
    }
}

/// The digest of a line: SHA-256 of context, digest of the line before
/// ([`CHAIN_START`] for the first), number and time (8 bytes each,
/// little-endian), and the four texts, each after its length in 8 bytes.
#[must_use]
pub fn log_digest(previous: &Digest, fields: &LogFields<'_>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(CONTEXT);
    hasher.update(&previous.0);
    hasher.update(&fields.number.to_le_bytes());
    hasher.update(&fields.time.to_le_bytes());
    for text in [fields.actor, fields.action, fields.subject, fields.result] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finish()
}

/// The line that follows `last`, chained to it.
#[must_use]
pub fn next_line(
    last: Option<&LogRecord>,
    time: UnixTime,
    [actor, action, subject, result]: [&str; 4],
) -> LogRecord {
    let (number, previous) =
        last.map_or((1, CHAIN_START), |last| (last.number.saturating_add(1), last.digest));
    let fields = LogFields { number, time, actor, action, subject, result };
    LogRecord {
        number,
        time,
        actor: actor.into(),
        action: action.into(),
        subject: subject.into(),
        result: result.into(),
        digest: log_digest(&previous, &fields),
    }
}

/// Checks lines that follow the line `last` (`None`: they are the first).
///
/// A log of many lines is checked page by page, each following the last of the page before.
///
/// # Errors
/// [`BrokenChain`] at the first line that does not fit.
pub fn verify(last: Option<&LogRecord>, lines: &[LogRecord]) -> Result<(), BrokenChain> {
    let (mut expected, mut previous) =
        last.map_or((1, CHAIN_START), |last| (last.number.saturating_add(1), last.digest));
    for line in lines {
        if line.number != expected {
            return Err(BrokenChain::Number { expected, found: line.number });
        }
        if log_digest(&previous, &LogFields::from(line)) != line.digest {
            return Err(BrokenChain::Digest(line.number));
        }
        expected = expected.saturating_add(1);
        previous = line.digest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<LogRecord> {
        let mut lines: Vec<LogRecord> = Vec::new();
        for (time, action) in [(10, "group-created"), (11, "release-sent"), (12, "approved")] {
            lines.push(next_line(lines.last(), time, ["ann", action, "kiosks", "ok"]));
        }
        lines
    }

    #[test]
    fn the_first_digest_is_that_of_another_implementation() {
        // Python: hashlib.sha256(b"fleetcast log v1\0" + bytes(32) + struct.pack("<QQ", 1, 10)
        //   + b"".join(struct.pack("<Q", len(t)) + t for t in
        //   [b"ann", b"group-created", b"kiosks", b"ok"])).hexdigest()
        let expected = "cb1b1f916ef24fc8239dca72d10a5c10706fb33889dec74a978db0b2c963228a";
        assert_eq!(chain()[0].digest.to_string(), expected);
    }

    #[test]
    fn an_untouched_chain_verifies_whole_and_in_pages() {
        let lines = chain();
        assert_eq!(verify(None, &lines), Ok(()));
        assert_eq!(verify(Some(&lines[0]), &lines[1..]), Ok(()));
    }

    #[test]
    fn a_changed_line_is_found_even_with_a_digest_of_its_own() {
        let mut lines = chain();
        lines[1].subject = "others".into();
        assert_eq!(verify(None, &lines), Err(BrokenChain::Digest(2)));
        lines[1].digest = log_digest(&lines[0].digest, &LogFields::from(&lines[1]));
        assert_eq!(verify(None, &lines), Err(BrokenChain::Digest(3)));
    }

    #[test]
    fn text_moved_from_one_field_to_the_next_is_found() {
        let mut lines = chain();
        (lines[0].actor, lines[0].action) = ("anng".into(), "roup-created".into());
        assert_eq!(verify(None, &lines), Err(BrokenChain::Digest(1)));
    }

    #[test]
    fn a_line_taken_out_is_found() {
        let mut lines = chain();
        lines.remove(1);
        let broken = BrokenChain::Number { expected: 2, found: 3 };
        assert_eq!(verify(None, &lines), Err(broken));
    }
}
