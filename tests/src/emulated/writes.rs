//! The log of QEMU's `blklogwrites`, in the form of the kernel's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock, then for each
//! write a sector that tells of it, and its data.

use std::fs;
use std::path::Path;

const SECTOR: usize = 512;
const MAGIC: u64 = 0x006A_7366_7773_6872;

/// A write, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedWrite {
    /// The first byte of it on the card.
    pub at: u64,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// All writes of a log, oldest first, also of one whose QEMU was killed.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn logged_writes(log: &Path) -> Vec<LoggedWrite> {
    let log = fs::read(log).expect("a log");
    assert_eq!(u64_at(&log, 0), Some(MAGIC), "no log of writes");
    parse(&log)
}

fn parse(log: &[u8]) -> Vec<LoggedWrite> {
    let (mut writes, mut at) = (Vec::new(), SECTOR);
    // How many there are is noted in the superblock only now and then: an entry without
    // sectors and flags is where nothing was written yet.
    while let (Some(sector), Some(count)) = (u64_at(log, at), u64_at(log, at + 8)) {
        let flags = u64_at(log, at + 16).unwrap_or(0);
        if count == 0 && flags == 0 {
            break;
        }
        at += SECTOR;
        let Some(bytes) = log.get(at..at + count as usize * SECTOR) else { break };
        if count > 0 {
            writes.push(LoggedWrite { at: sector * SECTOR as u64, bytes: bytes.to_vec() });
        }
        at += bytes.len();
    }
    writes
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_come_out_as_they_were_logged_and_a_flush_is_none() {
        let sector = |numbers: [u64; 4]| {
            let mut sector = numbers.map(u64::to_le_bytes).concat();
            sector.resize(SECTOR, 0);
            sector
        };
        let mut log = sector([MAGIC, 1, 0, 512]);
        log.extend(sector([7, 2, 0, 0]));
        log.extend([0xAB; 2 * SECTOR]);
        // A flush, and a write whose data the kill has cut off.
        log.extend(sector([0, 0, 1, 0]));
        log.extend(sector([9, 1, 0, 0]));
        let expected = LoggedWrite { at: 3_584, bytes: vec![0xAB; 1_024] };
        assert_eq!(parse(&log), [expected]);
    }
}
