//! What the board says, over the UART: lines that a person reads; or with the feature
//! `defmt` frames that `cargo xtask run` makes the same lines of, with the time in front.

use core::fmt;

use fleetcast_board::appliance::Event;

#[cfg(feature = "defmt")]
mod frames;

#[cfg(feature = "defmt")]
use frames as way;
#[cfg(not(feature = "defmt"))]
use lines as way;

/// Says a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    way::say(line);
}

/// Says what has happened.
pub(crate) fn tell(event: &Event) {
    way::tell(event);
}

#[cfg(not(feature = "defmt"))]
mod lines {
    use core::fmt::{self, Write as _};

    use fleetcast_board::appliance::Event;

    use crate::uart::Uart;

    pub(super) fn say(line: fmt::Arguments<'_>) {
        // A line that is lost is only a line of the log.
        let _ = writeln!(Uart, "{line}");
    }

    pub(super) fn tell(event: &Event) {
        // As above.
        let _ = writeln!(Uart, "{event}");
    }
}
