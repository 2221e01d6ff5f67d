//! The fleetcast command.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetcast::cli::main()
}
