//! Building for a Cortex-M3: with rustup's target where it is installed, else
//! with Debian's compiler, which brings the source of `core` to build it from.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, Package};
use crate::shell;

/// The instruction set of the boards.
pub(crate) const TARGET: &str = "thumbv7m-none-eabi";

/// The profile of the workspace that firmware is built by.
const PROFILE: &str = "firmware";
/// The compact SHA-2: 33 KB less of flash, and 1.7 times the instructions.
const FLAGS: &str = "--cfg sha2_backend=\"soft\" --cfg sha2_backend_soft=\"compact\"";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN: [Package; 2] = [
    Package { name: "rustc-web", brings: DEBIAN_RUSTC },
    Package { name: "rust-web-src", brings: "/usr/lib/rustlib/src/rust/library/core" },
];

/// The image of a package that [`build`] has built, from the repository's root.
pub(crate) fn image(package: &str) -> PathBuf {
    ["target/bare-metal", TARGET, PROFILE, package].iter().collect()
}

/// The command that builds `package` for [`TARGET`] into `target/bare-metal`.
///
/// # Errors
/// What is missing on this machine, and the line that installs it.
pub(crate) fn build(package: &str) -> Result<Command, String> {
    let sysroot = sysroot().ok_or("rustc does not answer; help: install Rust by rustup")?;
    // A target directory of its own: features of the host must not unify into it.
    let mut arguments = vec!["build", "--profile", PROFILE, "--target", TARGET, "-p", package];
    arguments.extend(["--target-dir", "target/bare-metal"]);
    if sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        let mut command = shell::cargo(&arguments);
        command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_RUSTFLAGS", FLAGS);
        return Ok(command);
    }
    packages::ensure(&DEBIAN)
        .map_err(|missing| format!("{missing}\n  or: rustup target add {TARGET}"))?;
    arguments.push("-Zbuild-std=core");
    let mut command = shell::cargo(&arguments);
    command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_RUSTFLAGS", FLAGS);
    if let Some(linker) = linker(&sysroot) {
        command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", linker);
    }
    Ok(command)
}

fn sysroot() -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(shell::root());
    shell::stdout(rustc).map(PathBuf::from)
}

/// The toolchain's own linker for ELF, or Debian's.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let version = shell::stdout(rustc)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let own = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
    [own, "/usr/bin/rust-lld".into()].into_iter().find(|path| path.is_file())
}
