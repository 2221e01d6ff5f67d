//! What a constrained receiver keeps in memory, and the bound of it.

use crate::crypto::aead::ChaCha;
use crate::limits::{CONSTRAINED_SYMBOL, MAX_DATAGRAM, MAX_MESSAGE};
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

/// The machines of a constrained receiver and the buffers that it lends them.
///
/// The size of this type is what a board keeps for good. Not in it: the stack (a
/// handshake and a signature need the most), the network driver's own buffers,
/// the chunk store, and the firmware around.
pub struct ConstrainedReceiver<'b> {
    /// The unicast channel to the server.
    pub endpoint: ReceiverEndpoint<ChaCha>,
    /// The one session that it takes part in.
    pub session:
        ReceiverSession<ChaCha, &'b mut [ReceiveSlot], &'b mut [u8], &'b mut [SegmentState]>,
    /// Lent to the session.
    pub slots: [ReceiveSlot; SLOTS],
    /// Lent to the session.
    pub blocks: [u8; BLOCKS],
    /// Lent to the session.
    pub segments: [SegmentState; SEGMENTS],
    /// The datagram that came, or that goes out.
    pub datagram: [u8; MAX_DATAGRAM],
    /// The message that is being made.
    pub message: [u8; MAX_MESSAGE],
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;
    use std::println;

    use super::*;

    #[test]
    fn sizes() {
        println!("all {}", size_of::<ConstrainedReceiver<'_>>());
        println!("endpoint {}", size_of::<ReceiverEndpoint<ChaCha>>());
        println!(
            "session {}",
            size_of::<ReceiverSession<ChaCha, &mut [ReceiveSlot], &mut [u8], &mut [SegmentState]>>(
            )
        );
        println!("slot {} segment {}", size_of::<ReceiveSlot>(), size_of::<SegmentState>());
        println!("blocks {BLOCKS}");
    }
}
