//! Unix sockets in state directories. Who may open a server's is an admin.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::error::Failure;
use crate::person::refused;

/// Mode of a socket that only its owner may open.
pub const OWN: u32 = 0o600;
/// Mode of a socket that anybody may open; who does tells the kernel.
pub const ANYBODY: u32 = 0o666;
/// Name of a server's socket in its state directory.
const SERVERS: &str = "fleetcast.sock";
/// Longest path that fits the address of a Unix socket everywhere, in bytes.
const MAX_PATH: usize = 100;

/// Listens at `path` with this mode, in place of what a crash has left there.
///
/// The caller holds the lock of the state directory.
///
/// # Errors
/// Failure `io`.
pub fn listen(path: &Path, mode: u32) -> Result<UnixListener, Failure> {
    let bind = || -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let short = Short::of(path)?;
        let listener = UnixListener::bind(&short.path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(listener)
    };
    bind().map_err(|error| Failure::io(path.display(), &error))
}

/// Connects to the server that listens at `path`.
///
/// # Errors
/// Failure `server-not-running` when nobody listens there, `state-foreign`, `io`.
pub async fn connect(path: &Path) -> Result<UnixStream, Failure> {
    open(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => nobody(path),
        _ => refused(path, &error),
    })
}

fn nobody(path: &Path) -> Failure {
    if path.file_name().is_some_and(|name| name == SERVERS) {
        let message =
            format!("no server is running in {}", path.parent().unwrap_or(path).display());
        let hint = "start one with `fleetcast serve`, or name its directory with --state DIR";
        return Failure::failed("server-not-running", message, hint);
    }
    let message = format!("no server listens at {}", path.display());
    let hint = "is it running? `fleetcast serve` says so by `ready`, and its socket is \
        fleetcast.sock in its state directory";
    Failure::failed("server-not-running", message, hint)
}

/// Connects to whoever listens at `path`.
///
/// # Errors
/// As the system says.
pub async fn open(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    UnixStream::connect(&short.path).await
}

/// A name for a path that may be too long for a socket's address: through the
/// descriptor of its directory, held open meanwhile.
struct Short {
    path: PathBuf,
    _directory: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Self { path: path.to_owned(), _directory: None });
        };
        if path.as_os_str().len() <= MAX_PATH {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let directory = File::open(directory)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        for directory in [folder.path(), &deep] {
            let path = directory.join("fleetcast.sock");
            let absent = connect(&path).await.unwrap_err();
            assert_eq!((absent.code.as_ref(), absent.exit), ("server-not-running", 1));
            let _listener = listen(&path, OWN).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            connect(&path).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_names_a_socket_is_told_that_one_and_who_names_none_the_directory() {
        let message = async |path: &str| connect(Path::new(path)).await.unwrap_err().message;
        assert_eq!(message("/nope").await, "no server listens at /nope");
        assert_eq!(message("/nope/fleetcast.sock").await, "no server is running in /nope");
    }

    #[tokio::test]
    async fn what_a_crash_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleetcast.sock");
        drop(listen(&path, OWN).unwrap());
        assert_eq!(connect(&path).await.unwrap_err().code, "server-not-running");
        let _listener = listen(&path, OWN).unwrap();
        connect(&path).await.unwrap();
    }
}
