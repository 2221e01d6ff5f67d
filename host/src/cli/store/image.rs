//! An image of a card as a device that is never written.

use std::fs::File;
use std::io;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};
use fleetcast_core::limits::{MAX_CHUNK, MAX_NAME, SECTOR};
use fleetcast_core::store::{Memory, Step, Store, StoreError};
use fleetcast_core::tree::entry::{ALL_DEPTHS, NameSlot};
use fleetcast_core::wire::control::ReleaseName;

use super::failure::failure;
use crate::error::Failure;

/// Where the partitions of a disk are told in its first sector, and how many.
const TABLE: usize = 446;
const PARTITIONS: usize = 4;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Image {
    file: File,
    start: u64,
    len: u64,
    at: u64,
}

/// The memory of a store on a PC: any chunk, any depth.
pub(super) struct Lent {
    chunk: Vec<u8>,
    sectors: [[u8; SECTOR]; 2],
    extents: Vec<u8>,
    names: Vec<NameSlot>,
}

impl Lent {
    pub(super) fn new() -> Self {
        Self {
            chunk: vec![0; MAX_CHUNK],
            sectors: [[0; SECTOR]; 2],
            extents: vec![0; 8_192],
            names: vec![NameSlot::EMPTY; ALL_DEPTHS],
        }
    }

    fn lend(&mut self) -> Memory<'_> {
        let [any, map] = &mut self.sectors;
        let (chunk, extents, names) = (&mut self.chunk, &mut self.extents, &mut self.names);
        Memory { chunk, any, map, extents, names }
    }
}

/// Opens the store in an image: at its beginning, or in one of its partitions.
///
/// # Errors
/// `io`, and those that say what the image is instead.
pub(super) fn open<'l>(path: &Path, lent: &'l mut Lent) -> Result<Store<'l, Image>, Failure> {
    let image = Image::whole(path).map_err(|error| Failure::io(path.display(), &error))?;
    let place = image.find().map_err(|error| Failure::io(path.display(), &error))?;
    let opened = Store::open(place, lent.lend());
    let mut store = opened.map_err(|(_, error)| failure(error))?;
    while store.step().map_err(failure)? == Step::More {}
    Ok(store)
}

/// The directory of a release's group.
pub(super) fn directory(
    store: &mut Store<'_, Image>,
    name: &ReleaseName,
) -> Result<String, Failure> {
    let mut memory = [0; MAX_NAME];
    let directory = store.directory(name, &mut memory).map_err(failure)?;
    Ok(String::from_utf8_lossy(directory).into_owned())
}

impl Image {
    fn whole(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        // A block device has no length of its own.
        let len = file.seek(io::SeekFrom::End(0))?;
        Ok(Self { file, start: 0, len, at: 0 })
    }

    /// The part that holds a store; the whole where none does.
    fn find(mut self) -> io::Result<Self> {
        let whole = (self.start, self.len);
        for place in std::iter::once(whole).chain(self.partitions()?) {
            (self.start, self.len) = place;
            let mut lent = Lent::new();
            match Store::open(self, lent.lend()) {
                Ok(store) => {
                    self = store.into_device();
                    return Ok(self);
                }
                Err((image, StoreError::Foreign | StoreError::Blank)) => self = image,
                Err((image, StoreError::Truncated { .. })) if place != whole => self = image,
                Err((image, _)) => return Ok(image),
            }
        }
        (self.start, self.len) = whole;
        Ok(self)
    }

    /// The partitions of a disk with a master boot record, as far as they lie within it.
    fn partitions(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut sector = [0; SECTOR];
        self.file.seek(io::SeekFrom::Start(self.start))?;
        if self.len < SECTOR as u64 || self.file.read_exact(&mut sector).is_err() {
            return Ok(Vec::new());
        }
        let number = |at: usize| {
            let bytes = sector.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u64::from(u32::from_le_bytes(bytes.unwrap_or_default())) * SECTOR as u64
        };
        if sector[510..] != [0x55, 0xAA] {
            return Ok(Vec::new());
        }
        let entries = (0..PARTITIONS).map(|n| (number(TABLE + 16 * n + 8), TABLE + 16 * n + 12));
        let within = entries.map(|(start, len)| (start, number(len)));
        let all = self.len;
        let within = within.filter(|(start, len)| *start > 0 && *len > 0 && *start < all);
        Ok(within.map(|(start, len)| (start, len.min(all - start))).collect())
    }
}

impl ErrorType for Image {
    type Error = io::Error;
}

impl Read for Image {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        self.file.seek(io::SeekFrom::Start(self.start + self.at))?;
        let read = self.file.read(&mut into[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Image {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Image {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
