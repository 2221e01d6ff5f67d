//! How a demo ends early: whoever interrupts it ends its processes; each step then fails,
//! and what has been made is taken away on the way out.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The processes of a demo, and whether it is to end. Shared with whoever hears signals.
#[derive(Debug, Default)]
pub struct Brake {
    pulled: AtomicBool,
    /// Descriptors, not numbers: a number may be another process's by then.
    running: Mutex<Vec<OwnedFd>>,
}

impl Brake {
    /// Ends the demo: its processes are asked to end, those that start later too.
    pub fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
        self.running().iter().for_each(end);
    }

    /// Whether somebody has ended it.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::SeqCst)
    }

    /// Lets `child` end with the demo.
    pub(super) fn hold(&self, child: &Child) {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // One that has gone already needs no brake.
        let Some(Ok(process)) = id.map(|id| pidfd_open(id, PidfdFlags::empty())) else { return };
        let mut running = self.running();
        // Whoever pulls after this line finds it in the list.
        if self.is_pulled() {
            end(&process);
        }
        running.push(process);
    }

    fn running(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(process: &OwnedFd) {
    // It may have ended by itself.
    let _ = pidfd_send_signal(process, Signal::TERM);
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn processes_end_that_ran_before_and_that_start_after_it_is_pulled() {
        let brake = Brake::default();
        let start = || Command::new("sleep").arg("600").spawn().unwrap();
        let mut before = start();
        brake.hold(&before);
        assert!(!brake.is_pulled() && before.try_wait().unwrap().is_none());
        brake.pull();
        let mut after = start();
        brake.hold(&after);
        for child in [&mut before, &mut after] {
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        }
    }
}
