//! Finds partitions in a master boot record, and reads one small file from the root
//! directory of a FAT12, FAT16 or FAT32 file system (Microsoft, "FAT: General Overview
//! of On-Disk Format", 1.03).

use embedded_io::{Error as _, ErrorKind, Read, Seek, SeekFrom};

/// Bytes of a sector of what is read here.
const SECTOR: usize = 512;
/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Sectors of a root directory that are looked through.
const MOST_SECTORS: u32 = 64;

/// A partition: its type, first byte and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its type in the master boot record.
    pub kind: u8,
    /// Its first byte.
    pub base: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Partition type of the chunk store: one that no other system claims.
pub const STORE_KIND: u8 = 0xFC;

/// The partitions of a disk, in the order of its table.
///
/// # Errors
/// When the disk cannot be read; one without a table has no partitions.
pub fn partitions<D: Read + Seek>(disk: &mut D) -> Result<[Option<Place>; 4], ErrorKind> {
    let mut sector = [0; SECTOR];
    read_at(disk, 0, &mut sector)?;
    let mut found = [None; 4];
    if sector[510..] != [0x55, 0xAA] {
        return Ok(found);
    }
    for (place, entry) in found.iter_mut().zip(sector[446..510].as_chunks::<16>().0) {
        let (first, count) = (u32_at(entry, 8), u32_at(entry, 12));
        if entry[4] != 0 && count != 0 {
            let (base, len) = (u64::from(first) * 512, u64::from(count) * 512);
            *place = Some(Place { kind: entry[4], base, len });
        }
    }
    Ok(found)
}

/// Reads the file `name` (eight and three characters, padded with spaces) of the file
/// system at `base` into `file`; its length, or `None` where there is no such file.
///
/// The file lies in one cluster; more of it than that, or than fits, is not read.
///
/// # Errors
/// When the disk cannot be read.
pub fn read_file<D: Read + Seek>(
    disk: &mut D,
    base: u64,
    name: &[u8; 11],
    file: &mut [u8],
) -> Result<Option<usize>, ErrorKind> {
    let mut sector = [0; SECTOR];
    read_at(disk, base, &mut sector)?;
    let Some(layout) = Layout::of(&sector) else { return Ok(None) };
    for number in 0..layout.root_sectors {
        let at = base + u64::from(layout.root.saturating_add(number)) * SECTOR as u64;
        read_at(disk, at, &mut sector)?;
        let entries = sector.as_chunks::<ENTRY>().0.iter();
        let mut entries = entries.take_while(|entry| entry[0] != 0);
        // A directory, a volume's label or a long name is no file.
        if let Some(entry) = entries.find(|entry| entry[..11] == *name && entry[11] & 0x18 == 0) {
            let cluster = u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26));
            let Some(first) = layout.sector_of(cluster) else { return Ok(None) };
            let size = usize::try_from(u32_at(entry, 28)).unwrap_or(usize::MAX);
            let len = size.min(file.len()).min(layout.cluster as usize * SECTOR);
            let at = base + u64::from(first) * SECTOR as u64;
            let pieces = file.chunks_mut(SECTOR).take(len.div_ceil(SECTOR));
            for (number, piece) in (0_u64..).zip(pieces) {
                read_at(disk, at + number * SECTOR as u64, &mut sector)?;
                piece.iter_mut().zip(&sector).for_each(|(place, &byte)| *place = byte);
            }
            return Ok(Some(len));
        }
    }
    Ok(None)
}

/// Where things lie, in sectors from the beginning of the file system.
struct Layout {
    /// The root directory.
    root: u32,
    root_sectors: u32,
    /// The first cluster, which has the number 2.
    data: u32,
    /// Sectors of a cluster.
    cluster: u32,
}

impl Layout {
    fn of(boot: &[u8; SECTOR]) -> Option<Self> {
        let cluster = u32::from(boot[13]);
        if boot[510..] != [0x55, 0xAA] || usize::from(u16_at(boot, 11)) != SECTOR || cluster == 0 {
            return None;
        }
        let reserved = u32::from(u16_at(boot, 14));
        let small = u32::from(u16_at(boot, 22));
        let table = if small != 0 { small } else { u32_at(boot, 36) };
        let tables = table.checked_mul(boot[16].into())?;
        let after = reserved.checked_add(tables)?;
        let entries = u32::from(u16_at(boot, 17));
        let fixed = entries.div_ceil((SECTOR / ENTRY) as u32);
        let data = after.checked_add(fixed)?;
        if fixed > 0 {
            return Some(Self { root: after, root_sectors: fixed, data, cluster });
        }
        // FAT32: the root directory is a file; its first cluster is looked through.
        let layout = Self { root: 0, root_sectors: cluster.min(MOST_SECTORS), data, cluster };
        Some(Self { root: layout.sector_of(u32_at(boot, 44))?, ..layout })
    }

    fn sector_of(&self, cluster: u32) -> Option<u32> {
        cluster.checked_sub(2)?.checked_mul(self.cluster)?.checked_add(self.data)
    }
}

/// Reads a whole sector.
fn read_at<D: Read + Seek>(
    disk: &mut D,
    at: u64,
    buffer: &mut [u8; SECTOR],
) -> Result<(), ErrorKind> {
    disk.seek(SeekFrom::Start(at)).map_err(|error| error.kind())?;
    disk.read_exact(buffer).map_err(|error| match error {
        embedded_io::ReadExactError::UnexpectedEof => ErrorKind::InvalidData,
        embedded_io::ReadExactError::Other(error) => error.kind(),
    })
}

/// A field; zero beyond the end, where none of ours is.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    field.map_or(0, |field| u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};
    use std::vec;
    use std::vec::Vec;

    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};

    use super::*;
    use crate::testing::MemoryDisk;

    const BASE: usize = 63 * 512;

    /// A disk with a partition table and a file system made by another implementation.
    fn card(sectors: u32, fat: FatType, files: &[(&str, &[u8])]) -> MemoryDisk {
        let mut volume = Cursor::new(vec![0; sectors as usize * 512]);
        format_volume(&mut volume, FormatVolumeOptions::new().fat_type(fat)).unwrap();
        {
            let system = FileSystem::new(&mut volume, FsOptions::new()).unwrap();
            for (name, content) in files {
                let mut file = system.root_dir().create_file(name).unwrap();
                file.write_all(content).unwrap();
            }
        }
        let mut disk = MemoryDisk::new(BASE);
        disk.bytes[446 + 4] = 0x0E;
        disk.bytes[446 + 8..446 + 12].copy_from_slice(&63_u32.to_le_bytes());
        disk.bytes[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
        disk.bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        disk.bytes.extend(volume.into_inner());
        disk
    }

    #[test]
    fn a_file_is_found_on_cards_that_others_have_formatted() {
        let text: Vec<u8> = (0..900_u32).map(|n| (n % 251) as u8).collect();
        for (sectors, fat) in
            [(2_000, FatType::Fat12), (20_000, FatType::Fat16), (140_000, FatType::Fat32)]
        {
            let files =
                [("a long name.text", &b"x"[..]), ("enrol.bak", b"y"), ("ENROL.TXT", &text)];
            let mut disk = card(sectors, fat, &files);
            let expected = Place { kind: 0x0E, base: BASE as u64, len: u64::from(sectors) * 512 };
            assert_eq!(partitions(&mut disk).unwrap(), [Some(expected), None, None, None]);
            let mut read = [0; 1_024];
            let found = read_file(&mut disk, BASE as u64, b"ENROL   TXT", &mut read);
            // No more than a cluster of it, which may be one sector.
            let len = found.unwrap().unwrap();
            assert!(len >= 512 && read[..len] == text[..len], "{fat:?}: {len}");
            let other = read_file(&mut disk, BASE as u64, b"OTHER   TXT", &mut read);
            assert_eq!(other, Ok(None));
        }
    }

    #[test]
    fn a_disk_of_anything_else_has_neither_partitions_nor_files() {
        for byte in [0, 0xFF, 0x55] {
            let mut disk = MemoryDisk::new(1 << 16);
            disk.bytes.fill(byte);
            assert_eq!(partitions(&mut disk).unwrap(), [None; 4]);
            let found = read_file(&mut disk, 0, b"ENROL   TXT", &mut [0; 64]);
            assert_eq!(found, Ok(None));
        }
        assert!(partitions(&mut MemoryDisk::new(100)).is_err());
    }
}
