//! Which names may travel (PROTOCOL R1): those that mean the same on every receiver.
//!
//! What a board can check too is `core`'s [`Component::parse`]; what needs Unicode's tables,
//! normal form and case, is checked here, on the signer's side.

use fleetcast_core::limits::{MAX_COMPONENT, MAX_NAME};
use fleetcast_core::tree::path::{Component, UnsafeName};
use thiserror::Error;
use unicode_normalization::is_nfc;

use crate::error::Failure;
use crate::units::quoted;

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

impl NameFault {
    /// The same of a name that is no path's, as the end of "cannot be a name: it …".
    #[must_use]
    pub const fn about_name(self) -> &'static str {
        match self {
            Self::Nameless => "is empty, or only dots",
            Self::TooLong => "is too long",
            Self::Encoding => "is not UTF-8",
            Self::Form => "is not in Unicode's normal form C",
            Self::Control => "holds a control character",
            Self::Separator => "holds a slash, a backslash or a colon",
            Self::Device => "means a device on Windows",
        }
    }
}

/// Checks a name that a person gives to a group, a receiver, an account, a release: one
/// rule for all. It may stand in a command as it is (so it begins with no dash), before the
/// `#` of a release's number (so it holds none), and look like itself in every list (so
/// spaces stand alone, between other characters). At most `MAX_NAME` bytes.
///
/// # Errors
/// Failure `name-unsafe`, with the reason and the cure.
pub fn check_given(name: &str) -> Result<(), Failure> {
    match check(name.as_bytes()) {
        Ok(name) if name.len() > MAX_NAME => {
            Err(unsafe_name(name, &format!("is longer than {MAX_NAME} bytes")))
        }
        Ok(name) => match fault_of_given(name) {
            Some(reason) => Err(unsafe_name(name, reason)),
            None => Ok(()),
        },
        Err(fault) => Err(unsafe_name(name, fault.about_name())),
    }
}

/// Why a name that may travel is still none to be given, if so.
fn fault_of_given(name: &str) -> Option<&'static str> {
    let odd = |char: char| char.is_whitespace() && char != ' ';
    if name.starts_with('-') {
        Some("begins with a dash, as options do")
    } else if name.starts_with('.') {
        // A group's name becomes a directory, and ours there begins with a dot.
        Some("begins with a dot")
    } else if name.contains(['<', '>']) {
        // Names stand in pages and messages: what looks like markup helps nobody.
        Some("holds markup")
    } else if name.contains('#') {
        Some("holds a #, which stands before the number of a release")
    } else if name.starts_with(' ') || name.ends_with(' ') || name.contains("  ") {
        Some("holds spaces at an end, or several in a row")
    } else if name.contains(odd) {
        Some("holds another space than the ordinary one")
    } else {
        None
    }
}

/// The failure of a name that `reason`: "holds a slash", for example.
#[must_use]
pub fn unsafe_name(name: &str, reason: &str) -> Failure {
    let message = format!("{} cannot be a name: it {reason}", quoted(name));
    let hint = "use letters and digits, with '-', '_', '.' or a space between them, \
        at most 64 bytes";
    Failure::failed("name-unsafe", message, hint)
}

impl From<UnsafeName> for NameFault {
    fn from(fault: UnsafeName) -> Self {
        match fault {
            UnsafeName::Empty | UnsafeName::Dots => Self::Nameless,
            UnsafeName::TooLong { .. } => Self::TooLong,
            UnsafeName::NotUtf8 => Self::Encoding,
            UnsafeName::Separator(_) => Self::Separator,
            UnsafeName::Control(_) => Self::Control,
            UnsafeName::DeviceName => Self::Device,
        }
    }
}

/// The name that `bytes` are, when it may travel.
///
/// # Errors
/// [`NameFault`] says why it may not.
// PROTOCOL R1
pub fn check(bytes: &[u8]) -> Result<&str, NameFault> {
    let name = Component::parse(bytes)?.as_str();
    if is_nfc(name) { Ok(name) } else { Err(NameFault::Form) }
}

/// What two names have in common that differ only by case.
#[must_use]
pub fn folded(name: &str) -> String {
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
    fn names_that_people_give_are_refused_in_words_and_with_a_cure() {
        let long = "n".repeat(65);
        for (name, words) in [
            ("../x", "\"../x\" cannot be a name: it holds a slash, a backslash or a colon"),
            ("a\nb", "\"a\\nb\" cannot be a name: it holds a control character"),
            ("", "\"\" cannot be a name: it is empty, or only dots"),
            ("..", "\"..\" cannot be a name: it is empty, or only dots"),
            ("u\u{308}", "\"u\u{308}\" cannot be a name: it is not in Unicode's normal form C"),
            ("aux", "\"aux\" cannot be a name: it means a device on Windows"),
            (".x", "\".x\" cannot be a name: it begins with a dot"),
            ("<b>", "\"<b>\" cannot be a name: it holds markup"),
            ("-x", "\"-x\" cannot be a name: it begins with a dash, as options do"),
            (
                "a#1",
                "\"a#1\" cannot be a name: it holds a #, which stands before the number of a \
                 release",
            ),
            (" a", "\" a\" cannot be a name: it holds spaces at an end, or several in a row"),
            ("a ", "\"a \" cannot be a name: it holds spaces at an end, or several in a row"),
            ("a  b", "\"a  b\" cannot be a name: it holds spaces at an end, or several in a row"),
            (
                "a\u{a0}b",
                "\"a\u{a0}b\" cannot be a name: it holds another space than the ordinary one",
            ),
        ] {
            let refused = check_given(name).unwrap_err();
            assert_eq!((refused.code.as_ref(), refused.exit), ("name-unsafe", 1));
            assert_eq!(refused.message, words);
            assert!(!refused.hint.is_empty());
        }
        let refused = check_given(&long).unwrap_err();
        assert!(refused.message.ends_with("it is longer than 64 bytes"), "{}", refused.message);
        for name in ["Spring prices, week 12", "a-b", "x_-", "50 %", "日本"] {
            assert_eq!(check_given(name), Ok(()));
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
