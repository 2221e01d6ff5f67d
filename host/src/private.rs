//! Files and directories that only their owner may use.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory that only its owner may use, and its parents; an existing one stays as it is.
///
/// # Errors
/// As the file system says.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(folder(path))?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Writes a file with mode 0600, whole or not at all: beside its place, synced, then renamed.
///
/// # Errors
/// As the file system says; then what was there before is still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".fleetcast-partial");
    // A left-over of a crash could have another mode: it is never written into.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder(path))?.sync_all()
}

/// The directory that a path is in; a name alone has an empty parent.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The permission bits, if group or others have any right.
#[must_use]
pub fn exposed(metadata: &Metadata) -> Option<u32> {
    let mode = metadata.mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(exposed(&fs::metadata(&path).unwrap()), Some(0o644));
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(exposed(&fs::metadata(&path).unwrap()), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_beside_it_stays_and_a_name_alone_is_here() {
        let room = tempfile::tempdir().unwrap();
        let (path, stranger) = (room.path().join("a.key"), room.path().join("a.tmp"));
        fs::write(&stranger, "precious").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&stranger).unwrap(), b"precious");
        assert_eq!(folder(Path::new("receipts.json")), Path::new("."));
        assert_eq!(folder(Path::new("/etc/hosts")), Path::new("/etc"));
    }
}
