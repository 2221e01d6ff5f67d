//! [`Disk`] for the simulated disk.

use fleetcast::disk::{
    Access, Audience, Disk, DiskError, Durable, Kind, Result, Space, Stat, check_name,
};

use super::SimDisk;
use super::bytes::share;
use super::store::{Change, Ino, Scope, Slot, Store};

/// Unit of allocation.
const BLOCK: u64 = 4_096;

/// A sync under way has ended when it is asked for the second time.
const SYNC_POLLS: u8 = 2;

/// An open file or directory.
#[derive(Debug)]
pub struct Handle {
    ino: Ino,
    writes: bool,
}

/// A sync that was begun: it takes a while, and covers only what was there before.
#[derive(Debug)]
pub struct Begun {
    scopes: Vec<Scope>,
    before: u64,
    polls: u8,
}

impl Disk for SimDisk {
    type Dir = Handle;
    type File = Handle;
    type Sync = Begun;

    fn root(&self) -> Result<Handle> {
        Ok(Handle { ino: 1, writes: false })
    }

    fn open_dir(&self, dir: &Handle, name: &[u8]) -> Result<Handle> {
        let store = self.store();
        let ino = look_up(&store, dir, name)?.ok_or(DiskError::NotFound)?;
        match store.inode(ino)?.kind {
            Kind::Directory => Ok(Handle { ino, writes: false }),
            _ => Err(DiskError::Special),
        }
    }

    fn make_dir(&self, dir: &Handle, name: &[u8], _: Audience) -> Result<()> {
        add(&mut self.store(), dir, name, Kind::Directory).map(|_| ())
    }

    fn open_file(&self, dir: &Handle, name: &[u8], access: Access) -> Result<Handle> {
        let store = self.store();
        let ino = look_up(&store, dir, name)?.ok_or(DiskError::NotFound)?;
        let inode = store.inode(ino)?;
        let writes = access == Access::Write;
        match inode.kind {
            Kind::File if writes && !inode.writable => Err(DiskError::Denied),
            Kind::File => Ok(Handle { ino, writes }),
            _ => Err(DiskError::Special),
        }
    }

    fn create_file(&self, dir: &Handle, name: &[u8]) -> Result<Handle> {
        let ino = add(&mut self.store(), dir, name, Kind::File)?;
        Ok(Handle { ino, writes: true })
    }

    fn allocate(&self, file: &Handle, len: u64) -> Result<()> {
        let now = self.store().inode(file.ino)?.data.len() as u64;
        if len > now || len == 0 { self.set_len(file, len) } else { Ok(()) }
    }

    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> Result<usize> {
        let store = self.store();
        Ok(store.inode(file.ino)?.data.read(offset as usize, into))
    }

    fn write_at(&self, file: &Handle, offset: u64, bytes: &[u8]) -> Result<()> {
        if !file.writes {
            return Err(DiskError::Denied);
        }
        let mut store = self.store();
        room(&store, file, offset + bytes.len() as u64)?;
        let write = Change::Write { ino: file.ino, offset: offset as usize, bytes: share(bytes) };
        store.change(write)
    }

    fn set_len(&self, file: &Handle, len: u64) -> Result<()> {
        if !file.writes {
            return Err(DiskError::Denied);
        }
        let mut store = self.store();
        room(&store, file, len)?;
        store.change(Change::Length { ino: file.ino, len: len as usize })
    }

    fn sync_data(&self, file: &Handle) -> Result<()> {
        self.store().sync(Scope::File(file.ino), u64::MAX)
    }

    fn sync_dir(&self, dir: &Handle) -> Result<()> {
        self.store().sync(Scope::Dir(dir.ino), u64::MAX)
    }

    fn sync_all(&self) -> Result<()> {
        self.store().sync(Scope::All, u64::MAX)
    }

    fn begin_sync(&self, what: Durable<'_, Handle>) -> Result<Begun> {
        let scopes = match what {
            Durable::Files(files) => files.iter().map(|file| Scope::File(file.ino)).collect(),
            Durable::All => vec![Scope::All],
        };
        Ok(Begun { scopes, before: self.store().changes(), polls: 0 })
    }

    fn poll_sync(&self, sync: &mut Begun) -> Option<Result<()>> {
        sync.polls += 1;
        (sync.polls >= SYNC_POLLS).then(|| self.end(sync))
    }

    fn wait_sync(&self, sync: Begun) -> Result<()> {
        self.end(&sync)
    }

    fn rename(&self, from: &Handle, old: &[u8], to: &Handle, new: &[u8]) -> Result<()> {
        let mut store = self.store();
        let moved = look_up(&store, from, old)?.ok_or(DiskError::NotFound)?;
        let replaced = look_up(&store, to, new)?;
        if let Some(replaced) = replaced {
            let (is, was) = (store.inode(moved)?, store.inode(replaced)?);
            match (is.kind, was.kind) {
                (Kind::Directory, Kind::Directory) if !was.names.is_empty() => {
                    return Err(DiskError::Exists);
                }
                (Kind::Directory, Kind::Directory) => {}
                (Kind::Directory, _) | (_, Kind::Directory) => return Err(DiskError::Special),
                _ => {}
            }
        }
        store.change(Change::Names(vec![
            (slot(from, old), Some(moved), None),
            (slot(to, new), replaced, Some(moved)),
        ]))
    }

    fn exchange(&self, a: &Handle, in_a: &[u8], b: &Handle, in_b: &[u8]) -> Result<()> {
        let mut store = self.store();
        let first = look_up(&store, a, in_a)?.ok_or(DiskError::NotFound)?;
        let second = look_up(&store, b, in_b)?.ok_or(DiskError::NotFound)?;
        if !store.abilities.exchange {
            return Err(DiskError::Unsupported);
        }
        store.change(Change::Names(vec![
            (slot(a, in_a), Some(first), Some(second)),
            (slot(b, in_b), Some(second), Some(first)),
        ]))
    }

    fn unlink(&self, dir: &Handle, name: &[u8]) -> Result<()> {
        let mut store = self.store();
        let ino = look_up(&store, dir, name)?.ok_or(DiskError::NotFound)?;
        if store.inode(ino)?.kind == Kind::Directory {
            return Err(DiskError::Special);
        }
        store.change(Change::Names(vec![(slot(dir, name), Some(ino), None)]))
    }

    fn remove_dir(&self, dir: &Handle, name: &[u8]) -> Result<()> {
        let mut store = self.store();
        let ino = look_up(&store, dir, name)?.ok_or(DiskError::NotFound)?;
        let inode = store.inode(ino)?;
        match inode.kind {
            Kind::Directory if inode.names.is_empty() => {}
            Kind::Directory => return Err(DiskError::Exists),
            _ => return Err(DiskError::Special),
        }
        store.change(Change::Names(vec![(slot(dir, name), Some(ino), None)]))
    }

    fn list(&self, dir: &Handle) -> Result<Vec<Vec<u8>>> {
        Ok(self.store().inode(dir.ino)?.names.keys().cloned().collect())
    }

    fn stat(&self, dir: &Handle, name: &[u8]) -> Result<Stat> {
        let store = self.store();
        let ino = look_up(&store, dir, name)?.ok_or(DiskError::NotFound)?;
        stat(&store, ino)
    }

    fn stat_file(&self, file: &Handle) -> Result<Stat> {
        stat(&self.store(), file.ino)
    }

    fn hard_link(&self, from: &Handle, old: &[u8], to: &Handle, new: &[u8]) -> Result<()> {
        let mut store = self.store();
        let ino = look_up(&store, from, old)?.ok_or(DiskError::NotFound)?;
        if look_up(&store, to, new)?.is_some() {
            return Err(DiskError::Exists);
        }
        if !store.abilities.links || store.inode(ino)?.kind != Kind::File {
            return Err(DiskError::Unsupported);
        }
        store.change(Change::Names(vec![(slot(to, new), None, Some(ino))]))
    }

    fn clone_file(&self, from: &Handle, to: &Handle) -> Result<()> {
        let mut store = self.store();
        if !store.abilities.clones {
            return Err(DiskError::Unsupported);
        }
        let bytes = store.inode(from.ino)?.data.to_vec().into();
        store.change(Change::Write { ino: to.ino, offset: 0, bytes })
    }

    fn copy(
        &self,
        from: &Handle,
        from_offset: u64,
        to: &Handle,
        to_offset: u64,
        len: u64,
    ) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        fleetcast::disk::read_exact(self, from, from_offset, &mut bytes)?;
        self.write_at(to, to_offset, &bytes)
    }

    fn seal_file(&self, file: &Handle, executable: bool, mtime: i64) -> Result<()> {
        let ino = file.ino;
        self.store().change(Change::Attributes { ino, writable: false, executable, mtime })
    }

    fn unseal_file(&self, file: &Handle) -> Result<()> {
        let mut store = self.store();
        let mtime = store.inode(file.ino)?.mtime;
        let (ino, executable) = (file.ino, false);
        store.change(Change::Attributes { ino, writable: true, executable, mtime })
    }

    fn seal_dir(&self, dir: &Handle, mtime: i64) -> Result<()> {
        let (ino, executable) = (dir.ino, true);
        self.store().change(Change::Attributes { ino, writable: true, executable, mtime })
    }

    fn space(&self) -> Result<Space> {
        let store = self.store();
        store.inode(1)?;
        Ok(Space { free: store.abilities.capacity.saturating_sub(store.used()), block: BLOCK })
    }
}

fn slot(dir: &Handle, name: &[u8]) -> Slot {
    (dir.ino, name.to_vec())
}

impl SimDisk {
    /// All are tried, as the real disk does.
    fn end(&self, sync: &Begun) -> Result<()> {
        let mut store = self.store();
        sync.scopes.iter().map(|&scope| store.sync(scope, sync.before)).fold(Ok(()), Result::and)
    }
}

fn look_up(store: &Store, dir: &Handle, name: &[u8]) -> Result<Option<Ino>> {
    check_name(name)?;
    Ok(store.inode(dir.ino)?.names.get(name).copied())
}

fn add(store: &mut Store, dir: &Handle, name: &[u8], kind: Kind) -> Result<Ino> {
    if look_up(store, dir, name)?.is_some() {
        return Err(DiskError::Exists);
    }
    let ino = store.create(kind);
    store.change(Change::Names(vec![(slot(dir, name), None, Some(ino))]))?;
    Ok(ino)
}

fn room(store: &Store, file: &Handle, len: u64) -> Result<()> {
    let now = store.inode(file.ino)?.data.len() as u64;
    let more = len.saturating_sub(now);
    if store.used().saturating_add(more) > store.abilities.capacity && more > 0 {
        return Err(DiskError::NoSpace);
    }
    Ok(())
}

fn stat(store: &Store, ino: Ino) -> Result<Stat> {
    let inode = store.inode(ino)?;
    let size = inode.data.len() as u64;
    let names = store.cache.values().flat_map(|dir| dir.names.values());
    Ok(Stat {
        kind: inode.kind,
        inode: ino,
        size,
        allocated: size.div_ceil(BLOCK) * BLOCK,
        mtime: inode.mtime,
        mtime_nanos: 0,
        executable: inode.executable,
        writable: inode.writable,
        links: names.filter(|&&named| named == ino).count() as u64,
    })
}
