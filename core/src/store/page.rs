//! Pages: sectors that prove themselves, and pairs of them that survive a torn write.
//!
//! A page has 496 bytes of content and a trailer: what it is, whom it belongs to,
//! its sequence number, and a CRC-32 of all before. A twin is two neighbouring pages of
//! which the valid one with the greater number counts; the other one is overwritten next.

use super::disk::{Disk, Sector};
use super::error::{Result, StoreError};
use embedded_io::{Read, Seek, Write};

/// Bytes of content of a page.
pub(super) const PAGE: usize = 496;

/// What a page is: four letters.
pub(super) type Kind = [u8; 4];

/// A page that was read and found valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its sequence number.
    pub(super) sequence: u32,
    /// Which of the two it is: 0 or 1.
    pub(super) which: u32,
}

/// Writes a page's trailer.
pub(super) fn seal(page: &mut Sector, kind: Kind, tag: u32, sequence: u32) {
    let parts = [kind, tag.to_le_bytes(), sequence.to_le_bytes()];
    if let Some(trailer) = page.get_mut(PAGE..PAGE + 12) {
        trailer.copy_from_slice(parts.as_flattened());
    }
    let (content, crc) = page.split_at_mut(PAGE + 12);
    crc.copy_from_slice(&crc32(CRC_START, content).to_le_bytes());
}

/// The sequence number of a valid page of this kind and tag.
pub(super) fn open(page: &Sector, kind: Kind, tag: u32) -> Option<u32> {
    let (content, crc) = page.split_last_chunk::<4>()?;
    let (_, trailer) = content.split_last_chunk::<12>()?;
    let [a, b, c, d, e, f, g, h, sequence @ ..] = *trailer;
    let right = [a, b, c, d] == kind && [e, f, g, h] == tag.to_le_bytes();
    let valid = right && crc32(CRC_START, content).to_le_bytes() == *crc;
    valid.then_some(u32::from_le_bytes(sequence))
}

/// Reads the newer valid one of two pages, `apart` sectors from each other;
/// `None` and zeros when neither is valid.
///
/// # Errors
/// When no valid page can be read because the device fails.
pub(super) fn read_twin<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    (first, apart): (u32, u32),
    (kind, tag): (Kind, u32),
    page: &mut Sector,
) -> Result<Option<Found>> {
    let mut best: Option<Found> = None;
    let mut failure: Option<StoreError> = None;
    let mut here = None;
    for which in 0..2 {
        match disk.read(first.saturating_add(which * apart), page) {
            Err(error) => failure = Some(error),
            Ok(()) => {
                let sequence = open(page, kind, tag);
                if let Some(sequence) = sequence.filter(|&s| best.is_none_or(|b| s > b.sequence)) {
                    best = Some(Found { sequence, which });
                }
            }
        }
        here = Some(which);
    }
    let Some(found) = best else {
        page.fill(0);
        return failure.map_or(Ok(None), Err);
    };
    // A failed read may have left anything in the page.
    if here != Some(found.which) || failure.is_some() {
        disk.read(first.saturating_add(found.which * apart), page)?;
        if open(page, kind, tag) != Some(found.sequence) {
            return Err(StoreError::Damaged);
        }
    }
    Ok(Some(found))
}

/// Seals a page and writes it over the older one of its twin; which one that was.
pub(super) fn write_twin<D: Read + Write + Seek>(
    disk: &mut Disk<D>,
    (first, apart): (u32, u32),
    (kind, tag): (Kind, u32),
    page: &mut Sector,
    before: Option<Found>,
) -> Result<Found> {
    let next = before.map_or(Found { sequence: 1, which: 0 }, |before| Found {
        sequence: before.sequence.saturating_add(1),
        which: 1 - before.which.min(1),
    });
    seal(page, kind, tag, next.sequence);
    disk.write(first.saturating_add(next.which * apart), page)?;
    Ok(next)
}

/// What a CRC-32 begins with.
pub(super) const CRC_START: u32 = 0;

/// CRC-32 (IEEE 802.3, as in RFC 1952), a byte at a time: `crc` is the one of what came
/// before, [`CRC_START`] at the beginning. A table of 16 entries would save 1 KB of flash and
/// take twice as long, and every sector of a map or a finder goes through here.
pub(super) fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    let mut crc = !crc;
    for &byte in bytes {
        crc = (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)];
    }
    !crc
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_catalogues() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(CRC_START, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(crc32(CRC_START, b"1234"), b"56789"), 0xCBF4_3926);
    }

    #[test]
    fn a_page_is_valid_only_whole_and_as_what_it_was_sealed() {
        let mut page = [7; 512];
        seal(&mut page, *b"test", 9, 5);
        assert_eq!(open(&page, *b"test", 9), Some(5));
        assert_eq!(open(&page, *b"tesu", 9), None);
        assert_eq!(open(&page, *b"test", 8), None);
        for at in 0..512 {
            let mut torn = page;
            torn[at] ^= 0x10;
            assert_eq!(open(&torn, *b"test", 9), None, "byte {at}");
        }
    }
}
