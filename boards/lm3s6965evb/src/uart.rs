//! The log: UART 0 at 115,200 baud.

use core::fmt;

use crate::registers::Peripheral;

const DATA: u16 = 0x00;
const FLAGS: u16 = 0x18;
const FULL: u32 = 1 << 5;

/// The serial line.
pub(crate) struct Uart;

impl Uart {
    /// Sets it up.
    pub(crate) fn start() {
        // PA0 and PA1.
        Peripheral::GpioA.modify(0x420, 0, 3);
        Peripheral::GpioA.modify(0x51C, 0, 3);
        let uart = Peripheral::Uart0;
        uart.write(0x30, 0);
        // 50 MHz / 16 / 115,200 = 27 + 8/64.
        uart.write(0x24, 27);
        uart.write(0x28, 8);
        // Eight bits, with FIFO.
        uart.write(0x2C, 3 << 5 | 1 << 4);
        uart.write(0x30, 1 << 9 | 1 << 8 | 1);
    }

    /// Sends bytes.
    pub(crate) fn write(bytes: &[u8]) {
        for &byte in bytes {
            while Peripheral::Uart0.read(FLAGS) & FULL != 0 {}
            Peripheral::Uart0.write(DATA, byte.into());
        }
    }
}

impl fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Self::write(text.as_bytes());
        Ok(())
    }
}
