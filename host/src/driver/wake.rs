//! Waiting for sockets, a deadline, or another thread.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::net::BatchSocket;

/// Wakes a sleeping loop; can be cloned and sent.
#[derive(Clone)]
pub(super) struct Waker(Arc<UnixStream>);

impl Waker {
    /// Wakes the loop, or keeps its next sleep from beginning.
    pub(super) fn wake(&self) {
        // A full pipe wakes just as well.
        let _ = (&*self.0).write(&[1]);
    }
}

/// The loop's end of its wakers.
pub(super) struct Sleeper(UnixStream);

/// A waker and the sleeper that it wakes.
pub(super) fn pair() -> io::Result<(Waker, Sleeper)> {
    let (waker, sleeper) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    sleeper.set_nonblocking(true)?;
    Ok((Waker(Arc::new(waker)), Sleeper(sleeper)))
}

impl Sleeper {
    /// Sleeps until a socket can be read (or written, where `writing`), the
    /// waker is used, or the time is over.
    pub(super) fn sleep<'s>(
        &self,
        sockets: impl Iterator<Item = &'s BatchSocket>,
        writing: bool,
        time: Duration,
    ) {
        let wanted = if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut waits: Vec<PollFd<'_>> = sockets
            .map(|socket| PollFd::from_borrowed_fd(socket.socket().as_fd(), wanted))
            .collect();
        waits.push(PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN));
        let time = Timespec {
            tv_sec: time.as_secs().min(3_600) as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        // Interrupted or failed: the loop looks at everything anyway.
        let _ = poll(&mut waits, Some(&time));
        let mut drained = [0; 64];
        while matches!((&self.0).read(&mut drained), Ok(read) if read == drained.len()) {}
    }
}
