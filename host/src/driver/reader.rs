//! Threads that only empty sockets: while the machine's thread writes and
//! syncs files, datagrams gather here instead of being lost in the kernel.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::wake::{Waker, pair};
use crate::agent::{Ask, Reply};
use crate::net::{BatchSocket, ReceiveBuffers, Received};

/// Bytes of datagrams that may wait for the machine, over all sockets.
const MOST_WAITING: usize = 24 * 1024 * 1024;
/// How long a reader sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long a reader waits for room.
const NO_ROOM: Duration = Duration::from_millis(1);
/// How long datagrams gather at most after some have come: waking up for each of them
/// would cost more than all that is done with it.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes of a socket's buffer that may fill in a microsecond: at 1 Gbit/s come 85
/// datagrams in a millisecond, and the kernel counts 2.3 KB for each. They gather
/// until a quarter is full.
const FILLING: usize = 196;
/// Datagrams after which a batch is handed over.
const BATCH: usize = 64;
/// Batches whose memory waits to be used again.
const SPARE: usize = 32;

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
    /// A person asks something.
    Ask(Ask, oneshot::Sender<Reply>),
    /// Something else is to be looked at.
    Look,
}

/// Bytes that wait for the machine, and the memory of batches that it has taken.
#[derive(Clone, Default)]
pub(super) struct Backlog {
    bytes: Arc<AtomicUsize>,
    spare: Arc<Mutex<Vec<Batch>>>,
}

impl Backlog {
    /// The machine has taken a batch.
    pub(super) fn taken(&self, mut batch: Batch) {
        self.bytes.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
        batch.bytes.clear();
        batch.ends.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(batch);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MOST_WAITING
    }

    fn add(&self, batch: &Batch) {
        self.bytes.fetch_add(batch.bytes.len(), Ordering::Relaxed);
    }

    /// An empty batch.
    fn spare(&self) -> Batch {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
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
            let gather = gathering(shared.receive_buffer());
            while !stopped.load(Ordering::Relaxed) {
                if backlog.is_full() {
                    thread::sleep(NO_ROOM);
                    continue;
                }
                let mut batch = backlog.spare();
                let received = read(&shared, &mut buffers, &mut batch, &mut keep);
                if received.datagrams == 0 {
                    sleeper.sleep(std::iter::once(&*shared), false, LONGEST_SLEEP);
                    continue;
                }
                backlog.add(&batch);
                if inputs.send(Input::Batch(batch)).is_err() {
                    return;
                }
                if received.emptied {
                    thread::sleep(gather);
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

/// How long datagrams may gather in a buffer of so many bytes.
fn gathering(buffer: usize) -> Duration {
    GATHER.min(Duration::from_micros((buffer / 4 / FILLING) as u64))
}

/// Empties the socket into a batch, a few calls' worth at most.
fn read(
    socket: &BatchSocket,
    buffers: &mut ReceiveBuffers,
    batch: &mut Batch,
    keep: &mut impl FnMut() -> bool,
) -> Received {
    let mut all = Received { datagrams: 0, emptied: false };
    while batch.ends.len() < BATCH && !all.emptied {
        let received = socket.receive(buffers, &mut |from, datagram| {
            if keep() {
                batch.bytes.extend_from_slice(datagram);
                batch.ends.push((batch.bytes.len(), from));
            }
        });
        all.datagrams += received.datagrams;
        all.emptied = received.emptied;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_gather_no_longer_than_a_quarter_of_the_buffer_takes() {
        // What Linux grants without privileges: 212,992 bytes, told as twice that.
        assert_eq!(gathering(425_984), Duration::from_micros(543));
        assert_eq!(gathering(16 << 20), Duration::from_millis(2));
        assert_eq!(gathering(0), Duration::ZERO);
    }

    #[test]
    fn a_batch_gives_its_datagrams_back_one_by_one() {
        let from = SocketAddr::from(([10, 0, 0, 1], 7));
        let mut batch = Batch { bytes: b"abcde".to_vec(), ends: vec![(2, from), (5, from)] };
        let mut seen = Vec::new();
        batch.each(|_, datagram| seen.push(datagram.to_vec()));
        assert_eq!(seen, [b"ab".to_vec(), b"cde".to_vec()]);
    }
}
