//! The receiver machine on its sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant as Clock;

use fleetcast_core::limits::MAX_DATAGRAM;
use fleetcast_core::time::Instant;
use tokio::sync::{mpsc as tasks, oneshot};

use super::reader::{Backlog, Input, Reader};
use super::server::{now_since, unix_time};
use crate::aead::RingChaCha;
use crate::agent::{
    Agent, AgentConfig, AgentError, AgentEvent, AgentStats, Ask, Enrolment, Login, Reply,
};
use crate::disk::unix::UnixDisk;
use crate::error::Failure;
use crate::keys::NodeKey;
use crate::net::{BatchSocket, Interface, find_interface, interface_of};

/// Longest sleep, so that a stop is noticed.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_millis(500);
/// How long a stop waits for the server's acknowledgements.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);
/// How long a person waits for an answer.
const ANSWER_TIME: std::time::Duration = std::time::Duration::from_secs(10);
/// Batches taken before time is looked at again: what waits here is not lost, so
/// timers should see it first.
const TURNS: usize = 1_000;

/// How a receiver is run.
pub struct ReceiveOptions {
    /// What the enrolment code told, the first time.
    pub enrolment: Option<Enrolment>,
    /// The account that is to stand behind it.
    pub login: Option<Login>,
    /// The name that it asks for.
    pub name: String,
    /// Its keys.
    pub device: NodeKey,
    /// Interface of multicast, by name or address.
    pub interface: Option<String>,
    /// Share of received datagrams that is thrown away right after the socket.
    pub drop: f64,
}

/// What leaves the machine's thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Something happened.
    Event(AgentEvent),
    /// It has stopped: its last counts.
    Stopped(AgentStats),
}

/// Asks a running receiver, from anywhere.
#[derive(Clone)]
pub struct Asker(Sender<Input>);

impl Asker {
    /// Asks for a person; `None` when the receiver has stopped, or has no answer within
    /// [`ANSWER_TIME`].
    pub async fn ask(&self, ask: Ask) -> Option<Reply> {
        let (reply, replied) = oneshot::channel();
        self.0.send(Input::Ask(ask, reply)).ok()?;
        tokio::time::timeout(ANSWER_TIME, replied).await.ok()?.ok()
    }
}

/// A running receiver.
pub struct Receiver {
    /// What happens.
    pub told: tasks::UnboundedReceiver<Told>,
    inputs: Sender<Input>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// For those who ask it something.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker(self.inputs.clone())
    }

    /// Stops the machine and waits for it; its last counts are told before.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread may have ended by itself.
        let _ = self.inputs.send(Input::Look);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by its own hook.
            let _ = thread.join();
        }
    }
}

/// Opens destination and state, and starts the machine's thread.
///
/// # Errors
/// `not-enrolled` (exit 2), `io`, `interface-unknown`.
pub fn start(options: ReceiveOptions, into: &Path, state: &Path) -> Result<Receiver, Failure> {
    let open = |path: &Path| {
        UnixDisk::open(path).map_err(|error| {
            let hint = "it must be a directory that this user may write";
            Failure::failed("storage-failed", format!("{}: {error}", path.display()), hint)
        })
    };
    let (destination, state_disk) = (open(into)?, open(state)?);
    let config = AgentConfig {
        secret: options.device.secret,
        signing_seed: options.device.seed,
        name: options.name,
        seed: crate::keys::random()?,
        enrolment: options.enrolment,
        login: options.login,
    };
    let agent = Agent::open(config, destination, state_disk, Instant::ZERO);
    let agent: Agent<UnixDisk, RingChaCha> = agent.map_err(|error| agent_failure(&error))?;
    let server = agent.server();
    let interface = match options.interface.as_deref() {
        Some(wanted) => find_interface(Some(wanted))?,
        None => interface_towards(server)?,
    };
    let (inputs, waiting) = channel();
    let (tell, told) = tasks::unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let sockets = Sockets {
        interface,
        inputs: inputs.clone(),
        backlog: Backlog::default(),
        drop: options.drop,
        multicast: Vec::new(),
    };
    let looping = Loop {
        agent,
        unicast: sockets.read(BatchSocket::client()?)?,
        sockets,
        waiting,
        tell,
        stop: Arc::clone(&stop),
        asked: BTreeMap::new(),
        questions: 0,
        begin: Clock::now(),
    };
    let thread = thread::Builder::new().name("fleetcast-receive".to_owned());
    let thread = thread.spawn(move || looping.run()).map_err(|e| Failure::io("thread", &e))?;
    Ok(Receiver { told, inputs, stop, thread: Some(thread) })
}

fn agent_failure(error: &AgentError) -> Failure {
    match error {
        AgentError::NotEnrolled => Failure::usage(
            "not-enrolled",
            "this receiver is not enrolled",
            "start it once with --enrol CODE; `fleetcast invite` on the server prints a code",
        ),
        AgentError::Storage(error) => {
            let hint = "check the destination and the state directory";
            Failure::failed("storage-failed", error.to_string(), hint)
        }
    }
}

/// The interface that the way to the server leads over.
fn interface_towards(server: SocketAddr) -> Result<Interface, Failure> {
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // Connecting a datagram socket sends nothing; it only looks the route up.
        socket.connect(server)?;
        socket.local_addr()
    });
    match route.map_err(|error| Failure::io(server, &error))?.ip() {
        IpAddr::V4(address) => interface_of(address),
        IpAddr::V6(_) => find_interface(None),
    }
}

/// The sockets of a receiver, each with its reader.
struct Sockets {
    interface: Interface,
    inputs: Sender<Input>,
    backlog: Backlog,
    drop: f64,
    multicast: Vec<(SocketAddrV4, Reader)>,
}

impl Sockets {
    fn read(&self, socket: BatchSocket) -> Result<Reader, Failure> {
        let mut dropper = Dropper::new(self.drop);
        let keep = move || !dropper.drops();
        Reader::start(socket, self.inputs.clone(), self.backlog.clone(), keep)
            .map_err(|error| Failure::io("reader thread", &error))
    }

    fn listen(&mut self, group: SocketAddrV4) {
        let reader = BatchSocket::multicast(group, &self.interface).and_then(|s| self.read(s));
        match reader {
            Ok(reader) => self.multicast.push((group, reader)),
            // Catch-up serves whoever cannot join.
            Err(error) => tracing::warn!(%group, %error, "cannot join"),
        }
    }

    fn announce(&self, group: SocketAddrV4) {
        let found = self.multicast.iter().find(|(known, _)| *known == group);
        if let Some((_, reader)) = found
            && let Err(error) = reader.socket().rejoin(group, &self.interface)
        {
            // It may hear nothing from now on: then catch-up serves it.
            tracing::warn!(%group, %error, "cannot join again");
        }
    }

    fn unlisten(&mut self, group: SocketAddrV4) {
        if let Some(at) = self.multicast.iter().position(|(known, _)| *known == group) {
            self.multicast.remove(at);
        }
    }
}

struct Loop {
    agent: Agent<UnixDisk, RingChaCha>,
    unicast: Reader,
    sockets: Sockets,
    waiting: mpsc::Receiver<Input>,
    tell: tasks::UnboundedSender<Told>,
    stop: Arc<AtomicBool>,
    /// Who waits for the answer to which question.
    asked: BTreeMap<u64, oneshot::Sender<Reply>>,
    questions: u64,
    begin: Clock,
}

impl Loop {
    /// The numbered loop of `core/README.md`.
    fn run(mut self) {
        let mut out = vec![0; MAX_DATAGRAM];
        let mut stopping: Option<Clock> = None;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                // What was installed is told before the process ends.
                let since = *stopping.get_or_insert_with(Clock::now);
                if self.agent.is_settled() || since.elapsed() > LAST_WORDS {
                    break;
                }
            }
            // 5, 1: sleep until something comes, or the time is over.
            let first = self.waiting.recv_timeout(self.sleep_time());
            self.agent.set_time(Some(unix_time()));
            // 2: datagrams first, then time.
            let mut input = first.ok();
            for _ in 0..TURNS {
                let Some(taken) = input.take() else { break };
                self.take(taken);
                input = self.waiting.try_recv().ok();
            }
            input.into_iter().for_each(|taken| self.take(taken));
            self.agent.handle_timeout(now_since(self.begin));
            // 3: drain what happened.
            self.drain_events();
            // 4: drain what is to be sent.
            self.transmit(&mut out);
        }
        self.agent.leave(now_since(self.begin));
        self.transmit(&mut out);
        let _ = self.tell.send(Told::Stopped(self.agent.stats()));
    }

    fn transmit(&mut self, out: &mut [u8]) {
        while let Some(transmit) = self.agent.poll_transmit(now_since(self.begin), out) {
            let bytes = &out[..transmit.len];
            // Lost like any datagram when the socket is full: it is repeated.
            let _ = self.unicast.socket().send(transmit.to, bytes, transmit.segment_size);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Batch(mut batch) => {
                // They came together, so they have one time.
                let (agent, now) = (&mut self.agent, now_since(self.begin));
                batch.each(|from, bytes| agent.handle_datagram(now, from, bytes));
                self.sockets.backlog.taken(batch);
            }
            Input::Ask(ask, reply) => {
                self.questions += 1;
                self.asked.insert(self.questions, reply);
                self.agent.ask(now_since(self.begin), self.questions, ask);
            }
            Input::Look => {}
        }
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            match event {
                AgentEvent::Listen(group) => self.sockets.listen(group),
                AgentEvent::Announce(group) => self.sockets.announce(group),
                AgentEvent::Unlisten(group) => self.sockets.unlisten(group),
                AgentEvent::Reply { number, reply } => {
                    if let Some(asked) = self.asked.remove(&number) {
                        // Whoever asked may have given up.
                        let _ = asked.send(reply);
                    }
                }
                event => {
                    // Nobody listens any more when the process is stopping.
                    let _ = self.tell.send(Told::Event(event));
                }
            }
        }
    }

    fn sleep_time(&self) -> std::time::Duration {
        let Some(at) = self.agent.poll_timeout() else { return LONGEST_SLEEP };
        let now = now_since(self.begin);
        std::time::Duration::from_micros(at.since(now).as_micros()).min(LONGEST_SLEEP)
    }
}

/// Throws a share of datagrams away, for demos and tests (`--drop`).
struct Dropper {
    threshold: u64,
    state: u64,
}

impl Dropper {
    fn new(share: f64) -> Self {
        let threshold = (share.clamp(0.0, 1.0) * u32::MAX as f64) as u64;
        let seed = std::process::id().into();
        Self { threshold, state: seed }
    }

    /// SplitMix64.
    fn drops(&mut self) -> bool {
        if self.threshold == 0 {
            return false;
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 32) < self.threshold
    }
}
