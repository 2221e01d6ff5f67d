//! `cargo xtask test`: all that a change must pass, ending in one line of counts.
//!
//! Each step is a program of its own with its output in `target/xtask/`, shown
//! in full when it fails; the steps after it run all the same. A test that finds
//! that it cannot run on this machine appends a line with its reason to the file
//! that `XTASK_SKIPS` names and returns: it counts as skipped, not as passed.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::{bare_metal, packages, shell, tidy};
use stage::{Stage, WAITING, waits};
use tally::Tally;

mod stage;
mod tally;

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Only one stage, without the checks that precede the tests.
    #[arg(long)]
    only: Option<Stage>,
    /// Slow tests too.
    #[arg(long)]
    nightly: bool,
}

/// Runs the checks and stages; true when none failed, and none was skipped where
/// `CI=true`.
///
/// # Errors
/// When cargo does not answer what tests there are.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let targets = test_targets()?;
    let mut sum = Tally::default();
    if options.only.is_none() {
        sum += checks();
    }
    for stage in Stage::ALL {
        if options.only.is_none_or(|only| only == stage) {
            sum += run_stage(stage, &targets, options.nightly);
        }
    }
    println!("{sum}");
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    Ok(sum.failed == 0 && !(is_ci && sum.skipped > 0))
}

/// What is checked before any test runs; each counts as one test.
fn checks() -> Tally {
    let mut sum = step("tidy", || match tidy::run() {
        Ok(true) => Tally::PASSED,
        Ok(false) => Tally::FAILED,
        Err(error) => complain(&error),
    });
    sum += step("fmt", || one("fmt", shell::cargo(&["fmt", "--all", "--check"])));
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    sum += step("clippy", || one("clippy", shell::cargo(&clippy)));
    sum += step("bare-metal", || match bare_metal::build("lm3s6965evb") {
        Ok(command) => one("bare-metal", command),
        Err(missing) => skip(&missing),
    });
    sum
}

/// Runs the tests of one stage; a stage that has none yet counts nothing.
fn run_stage(stage: Stage, targets: &[String], nightly: bool) -> Tally {
    let own: Vec<_> = targets.iter().filter(|target| Stage::of(target) == stage).collect();
    if own.is_empty() && stage != Stage::Unit {
        println!("{}: no tests", stage.name());
        return Tally::default();
    }
    let mut programs = Vec::new();
    if stage == Stage::Unit {
        programs.extend(["--lib", "--bins"]);
    }
    let (waiting, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|target| waits(target));
    others.iter().for_each(|target| programs.extend(["--test", target]));
    let waiting: Vec<_> = waiting.into_iter().flat_map(|target| ["--test", target]).collect();
    if stage.starts_program() {
        // What cargo builds for the tests of one package is not the program of another.
        let build = || one("program", shell::cargo(&["build", "-p", "fleetcast"]));
        let built = step("program", build);
        if built.failed > 0 {
            return built;
        }
    }
    if stage == Stage::Qemu {
        let built = step("firmware", || match bare_metal::build("lm3s6965evb") {
            Ok(command) => one("firmware", command),
            Err(missing) => skip(&missing),
        });
        // Not with an image of an earlier build.
        if built.passed == 0 {
            return built;
        }
    }
    let run = |name: &str, programs: &[&str], threads: Option<&str>| {
        step(name, || match packages::ensure(stage.packages()) {
            Ok(()) => tests(name, runner(programs, threads, nightly)),
            Err(missing) => skip(&missing),
        })
    };
    let mut sum = run(stage.name(), &programs, stage.is_serial().then_some("1"));
    if !waiting.is_empty() {
        sum += run(&format!("{}-waiting", stage.name()), &waiting, Some(WAITING));
    }
    if stage == Stage::Qemu {
        // After the tests, which measure the stack.
        sum += step("size", || one("size", shell::cargo(&["xtask", "size", "lm3s6965evb"])));
    }
    if stage == Stage::Unit {
        let doc = ["test", "--workspace", "--doc", "--no-fail-fast"];
        sum += step("doc", || tests("doc", shell::cargo(&doc)));
    }
    sum
}

/// The command that runs the test programs, so many tests at a time (else as many as it
/// likes): by nextest where it is installed.
fn runner(programs: &[&str], threads: Option<&str>, nightly: bool) -> Command {
    let has_nextest = shell::stdout(shell::cargo(&["nextest", "--version"])).is_some();
    let mut command = if has_nextest {
        shell::cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"])
    } else {
        shell::cargo(&["test", "--workspace", "--no-fail-fast"])
    };
    command.args(programs);
    if has_nextest {
        command.args(threads.into_iter().flat_map(|threads| ["--test-threads", threads]));
        // What runs on a network shared with the rest of the machine may be late once.
        command.args(if threads.is_some() { &["--retries", "1"][..] } else { &[] });
        command.args(if nightly { &["--run-ignored", "all"][..] } else { &[] });
    } else {
        command.arg("--");
        command.args(threads.map(|threads| format!("--test-threads={threads}")));
        command.args(if nightly { &["--include-ignored"][..] } else { &[] });
    }
    command
}

/// Names of all test programs of the workspace.
fn test_targets() -> Result<Vec<String>, String> {
    let metadata = shell::cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let text = shell::stdout(metadata).ok_or("cargo metadata failed")?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = value["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test");
    Ok(tests.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}

/// Runs a step and prints its name, counts and duration.
fn step(name: &str, run: impl FnOnce() -> Tally) -> Tally {
    println!("{name} …");
    // A name that is not seen in time is no harm.
    let _ = std::io::stdout().flush();
    let start = Instant::now();
    let tally = run();
    println!("{name}: {tally} ({:.1} s)", start.elapsed().as_secs_f64());
    tally
}

/// A command that is one test: it succeeds or not.
fn one(name: &str, command: Command) -> Tally {
    match shell::run(name, command) {
        Ok(outcome) if outcome.ok => Tally::PASSED,
        Ok(outcome) => complain(&outcome.output),
        Err(error) => complain(&error.to_string()),
    }
}

/// A command that runs many tests and prints how they ended.
fn tests(name: &str, mut command: Command) -> Tally {
    let skips = shell::root().join(format!("target/xtask/{name}.skips"));
    // From an earlier run; usually there is none.
    let _ = fs::remove_file(&skips);
    command.env("XTASK_SKIPS", &skips);
    let outcome = match shell::run(name, command) {
        Ok(outcome) => outcome,
        Err(error) => return complain(&error.to_string()),
    };
    let reasons = fs::read_to_string(&skips).unwrap_or_default();
    reasons.lines().for_each(|reason| println!("skipped: {reason}"));
    tally::flaky(&outcome.output).for_each(|test| println!("passed at the second attempt: {test}"));
    let tally = Tally::of_run(outcome.ok, &outcome.output, reasons.lines().count());
    if tally.failed > 0 {
        println!("{}", outcome.output);
    }
    tally
}

fn complain(why: &str) -> Tally {
    println!("{why}");
    Tally::FAILED
}

fn skip(why: &str) -> Tally {
    println!("skipped: {why}");
    Tally::SKIPPED
}
