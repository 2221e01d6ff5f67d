//! A board's receiver and a server with the controller's keys, on a virtual clock: the
//! machine that the firmware runs, over a simulated card, and a network that loses
//! nothing.
//!
//! The server says what a test wants. It takes the board in by itself, and answers what
//! a running session asks; all that the board says is kept.

use std::collections::VecDeque;
use std::net::SocketAddr;

use fleetcast_board::appliance::{Appliance, CannotStart, Event, Memory};
use fleetcast_board::code::Enrolment;
use fleetcast_board::net::Addressing;
use fleetcast_board::settings::Settings;
use fleetcast_core::constrained::DATAGRAM;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{PeerSlot, StaticKey, TokenId};
use fleetcast_core::server::{
    Directory, HalfOpen, Peer, ServerConfig, ServerEndpoint, ServerEvent,
};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{Down, FailCode, Standing, Up, WantRun, decode, encode};
use fleetcast_core::wire::datagram::Kind;
use fleetcast_core::wire::nack::{self, Nack};
use fleetcast_core::wire::transport::Sending;

use crate::board::{BoardRelease, GROUP, Trust};
use crate::board_session::{Delivery, all};
use crate::card::Card;
use crate::node::{receiver_address, server_address};

/// Longest step of the clock while a session runs.
const TICK: Duration = Duration::from_millis(1);

/// Knows everybody and keeps nothing.
struct Anybody;

impl Directory for Anybody {
    fn order(&self, _key: &StaticKey) -> Option<(u64, u64)> {
        None
    }
    fn raise_order(&mut self, _key: &StaticKey, _order: (u64, u64)) {}
    fn token(&self, _id: &TokenId) -> Option<[u8; 16]> {
        None
    }
}

/// The board, and the room for its datagrams.
struct Life {
    board: &'static mut Appliance<'static, Card>,
    room: &'static mut [u8; DATAGRAM],
}

/// A board and its server.
pub struct Pair {
    /// The time.
    pub now: Instant,
    /// Who signs.
    pub trust: Trust,
    /// The board's card.
    pub card: Card,
    /// Whether the server hears and answers.
    pub server_is_there: bool,
    /// What the board has told its driver, and when.
    pub told: Vec<(Instant, Event)>,
    /// What the board has said to the server: encoded `Up`.
    pub heard: Vec<Vec<u8>>,
    /// How often it has begun a handshake.
    pub initiations: usize,
    /// The session that feeds it, while one runs.
    pub delivery: Option<Delivery>,
    life: Life,
    endpoint: ServerEndpoint<ChaCha, Vec<Peer<ChaCha>>, Vec<HalfOpen>>,
    slot: Option<PeerSlot>,
    outbox: VecDeque<Vec<u8>>,
    sessions: u32,
    /// The release that was offered last, and what of it is asked for again.
    offered: Option<BoardRelease>,
    wanted: Vec<WantRun>,
}

impl Pair {
    /// A board that is enrolled and connected, with this card.
    ///
    /// # Panics
    /// When it does not connect.
    #[must_use]
    pub fn connected(card: Card) -> Self {
        let mut pair = Self::starting(Trust::new(), card, Instant::ZERO).expect("a sound card");
        pair.run_until(Duration::from_secs(20), |pair| pair.has_told(&Event::Connected));
        pair
    }

    /// A board that starts with this card.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn starting(trust: Trust, card: Card, now: Instant) -> Result<Self, CannotStart> {
        let admin = trust.admin();
        let config = ServerConfig { static_secret: admin.exchange_secret, seed: [4; 32] };
        let peers = (0..4).map(|_| Peer::vacant()).collect();
        let half_open = (0..2).map(|_| HalfOpen::vacant()).collect();
        let life = start(&trust, &card, now)?;
        Ok(Self {
            now,
            trust,
            card,
            server_is_there: true,
            told: Vec::new(),
            heard: Vec::new(),
            initiations: 0,
            delivery: None,
            life,
            endpoint: ServerEndpoint::new(&config, peers, half_open, now),
            slot: None,
            outbox: VecDeque::new(),
            sessions: 0,
            offered: None,
            wanted: Vec::new(),
        })
    }

    /// The board starts anew, as after a reset: with what is on its card.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn restart(&mut self) -> Result<(), CannotStart> {
        self.delivery = None;
        self.told.clear();
        self.life = start(&self.trust, &self.card, self.now)?;
        Ok(())
    }

    /// Offers a release, by unicast, begins to send it, and sends what is asked for
    /// afterwards.
    ///
    /// # Panics
    /// When nobody is connected.
    pub fn offer(&mut self, release: &BoardRelease) {
        assert!(self.slot.is_some(), "nobody is connected");
        self.offered = Some(release.clone());
        self.send(&all(release));
    }

    /// Begins a session that carries this of the release that is offered.
    fn send(&mut self, runs: &[WantRun]) {
        let Some(release) = &self.offered else { return };
        self.sessions += 1;
        let admin = self.trust.admin();
        let signer = (admin.authority.1.document().fleet, admin.signing_seed);
        let delivery = Delivery::of(release, runs, self.sessions, signer, self.now);
        self.say(&Down::Invitation(delivery.invitation()));
        self.delivery = Some(delivery);
    }

    /// Says something to the board.
    ///
    /// # Panics
    /// When it is longer than a message.
    pub fn say(&mut self, message: &Down<'_>) {
        let mut body = [0; 1_159];
        self.outbox.push_back(encode(message, &mut body).expect("it fits").to_vec());
    }

    /// Hands the board a datagram, as if it came from this sender.
    pub fn hand(&mut self, from: SocketAddr, datagram: &[u8]) {
        // Time goes first, as in `Driver::round`.
        self.look_at_the_clock();
        let room = &mut self.life.room[..datagram.len()];
        room.copy_from_slice(datagram);
        self.life.board.handle_datagram(self.now, from, room);
        self.listen();
    }

    /// Lets time pass until `is` holds.
    ///
    /// # Panics
    /// When it does not within `limit`.
    pub fn run_until(&mut self, limit: Duration, is: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !is(self) {
            assert!(self.now < end, "not within {limit:?}: {:?}", self.told);
            self.step(end);
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step(end);
        }
    }

    /// Whether the board has told this event since it was started.
    #[must_use]
    pub fn has_told(&self, event: &Event) -> bool {
        self.told.iter().any(|(_, told)| told == event)
    }

    /// How often the board has said what `is` picks.
    #[must_use]
    pub fn times_said(&self, is: impl Fn(&Up<'_>) -> bool) -> usize {
        self.heard.iter().filter(|body| decode(body).is_ok_and(|up| is(&up))).count()
    }

    /// Releases that the board has said to have failed, and why.
    #[must_use]
    pub fn failures(&self) -> Vec<FailCode> {
        let failed = |body: &Vec<u8>| match decode(body) {
            Ok(Up::Failed { code, .. }) => Some(code),
            _ => None,
        };
        self.heard.iter().filter_map(failed).collect()
    }

    /// Asks the board for a sign of life.
    ///
    /// # Panics
    /// When it gives none.
    pub fn ping(&mut self, nonce: u64) {
        self.say(&Down::Ping { nonce });
        let answered = move |up: &Up<'_>| *up == Up::Pong { nonce };
        self.run_until(Duration::from_secs(5), |pair| pair.times_said(answered) > 0);
    }

    /// One step of the clock: to what is due next, or to `end`.
    fn step(&mut self, end: Instant) {
        let session = self.delivery.is_some().then_some(self.now + TICK);
        self.exchange();
        let due = self.life.board.poll_timeout().into_iter();
        let due = due.chain(self.endpoint.poll_timeout()).chain(session).min();
        self.now = due.unwrap_or(end).max(self.now + Duration::from_micros(250)).min(end);
        self.look_at_the_clock();
        self.endpoint.handle_timeout(self.now);
        self.exchange();
    }

    fn look_at_the_clock(&mut self) {
        if self.life.board.poll_timeout().is_some_and(|at| at <= self.now) {
            self.life.board.handle_timeout(self.now);
            self.listen();
        }
    }

    /// Carries what each has for the other, until nobody has anything.
    fn exchange(&mut self) {
        let mut buffer = [0; 1_472];
        for _ in 0..50 {
            self.listen();
            let mut quiet = true;
            while let Some(sent) = self.life.board.poll_transmit(self.now, &mut buffer) {
                quiet = false;
                let datagram = &mut buffer[..sent.len];
                self.initiations += usize::from(Kind::of(datagram) == Ok(Kind::Initiation));
                if self.server_is_there {
                    let from = receiver_address(0);
                    self.endpoint.handle_datagram(self.now, from, datagram, &mut Anybody);
                    self.take(&buffer);
                }
            }
            self.post();
            while let Some(sent) = self.endpoint.poll_transmit(self.now, &mut buffer) {
                quiet = false;
                if self.server_is_there {
                    self.hand(server_address(), &buffer[..sent.len]);
                }
            }
            quiet &= !self.feed();
            if quiet {
                return;
            }
        }
    }

    /// Sends what the session has for the board now; whether there was any.
    fn feed(&mut self) -> bool {
        let Some(delivery) = self.delivery.as_mut().filter(|_| self.server_is_there) else {
            return false;
        };
        let datagrams = delivery.datagrams(self.now);
        datagrams.iter().for_each(|datagram| self.hand(server_address(), datagram));
        !datagrams.is_empty()
    }

    /// What the board tells.
    fn listen(&mut self) {
        while let Some(event) = self.life.board.poll_event() {
            self.told.push((self.now, event));
        }
    }

    /// Hands waiting messages to the channel.
    fn post(&mut self) {
        let Some(slot) = self.slot else { return };
        while let Some(body) = self.outbox.front() {
            if self.endpoint.send(self.now, slot, Sending::Reliable, body).is_err() {
                return;
            }
            self.outbox.pop_front();
        }
    }

    /// Takes what the endpoint has made of the datagram in `buffer`.
    fn take(&mut self, buffer: &[u8]) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                ServerEvent::Connected { slot, key, .. } => {
                    self.slot = Some(slot);
                    self.outbox.clear();
                    self.welcome(key);
                }
                ServerEvent::Gone { slot, .. } if self.slot == Some(slot) => self.slot = None,
                ServerEvent::Message { body, .. } => self.on_message(&buffer[body]),
                _ => {}
            }
        }
    }

    /// Takes the board in: authority, membership, welcome.
    fn welcome(&mut self, key: StaticKey) {
        let document = self.trust.authority().to_vec();
        let total = document.len() as u16;
        self.say(&Down::Authority { version: 1, offset: 0, total, bytes: &document });
        let certificate = self.trust.certificate(key, GROUP);
        self.say(&Down::Membership { certificate: &certificate, voucher: &[] });
        let (id, standing) = (self.life.board.id(), Standing::Member);
        self.say(&Down::Welcome { id, name: "pair", standing, time: 0, nonce: [0; 16] });
    }

    fn on_message(&mut self, body: &[u8]) {
        let now = self.now;
        if let Some(delivery) = &mut self.delivery {
            if body.first() == Some(&nack::KIND) {
                if let Ok(nack) = Nack::parse(body) {
                    delivery.handle_nack(now, &nack);
                }
                return;
            }
            match decode(body) {
                Ok(Up::Joined { heard: true, .. }) => delivery.joined(now),
                Ok(Up::HeaderRequest { block, .. }) => delivery.handle_header_request(now, block),
                Ok(Up::Finished { .. }) => self.delivery = None,
                _ => {}
            }
        }
        if let Ok(Up::Want { release, page, more, runs }) = decode(body)
            && self.offered.as_ref().is_some_and(|offered| offered.name == release)
        {
            if page == 0 {
                self.wanted.clear();
            }
            self.wanted.extend(runs);
            if !more && self.delivery.is_none() {
                let wanted = std::mem::take(&mut self.wanted);
                self.send(&wanted);
            }
        }
        self.heard.push(body.to_vec());
    }
}

/// A board's life begins; the memory of the one before is never used again.
fn start(trust: &Trust, card: &Card, now: Instant) -> Result<Life, CannotStart> {
    let enrolment = Enrolment {
        server: server_address(),
        controller: trust.admin().server_key(),
        authority: trust.admin().authority.1.digest(),
        token: None,
    };
    let settings = Settings {
        enrolment: Some(enrolment),
        name: Some("pair"),
        addressing: Addressing::Dhcp,
        seed: Some(Digest([7; 32])),
    };
    let memory = Box::leak(Box::new(Memory::new()));
    let place = Box::leak(Box::new(None));
    let (board, room) = Appliance::open(place, card.clone(), memory, &settings, "pair", now)?;
    board.recall()?;
    Ok(Life { board, room })
}
