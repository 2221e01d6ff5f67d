//! What a run costs: time, bytes on the wire, processor, memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Traffic};

/// Ticks per second in /proc, the same on every Linux.
const TICKS: f64 = 100.0;
/// How often memory is looked at; peaks are the kernel's, so none is missed but
/// that of the last moment.
const LOOK: Duration = Duration::from_millis(100);

/// Seconds of processor, of the user's and the system's side, that children of
/// this process have taken that have ended, and theirs.
pub(crate) fn children_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    children_ticks(&stat).unwrap_or(0) as f64 / TICKS
}

/// `cutime` and `cstime`: columns 16 and 17, after a name in brackets.
fn children_ticks(stat: &str) -> Option<u64> {
    let columns: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |column: usize| columns.get(column - 3)?.parse::<u64>().ok();
    Some(number(16)? + number(17)?)
}

/// Load of the machine over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// The wire and the clock, from the beginning of a transfer.
pub(crate) struct Wire<'a> {
    lan: &'a Lan,
    admin: Traffic,
    overflows: u64,
    /// When it began.
    pub(crate) begin: Instant,
}

/// Bytes and packets that have crossed the admin's interface.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crossed {
    /// Bytes that went out, with Ethernet headers.
    pub(crate) sent: u64,
    /// Bytes that came in.
    pub(crate) received: u64,
    /// Datagrams that receivers threw away because a socket's buffer was full.
    pub(crate) overflows: u64,
}

impl<'a> Wire<'a> {
    /// Begins now.
    ///
    /// # Errors
    /// When the LAN has gone.
    pub(crate) fn begin(lan: &'a Lan) -> Result<Self, String> {
        let (admin, overflows) = (lan.traffic(0)?, overflows(lan)?);
        Ok(Self { lan, admin, overflows, begin: Instant::now() })
    }

    /// What has crossed since.
    ///
    /// # Errors
    /// When the LAN has gone.
    pub(crate) fn crossed(&self) -> Result<Crossed, String> {
        let now = self.lan.traffic(0)?;
        Ok(Crossed {
            sent: now.sent - self.admin.sent,
            received: now.received - self.admin.received,
            overflows: overflows(self.lan)? - self.overflows,
        })
    }
}

fn overflows(lan: &Lan) -> Result<u64, String> {
    (1..lan.hosts()).map(|host| lan.overflows(host)).sum()
}

/// Watches the memory of all processes in a LAN.
pub(crate) struct Memory {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Peaks>>,
}

/// Most bytes resident in any one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peaks {
    /// On the admin's host.
    pub(crate) sender: u64,
    /// On any other.
    pub(crate) receiver: u64,
}

impl Memory {
    /// Begins to watch.
    pub(crate) fn watch(lan: &Lan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spaces = (0..lan.hosts()).filter_map(|host| {
            let space = fs::read_link(lan.host(host).path()).ok()?;
            Some((space, host))
        });
        let spaces: BTreeMap<PathBuf, usize> = spaces.collect();
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peaks = Peaks::default();
            while !told.load(Ordering::Relaxed) {
                look(&spaces, &mut peaks);
                std::thread::sleep(LOOK);
            }
            peaks
        });
        Self { stop, thread: Some(thread) }
    }

    /// What it has seen.
    pub(crate) fn peaks(mut self) -> Peaks {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(spaces: &BTreeMap<PathBuf, usize>, peaks: &mut Peaks) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let host = fs::read_link(entry.path().join("ns/net"));
        let Some(&host) = host.ok().and_then(|space| spaces.get(&space)) else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let peak = if host == 0 { &mut peaks.sender } else { &mut peaks.receiver };
        *peak = (*peak).max(high_water(&status).unwrap_or(0));
    }
}

/// `VmHWM`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_kernels_tables_are_read_by_column() {
        // proc(5): pid (comm) state ppid … utime is 14, stime 15, cutime 16, cstime 17.
        let stat = "77 (a) b) S 4 5 6 7 8 9 10 11 12 13 14 15 160 17 18 19";
        assert_eq!(children_ticks(stat), Some(177));
        assert_eq!(children_ticks("77 (a) S 4"), None);
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t   1024 kB\n"), Some(1 << 20));
    }

    #[test]
    fn the_processor_time_of_a_child_and_its_own_children_counts() {
        let before = children_cpu();
        // A grandchild that counts to some hundred thousands.
        let busy = "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true";
        let done = Command::new("sh").args(["-c", busy]).status();
        assert!(done.is_ok_and(|status| status.success()));
        let took = children_cpu() - before;
        assert!(took > 0.02, "{took} s");
    }
}
