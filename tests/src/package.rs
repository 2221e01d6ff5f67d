//! The Debian package of the program under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::processes::{program, workspace};

/// Builds the package from the program under test: where it is, and the list of what is
/// in it.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn build_package(to: &Path) -> (PathBuf, String) {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut xtask = Command::new(cargo);
    xtask.current_dir(workspace()).args(["xtask", "deb", "--program"]).arg(program());
    let built = xtask.arg("--to").arg(to).output().expect("cargo starts");
    assert!(built.status.success(), "{built:?}");
    let listed = String::from_utf8_lossy(&built.stdout).into_owned();
    (listed.lines().last().expect("its name").into(), listed)
}
