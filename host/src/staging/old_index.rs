//! Index chunks that installed releases already have: most of a release's index
//! is that of the one before, so it does not cross the network again.
//!
//! 80 bytes of memory for each index chunk of an installed release, while the
//! index of the new one is not whole.

use std::collections::HashMap;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::Ordinal;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::tree::index::TreeTop;

use super::area::{Area, Held, INDEX, TOP, held_name};
use super::index::{BadIndex, Index};
use crate::disk::{self, Access, Disk, DiskError, read_exact, read_small};

/// Index chunks by their ids.
pub(crate) struct OldIndex<D: Disk> {
    files: Vec<D::File>,
    /// Number of the file, offset and length.
    chunks: HashMap<Digest, (usize, u64, u32)>,
    /// The first chunk of the new index that was not looked for yet.
    next: u32,
}

impl<D: Disk> OldIndex<D> {
    /// Looks through what is installed; what cannot be read only saves nothing.
    pub(crate) fn open(area: &Area<D>) -> disk::Result<Self> {
        let mut old = Self { files: Vec::new(), chunks: HashMap::new(), next: 0 };
        for held in area.held()? {
            // Rot of ours, or a record of an older version: its chunks are sent again.
            let _ = old.add(area, &held);
        }
        Ok(old)
    }

    /// Nothing to take from.
    pub(crate) fn none() -> Self {
        Self { files: Vec::new(), chunks: HashMap::new(), next: u32::MAX }
    }

    fn add(&mut self, area: &Area<D>, held: &Held) -> Result<(), BadIndex> {
        let disk = &area.disk;
        let record = disk.open_dir(&area.ours, held_name(held.release.group).as_bytes())?;
        let top = read_small(disk, &record, TOP, MAX_ROOT)?;
        let file = disk.open_file(&record, INDEX, Access::Read)?;
        let tree = TreeTop { top: &top, ..held.tree.clone() };
        let index = Index::resume(disk, file, &tree)?;
        index.each_held(&mut |reference, offset| {
            self.chunks.insert(reference.id, (self.files.len(), offset, reference.len));
        });
        self.files.push(index.file);
        Ok(())
    }

    /// Whether the new index has come to know chunks that were not looked for yet.
    pub(crate) const fn is_behind(&self, index: &Index<D>) -> bool {
        self.next < index.known()
    }

    /// Takes what there is of the chunks that the new index knows by now.
    pub(crate) fn fill(&mut self, disk: &D, index: &mut Index<D>) -> Result<(), BadIndex> {
        let mut chunk = Vec::new();
        while let Some(id) = index.id(self.next) {
            if !index.held.has(self.next)
                && let Some(&(file, offset, len)) = self.chunks.get(&id)
            {
                chunk.resize(len as usize, 0);
                match read_exact(disk, &self.files[file], offset, &mut chunk) {
                    // Hashed again there, like any that arrives.
                    Ok(()) => {
                        index.put(disk, Ordinal(self.next), &chunk)?;
                    }
                    Err(DiskError::Short) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.next += 1;
        }
        Ok(())
    }
}
