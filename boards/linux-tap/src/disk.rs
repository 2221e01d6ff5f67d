//! A file as a disk.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

/// A file whose `flush` is a barrier.
#[derive(Debug)]
pub(crate) struct FileDisk(pub(crate) File);

impl ErrorType for FileDisk {
    type Error = ErrorKind;
}

impl Read for FileDisk {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).map_err(kind)
    }
}

impl Write for FileDisk {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(buffer).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.sync_data().map_err(kind)
    }
}

impl Seek for FileDisk {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ErrorKind> {
        let to = match to {
            SeekFrom::Start(at) => io::SeekFrom::Start(at),
            SeekFrom::End(by) => io::SeekFrom::End(by),
            SeekFrom::Current(by) => io::SeekFrom::Current(by),
        };
        self.0.seek(to).map_err(kind)
    }
}

// By value, for `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn kind(error: io::Error) -> ErrorKind {
    eprintln!("card: {error}");
    ErrorKind::Other
}
