//! rsync: a daemon on each receiver, pushed to all at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleetcast_lab::Lan;

use crate::bench::meter::Wire;
use crate::bench::process::Process;
use crate::bench::room;
use crate::bench::run::{Job, Transfer};

/// How long a daemon may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn options() -> String {
    "rsync --daemon per receiver, rsync --whole-file to all at once; unencrypted".to_owned()
}

pub(super) fn run(job: &Job<'_>) -> Result<Transfer, String> {
    let mut daemons = Daemons::start(job.lan, job.room, job.deadline)?;
    daemons.push(job.file, &["--whole-file"], job.deadline)
}

/// A daemon on each host but the first.
pub(crate) struct Daemons<'a> {
    lan: &'a Lan,
    room: PathBuf,
    processes: Vec<Process>,
}

impl<'a> Daemons<'a> {
    /// Starts them.
    ///
    /// # Errors
    /// What one said that failed.
    pub(crate) fn start(lan: &'a Lan, room: &Path, deadline: Instant) -> Result<Self, String> {
        let mut daemons = Self { lan, room: room.to_owned(), processes: Vec::new() };
        for host in 1..lan.hosts() {
            let folder = room.join(host.to_string());
            room::fresh_directory(&folder)?;
            let configuration = room.join(format!("{host}.conf"));
            let text = format!(
                "use chroot = no\nuid = 0\ngid = 0\n[m]\npath = {}\nread only = no\n",
                folder.display()
            );
            fs::write(&configuration, text)
                .map_err(|error| format!("{}: {error}", configuration.display()))?;
            let mut command = lan.command(host, "rsync");
            command.args(["--daemon", "--no-detach", "--log-file=/dev/stderr", "--config"]);
            command.arg(&configuration);
            let mut daemon = Process::start(&format!("rsync --daemon {host}"), command)?;
            let starting = |line: &str| line.contains("starting").then_some(());
            daemon.wait_for("greeting", deadline, starting)?;
            daemons.processes.push(daemon);
        }
        Ok(daemons)
    }

    /// Brings the file to all at once.
    ///
    /// # Errors
    /// What one said that failed, or was too slow.
    pub(crate) fn push(
        &mut self,
        file: &Path,
        options: &[&str],
        deadline: Instant,
    ) -> Result<Transfer, String> {
        let mut transfer = Transfer::default();
        let wire = Wire::begin(self.lan)?;
        let mut senders = Vec::new();
        for host in 1..self.lan.hosts() {
            let mut command = self.lan.command(0, "rsync");
            command.args(options).arg(file);
            command.arg(format!("rsync://{}/m/", self.lan.address(host)));
            senders.push(Process::start(&format!("rsync {host}"), command)?);
        }
        let mut ends = vec![None; senders.len()];
        while ends.contains(&None) {
            for (sender, end) in senders.iter_mut().zip(&mut ends) {
                if end.is_none() && sender.has_ended()? {
                    *end = Some(wire.begin.elapsed());
                    sender.wait(deadline)?;
                }
            }
            if Instant::now() > deadline {
                let done = ends.iter().flatten().count();
                return Err(format!("in time only {done} of {} were complete", ends.len()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        transfer.complete = ends.into_iter().flatten().collect();
        transfer.crossed = wire.crossed()?;
        let name = file.file_name().unwrap_or_default();
        transfer.received =
            (1..self.lan.hosts()).map(|host| self.room.join(host.to_string()).join(name)).collect();
        transfer.received.iter().try_for_each(|path| room::sync(path))?;
        transfer.durable = wire.begin.elapsed();
        Ok(transfer)
    }
}

impl Drop for Daemons<'_> {
    fn drop(&mut self) {
        self.processes.drain(..).for_each(|daemon| drop(daemon.stop(PATIENCE)));
    }
}
