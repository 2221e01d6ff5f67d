//! Threads that only empty sockets: while the machine's thread writes and
//! syncs files, datagrams gather here instead of being lost in the kernel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::wake::{Sleeper, Waker, pair};
use crate::net::{BatchSocket, ReceiveBuffers};

/// Bytes of datagrams that may wait for the machine, over all sockets.
const MOST_WAITING: usize = 24 * 1024 * 1024;
/// How long a reader sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long a reader waits for room.
const NO_ROOM: Duration = Duration::from_millis(1);

/// Datagrams of one batch, back to back.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// End of each datagram in `bytes`, and its sender.
    ends: Vec<(usize, SocketAddr)>,
}

impl Batch {
    /// Hands each datagram over.
    pub(super) fn each(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) {
        let mut begin = 0;
        for &(end, from) in &self.ends {
            take(from, &mut self.bytes[begin..end]);
            begin = end;
        }
    }
}

/// What wakes the machine's thread.
pub(super) enum Input {
    /// Datagrams have come.
    Batch(Batch),
    /// Something else is to be looked at.
    Look,
}

/// Bytes that wait for the machine.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// The machine has taken a batch.
    pub(super) fn taken(&self, batch: &Batch) {
        self.0.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
    }
}

/// A socket that a thread of its own empties until this is dropped.
pub(super) struct Reader {
    socket: Arc<BatchSocket>,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Reader {
    /// Starts to read; `keep` decides about each datagram.
    pub(super) fn start(
        socket: BatchSocket,
        inputs: Sender<Input>,
        backlog: Backlog,
        mut keep: impl FnMut() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let socket = Arc::new(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let (waker, sleeper) = pair()?;
        let (shared, stopped) = (Arc::clone(&socket), Arc::clone(&stop));
        let reading = move || {
            let mut buffers = ReceiveBuffers::default();
            while !stopped.load(Ordering::Relaxed) {
                if backlog.0.load(Ordering::Relaxed) > MOST_WAITING {
                    thread::sleep(NO_ROOM);
                    continue;
                }
                let Some(batch) = read(&shared, &mut buffers, &mut keep) else {
                    rest(&sleeper, &shared);
                    continue;
                };
                backlog.0.fetch_add(batch.bytes.len(), Ordering::Relaxed);
                if inputs.send(Input::Batch(batch)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("fleetcast-socket".to_owned()).spawn(reading)?;
        Ok(Self { socket, stop, waker })
    }

    /// The socket, to send by.
    pub(super) fn socket(&self) -> &BatchSocket {
        &self.socket
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn read(
    socket: &BatchSocket,
    buffers: &mut ReceiveBuffers,
    keep: &mut impl FnMut() -> bool,
) -> Option<Batch> {
    let mut batch = Batch::default();
    let count = socket.receive(buffers, &mut |from, datagram| {
        if keep() {
            batch.bytes.extend_from_slice(datagram);
            batch.ends.push((batch.bytes.len(), from));
        }
    });
    (count > 0).then_some(batch)
}

fn rest(sleeper: &Sleeper, socket: &BatchSocket) {
    sleeper.sleep(std::iter::once(socket), false, LONGEST_SLEEP);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_its_datagrams_back_one_by_one() {
        let from = SocketAddr::from(([10, 0, 0, 1], 7));
        let mut batch = Batch { bytes: b"abcde".to_vec(), ends: vec![(2, from), (5, from)] };
        let mut seen = Vec::new();
        batch.each(|_, datagram| seen.push(datagram.to_vec()));
        assert_eq!(seen, [b"ab".to_vec(), b"cde".to_vec()]);
    }
}
