//! `cargo xtask`: everything that a developer does with fleetcast besides using it.
//!
//! One file per command; each is a plain function that answers whether all went well.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod shell;

mod packages;

mod bare_metal;

mod board;

mod tidy;

mod test;

mod sim;

mod swarm;

mod lab;

mod bench;

mod deb;

/// Builds, tests and checks fleetcast.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the rules of style that no compiler checks.
    Tidy,
    /// Runs all that a change must pass.
    Test(test::Options),
    /// Runs the simulated fleet.
    Sim(sim::Options),
    /// Many receivers in one process, against a running server.
    Swarm(swarm::Options),
    /// A LAN of network namespaces on this machine.
    #[command(subcommand)]
    Lab(lab::Command),
    /// Builds a board's firmware.
    Build {
        /// Which board
        board: String,
    },
    /// Writes a board's firmware to a real one.
    Flash {
        /// Which board
        board: String,
    },
    /// Runs a board's firmware under QEMU.
    Run(board::RunOptions),
    /// Tells what a board's firmware takes of flash and RAM.
    Size(board::SizeOptions),
    /// Measures fleetcast beside other tools.
    Bench(bench::Options),
    /// Builds a Debian package, and tells what is in it.
    Deb(deb::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Tidy => tidy::run(),
        Command::Test(options) => test::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Swarm(options) => swarm::run(&options),
        Command::Lab(command) => lab::run(&command),
        Command::Build { board } => board::build(&board),
        Command::Flash { board } => board::flash(&board),
        Command::Run(options) => board::run(&options),
        Command::Size(options) => board::size(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Deb(options) => deb::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
