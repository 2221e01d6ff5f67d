//! The SD card's bus: SSI 0, chip select on port D pin 0.

use fleetcast_board::sd::Spi;

use crate::registers::Peripheral;

const CONTROL_0: u16 = 0x00;
const CONTROL_1: u16 = 0x04;
const DATA: u16 = 0x08;
const STATUS: u16 = 0x0C;
const PRESCALE: u16 = 0x10;
/// Something has been received.
const RECEIVED: u32 = 1 << 2;
/// Something is being sent, or waits for it.
const BUSY: u32 = 1 << 4;
/// Bytes that the controller holds of either direction.
const FIFO: usize = 8;
/// Port D's data, of pin 0 alone.
const SELECT: u16 = 1 << 2;

/// The bus.
pub(crate) struct Ssi;

impl Ssi {
    /// Sets it up at 390 kHz.
    pub(crate) fn start() -> Self {
        // PA2 clock, PA4 in, PA5 out; PD0 is ours.
        Peripheral::GpioA.modify(0x420, 0, 0x34);
        Peripheral::GpioA.modify(0x51C, 0, 0x34);
        Peripheral::GpioD.modify(0x400, 0, 1);
        Peripheral::GpioD.modify(0x51C, 0, 1);
        Peripheral::GpioD.write(SELECT, 1);
        let ssi = Peripheral::Ssi0;
        ssi.write(CONTROL_1, 0);
        ssi.write(PRESCALE, 128);
        // Eight bits, mode 0.
        ssi.write(CONTROL_0, 7);
        ssi.write(CONTROL_1, 1 << 1);
        Self
    }
}

impl Spi for Ssi {
    fn select(&mut self, selected: bool) {
        Peripheral::GpioD.write(SELECT, u32::from(!selected));
    }

    fn transfer(&mut self, byte: u8) -> u8 {
        let ssi = Peripheral::Ssi0;
        ssi.write(DATA, byte.into());
        // The clock is our own: it comes.
        while ssi.read(STATUS) & RECEIVED == 0 {}
        ssi.read(DATA) as u8
    }

    fn send(&mut self, bytes: &[u8]) {
        let ssi = Peripheral::Ssi0;
        let (parts, rest) = bytes.as_chunks::<FIFO>();
        for part in parts {
            fill(ssi, *part);
            drain(ssi);
        }
        for &byte in rest {
            self.transfer(byte);
        }
    }

    fn receive(&mut self, out: &mut [u8]) {
        let (parts, rest) = out.as_chunks_mut::<FIFO>();
        for part in parts {
            fill(Peripheral::Ssi0, [0xFF; FIFO]);
            *part = drain(Peripheral::Ssi0);
        }
        rest.iter_mut().for_each(|byte| *byte = self.transfer(0xFF));
    }

    fn speed_up(&mut self) {
        // 50 MHz by four.
        Peripheral::Ssi0.write(CONTROL_1, 0);
        Peripheral::Ssi0.write(PRESCALE, 4);
        Peripheral::Ssi0.write(CONTROL_1, 1 << 1);
    }
}

/// Begins to send eight bytes. Told one by one: a loop takes as long again.
#[inline(always)]
fn fill(ssi: Peripheral, [a, b, c, d, e, f, g, h]: [u8; FIFO]) {
    ssi.write(DATA, a.into());
    ssi.write(DATA, b.into());
    ssi.write(DATA, c.into());
    ssi.write(DATA, d.into());
    ssi.write(DATA, e.into());
    ssi.write(DATA, f.into());
    ssi.write(DATA, g.into());
    ssi.write(DATA, h.into());
}

/// What came while eight bytes were sent.
#[inline(always)]
fn drain(ssi: Peripheral) -> [u8; FIFO] {
    while ssi.read(STATUS) & BUSY != 0 {}
    let next = || ssi.read(DATA) as u8;
    [next(), next(), next(), next(), next(), next(), next(), next()]
}
