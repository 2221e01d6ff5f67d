//! The receiver of a board as a sans-IO machine: endpoint, one session, chunk store.
//!
//! ```text
//! datagrams ─▶ endpoint ─▶ messages ─▶ one delivery at a time:
//!     └──────▶ session ──▶ store ────▶ activate ─▶ receipt
//! ```
//!
//! Inputs: [`Appliance::handle_datagram`], [`Appliance::handle_timeout`].
//! Outputs, to be drained after each of them: [`Appliance::poll_event`],
//! [`Appliance::poll_transmit`], [`Appliance::poll_timeout`].
//!
//! It decides what the agent of a host decides (`host/src/agent`), with a store in the
//! place of directories and with one session at a time.

mod delivering;
mod event;
mod freshness;
mod messages;
mod opening;
mod saying;
mod scrubbing;
mod words;

use core::net::SocketAddr;

use fleetcast_core::constrained::{ConstrainedBuffers, ConstrainedEndpoint};
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::{ReceiverId, StaticKey};
use fleetcast_core::receiver::ReceiverEvent;
use fleetcast_core::store::Store;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::transmit::Transmit;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::wire::session;
use heapless::Deque;

use self::delivering::Delivery;
pub use self::event::Event;
pub use self::opening::{CannotStart, Memory};
use self::saying::Want;
use self::scrubbing::Scrubbing;
use self::words::{Word, Words};
use crate::identity::Identity;
use crate::partition::Disk;

/// Bytes of the largest signed document that is kept or put together from pieces.
pub const DOCUMENT: usize = 1_664;
/// Steps of the store between two looks at the network.
const STEPS: u32 = 4;
/// When to ask again for what is lacking and nobody sends.
const WANT_AGAIN: Duration = Duration::from_secs(20);
/// Events that one input can raise, and some room.
const EVENTS: usize = 8;

/// The receiver.
pub struct Appliance<'m, D> {
    identity: Identity,
    device: StaticKey,
    signing: SigningKey,
    boot: u64,
    endpoint: ConstrainedEndpoint<'m>,
    store: Store<'m, D>,
    authority: Option<TrustedAuthority>,
    delivery: Option<Delivery<'m>>,
    /// What a session borrows, while none does.
    buffers: Option<ConstrainedBuffers<'m>>,
    /// Room for a signed document, read or put together.
    document: &'m mut [u8; DOCUMENT],
    /// Of an authority document that comes in pieces: version, length, bytes that are here.
    pieces: Option<(u32, usize, usize)>,
    words: Words,
    want: Want,
    failed: Option<saying::Refusal>,
    events: Deque<Event, EVENTS>,
    work_at: Option<Instant>,
    scrubbing: Scrubbing,
    /// Of the last Hello.
    nonce: Option<[u8; 16]>,
    random: u64,
    member: bool,
}

impl<'m, D: Disk> Appliance<'m, D> {
    // --- inputs ---

    /// Takes a datagram of either socket; decrypts it in place.
    #[inline(never)]
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        if datagram.first() == Some(&session::TYPE) {
            self.on_session_datagram(now, datagram);
        } else {
            self.endpoint.handle_datagram(now, from, datagram);
            while let Some(event) = self.endpoint.poll_event() {
                self.on_endpoint_event(now, event, datagram);
            }
        }
        self.drain_session(now);
    }

    /// The time told by `poll_timeout` has come.
    #[inline(never)]
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(now, event, &[]);
        }
        self.judge_document(now);
        self.session_timeout(now);
        if self.work_at.is_some_and(|at| at <= now) {
            self.work_at = None;
            self.work(now);
        }
        self.scrub(now);
        self.drain_session(now);
    }

    // --- outputs ---

    /// The next datagram, written to `out`, which has room for `constrained::DATAGRAM`
    /// bytes.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.say_all(now, out);
        self.endpoint.poll_transmit(now, out)
    }

    /// When `handle_timeout` has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.delivery.as_ref().and_then(Delivery::poll_timeout);
        let own = self.work_at.into_iter().chain(self.scrub_timeout());
        session.into_iter().chain(self.endpoint.poll_timeout()).chain(own).min()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // --- getters ---

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ReceiverId {
        ReceiverId::of(&self.device)
    }

    /// Its store.
    pub const fn store(&mut self) -> &mut Store<'m, D> {
        &mut self.store
    }

    #[inline(never)]
    fn on_endpoint_event(&mut self, now: Instant, event: ReceiverEvent, datagram: &[u8]) {
        match event {
            ReceiverEvent::Connected => self.greet(),
            ReceiverEvent::Message { body, .. } => {
                if let Some(body) = datagram.get(body) {
                    self.on_message(now, body);
                    // A whole authority document is judged from less deep in the stack.
                    self.work_at = self.has_document().then_some(now).or(self.work_at);
                }
            }
            // What waits is said in any case when datagrams are asked for.
            ReceiverEvent::Drained => {}
            ReceiverEvent::Disconnected { .. } => self.on_disconnected(),
        }
    }

    /// There is no channel any more, and nothing that was to be said in it.
    fn on_disconnected(&mut self) {
        self.words.clear();
        self.end_session();
        if core::mem::take(&mut self.member) {
            self.tell(Event::Disconnected);
        }
    }

    /// PROTOCOL M1: Hello and the whole inventory come first, between them what sessions
    /// must keep to.
    fn greet(&mut self) {
        self.words.clear();
        self.words.push(Word::Hello);
        self.words.push(Word::Bounds);
        self.words.push(Word::Holds);
        // Receipts again each time: a server that stopped may have lost what it had got.
        for number in 0..self.active().count() {
            self.words.push(Word::Installed(number as u8));
        }
    }

    fn tell(&mut self, event: Event) {
        // A driver that drains after every input never finds it full.
        let _ = self.events.push_back(event);
    }

    /// The next of many numbers that guard no secret (Knuth's MMIX constants).
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = self.random.wrapping_add(1_442_695_040_888_963_407);
        self.random ^ (self.random >> 29)
    }
}
