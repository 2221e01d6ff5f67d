//! A complete block goes to storage, record by record.

use core::ops::DerefMut;

use super::window::{Fate, Place, Window};
use super::{ReceiveSlot, ReceiverSession, SegmentState};
use crate::crypto::aead::Aead;
use crate::erasure::MulAdd;
use crate::ids::{BlockIndex, Ordinal};
use crate::session::intake::{Intake, Taken};
use crate::time::Instant;
use crate::tree::record::Records;
use crate::wire::segment::BlockView;

impl<A, S, B, W> ReceiverSession<A, S, B, W>
where
    A: Aead,
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
    W: DerefMut<Target = [SegmentState]>,
{
    /// Decodes a block that has enough symbols and hands its records over.
    // What this takes of a board's stack must not add to what signatures take.
    #[inline(never)]
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        place: Place,
        block: BlockIndex,
        slot: usize,
        store: &mut impl Intake,
        mul: &impl MulAdd,
    ) {
        let state = self.window.state(place);
        state.fate = Fate::Done;
        state.due = None;
        state.awaiting = None;
        // PROTOCOL S26
        store.attest(self.config.unicast || self.is_strict(place));
        let described =
            self.window.header(place).and_then(|view| view.block(Window::<W, B>::number(place)));
        let (Some(described), Some(layout)) = (described, self.window.layout(place)) else {
            return;
        };
        self.stats.repaired += self.slots.stand_ins(slot, &layout) as u64;
        let decoded = self.slots.decode(slot, &layout, mul);
        let intact =
            decoded.is_some_and(|bytes| take_records(described, self.config.slot, bytes, store));
        if intact {
            self.slots.free(block);
        } else {
            self.slots.keep_own(slot);
            self.suspect(now, place, block);
        }
    }
}

/// Whether every record belonged to its ordinal, or could not be judged yet.
fn take_records(block: BlockView<'_>, slot: u8, bytes: &[u8], store: &mut impl Intake) -> bool {
    let runs = block.runs(slot);
    let mut ordinals = runs.flat_map(|run| {
        (0..u32::from(run.count)).map(move |i| run.first.0.checked_add(i).map(Ordinal))
    });
    let mut intact = true;
    for record in Records::new(bytes) {
        let (Ok(record), Some(Some(ordinal))) = (record, ordinals.next()) else { return false };
        let taken = store.record(block.object, ordinal, record.codec, record.len, record.encoded);
        intact &= taken != Taken::Poisoned;
    }
    intact && ordinals.next().is_none()
}
