//! `sim`: the simulated fleet by seed; `cargo xtask sim` starts it.
//!
//! ```text
//! sim --seeds N [--from S] | --seed X | --minutes M | --planted
//! ```
//! The last line of output is `{"seeds","violations","faults","bytes","trace"}`;
//! a violation is told on stderr with the command that replays it, and the exit
//! code is 1.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fleetcast_tests::fleet::{run_seed, run_seed_aloud};
use fleetcast_tests::seeds::{Total, run_seeds};

/// Seeds that are run between two looks at the clock.
const STRIDE: u64 = 50;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(total) = run(&arguments) else {
        eprintln!("error: usage: sim --seeds N [--from S] | --seed X | --minutes M | --planted");
        return ExitCode::from(2);
    };
    for (seed, violation) in &total.violations {
        eprintln!("seed {seed}: {violation}");
        eprintln!("replay: cargo xtask sim --seed {seed}");
    }
    println!("{}", total.json());
    if total.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &[String]) -> Option<Total> {
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if arguments.iter().any(|argument| argument == "--planted") {
        return planted();
    }
    if let Some(seed) = number("--seed") {
        let mut total = Total::default();
        total.add(seed, run_seed_aloud(seed));
        return Some(total);
    }
    let from = number("--from").unwrap_or(0);
    if let Some(minutes) = number("--minutes") {
        let end = Instant::now() + Duration::from_secs(60 * minutes);
        let mut total = Total::default();
        while Instant::now() < end && total.violations.is_empty() {
            total.merge(run_seeds(from + total.seeds, STRIDE, run_seed));
        }
        return Some(total);
    }
    number("--seeds").map(|count| run_seeds(from, count, run_seed))
}

/// Looks for the planted bugs; fails for each that is not found.
#[cfg(feature = "planted")]
fn planted() -> Option<Total> {
    Some(fleetcast_tests::seeds::find_planted())
}

/// Without the feature there are no bugs to find: build with it, and look there.
#[cfg(not(feature = "planted"))]
fn planted() -> Option<Total> {
    let program = ["run", "--quiet", "--release", "-p", "fleetcast-tests", "--features", "planted"];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = std::process::Command::new(cargo);
    let status = command.args(program).args(["--bin", "sim", "--", "--planted"]).status().ok()?;
    std::process::exit(status.code().unwrap_or(1))
}
