//! The server machine on its socket.
//!
//! One thread owns machine and socket. Whatever else the server does reaches
//! the machine as closures ([`ServerHandle::run`]); changes of facts leave as
//! numbered batches for a task that writes them to the catalog.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Instant as Clock, SystemTime, UNIX_EPOCH};

use fleetcast_core::limits::{BEACON_INTERVAL, MAX_DATAGRAM};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::authority::TrustedAuthority;
use tokio::sync::{mpsc as tasks, oneshot, watch};

use super::wake::{Sleeper, Waker, pair};
use crate::accounts::PasswordCheck;
use crate::aead::RingChaCha;
use crate::catalog::Catalog;
use crate::discovery;
use crate::error::Failure;
use crate::model::Change;
use crate::net::{BatchSocket, ReceiveBuffers, find_interface};
use crate::packs::ChunkStore;
use crate::server::registry::Registry;
use crate::server::{NodeConfig, ServerNode};
use crate::vectors::Vectors;

/// The server machine with the host's cipher.
pub type Node = ServerNode<RingChaCha>;

/// Type bytes of what is answered before the next datagram is read: a handshake's
/// initiation, a request for the chain (PROTOCOL §1).
const ASKS: [u8; 2] = [1, fleetcast_core::wire::chain::REQUEST];
/// How often at least the wall clock is told to the machine.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_millis(500);
/// Batches of datagrams received before others get a turn.
const TURNS: usize = 8;
/// Transmissions before datagrams are looked at again.
const SENDS: usize = 64;
/// Receivers that may be connected at a time: a place for each is there from the beginning,
/// and 6 KiB of memory for its messages once it has been there.
const MAX_RECEIVERS: usize = 10_000;
/// How long to wait when the socket is full.
const BLOCKED: std::time::Duration = std::time::Duration::from_millis(5);
/// Longest time that a goodbye to all may wait for a full socket.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(500);
/// When to say it again.
const GOODBYE_AGAIN: std::time::Duration = std::time::Duration::from_millis(30);

/// Where and how a server listens and sends.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Address of the unicast socket.
    pub listen: SocketAddr,
    /// Interface of multicast, by name or address.
    pub interface: Option<String>,
    /// First address of the multicast pool.
    pub pool: Ipv4Addr,
    /// Length of its prefix.
    pub pool_prefix: u8,
    /// Port of multicast sessions.
    pub port: u16,
    /// Time to live of multicast datagrams.
    pub ttl: u32,
    /// Mark of session datagrams (DSCP, 0 to 63).
    pub dscp: u8,
    /// Cap of all that is sent, in bytes per second.
    pub rate: u64,
    /// Whether it lets itself be found by beacons.
    pub beacon: bool,
}

/// The facts and secrets that a server starts with.
pub struct Founding {
    /// Secret X25519 key of the controller.
    pub exchange_secret: [u8; 32],
    /// Its Ed25519 key.
    pub signing: fleetcast_core::crypto::sign::SigningKey,
    /// What the catalog held.
    pub registry: Registry,
    /// The newest authority document.
    pub authority: TrustedAuthority,
    /// All of them, signed, by version.
    pub chain: Vec<(u32, Vec<u8>)>,
}

type Work = Box<dyn FnOnce(&mut Node, Instant) + Send>;

/// Reaches the machine from anywhere.
#[derive(Clone)]
pub struct ServerHandle {
    work: mpsc::Sender<Work>,
    waker: Waker,
    durable: watch::Receiver<u64>,
}

impl ServerHandle {
    /// Runs `work` on the machine's thread; resolves when all that it changed is durable.
    ///
    /// # Errors
    /// `server-stopped` when the machine's thread or its catalog is gone.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Node, Instant) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let stopped =
            || Failure::failed("server-stopped", "the server is stopping", "start it again");
        let (answer, answered) = oneshot::channel();
        let job: Work = Box::new(move |node, now| {
            let result = work(node, now);
            // Nobody waits any more when the caller was cancelled.
            let _ = answer.send((result, node.batch_of_changes()));
        });
        self.work.send(job).map_err(|_| stopped())?;
        self.waker.wake();
        let (result, batch) = answered.await.map_err(|_| stopped())?;
        let mut durable = self.durable.clone();
        durable.wait_for(|&done| done >= batch).await.map_err(|_| stopped())?;
        Ok(result)
    }
}

/// A running server.
pub struct Server {
    /// Reaches the machine.
    pub handle: ServerHandle,
    /// Where the socket is bound.
    pub address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    stop: mpsc::Sender<()>,
    catalog_task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Stops the machine; what it had changed is durable afterwards.
    pub async fn stop(mut self) {
        // Both ends may be gone already.
        let _ = self.stop.send(());
        self.handle.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        drop(self.handle);
        let _ = self.catalog_task.await;
    }
}

/// Binds a server's socket. Before anything is made that a wrong option would leave behind.
///
/// # Errors
/// `address-in-use`, `interface-unknown`, `interface-no-multicast`.
pub fn bind(options: &ServeOptions) -> Result<BatchSocket, Failure> {
    let interface = find_interface(options.interface.as_deref())?;
    let mut socket = BatchSocket::server(options.listen, &interface, options.ttl, options.pool)?;
    socket.mark_sessions(options.dscp);
    Ok(socket)
}

/// Starts the machine's thread on a socket that was bound with the same options.
///
/// # Errors
/// `io` when the system gives no thread.
pub fn start(
    socket: BatchSocket,
    options: &ServeOptions,
    founding: Founding,
    chunks: Arc<dyn ChunkStore>,
    catalog: Catalog,
) -> Result<Server, Failure> {
    let address = socket.local_addr()?;
    let config = NodeConfig {
        exchange_secret: founding.exchange_secret,
        signing: founding.signing,
        seed: crate::keys::random()?,
        pool: options.pool,
        pool_prefix: options.pool_prefix,
        port: options.port,
        rate: options.rate,
        max_receivers: MAX_RECEIVERS,
    };
    let (work, jobs) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let (batches, written) = tasks::unbounded_channel();
    let (durable_in, durable) = watch::channel(0);
    let (waker, sleeper) = pair().map_err(|error| Failure::io("waker", &error))?;
    let catalog_task = tokio::spawn(write_batches(catalog, written, durable_in, waker.clone()));
    let watched = durable.clone();
    let begin = Clock::now();
    let node = Node::new(
        config,
        founding.registry,
        chunks,
        founding.authority,
        founding.chain,
        Instant::ZERO,
    );
    let (passwords, checks) = mpsc::channel();
    let (checked, checker_waker) = (work.clone(), waker.clone());
    let checker = thread::Builder::new().name("fleetcast-passwords".to_owned());
    checker
        .spawn(move || check_passwords(&checks, &checked, &checker_waker))
        .map_err(|e| Failure::io("thread", &e))?;
    let looping = Loop {
        node,
        socket,
        sleeper,
        jobs,
        stopped,
        batches,
        durable: watched,
        passwords,
        beacon: options.beacon.then_some((address.port(), std::time::Duration::ZERO)),
        begin,
    };
    let thread = thread::Builder::new().name("fleetcast-data".to_owned());
    let thread = thread.spawn(move || looping.run()).map_err(|e| Failure::io("thread", &e))?;
    let handle = ServerHandle { work, waker, durable };
    Ok(Server { handle, address, thread: Some(thread), stop, catalog_task })
}

/// Writes batches of changes in their order, several in one transaction when they pile up.
async fn write_batches(
    catalog: Catalog,
    mut batches: tasks::UnboundedReceiver<(u64, Vec<Change>)>,
    durable: watch::Sender<u64>,
    waker: Waker,
) {
    while let Some((mut newest, mut changes)) = batches.recv().await {
        while let Ok((number, more)) = batches.try_recv() {
            newest = number;
            changes.extend(more);
        }
        if let Err(error) = catalog.apply(&changes).await {
            // Nothing may be acknowledged that is not durable: fail closed.
            tracing::error!(%error, "the catalog cannot be written; the server stops");
            return;
        }
        durable.send_replace(newest);
        waker.wake();
    }
    catalog.close().await;
}

/// Checks passwords one after the other, so that neither datagrams nor memory wait for it.
fn check_passwords(
    checks: &mpsc::Receiver<PasswordCheck>,
    work: &mpsc::Sender<Work>,
    waker: &Waker,
) {
    while let Ok(check) = checks.recv() {
        let checked = check.run();
        let done: Work = Box::new(move |node, now| node.password_checked(now, checked));
        if work.send(done).is_err() {
            return;
        }
        waker.wake();
    }
}

struct Loop {
    node: Node,
    socket: BatchSocket,
    sleeper: Sleeper,
    jobs: mpsc::Receiver<Work>,
    stopped: mpsc::Receiver<()>,
    batches: tasks::UnboundedSender<(u64, Vec<Change>)>,
    durable: watch::Receiver<u64>,
    passwords: mpsc::Sender<PasswordCheck>,
    /// Port that beacons name, and when the next one is due.
    beacon: Option<(u16, std::time::Duration)>,
    begin: Clock,
}

impl Loop {
    /// The numbered loop of `core/README.md`.
    fn run(mut self) {
        let mut buffers = ReceiveBuffers::default();
        let mut out = vec![0; self.socket.batch() * MAX_DATAGRAM];
        let mut unsent: Option<(SocketAddr, usize, Option<usize>)> = None;
        let mut told = 0;
        while self.stopped.try_recv().is_err() && !self.batches.is_closed() {
            self.node.set_time(unix_time());
            // 1, 2: time first, then datagrams, then commands.
            self.node.handle_timeout(self.now());
            let busy = self.receive(&mut buffers);
            while let Ok(work) = self.jobs.try_recv() {
                let now = self.now();
                work(&mut self.node, now);
            }
            let durable = *self.durable.borrow();
            if durable > told {
                told = durable;
                let now = self.now();
                self.node.persisted(now, durable);
            }
            // 3: drain what happened.
            if let Some(batch) = self.node.take_changes() {
                let _ = self.batches.send(batch);
            }
            while let Some(check) = self.node.poll_password_check() {
                // Its thread ends after this one.
                let _ = self.passwords.send(check);
            }
            // 4: drain what is to be sent.
            let blocked = self.transmit(&mut out, &mut unsent);
            self.send_beacon();
            // 5: sleep until something happens.
            if !busy {
                let time = self.sleep_time(blocked);
                self.sleeper.sleep(std::iter::once(&self.socket), blocked, time);
            }
        }
        if let Some(batch) = self.node.take_changes() {
            let _ = self.batches.send(batch);
        }
        self.say_goodbye(&mut out);
    }

    /// PROTOCOL C7: tells whoever is here that the server stops; twice, since it is not
    /// repeated to whom it gets lost.
    fn say_goodbye(&mut self, out: &mut [u8]) {
        for pause in [GOODBYE_AGAIN, std::time::Duration::ZERO] {
            self.node.say_goodbye(self.now());
            let until = self.begin.elapsed() + GOODBYE;
            // Bounded, also where a session goes on and on.
            while self.begin.elapsed() < until
                && let Some(t) = self.node.poll_transmit(self.now(), out, &Vectors::new())
            {
                while !self.socket.send(t.to, &out[..t.len], t.segment_size)
                    && self.begin.elapsed() < until
                {
                    thread::sleep(BLOCKED);
                }
            }
            thread::sleep(pause);
        }
    }

    fn receive(&mut self, buffers: &mut ReceiveBuffers) -> bool {
        let begin = self.begin;
        let mut answer = [0; MAX_DATAGRAM];
        for _ in 0..TURNS {
            let (node, socket) = (&mut self.node, &self.socket);
            let received = socket.receive(buffers, &mut |from, datagram| {
                let asks = datagram.first().is_some_and(|kind| ASKS.contains(kind));
                let now = now_since(begin);
                node.handle_datagram(now, from, datagram);
                // Such an answer is kept until the next one only, and a whole fleet may
                // begin at once.
                if asks && let Some(t) = node.poll_transmit(now, &mut answer, &Vectors::new()) {
                    // Lost like any datagram when the socket is full: it is asked for again.
                    let _ = socket.send(t.to, &answer[..t.len], t.segment_size);
                }
            });
            if received.emptied {
                return false;
            }
        }
        true
    }

    /// Sends what the machine has to send now; whether the socket was full.
    fn transmit(
        &mut self,
        out: &mut [u8],
        unsent: &mut Option<(SocketAddr, usize, Option<usize>)>,
    ) -> bool {
        if let Some((to, len, segment)) = unsent.take()
            && !self.socket.send(to, &out[..len], segment)
        {
            *unsent = Some((to, len, segment));
            return true;
        }
        for _ in 0..SENDS {
            let now = self.now();
            let Some(transmit) = self.node.poll_transmit(now, out, &Vectors::new()) else { break };
            if !self.socket.send(transmit.to, &out[..transmit.len], transmit.segment_size) {
                *unsent = Some((transmit.to, transmit.len, transmit.segment_size));
                return true;
            }
        }
        false
    }

    /// PROTOCOL B1: by multicast, at intervals.
    fn send_beacon(&mut self) {
        let elapsed = self.begin.elapsed();
        if let Some((port, due)) = &mut self.beacon
            && elapsed >= *due
        {
            *due = elapsed + std::time::Duration::from_micros(BEACON_INTERVAL.as_micros());
            // Lost when the socket is full: there will be another.
            let _ = self.socket.send(discovery::group().into(), &self.node.beacon(*port), None);
        }
    }

    fn sleep_time(&self, blocked: bool) -> std::time::Duration {
        if blocked {
            return BLOCKED;
        }
        let Some(at) = self.node.poll_timeout() else { return LONGEST_SLEEP };
        std::time::Duration::from_micros(at.since(self.now()).as_micros()).min(LONGEST_SLEEP)
    }

    fn now(&self) -> Instant {
        now_since(self.begin)
    }
}

/// The monotonic clock as the machines read it.
pub(super) fn now_since(begin: Clock) -> Instant {
    Instant::from_micros(begin.elapsed().as_micros() as u64)
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
