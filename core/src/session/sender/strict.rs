//! Strict mode (PROTOCOL S17 to S20): digests go before what they speak for.

use core::ops::DerefMut;

use super::blocks::NotLoaded;
use super::{BlockSlot, Phase, SenderEvent, SenderSession};
use crate::crypto::aead::Aead;
use crate::crypto::sign::SIGNATURE;
use crate::erasure::{self, MulAdd};
use crate::ids::{BlockIndex, SegmentIndex};
use crate::limits::MAX_SYMBOL;
use crate::session::digest::digest_of;
use crate::session::source::BlockSource;
use crate::session::symbols::Symbol;
use crate::time::Instant;
use crate::wire::session::{DIGEST, DIGESTS_HEAD, DigestsView};

impl<A, S, B> SenderSession<A, S, B>
where
    A: Aead,
    S: DerefMut<Target = [BlockSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// A member found what is not ours in a block; whether the session goes over to
    /// strict mode because of it.
    pub fn handle_poisoned(
        &mut self,
        now: Instant,
        block: BlockIndex,
        source: &mut impl BlockSource,
    ) -> bool {
        let Some(segment) = source.segment_of(block) else { return false };
        // Nobody else has the key of a unicast session.
        if !self.has_reached(segment) || !self.to.ip().is_multicast() {
            return false;
        }
        let first = !self.blocks.is_strict();
        if first {
            // PROTOCOL S17
            self.blocks.begin_strict();
        }
        self.still_alive(now);
        self.tell_digests(now, block, source);
        first
    }

    /// Whether digests are sent.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        self.blocks.is_strict()
    }

    /// Whether a segment has been sent, or is being sent.
    pub(super) fn has_reached(&self, segment: SegmentIndex) -> bool {
        match self.phase {
            Phase::Sending(current) => current.index >= segment,
            Phase::Ending { .. } => true,
            Phase::Probing { .. } | Phase::Closed => false,
        }
    }

    /// Has the digests of a block sent again, in strict mode.
    pub(super) fn tell_digests(
        &mut self,
        now: Instant,
        block: BlockIndex,
        source: &mut impl BlockSource,
    ) {
        if !self.blocks.is_strict() || source.segment_of(block).is_none() {
            return;
        }
        match self.blocks.load(block, source) {
            // PROTOCOL S19
            Ok(at) => self.blocks.tell_again(at, now),
            // Whoever asked will ask again.
            Err(NotLoaded::Busy) => {}
            Err(NotLoaded::Failed) => self.close(SenderEvent::SourceFailed(block)),
        }
    }

    /// Writes the next digests, signed, into `body` and returns its length.
    pub(super) fn digests(
        &mut self,
        now: Instant,
        body: &mut [u8],
        source: &impl BlockSource,
        mul: &impl MulAdd,
    ) -> Option<usize> {
        let most = body.len().checked_sub(DIGESTS_HEAD + SIGNATURE)? / DIGEST;
        let next = self.blocks.next_digests(now, most)?;
        let held = self.blocks.held(next.at)?;
        let (block, layout) = (held.block, held.layout);
        let bytes = self.blocks.bytes(next.at);
        let mut made = [0; MAX_SYMBOL];
        let len = DIGESTS_HEAD + usize::from(next.count) * DIGEST;
        let (head, digests) = body.get_mut(..len)?.split_at_mut(DIGESTS_HEAD);
        let sequence = source.segment_of(block)?.0;
        head.copy_from_slice(&DigestsView::head(
            next.of_parity,
            next.first,
            next.count,
            block,
            sequence,
        ));
        for (number, out) in (next.first..=u8::MAX).zip(digests.as_chunks_mut::<DIGEST>().0) {
            let symbol =
                if next.of_parity { Symbol::Parity(number) } else { Symbol::Source(number) };
            let size = layout.symbol_len(symbol)?;
            let payload = match symbol {
                Symbol::Source(index) => {
                    bytes.get(usize::from(index) * layout.symbol..)?.get(..size)?
                }
                Symbol::Parity(number) => {
                    let made = made.get_mut(..size)?;
                    let (k, symbol) = (layout.sources(), layout.symbol);
                    erasure::parity(mul, k, symbol, bytes, number, made);
                    made
                }
            };
            *out = digest_of(&self.salt, block, symbol, payload);
        }
        self.stats.digests += u64::from(next.count);
        self.sign(body, len)
    }
}
