//! Lists what is to be sent, depth-first, names ascending by bytes (PROTOCOL, "Trees").

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetcast_core::limits::MAX_DEPTH;
use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::entry::{Base, DIRECTORY, Entry, Identity, Kind};
use super::error::FileError;
use super::name;
use super::name::NameFault;

/// What was found.
#[derive(Debug, Default)]
pub struct Walk {
    /// All files and directories, in the order of the tree's entry table.
    pub entries: Vec<Entry>,
    /// Symbolic links, devices, pipes and sockets that were left out.
    pub skipped: Vec<PathBuf>,
}

/// Lists what lies at `paths`, each under its own last component, folders with all that is
/// in them. Reads no file yet.
///
/// With `skip_special`, what is neither file nor directory is left out and listed in
/// [`Walk::skipped`] instead of being an error. A path that is itself a symbolic link is such
/// an entry; links *before* its last component are followed, the person named them.
///
/// # Errors
/// [`FileError`] for the first thing that cannot be sent.
pub fn walk(paths: &[PathBuf], skip_special: bool) -> Result<Walk, FileError> {
    let mut walker = Walker { skip_special, found: Walk::default() };
    let mut given = paths.iter().map(|path| Given::at(path)).collect::<Result<Vec<_>, _>>()?;
    // Stable, so of two paths with one name the first is told as the first.
    given.sort_by(|one, other| one.name.cmp(&other.name));
    refuse_repeated(&given)?;
    for Given { base, name, stat, .. } in given {
        let place = Place { base: &base, directory: base.directory.as_fd(), parents: &[] };
        walker.visit(&place, name, &stat)?;
    }
    Ok(walker.found)
}

/// One of the paths that a person gave.
struct Given<'a> {
    path: &'a Path,
    base: Arc<Base>,
    name: String,
    stat: Stat,
}

impl<'a> Given<'a> {
    fn at(path: &'a Path) -> Result<Self, FileError> {
        let unsafe_name = |fault| FileError::Name { path: path.to_path_buf(), fault };
        let failed = |errno| match errno {
            Errno::NOENT | Errno::NOTDIR => FileError::Missing(path.to_path_buf()),
            other => FileError::unreadable(path.to_path_buf(), other),
        };
        let last = path.file_name().ok_or_else(|| unsafe_name(NameFault::Nameless))?;
        let name = name::check(last.as_bytes()).map_err(unsafe_name)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let opened = if parent.as_os_str().is_empty() { Path::new(".") } else { &parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, opened, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(failed)?;
        Ok(Self { path, base: Arc::new(Base { directory, path: parent }), name, stat })
    }
}

fn refuse_repeated(given: &[Given<'_>]) -> Result<(), FileError> {
    let mut seen: HashMap<String, &Given<'_>> = HashMap::new();
    for other in given {
        if let Some(one) = seen.insert(name::folded(&other.name), other) {
            let same = one.name == other.name;
            let (one, other) = (one.path.to_path_buf(), other.path.to_path_buf());
            return Err(if same {
                FileError::Repeated { one, other }
            } else {
                FileError::Collision { one, other }
            });
        }
    }
    Ok(())
}

/// A directory that is being listed, held open.
struct Place<'a> {
    base: &'a Arc<Base>,
    directory: BorrowedFd<'a>,
    /// Its components below the release's root.
    parents: &'a [String],
}

impl Place<'_> {
    fn path(&self) -> PathBuf {
        self.parents.iter().fold(self.base.path.clone(), |path, name| path.join(name))
    }

    /// Names and what they stand for, ascending by bytes.
    fn list(&self) -> Result<Vec<(String, Stat)>, FileError> {
        let failed = |errno| FileError::gone_or_unreadable(self.path(), errno);
        let mut list = Vec::new();
        for entry in Dir::read_from(self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            let path = || self.path().join(std::ffi::OsStr::from_bytes(bytes));
            let name = name::check(bytes)
                .map_err(|fault| FileError::Name { path: path(), fault })?
                .to_owned();
            let stat = rustix::fs::statat(self.directory, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| FileError::gone_or_unreadable(path(), errno))?;
            list.push((name, stat));
        }
        list.sort_by(|one, other| one.0.cmp(&other.0));
        self.refuse_collisions(&list)?;
        Ok(list)
    }

    // PROTOCOL R1
    fn refuse_collisions(&self, list: &[(String, Stat)]) -> Result<(), FileError> {
        let mut seen = HashMap::with_capacity(list.len());
        for (other, _) in list {
            if let Some(one) = seen.insert(name::folded(other), other) {
                let (one, other) = (self.path().join(one), self.path().join(other));
                return Err(FileError::Collision { one, other });
            }
        }
        Ok(())
    }
}

struct Walker {
    skip_special: bool,
    found: Walk,
}

impl Walker {
    /// Takes one name of a directory, and what is below it. Recursion ends at `MAX_DEPTH`.
    fn visit(&mut self, place: &Place<'_>, name: String, stat: &Stat) -> Result<(), FileError> {
        let path = || place.path().join(&name);
        let identity = Identity::of(stat);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            // PROTOCOL R1
            FileType::Directory if place.parents.len() >= MAX_DEPTH => {
                return Err(FileError::TooDeep(path()));
            }
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => {
                // Better now than after hours of hashing what comes before it.
                rustix::fs::accessat(place.directory, &name, Access::READ_OK, AtFlags::empty())
                    .map_err(|errno| FileError::gone_or_unreadable(path(), errno))?;
                let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
                Kind::File { size: identity.size(), executable }
            }
            _ if self.skip_special => {
                self.found.skipped.push(path());
                return Ok(());
            }
            other => return Err(FileError::Special { path: path(), kind: word(other) }),
        };
        let mut components = place.parents.to_vec();
        components.push(name);
        let modified = identity.modified_seconds();
        let base = Arc::clone(place.base);
        let entry = Entry { components: components.clone(), kind, modified, base, identity };
        self.found.entries.push(entry);
        if kind == Kind::Directory { self.descend(place, &components) } else { Ok(()) }
    }

    fn descend(&mut self, above: &Place<'_>, components: &[String]) -> Result<(), FileError> {
        let name = components.last().map_or("", String::as_str);
        let directory = rustix::fs::openat(above.directory, name, DIRECTORY, Mode::empty())
            .map_err(|errno| FileError::gone_or_unreadable(above.path().join(name), errno))?;
        let place = Place { base: above.base, directory: directory.as_fd(), parents: components };
        for (name, stat) in place.list()? {
            self.visit(&place, name, &stat)?;
        }
        Ok(())
    }
}

const fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "neither a file nor a directory",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    /// A directory with a folder `d` of files `names` in it, each with its name as content.
    fn folder(names: &[&str]) -> (TempDir, PathBuf) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("d");
        fs::create_dir(&folder).unwrap();
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        (temporary, folder)
    }

    fn listed(walk: &Walk) -> Vec<String> {
        walk.entries.iter().map(|entry| entry.components.join("/")).collect()
    }

    fn refused(path: &Path) -> FileError {
        walk(&[path.to_path_buf()], false).unwrap_err()
    }

    #[test]
    fn entries_come_depth_first_with_names_ascending_by_bytes() {
        let (root, d) = folder(&["b/x", "b.txt", "B2", "b/a/z", "ä", "z"]);
        fs::create_dir(d.join("empty")).unwrap();
        let other = root.path().join("a-file");
        fs::write(&other, "").unwrap();
        let walk = walk(&[d, other], false).unwrap();
        let expected = [
            "a-file", "d", "d/B2", "d/b", "d/b/a", "d/b/a/z", "d/b/x", "d/b.txt", "d/empty", "d/z",
            "d/ä",
        ];
        assert_eq!(listed(&walk), expected);
        assert_eq!(walk.entries[0].kind, Kind::File { size: 0, executable: false });
        assert_eq!(walk.entries[8].kind, Kind::Directory);
    }

    #[test]
    fn an_entry_says_what_the_file_system_says() {
        let (_root, d) = folder(&["run"]);
        let file = d.join("run");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let before = std::time::UNIX_EPOCH - std::time::Duration::from_secs(7);
        fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        let walk = walk(std::slice::from_ref(&file), false).unwrap();
        let entry = &walk.entries[0];
        assert_eq!(entry.kind, Kind::File { size: 3, executable: true });
        assert_eq!((entry.modified, entry.source()), (-7, file));
        let mut bytes = Vec::new();
        entry.open().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"run");
    }

    #[test]
    fn a_path_without_anything_there_is_missing() {
        let (_root, d) = folder(&["file"]);
        for name in ["nothing", "nothing/below", "file/below"] {
            let error = refused(&d.join(name));
            assert!(matches!(&error, FileError::Missing(path) if *path == d.join(name)));
            assert_eq!(error.code(), "path-missing");
        }
    }

    #[test]
    fn what_the_system_does_not_show_is_unreadable() {
        let (_root, d) = folder(&[]);
        symlink("loop", d.join("loop")).unwrap();
        let error = refused(&d.join("loop/file"));
        assert!(matches!(error, FileError::Unreadable { .. }));
        assert_eq!(error.code(), "path-unreadable");
    }

    #[test]
    fn special_entries_are_refused_or_skipped_and_told() {
        let (_root, d) = folder(&["file", "link", "socket"]);
        for name in ["link", "socket"] {
            fs::remove_file(d.join(name)).unwrap();
        }
        symlink("file", d.join("link")).unwrap();
        let error = refused(&d);
        assert_eq!(error.to_string(), format!("{:?} is a symbolic link", d.join("link")));
        assert_eq!(error.code(), "path-unreadable");
        assert!(matches!(refused(&d.join("link")), FileError::Special { .. }));
        let _listener = UnixListener::bind(d.join("socket")).unwrap();
        let walk = walk(std::slice::from_ref(&d), true).unwrap();
        assert_eq!(listed(&walk), ["d", "d/file"]);
        assert_eq!(walk.skipped, [d.join("link"), d.join("socket")]);
    }

    // PROTOCOL R1
    #[test]
    fn unsafe_names_are_refused_wherever_they_stand() {
        let (root, d) = folder(&["deep/a\nb"]);
        let error = refused(&d);
        let FileError::Name { path, fault: NameFault::Control } = &error else {
            panic!("{error}");
        };
        assert_eq!(*path, d.join("deep/a\nb"));
        assert!(error.to_string().contains("a\\nb"), "escaped: {error}");
        assert_eq!(error.code(), "name-unsafe");
        for path in [root.path().join(".."), PathBuf::from("/"), PathBuf::from(".")] {
            let nameless = NameFault::Nameless;
            let error = refused(&path);
            assert!(matches!(error, FileError::Name { fault, .. } if fault == nameless));
        }
        let (_root, d) = folder(&["u\u{308}"]);
        let error = refused(&d);
        assert!(matches!(error, FileError::Name { fault: NameFault::Form, .. }));
        assert!(error.hint().contains("normal form C"));
        let (_root, d) = folder(&[]);
        fs::write(d.join(std::ffi::OsStr::from_bytes(b"\xFF")), "").unwrap();
        assert!(matches!(refused(&d), FileError::Name { fault: NameFault::Encoding, .. }));
    }

    // PROTOCOL R1
    #[test]
    fn names_that_collide_by_case_are_refused() {
        let (_root, d) = folder(&["README", "other", "ReadMe"]);
        let FileError::Collision { one, other } = refused(&d) else { panic!() };
        assert_eq!((one, other), (d.join("README"), d.join("ReadMe")));
        let (_root, e) = folder(&["Other"]);
        let paths = [d.join("other"), e.join("Other")];
        assert!(matches!(walk(&paths, false), Err(FileError::Collision { .. })));
    }

    #[test]
    fn two_paths_with_one_name_are_refused() {
        let (_one, d) = folder(&["x/file", "y/file"]);
        let paths = [d.join("y/file"), d.join("x/file")];
        let error = walk(&paths, false).unwrap_err();
        assert_eq!(error.code(), "name-unsafe");
        let FileError::Repeated { one, other } = error else { panic!("{error}") };
        assert_eq!([one, other], paths);
    }

    // PROTOCOL R1
    #[test]
    fn nesting_is_bounded() {
        let (_root, d) = folder(&[]);
        let deepest = (1..64).fold(d.clone(), |path, _| path.join("n"));
        fs::create_dir_all(&deepest).unwrap();
        fs::write(deepest.join("file"), "").unwrap();
        assert_eq!(walk(std::slice::from_ref(&d), false).unwrap().entries.len(), 65);
        let beyond = deepest.join("n");
        fs::create_dir(&beyond).unwrap();
        assert!(matches!(refused(&d), FileError::TooDeep(path) if path == beyond));
    }

    #[test]
    fn a_file_that_changes_between_listing_and_end_is_noticed() {
        type Change = fn(&Path);
        let append: Change = |file| {
            let mut file = fs::File::options().append(true).open(file).unwrap();
            file.write_all(b"more").unwrap();
        };
        let replace: Change = |file| {
            fs::write(file.with_extension("new"), "file").unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
        };
        let remove: Change = |file| fs::remove_file(file).unwrap();
        let link: Change = |file| {
            fs::rename(file, file.with_extension("old")).unwrap();
            symlink(file.with_extension("old"), file).unwrap();
        };
        for change in [append, replace, remove, link] {
            let (_root, d) = folder(&["file"]);
            let entry = walk(&[d.join("file")], false).unwrap().entries.remove(0);
            change(&d.join("file"));
            assert_eq!(entry.open().unwrap_err().code(), "path-changed");
        }
        let truncate: Change = |file| fs::File::create(file).map(|_| ()).unwrap();
        let rewrite: Change = |file| {
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        };
        for change in [append, truncate, rewrite] {
            let (_root, d) = folder(&["file"]);
            let entry = walk(&[d.join("file")], false).unwrap().entries.remove(0);
            let mut reader = entry.open().unwrap();
            change(&d.join("file"));
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            let error = FileError::from_read(error, &entry.source());
            assert_eq!(error.code(), "path-changed");
        }
    }

    #[test]
    fn a_directory_swapped_for_a_link_is_not_followed() {
        let (root, d) = folder(&["inner/file"]);
        let walk = walk(std::slice::from_ref(&d), false).unwrap();
        fs::rename(d.join("inner"), root.path().join("moved")).unwrap();
        symlink(root.path().join("moved"), d.join("inner")).unwrap();
        assert_eq!(walk.entries[2].open().unwrap_err().code(), "path-changed");
    }
}
