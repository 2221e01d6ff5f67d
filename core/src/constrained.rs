//! What a constrained receiver keeps in memory, and the bound of it.

use core::mem::size_of;

use crate::crypto::aead::ChaCha;
use crate::limits::{CONSTRAINED_SYMBOL, MAX_DATAGRAM};
use crate::receiver::ReceiverEndpoint;
use crate::session::receiver::{ReceiveSlot, ReceiverSession, SegmentState};

/// Blocks that it receives at a time.
pub const SLOTS: usize = 2;
/// Source symbols of such a block.
pub const SOURCES: usize = 16;
/// Segments that it keeps state for.
pub const SEGMENTS: usize = 2;
/// Bytes of all blocks that it receives at a time.
pub const BLOCKS: usize = SLOTS * SOURCES * CONSTRAINED_SYMBOL;

/// The session machine over memory of its owner.
pub type ConstrainedSession<'b> =
    ReceiverSession<ChaCha, &'b mut [ReceiveSlot], &'b mut [u8], &'b mut [SegmentState]>;

/// The machines of a constrained receiver and the buffers that it lends them.
///
/// The size of this type is what a board keeps for good. Not in it: the stack
/// (a handshake and a signature need the most of it), the network driver's own
/// buffers, the chunk store and the firmware around.
pub struct ConstrainedReceiver<'b> {
    /// The unicast channel to the server, with the messages that wait in it.
    pub endpoint: ReceiverEndpoint<ChaCha>,
    /// The one session that it takes part in.
    pub session: ConstrainedSession<'b>,
    /// Lent to the session.
    pub slots: [ReceiveSlot; SLOTS],
    /// Lent to the session.
    pub blocks: [u8; BLOCKS],
    /// Lent to the session.
    pub segments: [SegmentState; SEGMENTS],
    /// The datagram that came or goes out; messages are made here too.
    pub datagram: [u8; MAX_DATAGRAM],
}

/// What a constrained receiver keeps at most, in bytes, on a 64-bit machine
/// (pointers and times make it somewhat less on a board).
///
/// The aim is 24 KiB. Above it are the endpoint's stored messages, 8.8 KiB at
/// full message size, and segment headers of full datagram size.
pub const MEMORY: usize = 34 * 1_024;

const _: () = assert!(size_of::<ConstrainedReceiver<'_>>() <= MEMORY);
