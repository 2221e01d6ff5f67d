//! Chunks of installed releases by their names, for patches: what a patch copies
//! from is read here, and hashed before it is used.
//!
//! The file `predecessors` holds 28 bytes per chunk, ordered by name: name, number
//! of the release, its file (or its index), offset and length. It is made when the
//! first patch comes, and never synced. Memory: a table of each installed release;
//! while it is made also 32 bytes for each of their chunks.

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, MAX_ROOT};
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::patch::{Patch, ShortId};
use fleetcast_core::tree::reference::ChunkRef;

use super::area::{Area, Held, INDEX, TOP, held_name};
use super::files::{Files, fresh_file};
use super::index::{BadIndex, Index};
use super::seed::held_table;
use super::table::{Table, TableError};
use crate::disk::{self, Access, Disk, DiskError, read_exact, read_small};

/// Bytes of a chunk's line.
const LINE: usize = 28;
/// Lines written at a time.
const AT_ONCE: usize = 2_048;
/// In place of a file's number: the release's index.
const IN_INDEX: u32 = u32::MAX;

/// What installed releases have, to copy from.
pub(crate) struct Predecessors<D: Disk> {
    releases: Vec<Source<D>>,
    lines: D::File,
    count: u32,
    /// Not all that is installed could be read.
    gaps: bool,
}

/// One installed release.
struct Source<D: Disk> {
    table: Table,
    files: Files<D>,
    index: D::File,
}

/// Why there are no bytes to copy from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// No installed release has a chunk of that name: the patch is not the sender's.
    Unknown,
    /// It was installed, but cannot be read any more, or was changed: no fault of the patch.
    Gone,
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: ShortId,
    release: u32,
    file: u32,
    offset: u64,
    len: u32,
}

impl<D: Disk> Predecessors<D> {
    /// Looks through what is installed; the list goes into a file of `stage`.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub(crate) fn open(area: &Area<D>, stage: &D::Dir) -> disk::Result<Self> {
        let (mut lines, mut releases, mut gaps) = (Vec::new(), Vec::new(), false);
        for held in area.held()? {
            match Source::load(area, &held, releases.len() as u32, &mut lines) {
                Ok((source, whole)) => {
                    releases.push(source);
                    gaps |= !whole;
                }
                Err(_) => {
                    lines.retain(|line| (line.release as usize) < releases.len());
                    gaps = true;
                }
            }
        }
        lines.sort_unstable();
        lines.dedup_by_key(|line| line.name);
        let file = fresh_file(&area.disk, stage, b"predecessors")?;
        for (at, some) in (0..).zip(lines.chunks(AT_ONCE)) {
            let bytes: Vec<u8> = some.iter().flat_map(Line::encode).collect();
            area.disk.write_at(&file, at * (AT_ONCE * LINE) as u64, &bytes)?;
        }
        Ok(Self { releases, lines: file, count: lines.len() as u32, gaps })
    }

    /// Replaces what is in `into` by the bytes of a patch's predecessors, one after the other.
    ///
    /// # Errors
    /// [`Lack`] when one of them is not there.
    pub(crate) fn gather(
        &mut self,
        disk: &D,
        patch: &Patch<'_>,
        into: &mut Vec<u8>,
    ) -> Result<(), Lack> {
        into.clear();
        for name in patch.predecessors() {
            let line = match self.find(disk, name) {
                Ok(Some(line)) => line,
                Ok(None) if self.gaps => return Err(Lack::Gone),
                Ok(None) => return Err(Lack::Unknown),
                Err(_) => return Err(Lack::Gone),
            };
            let from = into.len();
            into.resize(from + line.len as usize, 0);
            self.read(disk, line, &mut into[from..]).map_err(|_| Lack::Gone)?;
            // PROTOCOL R5: what was right when it was installed must be right now.
            if ShortId::of(&Digest::of(&into[from..])) != name {
                return Err(Lack::Gone);
            }
        }
        Ok(())
    }

    fn read(&mut self, disk: &D, line: Line, into: &mut [u8]) -> disk::Result<()> {
        let source = self.releases.get_mut(line.release as usize).ok_or(DiskError::NotFound)?;
        if line.file == IN_INDEX {
            return read_exact(disk, &source.index, line.offset, into);
        }
        let file = source.files.file(disk, &source.table, line.file, Access::Read)?;
        read_exact(disk, file, line.offset, into)
    }

    fn find(&self, disk: &D, name: ShortId) -> disk::Result<Option<Line>> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            let mut bytes = [0; LINE];
            read_exact(disk, &self.lines, u64::from(middle) * LINE as u64, &mut bytes)?;
            let line = Line::decode(&bytes);
            match line.name.cmp(&name) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return Ok(Some(line)),
            }
        }
        Ok(None)
    }
}

impl<D: Disk> Source<D> {
    /// An installed release, with its chunks told to `lines`; whether all of it was read.
    fn load(
        area: &Area<D>,
        held: &Held,
        release: u32,
        lines: &mut Vec<Line>,
    ) -> Result<(Self, bool), TableError> {
        let disk = &area.disk;
        let record = disk.open_dir(&area.ours, held_name(held.release.group).as_bytes())?;
        let line = |file, offset, chunk: ChunkRef| {
            let len = chunk.len.min(MAX_CHUNK as u32);
            Line { name: ShortId::of(&chunk.id), release, file, offset, len }
        };
        let top = read_small(disk, &record, TOP, MAX_ROOT)?;
        let file = disk.open_file(&record, INDEX, Access::Read)?;
        let tree = TreeTop { top: &top, ..held.tree.clone() };
        let index = Index::resume(disk, file, &tree).map_err(|bad| match bad {
            BadIndex::Disk(error) => TableError::Disk(error),
            // A record of ours that contradicts itself is rot.
            BadIndex::Top(_) | BadIndex::List => TableError::Disk(DiskError::Io(0)),
        })?;
        index.each_held(&mut |chunk, offset| lines.push(line(IN_INDEX, offset, chunk)));
        let table = held_table(disk, &record, held, &mut |file, offset, chunk| {
            lines.push(line(file, offset, chunk));
            Ok(())
        })?;
        let top = disk.open_dir(&area.root, held.directory.as_bytes())?;
        let whole = index.is_complete();
        Ok((Self { table, files: Files::new(top), index: index.file }, whole))
    }
}

impl Line {
    fn encode(&self) -> [u8; LINE] {
        let mut bytes = [0; LINE];
        let fields: [&[u8]; 5] = [
            &self.name.0,
            &self.release.to_le_bytes(),
            &self.file.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.len.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        bytes
    }

    fn decode(bytes: &[u8; LINE]) -> Self {
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let mut name = [0; ShortId::LEN];
        name.copy_from_slice(&bytes[..ShortId::LEN]);
        Self {
            name: ShortId(name),
            release: number(8),
            file: number(12),
            offset: u64::from(number(16)) | u64::from(number(20)) << 32,
            // The list is ours, but on a disk: nothing is allocated by what it says alone.
            len: number(24).min(MAX_CHUNK as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_in_its_28_bytes() {
        let line = Line {
            name: ShortId([1, 2, 3, 4, 5, 6, 7, 8]),
            release: 9,
            file: IN_INDEX,
            offset: 0x0102_0304_0506,
            len: 131_072,
        };
        let bytes = line.encode();
        assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[16..24], [6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(Line::decode(&bytes), line);
        assert_eq!(Line::decode(&[0xFF; LINE]).len, 131_072);
    }
}
