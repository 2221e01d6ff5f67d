//! The server's end of the unicast path: handshakes with receivers, and a
//! channel with each (PROTOCOL §2, §3).

mod admission;
mod config;
mod event;
mod greeter;
mod half_open;
mod peer;
mod table;

use core::net::SocketAddr;

use heapless::Deque;

use self::admission::{Admission, Reply};
pub use self::config::{Directory, ServerConfig};
pub use self::event::{Lost, ServerEvent};
pub use self::half_open::HalfOpen;
use self::peer::Use;
pub use self::peer::{MESSAGES, Peer};
use self::table::Table;
use crate::channel::{Pulse, Received, SendError};
use crate::crypto::aead::Aead;
use crate::ids::PeerSlot;
use crate::lent::{Bytes, Lent};
use crate::limits::MAX_DATAGRAM;
use crate::time::{Duration, Instant};
use crate::transmit::Transmit;
use crate::wire::datagram::Kind;
use crate::wire::handshake::Payload;
use crate::wire::transport::{Header, Sending};

/// Events that wait at most; one datagram raises five at most.
const EVENTS: usize = 32;
const EVENTS_OF_A_DATAGRAM: usize = 5;
/// Timers are looked at no more often than this, all together.
const TICK: Duration = Duration::from_millis(20);

/// The server endpoint.
///
/// * inputs: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout)
/// * commands: [`send`](Self::send), [`disconnect`](Self::disconnect),
///   [`take_key`](Self::take_key)
/// * outputs, to be drained after each of them: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout)
/// * getters: [`address`](Self::address), [`address_confirmed`](Self::address_confirmed),
///   [`room`](Self::room), [`connected`](Self::connected)
pub struct ServerEndpoint<A, P, H, M = [u8; MESSAGES]> {
    admission: Admission<H>,
    table: Table<A, P, M>,
    /// No timer runs out before this.
    wake: Instant,
    /// When timers were last looked at, and from which place on they are still to be.
    looked: Instant,
    cursor: Option<usize>,
    events: Deque<ServerEvent, EVENTS>,
}

impl<A, M, P, H> ServerEndpoint<A, P, H, M>
where
    A: Aead,
    M: Bytes,
    P: Lent<Peer<A, M>>,
    H: Lent<HalfOpen>,
{
    /// A server without receivers.
    ///
    /// `peers` has a place for every receiver that may be connected at a time, and
    /// some more (at most 2^24 in all): a handshake keeps a place for the receiver
    /// that it may become, and the oldest one gives up its own when there is none.
    pub fn new(config: &ServerConfig, peers: P, half_open: H, now: Instant) -> Self {
        let (admission, bucket_secret) = Admission::new(config, half_open, now);
        Self {
            admission,
            table: Table::new(peers, bucket_secret),
            wake: Instant::FAR_FUTURE,
            looked: now,
            cursor: None,
            events: Deque::new(),
        }
    }

    // --- inputs ---

    /// Takes a unicast datagram, decrypting it in place.
    ///
    /// Nothing is taken while events wait that a driver should have drained.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        directory: &mut dyn Directory,
    ) {
        if self.events.len() + EVENTS_OF_A_DATAGRAM > EVENTS {
            return;
        }
        // PROTOCOL D1: what does not fit its type is ignored.
        match Kind::of(datagram) {
            Ok(Kind::Initiation) => {
                self.admission.handle_initiation(now, from, datagram, directory, &mut self.table);
                self.wake = self.wake.min(self.admission.poll_timeout());
            }
            Ok(Kind::Transport) => self.handle_transport(now, from, datagram, directory),
            _ => {}
        }
    }

    /// Does what is due by the clock.
    pub fn handle_timeout(&mut self, now: Instant) {
        let first = match self.cursor.take() {
            Some(at) => at,
            None if now < self.next_look() => return,
            None => {
                self.looked = now;
                self.admission.forget_expired(now, &mut self.table);
                self.wake = self.admission.poll_timeout();
                0
            }
        };
        for at in first..self.table.reached() {
            if self.events.is_full() {
                // The rest follows once the driver has drained these.
                self.cursor = Some(at);
                return;
            }
            self.check_pulse(now, PeerSlot(at as u32));
        }
    }

    // --- commands ---

    /// Sends a message to a receiver.
    ///
    /// # Errors
    /// [`SendError::Gone`] when nobody is in that place, [`SendError::Full`],
    /// [`SendError::TooLong`].
    pub fn send(
        &mut self,
        _now: Instant,
        slot: PeerSlot,
        kind: Sending,
        body: &[u8],
    ) -> Result<(), SendError> {
        self.table.get_mut(slot).ok_or(SendError::Gone)?.channel.send(kind, body)?;
        self.table.set_due(slot);
        Ok(())
    }

    /// Shakes hands as another key from now on; channels that are there stay.
    pub fn take_key(&mut self, static_secret: &[u8; 32]) {
        self.admission.take_key(static_secret);
    }

    /// Forgets a receiver; raises no event, and tells the receiver nothing.
    pub fn disconnect(&mut self, slot: PeerSlot) {
        if self.table.get(slot).is_some() {
            self.table.release(slot);
        }
    }

    // --- outputs ---

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Writes the next datagram into `out`, which has room for [`MAX_DATAGRAM`] bytes.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        if let Some(Reply { to, bytes, len }) = self.admission.poll_reply() {
            out.get_mut(..len)?.copy_from_slice(&bytes[..len]);
            return Some(Transmit { to, len, segment_size: None });
        }
        while let Some(slot) = self.table.next_due() {
            let Some(peer) = self.table.get_mut(slot) else { continue };
            let most = out.len().min(MAX_DATAGRAM).min(peer.path.allowance());
            let Some(len) = peer.channel.poll_transmit(now, &mut out[..most]) else { continue };
            peer.path.sent(len);
            let (to, is_due, wake) =
                (peer.path.to(), peer.channel.is_due(), peer.channel.poll_timeout());
            self.wake = self.wake.min(wake);
            if is_due {
                self.table.set_due(slot);
            }
            return Some(Transmit { to, len, segment_size: None });
        }
        None
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.cursor.is_some() {
            return Some(self.looked);
        }
        (self.wake != Instant::FAR_FUTURE).then(|| self.next_look())
    }

    // --- getters ---

    /// Where a receiver is reached.
    #[must_use]
    pub fn address(&self, slot: PeerSlot) -> Option<SocketAddr> {
        self.table.get(slot).map(|peer| peer.path.to())
    }

    /// Whether a session's data may be sent there (PROTOCOL C6).
    #[must_use]
    pub fn address_confirmed(&self, slot: PeerSlot) -> bool {
        self.table.get(slot).is_some_and(|peer| peer.path.is_confirmed())
    }

    /// Reliable messages that [`Self::send`] would take now.
    #[must_use]
    pub fn room(&self, slot: PeerSlot) -> usize {
        self.table.get(slot).map_or(0, |peer| peer.channel.room())
    }

    /// Receivers that are connected.
    #[must_use]
    pub const fn connected(&self) -> usize {
        self.table.live()
    }

    // --- channels ---

    fn handle_transport(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        directory: &mut dyn Directory,
    ) {
        let Ok(header) = Header::read(datagram) else { return };
        match self.table.find(header.receiver) {
            Some((slot, Use::Live)) => {
                let Some(peer) = self.table.get_mut(slot) else { return };
                let Some(received) = peer.channel.handle_datagram(now, datagram) else { return };
                self.received(from, slot, datagram.len(), received);
            }
            Some((slot, Use::HalfOpen(at))) => {
                let verified = self.admission.verify::<A>(at, header.counter, datagram);
                if verified.is_none() || self.confirm(now, from, at, directory).is_none() {
                    return;
                }
                let Some(peer) = self.table.get_mut(slot) else { return };
                let received = peer.channel.take(now, header.counter, datagram);
                // The receiver repeats its first packet until it hears something.
                peer.channel.acknowledge();
                self.received(from, slot, datagram.len(), received);
            }
            _ => {}
        }
    }

    /// Turns a handshake whose first packet has verified into a channel.
    fn confirm(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: usize,
        directory: &mut dyn Directory,
    ) -> Option<()> {
        let confirmed = self.admission.confirm(now, from, at, directory, &mut self.table)?;
        let key = confirmed.key;
        if let Some(slot) = confirmed.displaced {
            self.raise(ServerEvent::Gone { slot, key, why: Lost::Displaced });
        }
        if confirmed.has_regressed {
            self.raise(ServerEvent::OrderRegressed { key });
        }
        let Payload { token, constrained, max_datagram, .. } = confirmed.payload;
        let slot = confirmed.slot;
        self.raise(ServerEvent::Connected { slot, key, token, constrained, max_datagram });
        Some(())
    }

    /// Passes on what a verified packet has brought.
    fn received(&mut self, from: SocketAddr, slot: PeerSlot, len: usize, received: Received) {
        let Some(peer) = self.table.get_mut(slot) else { return };
        // PROTOCOL C6: a new address only from the newest packet.
        let has_moved = received.newest && from != peer.path.to();
        if has_moved {
            peer.path.move_to(from, peer.channel.fresh());
        }
        peer.path.received(from, len);
        peer.path.check(from, &peer.channel);
        if received.bare && !peer.channel.has_exchanged() {
            // It may be repeating its first packet because our answer was lost.
            peer.channel.acknowledge();
        }
        let (is_due, wake) = (peer.channel.is_due(), peer.channel.poll_timeout());
        self.wake = self.wake.min(wake);
        if is_due {
            self.table.set_due(slot);
        }
        if has_moved {
            self.raise(ServerEvent::Moved { slot });
        }
        if received.drained {
            self.raise(ServerEvent::Drained { slot });
        }
        if let Some((kind, body)) = received.message {
            self.raise(ServerEvent::Message { slot, kind, body });
        }
    }

    fn check_pulse(&mut self, now: Instant, slot: PeerSlot) {
        let Some(peer) = self.table.get_mut(slot) else { return };
        // PROTOCOL C5: silent for PEER_TIMEOUT is away.
        if peer.channel.handle_timeout(now) == Pulse::Away {
            let key = peer.key;
            self.table.release(slot);
            self.raise(ServerEvent::Gone { slot, key, why: Lost::Silent });
            return;
        }
        let (is_due, wake) = (peer.channel.is_due(), peer.channel.poll_timeout());
        self.wake = self.wake.min(wake);
        if is_due {
            self.table.set_due(slot);
        }
    }

    fn next_look(&self) -> Instant {
        self.wake.max(self.looked + TICK)
    }

    fn raise(&mut self, event: ServerEvent) {
        // Every input checks for room first.
        let _ = self.events.push_back(event);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
