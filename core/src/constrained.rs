//! What a constrained receiver keeps in memory, and the bound of it.

use core::mem::size_of;

use crate::crypto::aead::ChaCha;
use crate::limits::{CONSTRAINED_SYMBOL, DATA_HEADER, MAX_MESSAGE, MAX_SEGMENT_BLOCKS, TAG};
use crate::receiver::ReceiverEndpoint;
use crate::session::receiver::{
    Buffers, ReceiveSlot, ReceiverSession, SegmentState, longest_header,
};
use crate::wire::bounds::Bounds;
use crate::wire::transport::OVERHEAD;

/// Blocks that it receives at a time.
pub const SLOTS: usize = 2;
/// Source symbols of such a block.
pub const SOURCES: usize = 10;
/// Segments that it keeps state for.
pub const SEGMENTS: usize = 2;
/// Blocks of a segment at most: one signature speaks for all of them, and verifying it is
/// the dearest thing that a board does while it receives.
pub const SEGMENT: usize = MAX_SEGMENT_BLOCKS;
/// Blocks that come at a time (PROTOCOL S7): the other places are for blocks that wait for
/// repairs.
pub const INTERLEAVE: u8 = 1;
/// Datagrams that may wait for it: in its network controller, or in the switch before it.
/// With reports every 50 ms this is no less than what it takes of a megabyte a second.
pub const BEHIND: u16 = 128;
/// Bytes that a controller with a receive buffer of 2 KiB takes at once.
pub const BURST: u32 = 3 * 576;
/// What it tells the server of all this.
pub const BOUNDS: Bounds = Bounds {
    symbol: CONSTRAINED_SYMBOL as u16,
    sources: SOURCES as u8,
    interleave: INTERLEAVE,
    segment: SEGMENT as u8,
    behind: BEHIND,
};
/// Bytes of all blocks that it receives at a time.
pub const BLOCKS: usize = SLOTS * SOURCES * CONSTRAINED_SYMBOL;
/// Bytes of the headers of all segments that it keeps state for.
pub const HEADERS: usize = SEGMENTS * longest_header(CONSTRAINED_SYMBOL);
/// The largest datagram that it takes, in bytes: the one that brings the longest
/// message. Its `max_datagram` in the handshake.
pub const DATAGRAM: usize = MAX_MESSAGE + OVERHEAD;
/// Bytes of its report of what it lacks.
pub const REPORT: usize = 400;
/// Bytes of the messages that wait to be sent, or to be acknowledged: the longest
/// one and some short ones.
pub const MESSAGES: usize = MAX_MESSAGE + 121;

/// The endpoint over memory of its owner.
pub type ConstrainedEndpoint<'b> = ReceiverEndpoint<ChaCha, &'b mut [u8]>;

/// The session machine over memory of its owner.
pub type ConstrainedSession<'b> =
    ReceiverSession<ChaCha, &'b mut [ReceiveSlot], &'b mut [u8], &'b mut [SegmentState]>;

/// The machines of a constrained receiver.
pub struct ConstrainedReceiver<'b> {
    /// The unicast channel to the server.
    pub endpoint: ConstrainedEndpoint<'b>,
    /// The one session that it takes part in.
    pub session: ConstrainedSession<'b>,
}

/// The memory that it lends them.
pub struct ConstrainedMemory {
    /// Places for blocks.
    pub slots: [ReceiveSlot; SLOTS],
    /// Their bytes.
    pub blocks: [u8; BLOCKS],
    /// Places for segments.
    pub segments: [SegmentState; SEGMENTS],
    /// Their headers.
    pub headers: [u8; HEADERS],
    /// The report of what it lacks.
    pub report: [u8; REPORT],
    /// Messages to the server.
    pub messages: [u8; MESSAGES],
    /// The datagram that came or goes out; messages are made here too.
    pub datagram: [u8; DATAGRAM],
}

/// What a session borrows of it.
pub type ConstrainedBuffers<'b> =
    Buffers<&'b mut [ReceiveSlot], &'b mut [u8], &'b mut [SegmentState]>;

impl ConstrainedMemory {
    /// Memory that nothing has been received into.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [ReceiveSlot::EMPTY; SLOTS],
            blocks: [0; BLOCKS],
            segments: [SegmentState::EMPTY; SEGMENTS],
            headers: [0; HEADERS],
            report: [0; REPORT],
            messages: [0; MESSAGES],
            datagram: [0; DATAGRAM],
        }
    }

    /// What a session borrows, what the endpoint does, and room for a datagram.
    pub fn lend(&mut self) -> (ConstrainedBuffers<'_>, &mut [u8], &mut [u8; DATAGRAM]) {
        let buffers = Buffers {
            slots: &mut self.slots[..],
            blocks: &mut self.blocks[..],
            segments: &mut self.segments[..],
            headers: &mut self.headers[..],
            // It has no memory for digests (PROTOCOL S20).
            digests: &mut [][..],
            report: &mut self.report[..],
        };
        (buffers, &mut self.messages[..], &mut self.datagram)
    }
}

impl Default for ConstrainedMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// What a constrained receiver keeps at most, in bytes, for good: its machines
/// and the memory that it lends them, on a 64-bit machine (pointers and
/// alignment make it somewhat less on a board).
///
/// Not in it: the stack (a handshake and a signature need the most of it), the
/// network driver's own buffers, the chunk store and the firmware around.
pub const MEMORY: usize = 24 * 1_024;

const _: () = {
    assert!(size_of::<ConstrainedReceiver<'_>>() + size_of::<ConstrainedMemory>() <= MEMORY);
    // A symbol's datagram is no larger than the largest that is taken.
    assert!(DATA_HEADER + longest_header(CONSTRAINED_SYMBOL) + TAG <= DATAGRAM);
    // One report names all blocks that are known, two of them with all their sources.
    assert!(8 + SEGMENTS * MAX_SEGMENT_BLOCKS * 7 + 2 * SOURCES <= REPORT);
    // A block that waits for repairs does not keep the next ones from coming.
    assert!((INTERLEAVE as usize) < SLOTS && SEGMENT <= MAX_SEGMENT_BLOCKS);
};
