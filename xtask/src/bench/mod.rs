//! `cargo xtask bench`: fleetcast beside other tools, on a LAN of network
//! namespaces on this machine.
//!
//! In each round every tool brings the same new file of random bytes to all
//! receivers, in another order each round; what is told are medians. Everything
//! that a tool needs is started for it alone and ended again. All receivers write
//! to the same disk, as does the sender's state; nothing is left there.

use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};
use serde_json::json;

use crate::{lab, packages, shell};
use meter::Memory;
pub(crate) use options::Options;
use options::What;
use room::Room;
use row::{Condition, Row, Sample};
use run::{Job, Transfer};
use tools::Tool;

mod process;
mod room;

mod meter;
mod run;

mod tools;

mod options;
mod row;

mod delta;

/// What a transfer may take besides the time that [`SLOWEST`] allows.
const START: Duration = Duration::from_secs(60);
/// Bytes per second; what is slower is given up.
const SLOWEST: u64 = 2_000_000;

/// Measures and tells; true when every file arrived as it was sent.
///
/// # Errors
/// When a tool is missing and may not be installed, or no LAN can be made.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    prepare(options)?;
    let parent = options.dir.clone().unwrap_or_else(|| shell::root().join("target/xtask"));
    let room = Room::new(&parent)?;
    if options.what == Some(What::Delta) {
        return delta::run(options, &room);
    }
    let mut rows = Vec::new();
    for &receivers in &options.receivers {
        let lan = Lan::new(&Plan::gigabit(receivers + 1))?;
        for &loss in &options.loss {
            lan.set_loss(loss, &(1..lan.hosts()).collect::<Vec<_>>())?;
            let condition = Condition { receivers, loss, size: options.size };
            rows.extend(compare(options, &lan, &room, condition)?);
        }
    }
    tell(options, &room, &rows);
    Ok(rows.iter().all(Row::is_ok))
}

/// Installs what is missing and builds ours.
fn prepare(options: &Options) -> Result<(), String> {
    packages::ensure(&lab::PACKAGES)?;
    let others: Vec<_> = options.tools().iter().filter_map(|tool| tool.package()).collect();
    packages::ensure(&others)?;
    if !options.others_only {
        let mut build = shell::cargo(&["build", "--release", "--quiet", "-p", "fleetcast"]);
        let status = build.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err("fleetcast does not compile".to_owned());
        }
    }
    Ok(())
}

/// All rounds of all tools in one condition.
fn compare(
    options: &Options,
    lan: &Lan,
    room: &Room,
    condition: Condition,
) -> Result<Vec<Row>, String> {
    let tools = options.tools();
    let mut rows: Vec<Row> = tools.iter().map(|&tool| Row::new(tool, condition)).collect();
    let limit = options.limit.map(Duration::from_secs);
    let limit = limit.unwrap_or(START + Duration::from_secs(condition.size / SLOWEST));
    for round in 0..options.rounds {
        let file = room.path().join("file");
        room::noise(&file, condition.size)?;
        for turn in 0..tools.len() {
            let row = &mut rows[(turn + round) % tools.len()];
            let directory = room.path().join("run");
            room::fresh_directory(&directory)?;
            let job = Job {
                lan,
                file: &file,
                size: condition.size,
                room: &directory,
                uftp_rate: options.uftp_rate,
                deadline: Instant::now() + limit,
            };
            let sample = measure(row.tool, &job);
            mention(row.tool, condition, round, &sample);
            row.add(sample);
        }
    }
    Ok(rows)
}

/// One transfer, and whether what arrived is what was sent.
fn measure(tool: Tool, job: &Job<'_>) -> Sample {
    let load = meter::load();
    let (memory, before) = (Memory::watch(job.lan), meter::children_cpu());
    let transfer = tool.run(job);
    let (cpu, peaks) = (meter::children_cpu() - before, memory.peaks());
    let check = |transfer: Transfer| {
        let wrong = transfer.received.iter().find(|path| !room::identical(job.file, path));
        match wrong {
            Some(path) => Err(format!("{} is not what was sent", path.display())),
            None => Ok(transfer),
        }
    };
    Sample { transfer: transfer.and_then(check), cpu, peaks, load }
}

/// One line on stderr: a bench takes minutes.
fn mention(tool: Tool, condition: Condition, round: usize, sample: &Sample) {
    let (name, percent) = (tool.name(), condition.loss * 100.0);
    let head = format!("{name} × {}, {percent} %, round {}", condition.receivers, round + 1);
    match &sample.transfer {
        Ok(transfer) => {
            let ratio = transfer.crossed.sent as f64 / condition.size as f64;
            let (seconds, cpu) = (row::last(transfer), sample.cpu);
            eprintln!("{head}: {seconds:.2} s, wire/size {ratio:.3}, CPU {cpu:.2} s");
        }
        Err(reason) => eprintln!("{head}: FAILED: {reason}"),
    }
}

fn tell(options: &Options, room: &Room, rows: &[Row]) {
    let disk = room.file_system();
    if options.json {
        let items: Vec<_> = rows.iter().map(Row::json).collect();
        let document = json!({ "schema": 1, "kind": "bench", "file_system": disk, "items": items });
        println!("{document}");
        return;
    }
    println!("{}", row::table(rows));
    println!("medians of {} rounds of {} bytes, on {disk}", options.rounds, options.size);
    for tool in options.tools() {
        println!("{}: {}", tool.name(), tool.options());
    }
    if options.tools().contains(&Tool::Uftp) {
        println!("uftp's rate: {} kbit/s", options.uftp_rate);
    }
}
