//! `completions`: for the shells that clap knows.

use clap::{Args, Command};
use clap_complete::Shell;

use super::context::{DONE, Outcome};
use super::printer;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn run(options: &Options, mut command: Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, "fleetcast", &mut text);
    printer::raw(&String::from_utf8_lossy(&text));
    Ok(DONE)
}
