//! Running the programs that make a network.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The search path, with the folders where administrators' programs lie.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Runs `command` with `input` on its stdin.
///
/// # Errors
/// When it cannot be started or fails: `what` went wrong, and what it said.
pub(crate) fn run(what: &str, mut command: Command, input: &str) -> Result<(), String> {
    command.env("PATH", search_path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy();
        format!("{what}: {program}: {error}; help: apt-get install util-linux iproute2 nftables")
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has failed already reads nothing; its exit code tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what}: {}{}", said.trim(), cure(&said)))
}

/// What helps against what a program said.
pub(crate) fn cure(said: &str) -> &'static str {
    if said.contains("not permitted") || said.contains("Permission denied") {
        "; help: run as root, or under `unshare -Urn`"
    } else if said.contains("No such file or directory") || said.contains("not found") {
        "; help: apt-get install iproute2 nftables"
    } else {
        ""
    }
}
