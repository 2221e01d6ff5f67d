//! Real processes of the program under test: a server, its receivers, and commands.
//!
//! All talk JSON. Whatever a test starts ends with it: each process by its own
//! id, when its owner is dropped. Every wait has a limit and says what it waited for.

mod child;
mod fleet;
mod places;

pub use child::{Answer, Child, SLOW, signal};
pub use fleet::{Fleet, Receiver};
pub use places::{noise, skip, tree, workspace};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program, beside this test's own; built first unless `cargo xtask test` did.
///
/// # Panics
/// When it cannot be built, with what cargo said.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // target/PROFILE/deps/TEST-HASH
        let test = std::env::current_exe().expect("a test knows its own program");
        let directory = test.ancestors().nth(2).expect("it lies in a target directory");
        let program = directory.join("fleetcast");
        if std::env::var_os("XTASK_SKIPS").is_none() || !program.exists() {
            build(directory);
        }
        assert!(
            program.exists(),
            "{} is missing; run `cargo build -p fleetcast`",
            program.display()
        );
        program
    })
}

fn build(directory: &Path) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = directory.parent().expect("the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet", "-p", "fleetcast"]);
    cargo.args(["--profile", profile]).arg("--target-dir").arg(target);
    let output = cargo.output().expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo build -p fleetcast` failed:\n{said}");
}
