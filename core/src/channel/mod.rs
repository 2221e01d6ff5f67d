//! One side of an established unicast channel (PROTOCOL §3): counters and
//! encryption, the replay window, messages and their acknowledgements, signs
//! of life. Both endpoints are made of it; neither knows how it works.

mod messages;
mod outbox;
mod window;

use core::ops::Range;

use self::outbox::Outbox;
use self::window::ReplayWindow;
use crate::crypto::aead::Aead;
use crate::crypto::noise::TransportKeys;
use crate::lent::Bytes;
use crate::limits::{DATA_HEADER, FRAME_HEADER, KEEPALIVE, PEER_TIMEOUT, TAG};
use crate::time::Instant;
use crate::wire::transport::{Content, Frame, Header, OVERHEAD, Parts, Sending};

/// Why a message was not taken: always for the caller to heed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No room until an acknowledgement (reliable) or a transmission (unreliable).
    Full,
    /// There is no such channel, or none now.
    Gone,
    /// Longer than the peer takes, or than the memory for messages.
    TooLong {
        /// The longest message that both take, in bytes.
        most: usize,
    },
}

/// Whether the peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It was heard within PEER_TIMEOUT.
    Here,
    /// It was not.
    Away,
}

/// What a packet that verified has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Whether it has the newest counter.
    pub newest: bool,
    /// A message for the layer above: where it stands in the datagram.
    pub message: Option<(Sending, Range<usize>)>,
    /// Whether it was a bare acknowledgement.
    pub bare: bool,
    /// Whether there is room again after [`SendError::Full`], or everything
    /// reliable is acknowledged.
    pub drained: bool,
}

/// One side of a channel. `M` is the memory that messages wait in, `LOOSE` how
/// many unreliable ones may wait.
#[derive(Clone)]
pub struct Channel<A, M, const LOOSE: usize> {
    sealing: A,
    opening: A,
    /// The index that the peer chose.
    peer_index: u32,
    /// The counter of the next packet.
    counter: u64,
    window: ReplayWindow,
    outbox: Outbox<M, LOOSE>,
    /// The number of the reliable message that is delivered next.
    expected: u32,
    acknowledge: bool,
    was_full: bool,
    max_message: u16,
    last_sent: Instant,
    last_heard: Instant,
}

impl<A: Aead, M: Bytes, const LOOSE: usize> Channel<A, M, LOOSE> {
    /// A channel without keys that anybody knows; [`Channel::reset`] makes it usable.
    ///
    /// A message takes as many bytes of `memory` as it has; MAX_MESSAGE for each
    /// that may wait is more than is ever needed.
    #[must_use]
    pub fn idle(memory: M) -> Self {
        Self {
            sealing: A::new(&[0; 32]),
            opening: A::new(&[0; 32]),
            peer_index: 0,
            counter: 0,
            window: ReplayWindow::default(),
            outbox: Outbox::new(memory),
            expected: 0,
            acknowledge: false,
            was_full: false,
            max_message: 0,
            last_sent: Instant::ZERO,
            last_heard: Instant::ZERO,
        }
    }

    /// Begins anew, with the keys of a finished handshake.
    ///
    /// `peer_index` is the index that the peer chose, `max_datagram` the
    /// largest datagram that it takes.
    pub fn reset(
        &mut self,
        keys: &TransportKeys,
        peer_index: u32,
        max_datagram: u16,
        now: Instant,
    ) {
        self.sealing = A::new(&keys.send);
        self.opening = A::new(&keys.receive);
        self.peer_index = peer_index;
        self.counter = 0;
        self.window = ReplayWindow::default();
        self.outbox.reset();
        self.expected = 0;
        self.acknowledge = false;
        self.was_full = false;
        let most = usize::from(max_datagram).saturating_sub(OVERHEAD).min(self.outbox.longest());
        self.max_message = most as u16;
        self.last_sent = now;
        self.last_heard = now;
    }

    // --- inputs ---

    /// Takes a transport datagram for this channel, decrypting it in place;
    /// `None` when it changed nothing.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8]) -> Option<Received> {
        let header = Header::read(datagram).ok()?;
        if !self.window.allows(header.counter) {
            return None;
        }
        // PROTOCOL C2: nothing of `self` changes above this line.
        verify(&self.opening, header.counter, datagram)?;
        Some(self.take(now, header.counter, datagram))
    }

    /// Takes a datagram that has been decrypted by [`verify`] under this
    /// channel's key and whose counter is new.
    pub fn take(&mut self, now: Instant, counter: u64, datagram: &[u8]) -> Received {
        let mut received = Received { newest: self.window.accept(counter), ..Received::default() };
        self.last_heard = now;
        let end = datagram.len().saturating_sub(TAG);
        // A frame that a verified peer made wrongly is a sign of life and nothing else.
        let Some(Ok(frame)) = datagram.get(DATA_HEADER..end).map(Frame::read) else {
            return received;
        };
        if self.outbox.acknowledge(now, frame.acknowledgement) {
            received.drained = self.was_full || self.outbox.is_empty();
            self.was_full = false;
        }
        let body = DATA_HEADER + FRAME_HEADER..end;
        match frame.content {
            Content::Acknowledgement => received.bare = true,
            Content::Unreliable => received.message = Some((Sending::Unreliable, body)),
            // PROTOCOL C3: only the one expected is delivered; all are answered.
            Content::Reliable(number) => {
                self.acknowledge = true;
                if number == self.expected {
                    self.expected = self.expected.wrapping_add(1);
                    received.message = Some((Sending::Reliable, body));
                }
            }
        }
        received
    }

    /// Repeats, shows a sign of life, or finds the peer away, as it is time.
    pub fn handle_timeout(&mut self, now: Instant) -> Pulse {
        if now >= self.last_heard + PEER_TIMEOUT {
            return Pulse::Away;
        }
        self.outbox.handle_timeout(now);
        // PROTOCOL C5: an acknowledgement after KEEPALIVE of silence.
        if now >= self.last_sent + KEEPALIVE {
            self.acknowledge = true;
        }
        Pulse::Here
    }

    // --- commands ---

    /// Keeps a message to be sent.
    ///
    /// # Errors
    /// [`SendError::Full`], [`SendError::TooLong`].
    pub fn send(&mut self, sending: Sending, body: &[u8]) -> Result<(), SendError> {
        let most = usize::from(self.max_message);
        if body.len() > most {
            return Err(SendError::TooLong { most });
        }
        let taken = match sending {
            Sending::Reliable => self.outbox.push(body),
            Sending::Unreliable => self.outbox.push_loose(body),
        };
        self.was_full |= !taken && sending == Sending::Reliable;
        if taken { Ok(()) } else { Err(SendError::Full) }
    }

    /// Makes the next packet an acknowledgement, if nothing else is sent first.
    pub const fn acknowledge(&mut self) {
        self.acknowledge = true;
    }

    // --- outputs ---

    /// Writes the next datagram of at most `out.len()` bytes and returns its length.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let (content, message) = self.next_content(out.len())?;
        let len = OVERHEAD + message.len();
        let header = Header { receiver: self.peer_index, counter: self.counter }.write();
        let frame = Frame { acknowledgement: self.expected, content }.write();
        let text = &mut out[DATA_HEADER..len - TAG];
        text[..FRAME_HEADER].copy_from_slice(&frame);
        text[FRAME_HEADER..].copy_from_slice(message);
        let tag = self.sealing.seal(self.counter, &header, text);
        out[..DATA_HEADER].copy_from_slice(&header);
        out[len - TAG..len].copy_from_slice(&tag);
        self.counter += 1;
        self.acknowledge = false;
        self.last_sent = now;
        match content {
            Content::Reliable(_) => self.outbox.sent(now),
            Content::Unreliable => self.outbox.sent_loose(),
            Content::Acknowledgement => {}
        }
        Some(len)
    }

    /// When [`Channel::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Instant {
        let alive = if self.acknowledge { Instant::FAR_FUTURE } else { self.last_sent + KEEPALIVE };
        self.outbox.retry_at().min(alive).min(self.last_heard + PEER_TIMEOUT)
    }

    // --- getters ---

    /// Whether [`Channel::poll_transmit`] has something to send.
    pub fn is_due(&self) -> bool {
        self.acknowledge || self.outbox.due().is_some() || self.outbox.due_loose().is_some()
    }

    /// Reliable messages that the window still takes; their bytes may find no
    /// room where little memory was lent.
    pub const fn room(&self) -> usize {
        self.outbox.room()
    }

    /// Whether any reliable message has come, or one was acknowledged.
    pub const fn has_exchanged(&self) -> bool {
        self.expected != 0 || self.outbox.is_acknowledged(0)
    }

    /// The number of the first reliable message that was never sent so far.
    pub const fn fresh(&self) -> u32 {
        self.outbox.fresh()
    }

    /// Whether the reliable message numbered `number` has been acknowledged.
    pub const fn is_acknowledged(&self, number: u32) -> bool {
        self.outbox.is_acknowledged(number)
    }

    /// What is sent next, if it fits `room` bytes. A message that must wait for
    /// room keeps everything back: acknowledgements would use up again and again
    /// what an unproved address may be sent, and its challenge would never go out.
    fn next_content(&self, room: usize) -> Option<(Content, &[u8])> {
        let room = room.checked_sub(OVERHEAD).filter(|_| self.counter < u64::MAX)?;
        let reliable = self.outbox.due().map(|(number, body)| (Content::Reliable(number), body));
        let loose = self.outbox.due_loose().map(|body| (Content::Unreliable, body));
        let bare = self.acknowledge.then_some((Content::Acknowledgement, &[][..]));
        reliable.or(loose).or(bare).filter(|(_, body)| body.len() <= room)
    }
}

/// Decrypts a transport datagram in place; `None` when its tag does not verify.
pub fn verify<A: Aead>(opening: &A, counter: u64, datagram: &mut [u8]) -> Option<()> {
    let Parts { header, frame, tag } = Parts::of(datagram)?;
    opening.open(counter, &header, frame, &tag).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
