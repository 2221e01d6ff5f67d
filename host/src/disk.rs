//! The only door from receiver code to a file system.
//!
//! Everything is named by one component relative to a directory handle that is
//! held open, so there are no paths that a link planted meanwhile could bend,
//! and nothing outside the root handle can be reached. [`unix::UnixDisk`] is the
//! real implementation; the simulator has another with power cuts and faults,
//! and runs the same staging and install code on it.
//!
//! Nothing is durable before a sync that covers it: a file's bytes and length by
//! [`Disk::sync_data`], a directory's names by [`Disk::sync_dir`], everything
//! with modes and times by [`Disk::sync_all`].

use std::fmt;

#[cfg(target_os = "linux")]
pub mod unix;

/// What went wrong at the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No room, or over a quota.
    NoSpace,
    /// No such name.
    NotFound,
    /// The name is taken, or the directory is not empty.
    Exists,
    /// The file system forbids it.
    Denied,
    /// The file system is mounted, or went, read-only.
    ReadOnly,
    /// A symbolic link, a device, a socket, or a directory in place of a file
    /// (or the other way round).
    Special,
    /// This file system cannot do that; another way must be taken.
    Unsupported,
    /// Our own fault: the name is not one plain component.
    BadName,
    /// The file is shorter than what was to be read.
    Short,
    /// Any other error, with its number in errno(3).
    Io(i32),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no space left"),
            Self::NotFound => f.write_str("not found"),
            Self::Exists => f.write_str("exists already"),
            Self::Denied => f.write_str("permission denied"),
            Self::ReadOnly => f.write_str("file system is read-only"),
            Self::Special => f.write_str("a link or special file is in the way"),
            Self::Unsupported => f.write_str("not supported by the file system"),
            Self::BadName => f.write_str("not a plain file name"),
            Self::Short => f.write_str("file is shorter than expected"),
            Self::Io(number) => write!(f, "input/output error {number}"),
        }
    }
}

impl std::error::Error for DiskError {}

/// What the calls of a [`Disk`] give.
pub type Result<T> = std::result::Result<T, DiskError>;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else; it is never opened or followed.
    Other,
}

/// What is known of a file or directory without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Number of the inode: the same for the same thing under another name.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Bytes of storage that it takes.
    pub allocated: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: u32,
    /// Whether anybody may execute it.
    pub executable: bool,
    /// Whether anybody may write it.
    pub writable: bool,
    /// Names that it has.
    pub links: u64,
}

/// Room on the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that we may still take.
    pub free: u64,
    /// Bytes of one unit of allocation.
    pub block: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be read and written.
    Write,
}

/// Whom a new directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody but us (mode 0700): staging and records.
    Own,
    /// Everybody may read (mode 0755): what gets installed.
    All,
}

/// What a sync makes durable.
#[derive(Clone, Copy, Debug)]
pub enum Durable<'f, F> {
    /// Bytes and lengths of these files.
    Files(&'f [&'f F]),
    /// Everything on the file system.
    All,
}

/// A file system below one root directory. Clones speak of the same one.
///
/// Names are single components; every call refuses others with
/// [`DiskError::BadName`]. Symbolic links are never followed.
pub trait Disk: Clone {
    /// An open directory; closed when dropped.
    type Dir;
    /// An open regular file; closed when dropped.
    type File;
    /// A sync that was begun.
    type Sync;

    /// The root directory.
    ///
    /// # Errors
    /// When no further handle can be had.
    fn root(&self) -> Result<Self::Dir>;

    /// Opens a directory.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Special`] where it is no directory.
    fn open_dir(&self, dir: &Self::Dir, name: &[u8]) -> Result<Self::Dir>;

    /// Makes a directory.
    ///
    /// # Errors
    /// [`DiskError::Exists`] when the name is taken, whatever by.
    fn make_dir(&self, dir: &Self::Dir, name: &[u8], audience: Audience) -> Result<()>;

    /// Opens a regular file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Special`] where it is no regular file.
    fn open_file(&self, dir: &Self::Dir, name: &[u8], access: Access) -> Result<Self::File>;

    /// Makes a new, empty file that only we can read (mode 0600).
    ///
    /// # Errors
    /// [`DiskError::Exists`] when the name is taken, whatever by.
    fn create_file(&self, dir: &Self::Dir, name: &[u8]) -> Result<Self::File>;

    /// Gives the file `len` bytes, reserved where the file system can do that.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] when they cannot be reserved.
    fn allocate(&self, file: &Self::File, len: u64) -> Result<()>;

    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// When the storage fails.
    fn read_at(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When the storage fails or is full; any part may have been written then.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// When the storage fails or is full.
    fn set_len(&self, file: &Self::File, len: u64) -> Result<()>;

    /// Makes the file's bytes and length durable, not its name.
    ///
    /// # Errors
    /// When it fails, what was unsynced counts as lost, whatever a later sync says.
    fn sync_data(&self, file: &Self::File) -> Result<()>;

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// When the storage fails.
    fn sync_dir(&self, dir: &Self::Dir) -> Result<()>;

    /// Makes everything on the file system durable.
    ///
    /// # Errors
    /// When it fails, everything that was unsynced counts as lost.
    fn sync_all(&self) -> Result<()>;

    /// Begins to make durable what was written until now, while other work goes on.
    /// What is written later may or may not be covered.
    ///
    /// # Errors
    /// When it cannot be begun; what was unsynced counts as lost then.
    fn begin_sync(&self, what: Durable<'_, Self::File>) -> Result<Self::Sync>;

    /// How a sync ended; `None` while it is under way. To be asked until it has ended.
    fn poll_sync(&self, sync: &mut Self::Sync) -> Option<Result<()>>;

    /// Waits until a sync has ended.
    ///
    /// # Errors
    /// As for [`Disk::sync_data`].
    fn wait_sync(&self, sync: Self::Sync) -> Result<()>;

    /// Moves a name; an existing file of the new name is replaced.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Exists`] when a directory that is
    /// not empty has the new name.
    fn rename(&self, from: &Self::Dir, old: &[u8], to: &Self::Dir, new: &[u8]) -> Result<()>;

    /// Exchanges what two names stand for, atomically.
    ///
    /// # Errors
    /// [`DiskError::Unsupported`] where the file system cannot do that.
    fn exchange(&self, a: &Self::Dir, in_a: &[u8], b: &Self::Dir, in_b: &[u8]) -> Result<()>;

    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Special`] for a directory.
    fn unlink(&self, dir: &Self::Dir, name: &[u8]) -> Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Exists`] when it is not empty.
    fn remove_dir(&self, dir: &Self::Dir, name: &[u8]) -> Result<()>;

    /// All names in the directory, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// When the storage fails.
    fn list(&self, dir: &Self::Dir) -> Result<Vec<Vec<u8>>>;

    /// What a name stands for; a link is not followed.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn stat(&self, dir: &Self::Dir, name: &[u8]) -> Result<Stat>;

    /// What an open file is.
    ///
    /// # Errors
    /// When the storage fails.
    fn stat_file(&self, file: &Self::File) -> Result<Stat>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// [`DiskError::Unsupported`] where the file system has no hard links.
    fn hard_link(&self, from: &Self::Dir, old: &[u8], to: &Self::Dir, new: &[u8]) -> Result<()>;

    /// Makes `to` share the bytes of `from` until one of them is written (reflink).
    ///
    /// # Errors
    /// [`DiskError::Unsupported`] where the file system cannot do that.
    fn clone_file(&self, from: &Self::File, to: &Self::File) -> Result<()>;

    /// Copies `len` bytes within the file system, without a detour where it can.
    ///
    /// # Errors
    /// [`DiskError::Short`] when the source ends before.
    fn copy(
        &self,
        from: &Self::File,
        from_offset: u64,
        to: &Self::File,
        to_offset: u64,
        len: u64,
    ) -> Result<()>;

    /// Makes a file what gets installed: readable by all, writable by nobody
    /// (0444, or 0555 when executable), with the release's modification time.
    ///
    /// Read-only even for its owner, because it may share its inode with the
    /// file of the next release.
    ///
    /// # Errors
    /// When the storage fails.
    fn seal_file(&self, file: &Self::File, executable: bool, mtime: i64) -> Result<()>;

    /// Makes a file ours again (mode 0600), to go on staging it.
    ///
    /// # Errors
    /// When the storage fails.
    fn unseal_file(&self, file: &Self::File) -> Result<()>;

    /// Gives an installed directory (0755) the release's modification time.
    ///
    /// # Errors
    /// When the storage fails.
    fn seal_dir(&self, dir: &Self::Dir, mtime: i64) -> Result<()>;

    /// Room on the file system.
    ///
    /// # Errors
    /// When the storage fails.
    fn space(&self) -> Result<Space>;
}

/// Checks that a name is one plain component, as a second line behind the tree
/// reader's rules.
///
/// # Errors
/// [`DiskError::BadName`] for the empty name, `.`, `..`, and names with `/` or NUL.
pub fn check_name(name: &[u8]) -> Result<()> {
    let plain = !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0);
    if plain { Ok(()) } else { Err(DiskError::BadName) }
}

/// Reads exactly `into.len()` bytes.
///
/// # Errors
/// [`DiskError::Short`] when the file ends before.
pub fn read_exact<D: Disk>(disk: &D, file: &D::File, offset: u64, into: &mut [u8]) -> Result<()> {
    if disk.read_at(file, offset, into)? == into.len() { Ok(()) } else { Err(DiskError::Short) }
}

/// Opens a directory, making it first where it is not there.
///
/// # Errors
/// [`DiskError::Special`] when something else has that name.
pub fn ensure_dir<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    name: &[u8],
    audience: Audience,
) -> Result<D::Dir> {
    match disk.make_dir(dir, name, audience) {
        Ok(()) | Err(DiskError::Exists) => disk.open_dir(dir, name),
        Err(error) => Err(error),
    }
}

/// The whole content of a small file, refused beyond `most` bytes.
///
/// # Errors
/// [`DiskError::NotFound`]; [`DiskError::NoSpace`] when it is longer than `most`.
pub fn read_small<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8], most: usize) -> Result<Vec<u8>> {
    let file = disk.open_file(dir, name, Access::Read)?;
    let size = usize::try_from(disk.stat_file(&file)?.size).unwrap_or(usize::MAX);
    if size > most {
        return Err(DiskError::NoSpace);
    }
    let mut bytes = vec![0; size];
    read_exact(disk, &file, 0, &mut bytes)?;
    Ok(bytes)
}

/// Replaces a small file so that a power cut leaves the old or the new content:
/// written beside it, synced, renamed, synced.
///
/// # Errors
/// When the storage fails. The old content is still there then; but after an error of the
/// last sync the new one is, and a power cut may leave either.
pub fn write_small<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8], bytes: &[u8]) -> Result<()> {
    let beside = [name, b".new"].concat();
    match disk.unlink(dir, &beside) {
        Ok(()) | Err(DiskError::NotFound) => {}
        Err(error) => return Err(error),
    }
    let file = disk.create_file(dir, &beside)?;
    disk.write_at(&file, 0, bytes)?;
    disk.sync_data(&file)?;
    disk.rename(dir, &beside, dir, name)?;
    disk.sync_dir(dir)
}

/// Removes whatever has the name: a directory with all that is below it, too.
///
/// Works without recursion on the stack; links are removed, not followed.
/// Nothing of that name is not an error.
///
/// # Errors
/// When the storage fails.
pub fn remove_tree<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8]) -> Result<()> {
    let mut names = u32::MAX;
    while !remove_some(disk, dir, name, &mut names)? {
        names = u32::MAX;
    }
    Ok(())
}

/// [`remove_tree`] in bounded steps: removes at most `names` files, which counts
/// down, and directories that are empty; whether all is gone.
///
/// # Errors
/// When the storage fails.
pub fn remove_some<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8], names: &mut u32) -> Result<bool> {
    match disk.stat(dir, name) {
        Err(DiskError::NotFound) => return Ok(true),
        Err(error) => return Err(error),
        Ok(stat) if stat.kind != Kind::Directory => return disk.unlink(dir, name).map(|()| true),
        Ok(_) => {}
    }
    let mut open = vec![(disk.open_dir(dir, name)?, name.to_vec())];
    while let Some((here, _)) = open.last() {
        let mut below = None;
        for entry in disk.list(here)? {
            if disk.stat(here, &entry)?.kind == Kind::Directory {
                below = Some((disk.open_dir(here, &entry)?, entry));
                break;
            }
            let Some(left) = names.checked_sub(1) else { return Ok(false) };
            *names = left;
            disk.unlink(here, &entry)?;
        }
        if let Some(below) = below {
            open.push(below);
            continue;
        }
        if let Some((_, emptied)) = open.pop() {
            let parent = open.last().map_or(dir, |(parent, _)| parent);
            disk.remove_dir(parent, &emptied)?;
        }
    }
    Ok(true)
}
