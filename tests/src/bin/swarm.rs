//! `swarm`: many receivers against a running server; `cargo xtask swarm` starts it.
//!
//! ```text
//! swarm CODE [--receivers N] [--interface IF] [--seconds S] [--server PID]
//! ```
//! CODE is of `fleetcast invite --uses N`. Prints a JSON line per second: how many
//! are connected and how much has been installed, and what the server's process
//! uses where its PID is told.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fleetcast_tests::swarm::{Swarm, SwarmPlan, usage};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(code) = arguments.first().filter(|first| !first.starts_with('-')) else {
        let options = "[--receivers N] [--interface IF] [--seconds S] [--server PID]";
        eprintln!("error: usage: swarm CODE {options}");
        return ExitCode::from(2);
    };
    match run(code, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(code: &str, arguments: &[String]) -> std::io::Result<()> {
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |name, otherwise: u64| {
        option(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(otherwise)
    };
    let receivers = number("--receivers", 500) as usize;
    let server = option("--server").and_then(|text| text.parse().ok());
    // Other keys than those of an earlier swarm at the same server.
    let seed = std::process::id().into();
    let begin = Instant::now();
    let plan = SwarmPlan { receivers, crews: 2, seed };
    let swarm = Swarm::start(code, option("--interface").unwrap_or("lo"), plan)?;
    for _ in 0..number("--seconds", 60) {
        let before = server.and_then(usage);
        std::thread::sleep(Duration::from_secs(1));
        let used = server.and_then(usage).zip(before).map(|(after, before)| {
            let cpu = (after.cpu - before.cpu).as_secs_f64();
            format!(",\"server_rss\":{},\"server_cpu\":{cpu:.2}", after.resident)
        });
        println!(
            "{{\"seconds\":{:.1},\"connected\":{},\"installed\":{},\"failed\":{}{}}}",
            begin.elapsed().as_secs_f64(),
            swarm.connected(),
            swarm.installed(),
            swarm.failed(),
            used.unwrap_or_default()
        );
    }
    Ok(())
}
