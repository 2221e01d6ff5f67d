//! Cards for boards: a FAT partition with `ENROL.TXT`, and one for the chunk store.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use fscommon::StreamSlice;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Sectors of a card: 64 MiB, for emulators want a power of two.
const CARD: u64 = 131_072;
/// First sector and sectors of the FAT partition.
const FAT: (u64, u64) = (2_048, 16_384);
/// Types of the two partitions: FAT16, and the store's own.
const KINDS: (u8, u8) = (0x0E, 0xFC);

/// What stands in `ENROL.TXT`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The enrolment code.
    pub code: String,
    /// How the board wants to be called.
    pub name: Option<String>,
    /// Its address and the length of its network, such as `10.77.0.9/16`; else by DHCP.
    pub address: Option<String>,
}

/// Writes `ENROL.TXT` to a card, with a fresh seed; makes the card where there is none.
///
/// # Errors
/// When the file cannot be written, or is no card.
pub fn prepare(path: &Path, settings: &Settings) -> io::Result<()> {
    let is_new = !path.exists();
    let mut card =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    if is_new {
        card.set_len(CARD * SECTOR)?;
        card.write_all(&table())?;
    }
    let begin = FAT.0 * SECTOR;
    let mut volume = StreamSlice::new(card, begin, begin + FAT.1 * SECTOR)?;
    if is_new {
        let options = FormatVolumeOptions::new().fat_type(FatType::Fat16).bytes_per_cluster(1_024);
        format_volume(&mut volume, options)?;
        volume.seek(SeekFrom::Start(0))?;
    }
    let system = FileSystem::new(volume, FsOptions::new())?;
    let mut file = system.root_dir().create_file("ENROL.TXT")?;
    file.truncate()?;
    file.write_all(text(settings)?.as_bytes())?;
    file.flush()
}

/// The file, as a PC would write it.
fn text(settings: &Settings) -> io::Result<String> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let mut text = format!("{}\r\n", settings.code);
    for (word, value) in [("name", &settings.name), ("address", &settings.address)] {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = write!(text, "{word} {value}\r\n");
        }
    }
    text.push_str("seed ");
    for byte in seed {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("\r\n");
    Ok(text)
}

/// The master boot record.
fn table() -> [u8; SECTOR as usize] {
    let mut record = [0; SECTOR as usize];
    let store = FAT.0 + FAT.1;
    let partitions = [(KINDS.0, FAT.0, FAT.1), (KINDS.1, store, CARD - store)];
    for (number, (kind, first, sectors)) in partitions.into_iter().enumerate() {
        let entry = &mut record[446 + number * 16..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&(first as u32).to_le_bytes());
        entry[12..].copy_from_slice(&(sectors as u32).to_le_bytes());
    }
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    record
}
