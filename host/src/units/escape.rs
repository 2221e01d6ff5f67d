//! Names of others, made safe to print: they are data, wherever they stand.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use fleetcast_core::limits::MAX_COMPONENT;

/// Characters that are shown of a name that is longer than any may be.
const BEGINNING: usize = 60;

/// `text` with control characters, line separators and everything invisible or
/// reordering shown as `\u{…}`: names of devices and files are data, and may
/// neither command a terminal nor look like another name.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_hostile(char) {
            safe.extend(char.escape_unicode());
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

/// A name in quotation marks, on one line: what [`printable`] would show as
/// `\u{…}` stays so, line breaks and tabs are `\n`, `\r` and `\t`. Of what is longer
/// than any name may be, only the beginning is shown.
#[must_use]
pub fn quoted(name: &str) -> String {
    let shown = match name.char_indices().nth(BEGINNING) {
        Some((end, _)) if name.len() > MAX_COMPONENT => &name[..end],
        _ => name,
    };
    let mut text = String::from('"');
    quote_into(shown, &mut text);
    text.push_str(if shown.len() < name.len() { "…\"" } else { "\"" });
    text
}

/// The same for a path; bytes that are not UTF-8 are shown as `\xe9`.
#[must_use]
pub fn quoted_path(path: &Path) -> String {
    let mut text = String::from('"');
    for piece in path.as_os_str().as_bytes().utf8_chunks() {
        quote_into(piece.valid(), &mut text);
        for byte in piece.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push('"');
    text
}

fn quote_into(name: &str, text: &mut String) {
    for char in name.chars() {
        match char {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            hostile if is_hostile(hostile) => text.extend(hostile.escape_unicode()),
            harmless => text.push(harmless),
        }
    }
}

/// Control characters (C0, C1, DEL); bidirectional controls of UAX #9; line and
/// paragraph separators; zero-width characters; tags and variation selectors.
fn is_hostile(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_stand_on_one_line_and_command_no_terminal() {
        use std::ffi::OsStr;

        assert_eq!(quoted("../x"), "\"../x\"");
        assert_eq!(quoted(&"ü".repeat(127)).chars().count(), 129);
        assert_eq!(quoted(&"ü".repeat(10_000)), format!("\"{}…\"", "ü".repeat(60)));
        assert_eq!(quoted("a\nb\tc\u{1b}[2J"), "\"a\\nb\\tc\\u{1b}[2J\"");
        assert_eq!(quoted("café\u{202e}"), "\"café\\u{202e}\"");
        let latin = Path::new(OsStr::from_bytes(b"caf\xE9/x"));
        assert_eq!(quoted_path(latin), "\"caf\\xe9/x\"");
    }

    #[test]
    fn hostile_names_cannot_command_a_terminal() {
        assert!(matches!(printable("Kiosk-Süd 7 – 東"), Cow::Borrowed(_)));
        let cases = [
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("two\nlines\r", "two\\u{a}lines\\u{d}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("a\u{200b}b\u{2066}", "a\\u{200b}b\\u{2066}"),
        ];
        for (name, shown) in cases {
            assert_eq!(printable(name), shown);
        }
    }
}
