//! `cargo xtask sim`: the simulated fleet, a program of `fleetcast-tests`.

use clap::Args;

use crate::shell;

/// What to simulate; the simulator reads the arguments itself.
#[derive(Args)]
pub(crate) struct Options {
    /// `--seeds N [--from S]`, `--seed X`, `--minutes M` or `--planted`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the simulator optimised and hands it its arguments; its output is ours.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let program = ["run", "--quiet", "--release", "-p", "fleetcast-tests", "--bin", "sim", "--"];
    let mut command = shell::cargo(&program);
    command.args(&options.arguments);
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    Ok(status.success())
}
