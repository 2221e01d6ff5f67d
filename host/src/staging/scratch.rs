//! Records that come before they can be judged: kept, bounded, judged later.

use std::collections::HashSet;

use fleetcast_core::wire::control::Object;

use crate::disk::{self, Disk, read_exact};

/// Most bytes that are kept (design: bounded scratch).
const SCRATCH: u64 = 64 * 1024 * 1024;

/// Chunks of unknown truth, in a file that is never trusted after a restart.
#[derive(Debug)]
pub(crate) struct Scratch<D: Disk> {
    file: D::File,
    end: u64,
    kept: Vec<Kept>,
    names: HashSet<(Object, u32)>,
}

/// Where a chunk lies in the scratch file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) object: Object,
    pub(crate) ordinal: u32,
    offset: u64,
    len: u32,
}

impl<D: Disk> Scratch<D> {
    /// An empty scratch in this file.
    pub(crate) fn new(file: D::File) -> Self {
        Self { file, end: 0, kept: Vec::new(), names: HashSet::new() }
    }

    /// Whether something claims to be this chunk.
    pub(crate) fn has(&self, object: Object, ordinal: u32) -> bool {
        self.names.contains(&(object, ordinal))
    }

    /// Keeps a chunk; `false` when there is no room.
    pub(crate) fn keep(
        &mut self,
        disk: &D,
        object: Object,
        ordinal: u32,
        chunk: &[u8],
    ) -> disk::Result<bool> {
        let end = self.end + chunk.len() as u64;
        if end > SCRATCH {
            return Ok(false);
        }
        disk.write_at(&self.file, self.end, chunk)?;
        self.kept.push(Kept { object, ordinal, offset: self.end, len: chunk.len() as u32 });
        self.names.insert((object, ordinal));
        self.end = end;
        Ok(true)
    }

    /// Takes a chunk out into `chunk`: the last one kept of those that `ready` picks.
    pub(crate) fn take(
        &mut self,
        disk: &D,
        ready: &dyn Fn(Object, u32) -> bool,
        chunk: &mut Vec<u8>,
    ) -> disk::Result<Option<Kept>> {
        let Some(index) = self.kept.iter().rposition(|kept| ready(kept.object, kept.ordinal))
        else {
            return Ok(None);
        };
        let kept = self.kept.swap_remove(index);
        self.names.remove(&(kept.object, kept.ordinal));
        chunk.resize(kept.len as usize, 0);
        read_exact(disk, &self.file, kept.offset, chunk)?;
        if self.kept.is_empty() {
            self.end = 0;
            disk.set_len(&self.file, 0)?;
        }
        Ok(Some(kept))
    }
}
