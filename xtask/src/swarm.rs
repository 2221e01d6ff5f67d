//! `cargo xtask swarm`: many receivers in one process, a program of `fleetcast-tests`.

use clap::Args;

use crate::shell;

/// Whom to join; the swarm reads the arguments itself.
#[derive(Args)]
pub(crate) struct Options {
    /// `CODE [--receivers N] [--interface IF] [--seconds S] [--server PID]`, the code being
    /// one of `fleetcast invite --uses N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the swarm optimised and hands it its arguments; its output is ours.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let program = ["run", "--quiet", "--release", "-p", "fleetcast-tests", "--bin", "swarm", "--"];
    let mut command = shell::cargo(&program);
    command.args(&options.arguments);
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    Ok(status.success())
}
