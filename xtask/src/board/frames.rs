//! What a board logs by `defmt`: frames in rzCOBS on the wire, whose words are in the
//! image (<https://defmt.ferrous-systems.com/design>, `defmt` 1.2).
//!
//! Own code: `defmt-decoder` brings 40 crates along, one of them under the MPL, to do what
//! takes two pages for the types that boards log.

use std::collections::BTreeMap;

use serde_json::Value;

use super::elf;

/// The words of an image: format strings by number.
#[derive(Debug, Default)]
pub(crate) struct Words {
    formats: BTreeMap<u16, String>,
    /// How the time in front of each line is written.
    timestamp: Option<String>,
}

impl Words {
    /// Those of an image; `None` where it logs lines.
    pub(crate) fn of(image: &[u8]) -> Option<Self> {
        let mut words = Self::default();
        for (name, value) in elf::symbols(image) {
            // Words are named by a JSON object, other things are not.
            let Ok(told) = serde_json::from_str::<Value>(&name) else { continue };
            let (Some(tag), Some(text)) = (told["tag"].as_str(), told["data"].as_str()) else {
                continue;
            };
            if tag == "defmt_timestamp" {
                words.timestamp = Some(text.to_owned());
            } else if let Ok(number) = u16::try_from(value) {
                // An address in a section that is in no memory.
                words.formats.insert(number, text.to_owned());
            }
        }
        (!words.formats.is_empty()).then_some(words)
    }

    /// The line of a frame as it is on the wire; `None` where it makes no sense.
    pub(crate) fn line(&self, frame: &[u8]) -> Option<String> {
        let bytes = decode(frame)?;
        let (mut line, mut rest) = (String::new(), &bytes[..]);
        let format = self.format(&mut rest)?;
        if let Some(timestamp) = &self.timestamp {
            self.write(timestamp, &mut rest, &mut line)?;
            line.push(' ');
        }
        self.write(format, &mut rest, &mut line)?;
        // Frames are filled up with zeros.
        rest.iter().all(|&byte| byte == 0).then_some(line)
    }

    /// Writes a format string with what `rest` holds for its parameters.
    fn write(&self, format: &str, rest: &mut &[u8], out: &mut String) -> Option<()> {
        let mut text = format;
        while let Some(at) = text.find(['{', '}']) {
            out.push_str(&text[..at]);
            let sign = &text[at..=at];
            text = &text[at + 1..];
            if let Some(doubled) = text.strip_prefix(sign) {
                out.push_str(sign);
                text = doubled;
            } else {
                let (parameter, after) = text.split_once('}')?;
                self.parameter(parameter, rest, out)?;
                text = after;
            }
        }
        out.push_str(text);
        Some(())
    }

    /// Writes one parameter: `=TYPE:HINT`, each of which may be missing.
    fn parameter(&self, parameter: &str, rest: &mut &[u8], out: &mut String) -> Option<()> {
        let (kind, hint) = parameter.split_once(':').unwrap_or((parameter, ""));
        match kind {
            "" | "=?" => self.nested(rest, out),
            "=__internal_FormatSequence" => {
                while rest.get(..2)? != [0, 0] {
                    self.nested(rest, out)?;
                }
                number(rest, 2).map(drop)
            }
            // Written by the board itself, up to a byte that no text has.
            "=__internal_Display" | "=__internal_Debug" => {
                let end = rest.iter().position(|&byte| byte == 0xFF)?;
                out.push_str(&String::from_utf8_lossy(&rest[..end]));
                *rest = &rest[end + 1..];
                Some(())
            }
            "=str" => {
                let len = usize::try_from(number(rest, 4)?).ok()?;
                let (text, after) = rest.split_at_checked(len)?;
                out.push_str(&String::from_utf8_lossy(text));
                *rest = after;
                Some(())
            }
            "=istr" => {
                out.push_str(self.format(rest)?);
                Some(())
            }
            "=bool" => {
                out.push_str(if number(rest, 1)? == 0 { "false" } else { "true" });
                Some(())
            }
            "=u8" => integer(rest, 1, hint, out),
            "=u16" => integer(rest, 2, hint, out),
            "=u32" | "=usize" => integer(rest, 4, hint, out),
            "=u64" => integer(rest, 8, hint, out),
            _ => None,
        }
    }

    /// Writes what brings its own format string.
    fn nested(&self, rest: &mut &[u8], out: &mut String) -> Option<()> {
        let format = self.format(rest)?;
        self.write(format, rest, out)
    }

    /// The format string that is named next.
    fn format(&self, rest: &mut &[u8]) -> Option<&str> {
        let number = u16::try_from(number(rest, 2)?).ok()?;
        self.formats.get(&number).map(String::as_str)
    }
}

/// An integer of so many bytes, the least first.
fn number(rest: &mut &[u8], len: usize) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

fn integer(rest: &mut &[u8], len: usize, hint: &str, out: &mut String) -> Option<()> {
    let number = number(rest, len)?;
    match hint {
        // Microseconds, written as seconds.
        "us" => out.push_str(&format!("{}.{:06}", number / 1_000_000, number % 1_000_000)),
        "x" => out.push_str(&format!("{number:x}")),
        _ => out.push_str(&number.to_string()),
    }
    Some(())
}

/// Undoes rzCOBS, which is read from its end: a code says what stands before it.
fn decode(frame: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), frame);
    while let Some((&code, before)) = rest.split_last() {
        rest = before;
        if code & 0x80 == 0 {
            // Seven bits, the last byte's first: a zero, or the next byte in front.
            for bit in (0..7).rev() {
                if code >> bit & 1 == 1 {
                    bytes.push(0);
                } else {
                    let (&byte, before) = rest.split_last()?;
                    bytes.push(byte);
                    rest = before;
                }
            }
        } else {
            // Seven bytes and more, with a zero behind unless they are as many as can be.
            let len = usize::from(code & 0x7F) + 7;
            if code != 0xFF {
                bytes.push(0);
            }
            let (before, run) = rest.split_at_checked(rest.len().checked_sub(len)?)?;
            bytes.extend(run.iter().rev());
            rest = before;
        }
    }
    bytes.reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_encoder_of_defmt() {
        // From the tests of defmt 1.2 (src/encoding/rzcobs.rs); zeros at the end are filling.
        for (expected, frame) in [
            (&[0; 7][..], &[0x7F][..]),
            (&[1, 0, 0, 0, 0, 0, 0], &[0x01, 0x7E]),
            (&[0, 1, 0, 0, 0, 0, 0], &[0x01, 0x7D]),
            (&[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0], &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x40]),
            (
                &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0],
                &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x80],
            ),
            (&[0, 0, 0, 0, 0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0xFF], &[0x44, 0x5F, 0xFF, 0x3F]),
        ] {
            assert_eq!(decode(frame).as_deref(), Some(expected), "{frame:x?}");
        }
        let long: Vec<u8> = (1..=0x86).collect();
        assert_eq!(decode(&[&long[..], &[0xFF]].concat()), Some(long));
        assert_eq!(decode(&[0x01, 0x80]), None);
    }

    /// What an image might hold, by number.
    fn words() -> Words {
        let formats = [
            (1, "{=__internal_Display}"),
            (2, "{=__internal_FormatSequence}"),
            (3, "{}"),
            (4, "offered sequence={=u64} bytes={=u32} why={=str}"),
            (5, " {{literally}} {=u8:x}"),
        ];
        let formats = formats.map(|(number, text)| (number, text.to_owned()));
        Words { formats: formats.into(), timestamp: Some("{=u64:us}".to_owned()) }
    }

    /// A frame by the rules of rzCOBS: runs of bytes, each followed by its code.
    fn encode(bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut zeros, mut run) = (Vec::new(), 0_u8, 0_u8);
        for &byte in bytes {
            let ends = match (run, byte) {
                (..7, 0) => {
                    zeros |= 1 << run;
                    run == 6
                }
                (..7, _) => {
                    out.push(byte);
                    run == 6 && zeros != 0
                }
                (_, 0) => {
                    out.push((run - 7) | 0x80);
                    (run, zeros) = (0, 0);
                    continue;
                }
                // Of 127 more at most, which no test has.
                _ => {
                    out.push(byte);
                    false
                }
            };
            run += 1;
            if ends {
                out.push(zeros);
                (run, zeros) = (0, 0);
            }
        }
        match run {
            0 => {}
            1..7 => out.push((zeros | 0xFF << run) & 0x7F),
            _ => out.push((run - 7) | 0x80),
        }
        out
    }

    #[test]
    fn a_frame_becomes_the_line_that_was_meant() {
        let mut bytes = vec![3, 0];
        bytes.extend(1_500_000_u64.to_le_bytes());
        // A sequence of two formats.
        bytes.extend([2, 0, 4, 0]);
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend(300_u32.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(b"mood");
        bytes.extend([5, 0, 0xAB, 0, 0]);
        let expected = "1.500000 offered sequence=7 bytes=300 why=mood {literally} ab";
        assert_eq!(words().line(&encode(&bytes)).as_deref(), Some(expected));
        bytes.truncate(20);
        assert_eq!(words().line(&encode(&bytes)), None, "cut off");
    }

    #[test]
    fn what_a_board_has_written_itself_ends_where_no_text_goes_on() {
        let mut bytes = vec![3, 0];
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend([1, 0]);
        bytes.extend(b"start version=0.1.0\xFF");
        let line = words().line(&encode(&bytes));
        assert_eq!(line.as_deref(), Some("0.000000 start version=0.1.0"));
    }
}
