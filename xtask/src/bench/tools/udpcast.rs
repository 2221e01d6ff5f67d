//! udpcast: `udp-receiver` on each receiver, `udp-sender` that begins when all
//! are there.

use std::fs;
use std::time::{Duration, Instant};

use crate::bench::meter::Wire;
use crate::bench::process::Process;
use crate::bench::room;
use crate::bench::run::{Job, Transfer};

/// Of the sender, besides the number of receivers: its default for a switched
/// network. Its rate is governed by the receivers' acknowledgements.
const SENDER: [&str; 3] = ["--nokbd", "--no-progress", "--full-duplex"];
/// Of each receiver.
const RECEIVER: [&str; 3] = ["--nokbd", "--no-progress", "--nosync"];
/// How often the received files are looked at.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn options() -> String {
    format!(
        "udp-sender {} --min-receivers <all>; udp-receiver {}; unencrypted, unverified",
        SENDER.join(" "),
        RECEIVER.join(" ")
    )
}

pub(super) fn run(job: &Job<'_>) -> Result<Transfer, String> {
    let mut transfer = Transfer::default();
    let mut receivers = Vec::new();
    for receiver in job.receivers() {
        let folder = job.folder(receiver);
        room::fresh_directory(&folder)?;
        let file = folder.join("file");
        let mut command = job.lan.command(receiver, "udp-receiver");
        command.args(RECEIVER).args(["--interface", "eth0", "--file"]).arg(&file);
        receivers.push(Process::start(&format!("udp-receiver {receiver}"), command)?);
        transfer.received.push(file);
    }
    let mut command = job.lan.command(0, "udp-sender");
    let all = job.receivers().len().to_string();
    command.args(SENDER).args(["--min-receivers", &all, "--interface", "eth0", "--file"]);
    command.arg(job.file);
    let wire = Wire::begin(job.lan)?;
    let mut sender = Process::start("udp-sender", command)?;
    transfer.complete = completions(job, &transfer, wire.begin)?;
    sender.wait(job.deadline)?;
    transfer.crossed = wire.crossed()?;
    transfer.received.iter().try_for_each(|path| room::sync(path))?;
    transfer.durable = wire.begin.elapsed();
    // They stay half a second in case that their last acknowledgement was lost.
    for receiver in &mut receivers {
        receiver.wait(job.deadline)?;
    }
    Ok(transfer)
}

/// When each file had its full length: it is written from front to end, and the
/// process that writes it ends much later.
fn completions(
    job: &Job<'_>,
    transfer: &Transfer,
    begin: Instant,
) -> Result<Vec<Duration>, String> {
    let mut complete = vec![None; transfer.received.len()];
    while complete.contains(&None) {
        for (path, at) in transfer.received.iter().zip(&mut complete) {
            let is_full = fs::metadata(path).is_ok_and(|found| found.len() == job.size);
            if at.is_none() && is_full {
                *at = Some(begin.elapsed());
            }
        }
        if Instant::now() > job.deadline {
            let full = complete.iter().flatten().count();
            return Err(format!("in time only {full} of {} were complete", complete.len()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(complete.into_iter().flatten().collect())
}
