//! System packages that a test needs: installed when we may, named when we may not.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::shell;

/// A Debian package and how to see that what it brings is there.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: &'static str,
    /// A program by name, or a file by absolute path.
    pub(crate) brings: &'static str,
}

impl Package {
    fn is_there(&self) -> bool {
        if self.brings.starts_with('/') {
            Path::new(self.brings).exists()
        } else {
            shell::has_program(self.brings)
        }
    }
}

/// Makes sure that `wanted` are installed.
///
/// # Errors
/// What is missing and the one line that installs it, when we are not root on
/// Debian or apt-get did not help.
pub(crate) fn ensure(wanted: &[Package]) -> Result<(), String> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let may = is_root() && Path::new("/etc/debian_version").exists();
    if may && shell::has_program("apt-get") {
        apt_get(&["update"]);
        apt_get(&[&["install", "-y", "--no-install-recommends"][..], &missing].concat());
    }
    let still = self::missing(wanted);
    if still.is_empty() {
        return Ok(());
    }
    let names = still.join(" ");
    Err(format!("{names} missing; help: apt-get update && apt-get install -y {names}"))
}

fn missing(wanted: &[Package]) -> Vec<&'static str> {
    wanted.iter().filter(|package| !package.is_there()).map(|package| package.name).collect()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether it helped is seen by what is there afterwards.
fn apt_get(arguments: &[&str]) {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    if let Err(error) = shell::run("apt-get", command) {
        eprintln!("apt-get: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_needs_no_installation() {
        let shell = Package { name: "dash", brings: "sh" };
        let root = Package { name: "base-files", brings: "/" };
        assert_eq!(ensure(&[shell, root]), Ok(()));
    }

    #[test]
    fn only_what_is_not_there_counts_as_missing() {
        let shell = Package { name: "dash", brings: "sh" };
        let never = Package { name: "no-such", brings: "/no/such/file" };
        assert_eq!(missing(&[shell, never]), ["no-such"]);
    }
}
