//! A part of a disk, as a disk of its own: the chunk store's.

use embedded_io::{Error as _, ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

/// A disk: what a board supplies. `flush` is the barrier: what was written before it
/// survives a power cut that comes after it.
pub trait Disk: Read + Write + Seek {}

impl<D: Read + Write + Seek> Disk for D {}

/// Bytes `base .. base + len` of a disk.
#[derive(Debug)]
pub struct Partition<D> {
    disk: D,
    base: u64,
    len: u64,
    at: u64,
}

impl<D: Disk> Partition<D> {
    /// These bytes of a disk.
    pub const fn new(disk: D, base: u64, len: u64) -> Self {
        Self { disk, base, len, at: 0 }
    }

    /// Bytes of `wanted` that lie in front of the end.
    fn room(&self, wanted: usize) -> usize {
        let left = self.len.saturating_sub(self.at);
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Goes to the place on the disk.
    fn go(&mut self) -> Result<&mut D, ErrorKind> {
        let at = self.base.checked_add(self.at).ok_or(ErrorKind::InvalidInput)?;
        self.disk.seek(SeekFrom::Start(at)).map_err(|error| error.kind())?;
        Ok(&mut self.disk)
    }
}

impl<D> ErrorType for Partition<D> {
    type Error = ErrorKind;
}

impl<D: Disk> Read for Partition<D> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let room = self.room(buffer.len());
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.go()?.read(buffer).map_err(|error| error.kind())?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<D: Disk> Write for Partition<D> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        let room = self.room(buffer.len());
        let Some(fits) = buffer.get(..room).filter(|fits| !fits.is_empty()) else {
            return if buffer.is_empty() { Ok(0) } else { Err(ErrorKind::WriteZero) };
        };
        let written = self.go()?.write(fits).map_err(|error| error.kind())?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.disk.flush().map_err(|error| error.kind())
    }
}

impl<D: Disk> Seek for Partition<D> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ErrorKind> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    #[test]
    fn nothing_outside_a_partition_is_read_or_written() {
        let mut disk = MemoryDisk::new(64);
        disk.bytes.fill(9);
        let mut part = Partition::new(disk, 16, 8);
        assert_eq!(part.seek(SeekFrom::End(0)), Ok(8));
        assert_eq!(part.read(&mut [0; 4]), Ok(0));
        assert_eq!(part.write(&[1]), Err(ErrorKind::WriteZero));
        assert_eq!(part.seek(SeekFrom::Start(5)), Ok(5));
        assert_eq!(part.write(&[1, 2, 3, 4, 5]), Ok(3));
        assert_eq!(part.seek(SeekFrom::Start(0)), Ok(0));
        let mut all = [0; 20];
        assert_eq!(part.read(&mut all), Ok(8));
        assert_eq!(all[..8], [9, 9, 9, 9, 9, 1, 2, 3]);
        assert_eq!(part.disk.bytes[..16], [9; 16]);
        assert_eq!(part.disk.bytes[24..], [9; 40]);
    }
}
