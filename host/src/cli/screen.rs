//! How wide what a person looks at is.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

/// Columns of the terminal that stdout goes to: what `COLUMNS` says, else the terminal
/// itself. `None` where data goes elsewhere, or nobody knows.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let told = told.filter(|columns| *columns > 0);
    let real = || tcgetwinsize(out).ok().map(|size| usize::from(size.ws_col));
    told.or_else(real).filter(|columns| *columns > 0)
}
