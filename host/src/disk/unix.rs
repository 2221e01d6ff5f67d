//! [`Disk`] on Linux: descriptors, `openat2` and friends; no paths.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    self, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Timespec,
    Timestamps,
};
use rustix::io::Errno;

use super::{Access, Audience, Disk, DiskError, Durable, Kind, Result, Space, Stat, check_name};

mod syncer;

use self::syncer::{Syncer, UnixSync};

/// Open calls: never follow a link, never leave the directory, never wait (a
/// pipe in place of a file would block), never inherit.
const OPEN: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
/// Bytes that are copied at once where the kernel cannot copy by itself.
const COPY: usize = 256 * 1024;

/// The file system below one directory.
#[derive(Clone, Debug)]
pub struct UnixDisk {
    root: Arc<OwnedFd>,
    syncer: Arc<Syncer>,
}

impl UnixDisk {
    /// Opens the root: the one place where a path is taken, from our own user.
    ///
    /// # Errors
    /// When it is no directory that we may open.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(path, flags, Mode::empty()).map_err(error)?;
        Ok(Self { root: Arc::new(root), syncer: Arc::default() })
    }
}

/// A directory of a [`UnixDisk`].
#[derive(Debug)]
pub struct UnixDir(OwnedFd);

/// A file of a [`UnixDisk`].
#[derive(Debug)]
pub struct UnixFile(OwnedFd);

impl Disk for UnixDisk {
    type Dir = UnixDir;
    type File = UnixFile;
    type Sync = UnixSync;

    fn root(&self) -> Result<UnixDir> {
        self.root.try_clone().map(UnixDir).map_err(|e| DiskError::Io(e.raw_os_error().unwrap_or(0)))
    }

    fn open_dir(&self, dir: &UnixDir, name: &[u8]) -> Result<UnixDir> {
        open(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map(UnixDir)
    }

    fn make_dir(&self, dir: &UnixDir, name: &[u8], audience: Audience) -> Result<()> {
        check_name(name)?;
        let mode = match audience {
            Audience::Own => 0o700,
            Audience::All => 0o755,
        };
        fs::mkdirat(&dir.0, name, Mode::from_raw_mode(mode)).map_err(error)
    }

    fn open_file(&self, dir: &UnixDir, name: &[u8], access: Access) -> Result<UnixFile> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        let file = UnixFile(open(dir, name, flags, Mode::empty())?);
        // Whatever it was called, only a regular file is one.
        if self.stat_file(&file)?.kind == Kind::File { Ok(file) } else { Err(DiskError::Special) }
    }

    fn create_file(&self, dir: &UnixDir, name: &[u8]) -> Result<UnixFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        open(dir, name, flags, Mode::from_raw_mode(0o600)).map(UnixFile)
    }

    fn allocate(&self, file: &UnixFile, len: u64) -> Result<()> {
        if len == 0 {
            return self.set_len(file, 0);
        }
        match retry(|| fs::fallocate(&file.0, FallocateFlags::empty(), 0, len)).map_err(error) {
            Err(DiskError::Unsupported) => self.set_len(file, len),
            other => other,
        }
    }

    fn read_at(&self, file: &UnixFile, offset: u64, into: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < into.len() {
            let at = offset.checked_add(done as u64).ok_or(DiskError::Short)?;
            match retry(|| rustix::io::pread(&file.0, &mut into[done..], at)).map_err(error)? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn write_at(&self, file: &UnixFile, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset.checked_add(done as u64).ok_or(DiskError::NoSpace)?;
            match retry(|| rustix::io::pwrite(&file.0, &bytes[done..], at)).map_err(error)? {
                0 => return Err(DiskError::NoSpace),
                count => done += count,
            }
        }
        Ok(())
    }

    fn set_len(&self, file: &UnixFile, len: u64) -> Result<()> {
        retry(|| fs::ftruncate(&file.0, len)).map_err(error)
    }

    fn sync_data(&self, file: &UnixFile) -> Result<()> {
        // Not repeated when interrupted: a sync that failed once is not asked again.
        fs::fdatasync(&file.0).map_err(error)
    }

    fn sync_dir(&self, dir: &UnixDir) -> Result<()> {
        fs::fsync(&dir.0).map_err(error)
    }

    /// Before Linux 5.8 `syncfs` does not tell when earlier writing failed in the
    /// background: there only the files that are synced one by one tell it.
    fn sync_all(&self) -> Result<()> {
        fs::syncfs(&self.root).map_err(error)
    }

    fn begin_sync(&self, what: Durable<'_, UnixFile>) -> Result<UnixSync> {
        let (files, all) = match what {
            Durable::Files(files) => (files, None),
            Durable::All => (&[][..], Some(Arc::clone(&self.root))),
        };
        let files = files.iter().map(|file| file.0.try_clone());
        let files = files.collect::<std::io::Result<Vec<OwnedFd>>>();
        let files = files.map_err(|e| DiskError::Io(e.raw_os_error().unwrap_or(0)))?;
        self.syncer.begin(files, all).map_err(error)
    }

    fn poll_sync(&self, sync: &mut UnixSync) -> Option<Result<()>> {
        Some(sync.poll()?.map_err(error))
    }

    fn wait_sync(&self, sync: UnixSync) -> Result<()> {
        sync.wait().map_err(error)
    }

    fn rename(&self, from: &UnixDir, old: &[u8], to: &UnixDir, new: &[u8]) -> Result<()> {
        check_name(old)?;
        check_name(new)?;
        fs::renameat(&from.0, old, &to.0, new).map_err(error)
    }

    fn exchange(&self, a: &UnixDir, in_a: &[u8], b: &UnixDir, in_b: &[u8]) -> Result<()> {
        check_name(in_a)?;
        check_name(in_b)?;
        fs::renameat_with(&a.0, in_a, &b.0, in_b, RenameFlags::EXCHANGE).map_err(error)
    }

    fn unlink(&self, dir: &UnixDir, name: &[u8]) -> Result<()> {
        check_name(name)?;
        fs::unlinkat(&dir.0, name, AtFlags::empty()).map_err(error)
    }

    fn remove_dir(&self, dir: &UnixDir, name: &[u8]) -> Result<()> {
        check_name(name)?;
        fs::unlinkat(&dir.0, name, AtFlags::REMOVEDIR).map_err(error)
    }

    fn list(&self, dir: &UnixDir) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&dir.0).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    fn stat(&self, dir: &UnixDir, name: &[u8]) -> Result<Stat> {
        check_name(name)?;
        fs::statat(&dir.0, name, AtFlags::SYMLINK_NOFOLLOW).map(stat).map_err(error)
    }

    fn stat_file(&self, file: &UnixFile) -> Result<Stat> {
        fs::fstat(&file.0).map(stat).map_err(error)
    }

    fn hard_link(&self, from: &UnixDir, old: &[u8], to: &UnixDir, new: &[u8]) -> Result<()> {
        check_name(old)?;
        check_name(new)?;
        match fs::linkat(&from.0, old, &to.0, new, AtFlags::empty()) {
            // FAT answers EPERM, and a file may have its most links already.
            Err(Errno::PERM | Errno::MLINK) => Err(DiskError::Unsupported),
            other => other.map_err(error),
        }
    }

    fn clone_file(&self, from: &UnixFile, to: &UnixFile) -> Result<()> {
        match fs::ioctl_ficlone(&to.0, &from.0) {
            Err(Errno::NOTTY | Errno::PERM) => Err(DiskError::Unsupported),
            other => other.map_err(error),
        }
    }

    fn copy(
        &self,
        from: &UnixFile,
        from_offset: u64,
        to: &UnixFile,
        to_offset: u64,
        len: u64,
    ) -> Result<()> {
        let (mut read, mut write, mut left) = (from_offset, to_offset, len);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            match fs::copy_file_range(&from.0, Some(&mut read), &to.0, Some(&mut write), most) {
                Ok(0) => return Err(DiskError::Short),
                Ok(count) => left -= count as u64,
                Err(Errno::INTR) => {}
                Err(errno) if error(errno) == DiskError::Unsupported => {
                    return copy_through_memory(self, (from, read), (to, write), left);
                }
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }

    fn seal_file(&self, file: &UnixFile, executable: bool, mtime: i64) -> Result<()> {
        let mode = if executable { 0o555 } else { 0o444 };
        fs::fchmod(&file.0, Mode::from_raw_mode(mode)).map_err(error)?;
        fs::futimens(&file.0, &times(mtime)).map_err(error)
    }

    fn unseal_file(&self, file: &UnixFile) -> Result<()> {
        fs::fchmod(&file.0, Mode::from_raw_mode(0o600)).map_err(error)
    }

    fn seal_dir(&self, dir: &UnixDir, mtime: i64) -> Result<()> {
        fs::fchmod(&dir.0, Mode::from_raw_mode(0o755)).map_err(error)?;
        fs::futimens(&dir.0, &times(mtime)).map_err(error)
    }

    fn space(&self) -> Result<Space> {
        let vfs = fs::fstatvfs(&self.root).map_err(error)?;
        Ok(Space { free: vfs.f_bavail.saturating_mul(vfs.f_frsize), block: vfs.f_frsize.max(1) })
    }
}

/// Opens one component below a directory.
fn open(dir: &UnixDir, name: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    check_name(name)?;
    let flags = flags | OPEN;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match retry(|| fs::openat2(&dir.0, name, flags, mode, resolve)) {
        // Kernels before 5.6, and sandboxes that do not know the call: one plain
        // component with O_NOFOLLOW cannot leave the directory either.
        Err(Errno::NOSYS | Errno::PERM) => {
            retry(|| fs::openat(&dir.0, name, flags, mode)).map_err(error)
        }
        other => other.map_err(error),
    }
}

fn copy_through_memory(
    disk: &UnixDisk,
    from: (&UnixFile, u64),
    to: (&UnixFile, u64),
    len: u64,
) -> Result<()> {
    let mut buffer = vec![0; COPY];
    let mut done = 0;
    while done < len {
        let most = usize::try_from(len - done).unwrap_or(COPY).min(COPY);
        super::read_exact(disk, from.0, from.1 + done, &mut buffer[..most])?;
        disk.write_at(to.0, to.1 + done, &buffer[..most])?;
        done += most as u64;
    }
    Ok(())
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn stat(stat: fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    };
    Stat {
        kind,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        executable: stat.st_mode & 0o111 != 0,
        writable: stat.st_mode & 0o222 != 0,
        links: stat.st_nlink,
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn error(errno: Errno) -> DiskError {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => DiskError::NoSpace,
        Errno::NOENT => DiskError::NotFound,
        Errno::EXIST | Errno::NOTEMPTY => DiskError::Exists,
        Errno::ACCESS | Errno::PERM => DiskError::Denied,
        Errno::ROFS => DiskError::ReadOnly,
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => DiskError::Special,
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV => DiskError::Unsupported,
        other => DiskError::Io(other.raw_os_error()),
    }
}
