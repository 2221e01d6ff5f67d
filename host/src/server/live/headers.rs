//! Headers for members that find none in the session (PROTOCOL S24).

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{BlockIndex, ReceiverId};
use fleetcast_core::limits::SYMBOL_HEADER;
use fleetcast_core::time::Instant;

use super::LiveSession;

impl<A: Aead> LiveSession<A> {
    /// A member lacks a header, or digests. The header itself where it is to be said over
    /// the member's channel, since it finds none in the session (PROTOCOL S24).
    pub(in crate::server) fn handle_header_request(
        &mut self,
        now: Instant,
        id: &ReceiverId,
        block: BlockIndex,
    ) -> Option<Vec<u8>> {
        self.sender.handle_header_request(now, block, &mut self.plan);
        let multicast = self.is_multicast();
        let member = self.members.get_mut(id).filter(|_| multicast)?;
        if !member.asks.take(now, block) {
            return None;
        }
        let mut body = vec![0; self.config.shape.symbol + SYMBOL_HEADER];
        let len = self.sender.header_of(block, &mut body, &self.plan)?;
        body.truncate(len);
        Some(body)
    }
}
