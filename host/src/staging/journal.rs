//! Which content ordinals are durable: batches, appended after their data was
//! synced; a batch becomes durable itself with the sync that follows.
//!
//! A batch is its length in ordinals (4), the ordinals (4 each), and the first
//! 8 bytes of the SHA-256 of both. A torn tail does not read and is cut off;
//! what the journal names is hashed again after a restart anyway.

use fleetcast_core::digest::Digest;

use crate::disk::{self, Disk, read_exact};

/// Most ordinals that a batch may name.
const MAX_BATCH: usize = 1 << 20;

/// The journal of a stage.
#[derive(Debug)]
pub(crate) struct Journal<D: Disk> {
    file: D::File,
    end: u64,
}

impl<D: Disk> Journal<D> {
    /// Reads what is there, tells each ordinal, and cuts a torn tail off.
    pub(crate) fn resume(disk: &D, file: D::File, held: &mut dyn FnMut(u32)) -> disk::Result<Self> {
        let size = disk.stat_file(&file)?.size;
        let mut end = 0_u64;
        while let Some(batch) = read_batch(disk, &file, end, size)? {
            batch[4..batch.len() - 8].chunks_exact(4).for_each(|number| {
                held(u32::from_le_bytes([number[0], number[1], number[2], number[3]]));
            });
            end += batch.len() as u64;
        }
        if end < size {
            disk.set_len(&file, end)?;
        }
        Ok(Self { file, end })
    }

    /// Appends a batch, without a sync. After an error it stands where it stood;
    /// the next batch is written over the failed one.
    pub(crate) fn append(&mut self, disk: &D, ordinals: &[u32]) -> disk::Result<()> {
        for batch in ordinals.chunks(MAX_BATCH) {
            let mut bytes = Vec::with_capacity(12 + 4 * batch.len());
            bytes.extend_from_slice(&(batch.len() as u32).to_le_bytes());
            batch.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
            let check = Digest::of(&bytes);
            bytes.extend_from_slice(&check.0[..8]);
            disk.write_at(&self.file, self.end, &bytes)?;
            self.end += bytes.len() as u64;
        }
        Ok(())
    }

    /// The file, to be synced.
    pub(crate) const fn file(&self) -> &D::File {
        &self.file
    }

    /// Where the next batch goes.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Goes back to `end`: what was appended since then could not be synced.
    /// What still stands behind it is written over, or named twice: no harm.
    pub(crate) const fn rewind(&mut self, end: u64) {
        self.end = end;
    }
}

fn read_batch<D: Disk>(
    disk: &D,
    file: &D::File,
    at: u64,
    size: u64,
) -> disk::Result<Option<Vec<u8>>> {
    let left = size - at;
    if left < 16 {
        return Ok(None);
    }
    let mut count = [0; 4];
    read_exact(disk, file, at, &mut count)?;
    let count = u32::from_le_bytes(count) as usize;
    let len = 12 + 4 * count as u64;
    if count == 0 || count > MAX_BATCH || len > left {
        return Ok(None);
    }
    let mut batch = vec![0; 12 + 4 * count];
    read_exact(disk, file, at, &mut batch)?;
    let (body, check) = batch.split_at(batch.len() - 8);
    let whole = Digest::of(body).0[..8] == *check;
    Ok(whole.then_some(batch))
}
