//! What digests say of the symbols that are held, and of those that come.

use core::ops::DerefMut;

use super::slots::{ReceiveSlot, Slots};
use crate::erasure::FIRST_PARITY;
use crate::session::layout::BlockLayout;
use crate::session::symbols::Symbol;
use crate::wire::session::DigestsView;

/// What a digest says of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the sender's.
    Right,
    /// It is not.
    Wrong,
    /// Its digest has not come.
    Unknown,
}

impl<S, B> Slots<S, B>
where
    S: DerefMut<Target = [ReceiveSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// Whether there is memory for digests of every slot.
    pub(super) fn keeps_digests(&self) -> bool {
        self.digests.has_room_for(self.len())
    }

    /// What is known of a symbol of a slot's block.
    pub(super) fn verdict(&self, at: usize, symbol: Symbol, payload: &[u8]) -> Verdict {
        let Some(expected) = self.digests.of(at, symbol) else {
            return Verdict::Unknown;
        };
        let Some(block) = self.block(at) else { return Verdict::Unknown };
        let found = self.digests.compute(block, symbol, payload);
        if expected == found { Verdict::Right } else { Verdict::Wrong }
    }

    /// Whether the digests of all `k` sources are known. All symbols held are then the
    /// sender's.
    pub(super) fn is_checked(&self, at: usize, k: usize) -> bool {
        let mut sources = (0..FIRST_PARITY).take(k).map(Symbol::Source);
        sources.all(|source| self.digests.of(at, source).is_some())
    }

    /// Whether digests say nothing that is not known.
    pub(super) fn knows(&self, at: usize, view: &DigestsView<'_>) -> bool {
        let mut symbols = view.digests().map(|(number, _)| symbol(view, number));
        symbols.all(|symbol| self.digests.of(at, symbol).is_some())
    }

    /// Takes verified digests in and drops the symbols that they prove wrong; how many.
    pub(super) fn learn(
        &mut self,
        at: usize,
        layout: &BlockLayout,
        view: &DigestsView<'_>,
    ) -> usize {
        for (number, digest) in view.digests() {
            self.digests.put(at, symbol(view, number), digest);
        }
        let k = layout.sources();
        let all_known = self.is_checked(at, k);
        let mut dropped = 0;
        for position in (0..FIRST_PARITY).take(k) {
            let Some(held) = self.held_at(at, position) else { continue };
            let verdict = match layout.symbol_len(held) {
                Some(len) => self.verdict(at, held, &self.bytes_at(at, position)[..len]),
                None => Verdict::Wrong,
            };
            // PROTOCOL S18: parity of which no digest has come by now may never have been sent.
            if verdict == Verdict::Wrong || (verdict == Verdict::Unknown && all_known) {
                self.drop_at(at, position);
                dropped += 1;
            }
        }
        dropped
    }
}

fn symbol(view: &DigestsView<'_>, number: u8) -> Symbol {
    if view.of_parity() { Symbol::Parity(number) } else { Symbol::Source(number) }
}
