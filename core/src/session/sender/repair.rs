//! Reports come in, promises go out.

use core::ops::DerefMut;

use super::blocks::NotLoaded;
use super::{BlockSlot, Phase, SenderEvent, SenderSession, Step};
use crate::crypto::aead::Aead;
use crate::ids::BlockIndex;
use crate::session::source::BlockSource;
use crate::time::Instant;
use crate::wire::nack::{Entry, Nack};

impl<A, S, B> SenderSession<A, S, B>
where
    A: Aead,
    S: DerefMut<Target = [BlockSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// A member reported symbols that it lacks; of the blocks that `repairs` picks they
    /// are sent.
    pub fn handle_nack(
        &mut self,
        now: Instant,
        nack: &Nack<'_>,
        repairs: &dyn Fn(BlockIndex) -> bool,
        source: &mut impl BlockSource,
    ) {
        if !matches!(self.phase, Phase::Sending(_) | Phase::Ending { .. }) {
            return;
        }
        self.stats.nacks += 1;
        self.still_alive(now);
        for entry in nack.entries() {
            if self.was_sent(entry.block) && repairs(entry.block) {
                self.repair(now, entry, source);
            }
        }
    }

    /// Whether the block's group has begun, so that a report can be about losses.
    fn was_sent(&self, block: BlockIndex) -> bool {
        match &self.phase {
            Phase::Sending(segment) => {
                let begun = match segment.step {
                    Step::Symbols { group, .. } => self.end_of(*segment, group),
                    Step::Load | Step::Header | Step::HeaderAgain => segment.span.count,
                };
                block.0 < segment.span.first.0 + u32::from(begun)
            }
            Phase::Ending { .. } => true,
            Phase::Probing { .. } | Phase::Closed => false,
        }
    }

    fn repair(&mut self, now: Instant, entry: Entry<'_>, source: &mut impl BlockSource) {
        let Some(layout) = source.layout(entry.block) else { return };
        let at = match self.blocks.load(entry.block, source) {
            Ok(at) => at,
            Err(NotLoaded::Busy) => return,
            Err(NotLoaded::Failed) => return self.close(SenderEvent::SourceFailed(entry.block)),
        };
        // What was not sent has passed nobody: forged counters and echoes make members
        // believe so.
        let passed = entry.passed.min(self.blocks.sent(entry.block));
        // PROTOCOL S11: the maximum over all reports, never less than before.
        self.blocks.promise(at, passed.saturating_add(entry.missing), true);
        if usize::from(passed) + usize::from(entry.missing) > layout.parities() {
            self.blocks.resend(at, now, entry.sources);
        }
    }
}
