//! Names and records below the destination root.
//!
//! ```text
//! DIR/GROUP/…                     what is installed
//! DIR/.fleetcast/stage-DIGEST/    a release on its way: root, top, index, journal, tree/
//!                held-GROUP/      what is installed: root, top, index, release
//!                old-GROUP/       the predecessor's files
//!                conflicts-NAME-N/  local changes, kept aside
//!                trash-N/         on its way out
//! ```

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::tree::index::{Levels, TreeTop};
use fleetcast_core::tree::path::Component;
use fleetcast_core::wire::control::ReleaseName;

use crate::disk::{self, Audience, Disk, DiskError, Kind, ensure_dir, read_small, remove_some};

/// The one name in the destination root that is ours.
pub(crate) const OURS: &[u8] = b".fleetcast";
/// The signed root document, in a stage and in a held record.
pub(crate) const ROOT: &[u8] = b"root";
/// The list of index chunks that stands in the root.
pub(crate) const TOP: &[u8] = b"top";
/// The index chunks, level after level.
pub(crate) const INDEX: &[u8] = b"index";
/// The new directory that is being built.
pub(crate) const TREE: &[u8] = b"tree";
/// The old directory, between two renames, where the file system cannot exchange.
pub(crate) const PRIOR: &[u8] = b"prior";
/// Says what a stage is about to activate, and later what is held.
pub(crate) const RELEASE: &[u8] = b"release";
/// Largest record that is read.
const MAX_RECORD: usize = 16 * 1024;

/// A destination directory, opened once.
#[derive(Debug)]
pub struct Area<D: Disk> {
    pub(crate) disk: D,
    /// The destination root.
    pub(crate) root: D::Dir,
    /// Our own directory in it.
    pub(crate) ours: D::Dir,
}

impl<D: Disk> Area<D> {
    /// Opens the destination, and makes our directory in it where there is none.
    ///
    /// # Errors
    /// [`DiskError::Special`] when a link or a file has its name.
    pub fn open(disk: &D) -> disk::Result<Self> {
        let root = disk.root()?;
        let ours = ensure_dir(disk, &root, OURS, Audience::Own)?;
        disk.sync_dir(&root)?;
        Ok(Self { disk: disk.clone(), root, ours })
    }

    /// What is installed, as the records say, without looking at the files; a
    /// release whose directory is gone is not.
    ///
    /// # Errors
    /// When the storage fails; records that cannot be read are left out.
    pub fn held(&self) -> disk::Result<Vec<Held>> {
        let mut held = self.records()?;
        held.retain(|record| {
            let found = self.disk.stat(&self.root, record.directory.as_bytes());
            found.is_ok_and(|stat| stat.kind == Kind::Directory)
        });
        held.sort_by_key(|record| record.release.group);
        Ok(held)
    }

    /// The records of what was installed, in no order; those that cannot be read are left out.
    pub(crate) fn records(&self) -> disk::Result<Vec<Held>> {
        let names = self.disk.list(&self.ours)?.into_iter();
        let records = names.filter(|name| name.starts_with(b"held-")).filter_map(|name| {
            let record = self.disk.open_dir(&self.ours, &name);
            record.and_then(|dir| Held::load(&self.disk, &dir)).ok()
        });
        Ok(records.collect())
    }

    /// Gives up a release that was being staged: one overtaken or cancelled.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn abandon(&self, release: &ReleaseName) -> disk::Result<()> {
        self.discard(&self.ours, stage_name(release).as_bytes())
    }

    /// Moves something of ours out of the way; [`Self::empty_trash`] removes it.
    pub(crate) fn discard(&self, dir: &D::Dir, name: &[u8]) -> disk::Result<()> {
        if absent(self.disk.stat(dir, name))? {
            return Ok(());
        }
        let trash = self.free_name("trash-")?;
        self.disk.rename(dir, name, &self.ours, trash.as_bytes())
    }

    /// Removes what is out of use, at most about `files` files; whether nothing
    /// is left. To be called when there is time: after a start, after each
    /// installation and after [`Self::abandon`]. With many files it is slow.
    ///
    /// # Errors
    /// When something cannot be removed; all else is then.
    pub fn empty_trash(&self, files: u32) -> disk::Result<bool> {
        let mut left = files;
        let mut emptied = Ok(true);
        for name in self.disk.list(&self.ours)? {
            if !name.starts_with(b"trash-") {
                continue;
            }
            match remove_some(&self.disk, &self.ours, &name, &mut left) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // What cannot be removed must not keep the rest.
                Err(error) => emptied = Err(error),
            }
        }
        emptied
    }

    /// A name of ours that is not taken: the prefix and the next number.
    pub(crate) fn free_name(&self, prefix: &str) -> disk::Result<String> {
        let taken = self.disk.list(&self.ours)?;
        let numbers = taken.iter().filter_map(|name| {
            std::str::from_utf8(name).ok()?.strip_prefix(prefix)?.parse::<u64>().ok()
        });
        let next = numbers.max().unwrap_or(0).saturating_add(1);
        Ok(format!("{prefix}{next}"))
    }
}

/// Whether a look-up found nothing; other errors stay errors.
pub(crate) fn absent<T>(found: disk::Result<T>) -> disk::Result<bool> {
    match found {
        Ok(_) => Ok(false),
        Err(DiskError::NotFound) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Name of the directory in which a release is staged.
pub(crate) fn stage_name(release: &ReleaseName) -> String {
    let mut name = format!("stage-{}", release.digest);
    name.truncate("stage-".len() + 16);
    name
}

/// Name of the record of what a group has installed.
pub(crate) fn held_name(group: GroupId) -> String {
    format!("held-{group}")
}

/// Name under which a group's predecessor is kept.
pub(crate) fn old_name(group: GroupId) -> String {
    format!("old-{group}")
}

/// An installed release: which, where, and the numbers of its tree.
///
/// Written into the stage before activation, so that what was begun can be told
/// from what was done: `inode` is that of the new directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The release.
    pub release: ReleaseName,
    /// Its directory in the destination.
    pub directory: String,
    /// Inode of the directory that was built for it.
    pub(crate) inode: u64,
    /// The numbers of its tree, with an empty list.
    pub(crate) tree: TreeTop<'static>,
}

impl Held {
    /// Reads the record in a stage or held directory.
    pub(crate) fn load<D: Disk>(disk: &D, dir: &D::Dir) -> disk::Result<Self> {
        // A record of ours that does not read is rot of the storage.
        Self::decode(&read_small(disk, dir, RELEASE, MAX_RECORD)?).ok_or(DiskError::Io(0))
    }

    /// The record's bytes, with their own digest at the end.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let tree = &self.tree;
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.release.group.0);
        out.extend_from_slice(&self.release.order.reset_epoch.to_le_bytes());
        out.extend_from_slice(&self.release.order.sequence.to_le_bytes());
        out.extend_from_slice(&self.release.digest.0);
        out.extend_from_slice(&self.inode.to_le_bytes());
        for number in [tree.content_bytes, tree.index_bytes, tree.entry_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [tree.entries, tree.files, tree.content_chunks, tree.levels.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        tree.levels.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        out.extend_from_slice(self.directory.as_bytes());
        let digest = Digest::of(&out);
        out.extend_from_slice(&digest.0);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, digest) = bytes.split_last_chunk::<32>()?;
        if Digest::of(body).0 != *digest {
            return None;
        }
        let mut rest = body;
        let group = GroupId(take(&mut rest)?);
        let reset_epoch = u32::from_le_bytes(take(&mut rest)?);
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        let digest = Digest(take(&mut rest)?);
        let mut tree = TreeTop::EMPTY;
        let inode = u64::from_le_bytes(take(&mut rest)?);
        tree.content_bytes = u64::from_le_bytes(take(&mut rest)?);
        tree.index_bytes = u64::from_le_bytes(take(&mut rest)?);
        tree.entry_bytes = u64::from_le_bytes(take(&mut rest)?);
        tree.entries = u32::from_le_bytes(take(&mut rest)?);
        tree.files = u32::from_le_bytes(take(&mut rest)?);
        tree.content_chunks = u32::from_le_bytes(take(&mut rest)?);
        let mut levels = Levels::new();
        for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
            levels.push(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        }
        tree.levels = levels;
        let directory = Component::parse(rest).ok()?.as_str().to_owned();
        let order = ReleaseOrder { reset_epoch, sequence };
        Some(Self { release: ReleaseName { group, order, digest }, directory, inode, tree })
    }

    /// Where the entry table begins in the index file.
    pub(crate) fn table_start(&self) -> u64 {
        self.tree.index_bytes.saturating_sub(self.tree.entry_bytes)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}
