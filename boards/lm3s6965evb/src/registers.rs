//! Registers: the only place that touches memory by address.

/// A peripheral, by the address of its registers (LM3S6965 data sheet, table 3-1).
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Peripheral {
    Watchdog = 0x4000_0000,
    GpioA = 0x4000_4000,
    GpioD = 0x4000_7000,
    Ssi0 = 0x4000_8000,
    Uart0 = 0x4000_C000,
    GpioF = 0x4002_5000,
    Ethernet = 0x4004_8000,
    System = 0x400F_E000,
    /// SysTick and the system control block of the core.
    Core = 0xE000_E000,
}

impl Peripheral {
    /// Reads the register at `offset` bytes, below 4,096.
    pub(crate) fn read(self, offset: u16) -> u32 {
        // SAFETY: the address is that of a register of this chip, aligned, and reading it
        // touches no memory of the program.
        unsafe { self.address(offset).read_volatile() }
    }

    /// Writes the register at `offset` bytes, below 4,096.
    pub(crate) fn write(self, offset: u16, value: u32) {
        // SAFETY: as above; nothing on this chip but its DMA-less peripherals can be set
        // by registers, so no memory of the program changes.
        unsafe { self.address(offset).write_volatile(value) }
    }

    /// Changes some bits of the register at `offset` bytes.
    pub(crate) fn modify(self, offset: u16, clear: u32, set: u32) {
        self.write(offset, self.read(offset) & !clear | set);
    }

    const fn address(self, offset: u16) -> *mut u32 {
        (self as usize + (offset & 0x0FFC) as usize) as *mut u32
    }
}
