//! Users of this machine, by number and by name; and whose directory it is that cannot be
//! used.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::Failure;
use crate::units::printable;

/// The name of a user by its number, where `/etc/passwd` knows it.
#[must_use]
pub fn name_of(user: u32) -> Option<String> {
    named(&std::fs::read_to_string("/etc/passwd").ok()?, user)
}

/// The user that this process runs as.
#[must_use]
pub fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn named(passwd: &str, user: u32) -> Option<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user) && !name.is_empty()).then(|| name.to_owned())
    };
    passwd.lines().find_map(name)
}

/// The failure of reading or writing `path`, a part of the state. Where that is not allowed
/// because it is somebody else's, `state-foreign` says whose it is.
#[must_use]
pub fn refused(path: &Path, error: &io::Error) -> Failure {
    let owner = path.ancestors().find_map(|part| part.metadata().ok()).map(|part| part.uid());
    match owner {
        Some(owner) if error.kind() == io::ErrorKind::PermissionDenied && owner != own() => {
            foreign(path, owner)
        }
        _ => Failure::io(path.display(), error),
    }
}

fn foreign(path: &Path, owner: u32) -> Failure {
    let called = |user: u32| name_of(user).unwrap_or_else(|| format!("#{user}"));
    let (owner, own) = (called(owner), called(own()));
    let message = format!("{} belongs to user {owner}, and this is user {own}", path.display());
    let hint = format!(
        "run it as that user (`sudo -u {} fleetcast …`), or name a directory of your own with \
         --state DIR",
        printable(&owner)
    );
    Failure::failed("state-foreign", message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_the_names_that_stand_in_passwd() {
        // passwd(5): name, password, number, group, …
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nann:x:1000:7:Ann:/home/ann:\nbad\n::5:\n";
        assert_eq!(named(passwd, 0).as_deref(), Some("root"));
        assert_eq!(named(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(named(passwd, 7), None, "that is a group");
        assert_eq!(named(passwd, 5), None);
    }

    #[test]
    fn whose_directory_it_is_is_told_only_when_that_is_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        // One's own: the permissions are to be looked at.
        assert_eq!(refused(folder.path(), &denied).code, "io");
        assert_eq!(refused(Path::new("/"), &io::Error::from(io::ErrorKind::NotFound)).code, "io");
        let told = foreign(Path::new("/s"), own() + 1);
        assert_eq!((told.code.as_ref(), told.exit), ("state-foreign", 1));
        assert!(told.message.starts_with("/s belongs to user "), "{}", told.message);
        assert!(told.hint.contains("--state DIR"));
    }
}
