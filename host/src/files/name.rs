//! Which names may travel (PROTOCOL R1): those that mean the same on every receiver.

use fleetcast_core::limits::MAX_COMPONENT;
use thiserror::Error;
use unicode_normalization::is_nfc;

/// Why a name may not travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameFault {
    /// Nothing, `.`, `..` or `/`: it names no entry of a directory.
    #[error("has no name of its own")]
    Nameless,
    /// Longer than `MAX_COMPONENT` bytes.
    #[error("has a name longer than {MAX_COMPONENT} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("has a name that is not UTF-8")]
    Encoding,
    /// Not in Unicode's normal form C, so that two names could look the same.
    #[error("has a name that is not in Unicode's normal form C")]
    Form,
    /// A line break or another control character, or one that turns the direction of text.
    #[error("has a control character in its name")]
    Control,
    /// A slash, a backslash, or a colon (which names drives and alternate data streams).
    #[error("has a path separator or a colon in its name")]
    Separator,
    /// Means a device on Windows, such as `CON` or `com1.txt`.
    #[error("has a name that means a device on Windows")]
    Device,
}

/// The name that `bytes` are, when it may travel.
// PROTOCOL R1
pub(super) fn check(bytes: &[u8]) -> Result<&str, NameFault> {
    if matches!(bytes, b"" | b"." | b"..") {
        return Err(NameFault::Nameless);
    }
    if bytes.len() > MAX_COMPONENT {
        return Err(NameFault::TooLong);
    }
    let name = str::from_utf8(bytes).map_err(|_| NameFault::Encoding)?;
    if name.contains(is_control) {
        return Err(NameFault::Control);
    }
    if name.contains(['/', '\\', ':']) {
        return Err(NameFault::Separator);
    }
    if !is_nfc(name) {
        return Err(NameFault::Form);
    }
    if is_device(name) { Err(NameFault::Device) } else { Ok(name) }
}

/// Also line and paragraph separators, and the embeddings, overrides and isolates of
/// Unicode's UAX #9, which make a name look like another.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Windows looks at what stands before the first point, without spaces after it.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    let numbered = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];
    matches!(&stem[..], "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered.is_some_and(|number| digits.contains(&number))
}

/// What two names have in common that differ only by case.
pub(super) fn folded(name: &str) -> String {
    // Upper case first: it unites more (ß and SS) than lower case alone.
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL R1
    #[test]
    fn names_that_mean_different_things_elsewhere_are_refused() {
        let long = [b'a'; 256];
        let cases: [(&[u8], NameFault); 25] = [
            (b"", NameFault::Nameless),
            (b".", NameFault::Nameless),
            (b"..", NameFault::Nameless),
            (&long, NameFault::TooLong),
            (b"\xFF", NameFault::Encoding),
            (b"\xC0\xAF", NameFault::Encoding),
            (b"a\nb", NameFault::Control),
            (b"\x1B[2J", NameFault::Control),
            (b"\x7F", NameFault::Control),
            (b"\xC2\x9B31m", NameFault::Control),
            ("a\u{2028}b".as_bytes(), NameFault::Control),
            ("\u{202E}gpj.exe".as_bytes(), NameFault::Control),
            ("\u{2066}".as_bytes(), NameFault::Control),
            (b"a/b", NameFault::Separator),
            (b"C:x", NameFault::Separator),
            (b"a\\b", NameFault::Separator),
            ("u\u{308}ber".as_bytes(), NameFault::Form),
            ("\u{212B}".as_bytes(), NameFault::Form),
            (b"CON", NameFault::Device),
            (b"nul.txt", NameFault::Device),
            (b"Aux .tar.gz", NameFault::Device),
            (b"com1", NameFault::Device),
            (b"LPT9.log", NameFault::Device),
            ("COM²".as_bytes(), NameFault::Device),
            (b"conin$", NameFault::Device),
        ];
        for (name, fault) in cases {
            assert_eq!(check(name), Err(fault), "{}", name.escape_ascii());
        }
    }

    // PROTOCOL R1
    #[test]
    fn ordinary_names_travel() {
        let longest = "a".repeat(255);
        for name in
            ["a", "...", ".hidden", "übung.txt", "日本", "console", "com10", "COM", "a b", &longest]
        {
            assert_eq!(check(name.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn names_that_differ_only_by_case_fold_to_the_same() {
        for (one, other) in [("README", "ReadMe"), ("ÜBUNG", "übung"), ("Straße", "STRASSE")] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("a"), folded("b"));
    }
}
