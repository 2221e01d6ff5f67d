//! One server, one receiver and the link between them.

use std::collections::BTreeMap;
use std::vec::Vec;

use rand_core::{Rng as _, SeedableRng as _};

use super::super::*;
use crate::crypto::aead::ChaCha;
use crate::crypto::noise::StaticPair;
use crate::ids::{StaticKey, TokenId};
use crate::receiver::{ReceiverConfig, ReceiverEndpoint, ReceiverEvent};

pub(super) const SERVER_SECRET: [u8; 32] = [0x51; 32];
pub(super) const RECEIVER_SECRET: [u8; 32] = [0x52; 32];

pub(super) fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7_000))
}

pub(super) fn receiver_key() -> StaticKey {
    *StaticPair::from_secret(&RECEIVER_SECRET).public()
}

pub(super) fn config() -> ReceiverConfig {
    ReceiverConfig {
        static_secret: RECEIVER_SECRET,
        server_key: *StaticPair::from_secret(&SERVER_SECRET).public(),
        server: server_address(),
        token: None,
        boot: 1,
        constrained: false,
        max_datagram: 1_472,
        seed: [2; 32],
    }
}

/// A directory in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) orders: BTreeMap<StaticKey, (u64, u64)>,
    pub(super) tokens: BTreeMap<TokenId, [u8; 16]>,
}

impl Directory for Book {
    fn order(&self, key: &StaticKey) -> Option<(u64, u64)> {
        self.orders.get(key).copied()
    }

    fn raise_order(&mut self, key: &StaticKey, order: (u64, u64)) {
        let before = self.orders.insert(*key, order);
        assert!(before.is_none_or(|before| order > before), "orders only grow");
    }

    fn token(&self, id: &TokenId) -> Option<[u8; 16]> {
        self.tokens.get(id).copied()
    }
}

/// What the link does to datagrams, in percent and milliseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) loss: u32,
    pub(super) duplication: u32,
    pub(super) jitter: u32,
}

pub(super) type Server = ServerEndpoint<ChaCha, Vec<Peer>, Vec<HalfOpen>>;

/// A datagram under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    arrival: Instant,
    pub(super) to_server: bool,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) server: Server,
    pub(super) receiver: ReceiverEndpoint,
    pub(super) book: Book,
    pub(super) faults: Faults,
    /// Where the receiver is.
    pub(super) receiver_address: SocketAddr,
    pub(super) flights: Vec<Flight>,
    /// Every datagram that either side has sent, before the link had it.
    pub(super) log: Vec<Flight>,
    pub(super) server_events: Vec<(ServerEvent, Vec<u8>)>,
    pub(super) receiver_events: Vec<(ReceiverEvent, Vec<u8>)>,
    /// Bytes that came from an address, and that were sent there.
    pub(super) tally: BTreeMap<SocketAddr, (usize, usize)>,
    rng: chacha20::ChaCha20Rng,
}

pub(super) fn server(peers: usize, half_open: usize) -> Server {
    let config = ServerConfig { static_secret: SERVER_SECRET, seed: [1; 32] };
    let peers: Vec<Peer> = (0..peers).map(|_| Peer::vacant()).collect();
    let half_open: Vec<HalfOpen> = (0..half_open).map(|_| HalfOpen::vacant()).collect();
    Server::new(&config, peers, half_open, Instant::ZERO)
}

impl Pair {
    pub(super) fn new(seed: u8) -> Self {
        Self::with(&config(), seed)
    }

    pub(super) fn with(config: &ReceiverConfig, seed: u8) -> Self {
        Self {
            now: Instant::ZERO,
            server: server(4, 2),
            receiver: ReceiverEndpoint::new(config, Instant::ZERO),
            book: Book::default(),
            faults: Faults::default(),
            receiver_address: SocketAddr::from(([10, 0, 0, 2], 5_000)),
            flights: Vec::new(),
            log: Vec::new(),
            server_events: Vec::new(),
            receiver_events: Vec::new(),
            tally: BTreeMap::new(),
            rng: chacha20::ChaCha20Rng::from_seed([seed; 32]),
        }
    }

    /// A pair whose channel is confirmed; what that took is forgotten.
    pub(super) fn connected(seed: u8) -> Self {
        let mut pair = Self::new(seed);
        pair.run(Duration::from_millis(100));
        assert_eq!(pair.server.connected(), 1);
        assert!(pair.receiver.is_connected());
        pair.clear();
        pair
    }

    pub(super) fn clear(&mut self) {
        self.server_events.clear();
        self.receiver_events.clear();
        self.log.clear();
    }

    /// Lets the given time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step();
        }
        self.now = end;
    }

    /// Hands a datagram to the server; what it answers goes to the log only.
    pub(super) fn give_server(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut datagram = bytes.to_vec();
        self.tally.entry(from).or_default().0 += bytes.len();
        self.server.handle_datagram(self.now, from, &mut datagram, &mut self.book);
        while let Some(event) = self.server.poll_event() {
            let body = match &event {
                ServerEvent::Message { body, .. } => datagram[body.clone()].to_vec(),
                _ => Vec::new(),
            };
            self.server_events.push((event, body));
        }
    }

    pub(super) fn give_receiver(&mut self, bytes: &[u8]) {
        let mut datagram = bytes.to_vec();
        self.receiver.handle_datagram(self.now, server_address(), &mut datagram);
        while let Some(event) = self.receiver.poll_event() {
            let body = match &event {
                ReceiverEvent::Message { body, .. } => datagram[body.clone()].to_vec(),
                _ => Vec::new(),
            };
            self.receiver_events.push((event, body));
        }
    }

    /// What the server sends now, with its destination.
    pub(super) fn server_sends(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = [0; MAX_DATAGRAM];
        core::iter::from_fn(|| {
            let transmit = self.server.poll_transmit(self.now, &mut out)?;
            self.tally.entry(transmit.to).or_default().1 += transmit.len;
            Some((transmit.to, out[..transmit.len].to_vec()))
        })
        .collect()
    }

    /// What the receiver sends now.
    pub(super) fn receiver_sends(&mut self) -> Vec<Vec<u8>> {
        let mut out = [0; MAX_DATAGRAM];
        core::iter::from_fn(|| {
            let transmit = self.receiver.poll_transmit(self.now, &mut out)?;
            assert_eq!(transmit.to, server_address());
            Some(out[..transmit.len].to_vec())
        })
        .collect()
    }

    /// The types of all datagrams sent, in order.
    pub(super) fn types(&self) -> Vec<u8> {
        self.log.iter().map(|flight| flight.bytes[0]).collect()
    }

    pub(super) fn slot(&self) -> PeerSlot {
        let mut slots = (0..4).map(PeerSlot);
        slots.find(|slot| self.server.address(*slot).is_some()).unwrap()
    }

    /// Messages that the server was given, in order.
    pub(super) fn at_server(&self) -> Vec<Vec<u8>> {
        let is_message = |event: &ServerEvent| matches!(event, ServerEvent::Message { .. });
        let events = self.server_events.iter();
        events.filter(|(event, _)| is_message(event)).map(|(_, body)| body.clone()).collect()
    }

    /// Messages that the receiver was given, in order.
    pub(super) fn at_receiver(&self) -> Vec<Vec<u8>> {
        let is_message = |event: &ReceiverEvent| matches!(event, ReceiverEvent::Message { .. });
        let events = self.receiver_events.iter();
        events.filter(|(event, _)| is_message(event)).map(|(_, body)| body.clone()).collect()
    }

    /// Sends what both sides have to send.
    pub(super) fn drain(&mut self) {
        for bytes in self.receiver_sends() {
            self.launch(true, bytes);
        }
        for (to, bytes) in self.server_sends() {
            // What goes to an address that the receiver has left is lost.
            if to == self.receiver_address {
                self.launch(false, bytes);
            }
        }
    }

    fn launch(&mut self, to_server: bool, bytes: Vec<u8>) {
        assert!(bytes.len() <= 1_472, "PROTOCOL D3");
        let copies = 1 + u32::from(self.chance(self.faults.duplication));
        self.log.push(Flight { arrival: self.now, to_server, bytes: bytes.clone() });
        for _ in 0..copies {
            if self.chance(self.faults.loss) {
                continue;
            }
            let delay = 1 + self.rng.next_u32() % (self.faults.jitter + 1);
            let arrival = self.now + Duration::from_millis(u64::from(delay));
            self.flights.push(Flight { arrival, to_server, bytes: bytes.clone() });
        }
    }

    fn step(&mut self) {
        let due = self.flights.iter().position(|flight| flight.arrival <= self.now);
        match due.map(|at| self.flights.remove(at)) {
            Some(flight) if flight.to_server => {
                self.give_server(self.receiver_address, &flight.bytes);
            }
            Some(flight) => self.give_receiver(&flight.bytes),
            None => {
                self.server.handle_timeout(self.now);
                self.receiver.handle_timeout(self.now);
                while let Some(event) = self.server.poll_event() {
                    self.server_events.push((event, Vec::new()));
                }
                while let Some(event) = self.receiver.poll_event() {
                    self.receiver_events.push((event, Vec::new()));
                }
            }
        }
        self.drain();
    }

    fn next(&self) -> Option<Instant> {
        let flights = self.flights.iter().map(|flight| flight.arrival).min();
        let timeouts = [self.server.poll_timeout(), self.receiver.poll_timeout()];
        timeouts.into_iter().flatten().chain(flights).min()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }
}
