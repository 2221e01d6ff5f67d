//! uftp: `uftpd` on each receiver, `uftp` with a closed group, so that it begins
//! as soon as all have registered.

use crate::bench::meter::Wire;
use crate::bench::process::Process;
use crate::bench::room;
use crate::bench::run::{Job, Transfer};

/// Of the sender, besides its rate: a first guess of the round trip that fits a LAN.
const SENDER: [&str; 2] = ["-r", "0.05:0.01:2"];
/// Of each receiver: the largest write cache, no look-up of names.
const RECEIVER: [&str; 4] = ["-d", "-q", "-c", "20971520"];

pub(super) fn options() -> String {
    format!(
        "uftp -R <rate> {} -H <all receivers>; uftpd {}; unencrypted",
        SENDER.join(" "),
        RECEIVER.join(" ")
    )
}

pub(super) fn run(job: &Job<'_>) -> Result<Transfer, String> {
    let mut receivers = Vec::new();
    for receiver in job.receivers() {
        let folder = job.folder(receiver);
        room::fresh_directory(&folder)?;
        let mut command = job.lan.command(receiver, "uftpd");
        command.args(RECEIVER).args(["-I", "eth0", "-D"]).arg(&folder);
        receivers.push(Process::start(&format!("uftpd {receiver}"), command)?);
    }
    for receiver in &mut receivers {
        // Its first line comes before it listens; the announcement is repeated.
        let word = |line: &str| line.contains("UFTP version").then_some(());
        receiver.wait_for("greeting", job.deadline, word)?;
    }
    let ids: Vec<String> = job
        .receivers()
        .map(|receiver| format!("0x{:08X}", job.lan.address(receiver).to_bits()))
        .collect();
    let mut command = job.lan.command(0, "uftp");
    command
        .args(["-R", &job.uftp_rate.to_string()])
        .args(SENDER)
        .args(["-I", "eth0", "-H", &ids.join(",")])
        .arg(job.file);
    let wire = Wire::begin(job.lan)?;
    let mut sender = Process::start("uftp", command)?;
    let mut transfer = Transfer::default();
    for receiver in &mut receivers {
        let done = |line: &str| line.contains("File transfer complete").then_some(());
        let (at, ()) = receiver.wait_for("complete file", job.deadline, done)?;
        transfer.complete.push(at - wire.begin);
    }
    sender.wait(job.deadline)?;
    transfer.crossed = wire.crossed()?;
    let name = job.file.file_name().unwrap_or_default();
    transfer.received = job.receivers().map(|host| job.folder(host).join(name)).collect();
    transfer.received.iter().try_for_each(|path| room::sync(path))?;
    transfer.durable = wire.begin.elapsed();
    Ok(transfer)
}
