//! Output: documents or tables on stdout, failures and talk on stderr.
//!
//! A reader of stdout that goes away (`| head`) is no failure.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use serde::Serialize;

use super::context::Context;
use super::table::Table;
use crate::error::Failure;
use crate::status::{Item, Items, event_line};
use crate::units::{now, printable};

const RED: &str = "\u{1b}[1;31m";
const CYAN: &str = "\u{1b}[36m";
const PLAIN: &str = "\u{1b}[0m";

/// Prints several items: as a document, or as a table.
pub(super) fn items<T: Serialize>(
    context: &Context,
    kind: &str,
    items: Vec<T>,
    table: impl FnOnce(&[T]) -> Table,
) {
    if context.json {
        document(&Items::new(kind, items));
    } else {
        raw(&table(&items).to_string());
    }
}

/// Prints one item: as a document, or as a text for people.
pub(super) fn item<T: Serialize>(
    context: &Context,
    kind: &str,
    item: T,
    text: impl FnOnce(&T) -> String,
) {
    if context.json {
        document(&Item::new(kind, item));
    } else {
        raw(&text(&item));
    }
}

/// Prints a line of a stream: as an event, or as a text for people (no line when empty).
pub(super) fn event(context: &Context, event: &str, body: &impl Serialize, text: &str) {
    if context.json {
        if let Ok(line) = event_line(event, now(), body) {
            raw(&format!("{line}\n"));
        }
    } else if !text.is_empty() {
        raw(&format!("{text}\n"));
    }
}

/// Says something to the person, unless told to be quiet.
pub(super) fn say(context: &Context, text: &str) {
    if !context.quiet {
        let _ = writeln!(anstream::stderr(), "{}", printable(text));
    }
}

/// Tells on stderr why a command failed, with `json` as one line: stdout is data.
pub(super) fn failure(failure: &Failure, json: bool) {
    if json {
        let _ = writeln!(std::io::stderr(), "{}", failure.to_json());
        return;
    }
    let lines = failure.to_lines();
    let lines = lines.strip_prefix("error:").unwrap_or(&lines);
    let lines = lines.replacen("\nhelp:", &format!("\n{CYAN}help:{PLAIN}"), 1);
    let _ = write!(anstream::stderr(), "{RED}error:{PLAIN}{lines}");
}

/// Why something could not be printed on stdout, the first time.
static LOST: OnceLock<Failure> = OnceLock::new();

/// Prints text on stdout as it is (colours only where they are welcome).
pub(super) fn raw(text: &str) {
    let mut out = anstream::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            LOST.get_or_init(|| Failure::io("standard output", &error));
        }
        _ => {}
    }
}

/// Why what was to be told is not, if so.
pub(super) fn lost() -> Option<&'static Failure> {
    LOST.get()
}

fn document(document: &impl Serialize) {
    // Our models have string keys and finite numbers: they always have a JSON form.
    if let Ok(text) = serde_json::to_string(document) {
        raw(&format!("{text}\n"));
    }
}

/// Shows lines made here to the person, even a quiet one, who asked for them.
pub(super) fn say_lines(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
