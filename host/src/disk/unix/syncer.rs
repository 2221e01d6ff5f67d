//! A thread that only syncs, so that the one that receives need not wait.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs;
use rustix::io::{Errno, Result};

/// Said when the thread has ended without an answer.
const GONE: Errno = Errno::IO;

/// A sync that was begun.
#[derive(Debug)]
pub struct UnixSync(Receiver<Result<()>>);

impl UnixSync {
    pub(super) fn poll(&self) -> Option<Result<()>> {
        match self.0.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(GONE)),
        }
    }

    pub(super) fn wait(&self) -> Result<()> {
        self.0.recv().unwrap_or(Err(GONE))
    }
}

/// What is to be synced, and who is told.
struct Job {
    files: Vec<OwnedFd>,
    /// The file system, where all of it is to be synced.
    all: Option<Arc<OwnedFd>>,
    tell: Sender<Result<()>>,
}

/// Hands syncs to its thread, which begins with the first of them and ends when
/// this is dropped.
#[derive(Debug, Default)]
pub(super) struct Syncer(Mutex<Option<Sender<Job>>>);

impl Syncer {
    /// Begins to sync the data of `files`, or the whole file system `all`.
    pub(super) fn begin(&self, files: Vec<OwnedFd>, all: Option<Arc<OwnedFd>>) -> Result<UnixSync> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = match &mut *jobs {
            Some(jobs) => jobs,
            none => none.insert(start()?),
        };
        let (tell, told) = channel();
        jobs.send(Job { files, all, tell }).map_err(|_| GONE)?;
        Ok(UnixSync(told))
    }
}

fn start() -> Result<Sender<Job>> {
    let (jobs, waiting) = channel::<Job>();
    let syncing = move || {
        for job in waiting {
            let done = sync(&job);
            // Nobody waits any more for a delivery that was dropped.
            let _ = job.tell.send(done);
        }
    };
    let thread = thread::Builder::new().name("fleetcast-sync".to_owned()).spawn(syncing);
    thread.map_err(|error| Errno::from_io_error(&error).unwrap_or(GONE))?;
    Ok(jobs)
}

/// All are tried: each error is reported only once by the kernel.
fn sync(job: &Job) -> Result<()> {
    let whole = job.all.iter().map(fs::syncfs);
    let data = job.files.iter().map(fs::fdatasync);
    whole.chain(data).fold(Ok(()), Result::and)
}
