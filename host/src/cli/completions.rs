//! `completions`: for the shells that clap knows.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, DONE, Outcome, printer};

/// Options of `completions`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "fleetcast", &mut text);
    printer::raw(&String::from_utf8_lossy(&text));
    Ok(DONE)
}
