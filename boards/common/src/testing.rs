//! A disk in memory, for tests.

use std::vec;
use std::vec::Vec;

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

/// A disk of zeros.
#[derive(Debug)]
pub(crate) struct MemoryDisk {
    pub(crate) bytes: Vec<u8>,
    at: usize,
}

impl MemoryDisk {
    pub(crate) fn new(len: usize) -> Self {
        Self { bytes: vec![0; len], at: 0 }
    }
}

impl ErrorType for MemoryDisk {
    type Error = ErrorKind;
}

impl Read for MemoryDisk {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let from = self.bytes.get(self.at..).unwrap_or(&[]);
        let len = buffer.len().min(from.len());
        buffer[..len].copy_from_slice(&from[..len]);
        self.at += len;
        Ok(len)
    }
}

impl Write for MemoryDisk {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        let len = buffer.len().min(self.bytes.len().saturating_sub(self.at));
        self.bytes[self.at..self.at + len].copy_from_slice(&buffer[..len]);
        self.at += len;
        Ok(len)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Seek for MemoryDisk {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ErrorKind> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.bytes.len() as u64).checked_add_signed(by),
            SeekFrom::Current(by) => (self.at as u64).checked_add_signed(by),
        };
        let at = at.ok_or(ErrorKind::InvalidInput)?;
        self.at = at as usize;
        Ok(at)
    }
}
