//! The device, in whole sectors.

use embedded_io::{Error as _, ErrorKind, Read, ReadExactError, Seek, SeekFrom, Write};

use super::error::{Result, StoreError};
use crate::limits::SECTOR;

/// The bytes of one sector.
pub(super) type Sector = [u8; SECTOR];

/// A device that is read and written in whole sectors, and not trusted after a
/// write that failed.
pub(super) struct Disk<D> {
    device: D,
    /// How many sectors it has.
    sectors: u32,
    failed: bool,
    /// Something was written since the last barrier.
    unsynced: bool,
}

impl<D: Read + Write + Seek> Disk<D> {
    /// Asks a device for its size.
    pub(super) fn new(device: D) -> core::result::Result<Self, (D, StoreError)> {
        let mut disk = Self { device, sectors: 0, failed: false, unsynced: false };
        match disk.device.seek(SeekFrom::End(0)) {
            Ok(bytes) => {
                let sectors = bytes / SECTOR as u64;
                // Positions are kept in 32 bits: 2 TiB are used at most.
                disk.sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
                Ok(disk)
            }
            Err(error) => Err((disk.device, StoreError::Device(error.kind()))),
        }
    }

    pub(super) const fn sectors(&self) -> u32 {
        self.sectors
    }

    pub(super) fn into_device(self) -> D {
        self.device
    }

    /// Reads whole sectors.
    pub(super) fn read(&mut self, sector: u32, into: &mut [u8]) -> Result<()> {
        self.seek(sector, into.len())?;
        self.device.read_exact(into).map_err(|error| match error {
            ReadExactError::UnexpectedEof => StoreError::Device(ErrorKind::Other),
            ReadExactError::Other(error) => StoreError::Device(error.kind()),
        })
    }

    /// Writes whole sectors; not durable before [`Self::flush`].
    pub(super) fn write(&mut self, sector: u32, bytes: &[u8]) -> Result<()> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        self.unsynced = true;
        let written = self
            .seek(sector, bytes.len())
            .and_then(|()| self.device.write_all(bytes).map_err(device_error));
        self.failed |= written.is_err();
        written
    }

    /// The barrier: what was written is durable before anything that is written later.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        if self.unsynced {
            let flushed = self.device.flush().map_err(device_error);
            self.failed |= flushed.is_err();
            flushed?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn seek(&mut self, sector: u32, len: usize) -> Result<()> {
        let needed = u64::from(sector) + (len / SECTOR) as u64;
        if !len.is_multiple_of(SECTOR) || needed > u64::from(self.sectors) {
            let needed = u32::try_from(needed).unwrap_or(u32::MAX);
            return Err(StoreError::Truncated { needed, found: self.sectors });
        }
        let start = u64::from(sector) * SECTOR as u64;
        self.device.seek(SeekFrom::Start(start)).map_err(device_error)?;
        Ok(())
    }
}

fn device_error<E: embedded_io::Error>(error: E) -> StoreError {
    StoreError::Device(error.kind())
}
