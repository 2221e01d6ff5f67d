//! Events for `defmt`: the words stay on the PC, and only numbers cross the wire.
//!
//! What the PC prints are the lines of `Event`'s `Display`, which is for logs without it.

use core::fmt;

use defmt::{Display2Format, Format, Formatter, write};

use crate::appliance::Event;

impl Format for Event {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Enrolled => write!(f, "enrolled"),
            Self::Waiting { fingerprint } => write!(f, "waiting fingerprint={}", text(fingerprint)),
            Self::Connected => write!(f, "connected"),
            Self::Disconnected => write!(f, "disconnected"),
            Self::AuthorityMismatch => write!(f, "refused why=authority-mismatch"),
            Self::Offered { release, bytes } => {
                write!(f, "offered sequence={=u64} bytes={=u64}", release.order.sequence, *bytes);
            }
            Self::Progress(held, total) => {
                write!(f, "progress bytes={=u64} total={=u64}", *held, *total);
            }
            Self::Installed(release) => {
                let (sequence, digest) = (release.order.sequence, text(&release.digest));
                write!(f, "installed sequence={=u64} release={}", sequence, digest);
            }
            Self::Failed(code) => write!(f, "failed code={=str}", code.word()),
            Self::Behind { group, newest } => {
                write!(f, "behind group={} newest={=u64}", text(group), newest.sequence);
            }
            Self::FreshnessUnproved => write!(f, "unwell freshness-unproved"),
            Self::FreshnessBackwards => write!(f, "unwell freshness-backwards"),
            Self::FreshnessWithheld => write!(f, "unwell freshness-withheld"),
            Self::NotKept => write!(f, "unwell storage"),
            Self::Announce => write!(f, "announce"),
            Self::Unlisten => write!(f, "unlisten"),
            // Rare, or with words of its own.
            Self::Refused(_) | Self::Listen(_) | Self::Damaged(_) => write!(f, "{}", text(self)),
        }
    }
}

const fn text<T: fmt::Display>(value: &T) -> Display2Format<'_, T> {
    Display2Format(value)
}
