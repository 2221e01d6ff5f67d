//! Path components: the only form in which names of files exist here.
//!
//! A [`Component`] is one name below one directory, checked once; no function
//! takes a path string. A name that one system treats specially is refused for
//! all, so that a release means the same on each receiver. Composition (NFC)
//! and case folding need Unicode tables: the signer and hosts check these.

use core::fmt;

use crate::limits::MAX_COMPONENT;

/// Which rule a name breaks; the fault lies with whoever signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafeName {
    /// No bytes at all.
    Empty,
    /// `.` or `..`.
    Dots,
    /// Longer than [`MAX_COMPONENT`].
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// Not UTF-8.
    NotUtf8,
    /// `/`, `\`, or `:` (which names drives and alternate data streams).
    Separator(char),
    /// A control character: C0, DEL, C1, a line or paragraph separator, or one
    /// that turns the direction of text.
    Control(char),
    /// A name that Windows takes for a device, such as `nul` or `COM1.txt`.
    DeviceName,
}

/// A name that is safe to create below a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component<'a>(&'a str);

impl<'a> Component<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// [`UnsafeName`] says which rule it breaks.
    pub fn parse(name: &'a [u8]) -> Result<Self, UnsafeName> {
        // PROTOCOL R1: unsafe names are refused.
        if name.is_empty() {
            return Err(UnsafeName::Empty);
        }
        if name.len() > MAX_COMPONENT {
            return Err(UnsafeName::TooLong { found: name.len() });
        }
        let name = core::str::from_utf8(name).map_err(|_| UnsafeName::NotUtf8)?;
        if name == "." || name == ".." {
            return Err(UnsafeName::Dots);
        }
        name.chars().try_for_each(check_character)?;
        if is_device_name(name) {
            return Err(UnsafeName::DeviceName);
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The name as bytes; components are ordered by these.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Component<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Component<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

const fn check_character(c: char) -> Result<(), UnsafeName> {
    match c {
        '/' | '\\' | ':' => Err(UnsafeName::Separator(c)),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => Err(UnsafeName::Control(c)),
        // Line and paragraph separator; bidirectional embeddings, overrides and
        // isolates (Unicode UAX #9), which make a name look like another.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Err(UnsafeName::Control(c)),
        _ => Ok(()),
    }
}

/// Whether Windows would open a device instead of a file: it looks at what
/// stands before the first dot, without spaces at its end, in any case.
/// (Microsoft, "Naming Files, Paths, and Namespaces".)
fn is_device_name(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    if ["con", "prn", "aux", "nul", "conin$", "conout$"]
        .iter()
        .any(|device| base.eq_ignore_ascii_case(device))
    {
        return true;
    }
    // COM and LPT with a digit; superscript one, two and three count as digits.
    let Some((port, digit)) = base.split_at_checked(3) else { return false };
    let is_port = port.eq_ignore_ascii_case("com") || port.eq_ignore_ascii_case("lpt");
    let mut digits = digit.chars();
    let is_digit = matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³'));
    is_port && is_digit && digits.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> Option<UnsafeName> {
        Component::parse(name.as_bytes()).err()
    }

    #[test]
    fn ordinary_names_of_all_scripts_are_taken_as_they_are() {
        let long = "x".repeat(255);
        for name in ["a", "...", ".profile", "R.E.M.", "a b", "Grüße.txt", "日本", "*?<>|\"", &long]
        {
            assert_eq!(Component::parse(name.as_bytes()).map(Component::as_str), Ok(name));
        }
    }

    #[test]
    fn each_kind_of_unsafe_name_is_refused_with_its_reason() {
        // PROTOCOL R1
        assert_eq!(refused(""), Some(UnsafeName::Empty));
        assert_eq!(refused("."), Some(UnsafeName::Dots));
        assert_eq!(refused(".."), Some(UnsafeName::Dots));
        assert_eq!(refused(&"x".repeat(256)), Some(UnsafeName::TooLong { found: 256 }));
        for c in ['/', '\\', ':'] {
            assert_eq!(refused(&std::format!("a{c}b")), Some(UnsafeName::Separator(c)));
        }
        for c in ['\0', '\n', '\x1b', '\x7f', '\u{80}', '\u{9f}', '\u{2028}', '\u{2029}'] {
            assert_eq!(refused(&std::format!("a{c}b")), Some(UnsafeName::Control(c)));
        }
        for c in ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            assert_eq!(refused(&std::format!("a{c}b")), Some(UnsafeName::Control(c)));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        // PROTOCOL R1: a lone continuation, an overlong slash, a surrogate.
        for bytes in [&b"a\x80"[..], b"\xc0\xaf", b"\xed\xa0\x80"] {
            assert_eq!(Component::parse(bytes), Err(UnsafeName::NotUtf8));
        }
    }

    #[test]
    fn devices_of_windows_are_refused_in_any_case_and_with_any_extension() {
        // PROTOCOL R1
        for name in
            ["con", "PRN", "aUx", "nul", "NUL.tar.gz", "nul .txt", "CONIN$", "com0", "Com9.log"]
        {
            assert_eq!(refused(name), Some(UnsafeName::DeviceName), "{name}");
        }
        for name in ["LPT¹", "com².txt", "lpt³", "AUX.", "con  "] {
            assert_eq!(refused(name), Some(UnsafeName::DeviceName), "{name}");
        }
        for name in ["console", "com", "com10", "lptx", "nul_", "a.con", "COM⁴", "comé", "日本"]
        {
            assert_eq!(refused(name), None, "{name}");
        }
    }
}
