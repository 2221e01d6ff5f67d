//! An SD card in SPI mode as a disk of whole sectors (SD Specifications, Part 1,
//! Physical Layer Simplified Specification 9.10, chapter 7).
//!
//! Own code, since `embedded-sdmmc` gives up where QEMU's card answers otherwise than
//! real ones do: after initialisation CMD58 still says "idle". Here the answer of ACMD41
//! decides.

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

/// Bytes of a sector: all reads and writes are of whole ones.
pub const SECTOR: usize = 512;
/// Bytes that an answer takes at most to come (chapter 7.5.4: eight).
const ANSWER: u32 = 16;
/// Tries of initialisation; each takes some ten bytes at 400 kHz, all together seconds.
const STARTS: u32 = 20_000;
/// Bytes until data must come: more than 100 ms at 25 MHz.
const DATA: u32 = 400_000;
/// Bytes until a write must be over: more than 500 ms at 25 MHz.
const BUSY: u32 = 2_000_000;

const IDLE: u8 = 0x01;
const DATA_TOKEN: u8 = 0xFE;
/// In front of each of several sectors, and after the last one (chapter 7.3.3.2).
const MULTIPLE_TOKEN: u8 = 0xFC;
const STOP_TOKEN: u8 = 0xFD;
const ACCEPTED: u8 = 0x05;

/// The bus: full duplex, mode 0, and a chip select of its own.
pub trait Spi {
    /// Selects the card, or not.
    fn select(&mut self, selected: bool);
    /// Sends a byte and returns the one that comes meanwhile.
    fn transfer(&mut self, byte: u8) -> u8;
    /// Sends bytes; what comes meanwhile is nothing.
    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.transfer(byte);
        }
    }
    /// Receives bytes while it sends ones.
    fn receive(&mut self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.transfer(0xFF));
    }
    /// Goes from at most 400 kHz to at most 25 MHz.
    fn speed_up(&mut self);
}

/// A card.
#[derive(Debug)]
pub struct SdCard<S> {
    spi: S,
    sectors: u32,
    /// High capacity: addresses count sectors, not bytes.
    high: bool,
    at: u64,
}

impl<S: Spi> SdCard<S> {
    /// Wakes the card up.
    ///
    /// # Errors
    /// `NotFound` where no card answers, `Unsupported` for one that is no SD card,
    /// `TimedOut` when it does not get ready, and as for reading.
    pub fn new(spi: S) -> Result<Self, ErrorKind> {
        let mut card = Self { spi, sectors: 0, high: false, at: 0 };
        card.spi.select(false);
        // At least 74 clocks without selection.
        for _ in 0..10 {
            card.spi.transfer(0xFF);
        }
        if card.command(0, 0)? != IDLE {
            return Err(ErrorKind::NotFound);
        }
        let version = card.command_with(8, 0x1AA)?;
        let second = version.0 == IDLE;
        if second && version.1[2..] != [0x01, 0xAA] {
            return Err(ErrorKind::Unsupported);
        }
        card.get_ready(if second { 1 << 30 } else { 0 })?;
        // Its R1 is not looked at: QEMU's says "idle" still.
        let (_, ocr) = card.command_with(58, 0)?;
        card.high = ocr[0] & 0x40 != 0;
        if !card.high {
            card.expect(16, SECTOR as u32)?;
        }
        card.sectors = card.read_size()?;
        card.spi.speed_up();
        Ok(card)
    }

    /// Sectors of the card.
    #[must_use]
    pub const fn sectors(&self) -> u32 {
        self.sectors
    }

    fn get_ready(&mut self, argument: u32) -> Result<(), ErrorKind> {
        for _ in 0..STARTS {
            self.command(55, 0)?;
            match self.command(41, argument)? {
                0 => return Ok(()),
                IDLE => {}
                _ => return Err(ErrorKind::Unsupported),
            }
        }
        Err(ErrorKind::TimedOut)
    }

    /// Sectors, from the card-specific data (chapter 5.3).
    fn read_size(&mut self) -> Result<u32, ErrorKind> {
        let mut csd = [0; 16];
        self.read_data(9, 0, &mut csd)?;
        let sectors = match csd[0] >> 6 {
            0 => {
                let size =
                    u64::from(csd[6] & 3) << 10 | u64::from(csd[7]) << 2 | u64::from(csd[8] >> 6);
                let factor = u32::from(csd[9] & 3) << 1 | u32::from(csd[10] >> 7);
                let block = u32::from(csd[5] & 0xF);
                (size + 1) << (factor + 2 + block) >> 9
            }
            1 => {
                let size =
                    u64::from(csd[7] & 0x3F) << 16 | u64::from(csd[8]) << 8 | u64::from(csd[9]);
                (size + 1) << 10
            }
            _ => return Err(ErrorKind::Unsupported),
        };
        u32::try_from(sectors).map_err(|_| ErrorKind::Unsupported)
    }

    fn read_sector(&mut self, sector: u32, out: &mut [u8]) -> Result<(), ErrorKind> {
        let address = self.address(sector)?;
        self.read_data(17, address, out)
    }

    /// Writes whole sectors: several by one command, so that a card need not erase for each.
    fn write_sectors(&mut self, sector: u32, bytes: &[u8]) -> Result<(), ErrorKind> {
        let sectors = bytes.as_chunks::<SECTOR>().0;
        let last = u32::try_from(sectors.len()).ok().and_then(|count| sector.checked_add(count));
        if last.is_none_or(|end| end > self.sectors) {
            return Err(ErrorKind::InvalidInput);
        }
        let address = self.address(sector)?;
        self.spi.select(true);
        let done = match sectors {
            [one] => self.write_one(address, one),
            several => self.write_several(address, several),
        };
        self.release();
        done
    }

    fn write_one(&mut self, address: u32, sector: &[u8; SECTOR]) -> Result<(), ErrorKind> {
        if self.send(24, address)? != 0 {
            return Err(ErrorKind::Other);
        }
        self.write_data(DATA_TOKEN, sector)
    }

    fn write_several(&mut self, address: u32, all: &[[u8; SECTOR]]) -> Result<(), ErrorKind> {
        if self.send(25, address)? != 0 {
            return Err(ErrorKind::Other);
        }
        let written = all.iter().try_for_each(|sector| self.write_data(MULTIPLE_TOKEN, sector));
        if written.is_ok() {
            self.spi.transfer(0xFF);
            self.spi.transfer(STOP_TOKEN);
            self.spi.transfer(0xFF);
        } else {
            // Chapter 7.2.4: after a sector that was refused it is stopped by a command.
            self.wait_for(BUSY, |byte| byte == 0xFF)?;
            self.send(12, 0)?;
        }
        written.and(self.wait_for(BUSY, |byte| byte == 0xFF).map(drop))
    }

    /// Sends a sector behind its token, and waits until it is written.
    fn write_data(&mut self, token: u8, sector: &[u8; SECTOR]) -> Result<(), ErrorKind> {
        self.spi.transfer(0xFF);
        self.spi.transfer(token);
        self.spi.send(sector);
        // The check is not looked at in this mode.
        self.spi.transfer(0xFF);
        self.spi.transfer(0xFF);
        let answer = self.wait_for(ANSWER, |byte| byte != 0xFF)?;
        if answer & 0x1F != ACCEPTED {
            return Err(ErrorKind::Other);
        }
        self.wait_for(BUSY, |byte| byte == 0xFF).map(drop)
    }

    /// A command that is answered with a block of data.
    fn read_data(&mut self, command: u8, argument: u32, out: &mut [u8]) -> Result<(), ErrorKind> {
        self.spi.select(true);
        let done = self.receive(command, argument, out);
        self.release();
        done
    }

    fn receive(&mut self, command: u8, argument: u32, out: &mut [u8]) -> Result<(), ErrorKind> {
        if self.send(command, argument)? != 0 {
            return Err(ErrorKind::Other);
        }
        if self.wait_for(DATA, |byte| byte != 0xFF)? != DATA_TOKEN {
            return Err(ErrorKind::Other);
        }
        self.spi.receive(out);
        self.spi.transfer(0xFF);
        self.spi.transfer(0xFF);
        Ok(())
    }

    fn expect(&mut self, command: u8, argument: u32) -> Result<(), ErrorKind> {
        match self.command(command, argument)? {
            0 => Ok(()),
            _ => Err(ErrorKind::Other),
        }
    }

    fn command(&mut self, command: u8, argument: u32) -> Result<u8, ErrorKind> {
        self.spi.select(true);
        let answer = self.send(command, argument);
        self.release();
        answer
    }

    /// A command whose answer has four more bytes.
    fn command_with(&mut self, command: u8, argument: u32) -> Result<(u8, [u8; 4]), ErrorKind> {
        self.spi.select(true);
        let answer = self.send(command, argument).map(|answer| {
            let mut more = [0; 4];
            self.spi.receive(&mut more);
            (answer, more)
        });
        self.release();
        answer
    }

    fn send(&mut self, command: u8, argument: u32) -> Result<u8, ErrorKind> {
        let [a, b, c, d] = argument.to_be_bytes();
        let mut frame = [0x40 | command, a, b, c, d, 0];
        frame[5] = crc7(&frame[..5]);
        self.spi.transfer(0xFF);
        for byte in frame {
            self.spi.transfer(byte);
        }
        self.wait_for(ANSWER, |byte| byte & 0x80 == 0).map_err(|_| ErrorKind::NotFound)
    }

    fn wait_for(&mut self, bytes: u32, is: impl Fn(u8) -> bool) -> Result<u8, ErrorKind> {
        for _ in 0..bytes {
            let byte = self.spi.transfer(0xFF);
            if is(byte) {
                return Ok(byte);
            }
        }
        Err(ErrorKind::TimedOut)
    }

    /// The card lets go of its line with the next clocks.
    fn release(&mut self) {
        self.spi.select(false);
        self.spi.transfer(0xFF);
    }

    fn address(&self, sector: u32) -> Result<u32, ErrorKind> {
        if sector >= self.sectors {
            return Err(ErrorKind::InvalidInput);
        }
        let factor = if self.high { 1 } else { SECTOR as u32 };
        sector.checked_mul(factor).ok_or(ErrorKind::InvalidInput)
    }

    /// The sector of the present place; anything between two is our caller's fault.
    fn sector(&self, len: usize) -> Result<u32, ErrorKind> {
        let whole = self.at.is_multiple_of(SECTOR as u64) && len.is_multiple_of(SECTOR);
        let sector = u32::try_from(self.at / SECTOR as u64).ok().filter(|_| whole);
        sector.ok_or(ErrorKind::InvalidInput)
    }
}

/// The check of a command, with its closing bit (chapter 4.5).
fn crc7(bytes: &[u8]) -> u8 {
    let mut crc = 0_u8;
    for byte in bytes {
        for bit in (0..8).rev() {
            let high = (crc >> 6 ^ byte >> bit) & 1;
            crc = (crc << 1 & 0x7F) ^ if high == 1 { 0x09 } else { 0 };
        }
    }
    crc << 1 | 1
}

impl<S> ErrorType for SdCard<S> {
    type Error = ErrorKind;
}

impl<S: Spi> Read for SdCard<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let sector = self.sector(buffer.len())?;
        let Some(first) = buffer.first_chunk_mut::<SECTOR>() else { return Ok(0) };
        if sector >= self.sectors {
            return Ok(0);
        }
        self.read_sector(sector, first)?;
        self.at += SECTOR as u64;
        Ok(SECTOR)
    }
}

impl<S: Spi> Write for SdCard<S> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        let sector = self.sector(buffer.len())?;
        if buffer.is_empty() {
            return Ok(0);
        }
        self.write_sectors(sector, buffer)?;
        self.at += buffer.len() as u64;
        Ok(buffer.len())
    }

    /// Nothing waits: a write is over when the card is no longer busy.
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl<S: Spi> Seek for SdCard<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ErrorKind> {
        let end = u64::from(self.sectors) * SECTOR as u64;
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[path = "sd_tests.rs"]
mod tests;
