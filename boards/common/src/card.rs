//! A card as a person prepares it: a FAT partition with `ENROL.TXT`, which any PC can
//! write, and a partition of its own for the chunk store.

use embedded_io::ErrorKind;

use crate::fat::{Place, STORE_KIND, partitions, read_file};
use crate::partition::Disk;

const NAME: &[u8; 11] = b"ENROL   TXT";
/// Types of partitions that hold FAT: 12, 16 (small, large, by blocks), 32 (two kinds).
const FAT_KINDS: [u8; 6] = [0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E];

/// What is on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Length of `ENROL.TXT`; 0 where there is none.
    pub settings: usize,
    /// Where the store is; `None` where there is no partition for it.
    pub store: Option<Place>,
}

/// Looks through a card, and reads `ENROL.TXT` to the front of `file`, which has room for
/// `settings::MAX_FILE` bytes.
///
/// # Errors
/// When the card cannot be read.
pub fn look(disk: &mut impl Disk, file: &mut [u8]) -> Result<Found, ErrorKind> {
    let mut found = Found { settings: 0, store: None };
    for place in partitions(disk)?.into_iter().flatten() {
        if place.kind == STORE_KIND {
            found.store.get_or_insert(place);
        } else if FAT_KINDS.contains(&place.kind) && found.settings == 0 {
            found.settings = read_file(disk, place.base, NAME, file)?.unwrap_or(0);
        }
    }
    Ok(found)
}
