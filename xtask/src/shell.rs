//! Running other programs: where the repository is, which cargo, and where output goes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's root: the folder above this package.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The cargo that runs us, in the repository's root, with `arguments`.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // cargo lends its own libraries to what it runs; another compiler must not see them.
    command.args(arguments).current_dir(root()).env_remove("LD_LIBRARY_PATH");
    command
}

/// What a program said and whether it succeeded.
pub(crate) struct Outcome {
    /// It exited with 0.
    pub(crate) ok: bool,
    /// stdout and stderr in the order they came.
    pub(crate) output: String,
}

/// Runs `command` to its end, its output in `target/xtask/NAME.log`.
///
/// One file takes both streams, so they stay in order and no pipe can fill up.
///
/// # Errors
/// When the program or the log cannot be opened.
pub(crate) fn run(name: &str, mut command: Command) -> io::Result<Outcome> {
    let folder = root().join("target/xtask");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.log"));
    let log = File::create(&path)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let ok = command.status()?.success();
    let output = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(Outcome { ok, output })
}

/// The trimmed stdout of `command`, `None` when it fails or is not there.
pub(crate) fn stdout(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of that name is in `PATH` or where administrators' programs lie.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(name).is_file())
}
