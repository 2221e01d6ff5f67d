//! Small records that must survive: who is trusted, what was accepted, the boot
//! counter, the seed, and notes of the firmware's own.
//!
//! Each has two places of four sectors. New content goes to the place of the older
//! copy, and when it is durable there to the other one too: a cut leaves the old
//! content or the new one, and a sector that goes bad later loses neither.

use embedded_io::{Read, Seek, Write};

use super::disk::{Disk, Sector};
use super::error::{Result, StoreError};
use super::page::{CRC_START, crc32};
use super::superblock::{Fields, RECORDS, STATE, put};
use crate::limits::{SECTOR, STORE_GROUPS, STORE_NOTE, STORE_NOTES, STORE_RECORD_SECTORS};

const MAGIC: [u8; 4] = *b"fcST";
/// Kind, record, sequence, length, checksum.
const HEAD: usize = 20;
const SECTORS: u32 = STORE_RECORD_SECTORS as u32;

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The signed authority document.
    Authority,
    /// The highest accepted order of each group.
    Orders,
    /// How often the board has started.
    Boot,
    /// What its random numbers begin with.
    Seed,
    /// A membership.
    Membership(u8),
    /// A note of the firmware's.
    Note(u8),
}

impl Record {
    const fn number(self) -> u32 {
        match self {
            Self::Authority => 0,
            Self::Orders => 1,
            Self::Boot => 2,
            Self::Seed => 3,
            Self::Membership(n) => 4 + n as u32,
            Self::Note(n) => 4 + STORE_GROUPS as u32 + n as u32,
        }
    }

    const fn place(self, which: u32) -> u32 {
        STATE + (self.number() * 2 + which) * SECTORS
    }
}

/// A valid copy of a record.
#[derive(Clone, Copy)]
struct Copy {
    sequence: u32,
    which: u32,
    len: usize,
}

/// Reads a record into the front of `out`; its length, 0 when there is none.
///
/// # Errors
/// [`StoreError::Length`] when `out` is shorter than the record.
pub(super) fn read<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut Sector,
    record: Record,
    out: &mut [u8],
) -> Result<usize> {
    let Some(copy) = newest(disk, page, record)? else { return Ok(0) };
    let (bound, found) = (copy.len, out.len());
    let out = out.get_mut(..copy.len).ok_or(StoreError::Length { bound, found })?;
    let mut filled = 0;
    for sector in 0..SECTORS {
        if filled == out.len() {
            break;
        }
        disk.read(record.place(copy.which) + sector, page)?;
        let text = page.get(if sector == 0 { HEAD } else { 0 }..).unwrap_or(&[]);
        let rest = out.get_mut(filled..).unwrap_or(&mut []);
        let count = text.len().min(rest.len());
        put(rest, 0, &[text.get(..count).unwrap_or(&[])]);
        filled += count;
    }
    Ok(copy.len)
}

/// Reads the beginning of a record, as much as fits `out`; the length of all of it.
pub(super) fn read_front<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut Sector,
    record: Record,
    out: &mut [u8],
) -> Result<usize> {
    let Some(copy) = newest(disk, page, record)? else { return Ok(0) };
    disk.read(record.place(copy.which), page)?;
    let text = page.get(HEAD..).unwrap_or(&[]);
    let len = out.len().min(copy.len).min(text.len());
    put(out, 0, &[text.get(..len).unwrap_or(&[])]);
    Ok(copy.len)
}

/// Writes a record to both places, one after the other is durable.
pub(super) fn write<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut Sector,
    record: Record,
    parts: &[&[u8]],
) -> Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > STORE_NOTE {
        return Err(StoreError::Length { bound: STORE_NOTE, found: len });
    }
    let before = newest(disk, page, record)?;
    let which = before.map_or(0, |before| 1 - before.which);
    let sequence = before.map_or(1, |before| before.sequence.saturating_add(1));
    let mut head = [0; HEAD];
    let numbers = [MAGIC, record.number().to_le_bytes(), sequence.to_le_bytes()];
    put(&mut head, 0, &[numbers.as_flattened(), &(len as u32).to_le_bytes()]);
    let front = head.get(..HEAD - 4).unwrap_or(&[]);
    let crc = parts.iter().fold(crc32(CRC_START, front), |crc, part| crc32(crc, part));
    put(&mut head, HEAD - 4, &[&crc.to_le_bytes()]);
    // What came before is durable before this: a record never runs ahead.
    disk.flush()?;
    for which in [which, 1 - which] {
        let mut bytes = head.iter().chain(parts.iter().copied().flatten());
        for sector in 0..((HEAD + len).div_ceil(SECTOR) as u32) {
            page.fill(0);
            page.iter_mut().zip(&mut bytes).for_each(|(place, &byte)| *place = byte);
            disk.write(record.place(which) + sector, page)?;
        }
        disk.flush()?;
    }
    Ok(())
}

/// The newer valid copy of a record.
fn newest<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut Sector,
    record: Record,
) -> Result<Option<Copy>> {
    let first = copy(disk, page, record, 0);
    let second = copy(disk, page, record, 1);
    match (first, second) {
        (Ok(Some(first)), Ok(Some(second))) => {
            Ok(Some(if second.sequence > first.sequence { second } else { first }))
        }
        (Ok(Some(one)), _) | (_, Ok(Some(one))) => Ok(Some(one)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(None), Ok(None)) => Ok(None),
    }
}

fn copy<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    page: &mut Sector,
    record: Record,
    which: u32,
) -> Result<Option<Copy>> {
    disk.read(record.place(which), page)?;
    let mut fields = Fields(&page[..]);
    let right = fields.take() == MAGIC && fields.u32() == record.number();
    let (sequence, len, expected) = (fields.u32(), fields.u32() as usize, fields.u32());
    if !right || len > STORE_NOTE {
        return Ok(None);
    }
    let mut crc = crc32(CRC_START, page.get(..HEAD - 4).unwrap_or(&[]));
    let mut left = len;
    for sector in 0..SECTORS {
        if sector > 0 && left > 0 {
            disk.read(record.place(which) + sector, page)?;
        }
        let text = page.get(if sector == 0 { HEAD } else { 0 }..).unwrap_or(&[]);
        let text = text.get(..left.min(text.len())).unwrap_or(&[]);
        crc = crc32(crc, text);
        left -= text.len();
    }
    Ok((crc == expected).then_some(Copy { sequence, which, len }))
}

const _: () = {
    assert!(4 + STORE_GROUPS + STORE_NOTES <= RECORDS as usize);
    assert!(HEAD + STORE_NOTE <= STORE_RECORD_SECTORS * SECTOR);
};
