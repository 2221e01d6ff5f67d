//! One release, for people.

use std::fmt::Write as _;

use crate::status::ReleaseItem;
use crate::units::{format_size, format_time, printable};

/// All that a list says of a release, a line each.
pub(super) fn describe(release: &ReleaseItem) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<12} {}", printable(value));
    };
    line("release", &format!("{}#{}", release.group, release.sequence));
    line("name", &release.name);
    line("digest", &release.release);
    line("state", &release.state);
    line("files", &release.files.to_string());
    line("bytes", &format_size(release.bytes));
    line("created", &format_time(release.created));
    line("expires", &format_time(release.expires));
    line("signatures", &format!("{} of {}", release.signatures, release.threshold));
    text
}
