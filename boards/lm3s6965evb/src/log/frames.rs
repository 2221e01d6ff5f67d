//! The wire of `defmt`: frames in rzCOBS over the UART.

use core::cell::UnsafeCell;
use core::fmt;

use defmt::{Display2Format, Encoder, Logger, global_logger, info, timestamp};
use fleetcast_board::appliance::Event;

use crate::chip;
use crate::uart::Uart;

timestamp!("{=u64:us}", chip::now().as_micros());

pub(super) fn say(line: fmt::Arguments<'_>) {
    info!("{}", Display2Format(&line));
}

pub(super) fn tell(event: &Event) {
    info!("{}", event);
}

/// The state of the encoding.
struct Shared(UnsafeCell<Encoder>);

// SAFETY: there is one core, and only the main program and the handlers that never return
// to it (panic, fault) log; so no two of them are ever in the middle of it and both go on.
unsafe impl Sync for Shared {}

static ENCODER: Shared = Shared(UnsafeCell::new(Encoder::new()));

#[global_logger]
struct Wire;

impl Wire {
    fn encode(act: impl FnOnce(&mut Encoder)) {
        // SAFETY: as above, nobody else holds a reference while this one lives.
        act(unsafe { &mut *ENCODER.0.get() });
    }
}

// SAFETY: its methods are called in turn, by the one context that logs.
unsafe impl Logger for Wire {
    fn acquire() {
        Self::encode(|encoder| encoder.start_frame(Uart::write));
    }

    unsafe fn flush() {
        // The UART takes a byte only when it has sent another.
    }

    unsafe fn release() {
        Self::encode(|encoder| encoder.end_frame(Uart::write));
    }

    unsafe fn write(bytes: &[u8]) {
        Self::encode(|encoder| encoder.write(bytes, Uart::write));
    }
}
