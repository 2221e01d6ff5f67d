//! A board's log as it comes over its serial line: lines, or frames of `defmt`.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};

use super::frames::Words;

/// The lines of a log whose words are in this image, as they come; ends with the log.
pub(crate) fn lines(output: ChildStdout, image: &[u8]) -> Receiver<String> {
    let words = Words::of(image);
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        while let Some(line) = next(&mut output, words.as_ref()) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line; `None` at the end of the log.
fn next(log: &mut BufReader<impl Read>, words: Option<&Words>) -> Option<String> {
    let Some(words) = words else {
        let mut line = Vec::new();
        let some = log.read_until(b'\n', &mut line).ok()? > 0;
        return some.then(|| String::from_utf8_lossy(&line).trim_end().to_owned());
    };
    loop {
        let mut frame = Vec::new();
        if log.read_until(0, &mut frame).ok()? == 0 {
            return None;
        }
        // Each ends with a zero, and a start begins with one.
        frame.pop_if(|byte| *byte == 0);
        if !frame.is_empty() {
            let damaged = || format!("(a frame of {} bytes that makes no sense)", frame.len());
            return Some(words.line(&frame).unwrap_or_else(damaged));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_as_they_are_where_an_image_has_no_words() {
        let mut log = BufReader::new(&b"start\r\nconnected\nhalf"[..]);
        let lines: Vec<_> = std::iter::from_fn(|| next(&mut log, None)).collect();
        assert_eq!(lines, ["start", "connected", "half"]);
    }

    #[test]
    fn a_frame_that_makes_no_sense_is_told_and_the_next_one_is_read() {
        let words = Words::default();
        let mut log = BufReader::new(&[0, 1, 0x80, 0, 0, 2, 3, 0][..]);
        let lines: Vec<_> = std::iter::from_fn(|| next(&mut log, Some(&words))).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("2 bytes"), "{lines:?}");
    }
}
