//! What is sent next, and its bytes.

use core::ops::DerefMut;

use super::blocks::NotLoaded;
use super::{
    BlockSlot, END_FIRST, END_PATIENCE, END_SLOWEST, Phase, Segment, SenderEvent, SenderSession,
    Step, Timer,
};
use crate::crypto::aead::Aead;
use crate::crypto::sign::{Context, SIGNATURE};
use crate::erasure::{self, MulAdd};
use crate::ids::{BlockIndex, SegmentIndex, SymbolIndex};
use crate::limits::{MAX_ECHOES, MAX_SOURCES, PROBE_TIMES, SYMBOL_HEADER};
use crate::session::source::BlockSource;
use crate::session::symbols::Symbol;
use crate::time::{Duration, Instant};
use crate::wire::segment::{SegmentHead, SegmentWriter};
use crate::wire::session::{ECHO_ENTRY, END_SIGNED, End, further_head, kind, symbol_head};

/// Rounds of source symbols are numbered from 0, those of proactive parity from here.
const PARITY_ROUND: u16 = MAX_SOURCES as u16;
/// Most parity symbols that come without being asked for: seven bits tell them.
const MAX_PROACTIVE: u32 = 127;
/// A session that took less than this to send is closed so long after it was sent,
/// whatever its members say.
const LONGEST_END: Duration = Duration::from_secs(60);

impl<A, S, B> SenderSession<A, S, B>
where
    A: Aead,
    S: DerefMut<Target = [BlockSlot]>,
    B: DerefMut<Target = [u8]>,
{
    /// Writes the next body into `body` (room for a full symbol) and returns its length.
    pub(super) fn next_body(
        &mut self,
        now: Instant,
        body: &mut [u8],
        source: &mut impl BlockSource,
        mul: &impl MulAdd,
    ) -> Option<usize> {
        match self.phase {
            Phase::Probing { .. } => return self.probe(now, body),
            Phase::Closed => return None,
            Phase::Sending(_) | Phase::Ending { .. } => {}
        }
        // PROTOCOL S11, S12: promises first, then repairs, then what is new.
        if let Some(len) = self.echo(body) {
            return Some(len);
        }
        // PROTOCOL S17: and digests before what they speak for.
        if let Some(len) = self.digests(now, body, source, mul) {
            return Some(len);
        }
        if let Some((at, symbol)) = self.blocks.next_repair(now) {
            self.repaired = true;
            return self.repair_symbol(at, symbol, body, mul);
        }
        if let Some(segment) = self.headers_due.pop_front() {
            return self.segment_header(segment, self.proactive(), body, source);
        }
        self.fresh(now, body, source, mul)
    }

    /// Whether new symbols are all that is to be sent, which go in long batches: the rest
    /// is waited for.
    pub(super) fn is_bulk(&self) -> bool {
        matches!(self.phase, Phase::Sending(Segment { step: Step::Symbols { .. }, .. }))
            && !self.blocks.repairs_wait()
            && self.headers_due.is_empty()
    }

    fn probe(&mut self, now: Instant, body: &mut [u8]) -> Option<usize> {
        let Phase::Probing { sent, due } = &mut self.phase else { return None };
        if !core::mem::take(due) {
            return None;
        }
        let number = *sent;
        *sent += 1;
        if let (Some(next), Some(this)) =
            (PROBE_TIMES.get(usize::from(number) + 1), PROBE_TIMES.get(usize::from(number)))
        {
            self.timers.set(Timer::Probe, now + next.saturating_sub(*this));
        }
        // As long as a symbol, so that a path too narrow for symbols is noticed.
        body.fill(0);
        body[0] = kind::PROBE;
        body[1] = number;
        Some(body.len())
    }

    fn echo(&mut self, body: &mut [u8]) -> Option<usize> {
        let most = ((body.len() - 2) / ECHO_ENTRY).min(MAX_ECHOES);
        let mut count = 0;
        while count < most
            && let Some((block, promised)) = self.blocks.next_echo()
        {
            let entry = &mut body[2 + count * ECHO_ENTRY..][..ECHO_ENTRY];
            entry[..4].copy_from_slice(&block.0.to_le_bytes());
            entry[4] = promised;
            count += 1;
        }
        body[0] = kind::ECHO;
        body[1] = count as u8;
        (count > 0).then_some(2 + count * ECHO_ENTRY)
    }

    fn repair_symbol(
        &mut self,
        at: usize,
        symbol: Symbol,
        body: &mut [u8],
        mul: &impl MulAdd,
    ) -> Option<usize> {
        match symbol {
            Symbol::Source(index) => {
                self.stats.resent += 1;
                self.source_symbol(at, index, body)
            }
            Symbol::Parity(number) => self.parity_symbol(at, number, body, mul),
        }
    }

    fn source_symbol(&mut self, at: usize, index: u8, body: &mut [u8]) -> Option<usize> {
        let held = self.blocks.held(at)?;
        let len = held.layout.symbol_len(Symbol::Source(index))?;
        body[..SYMBOL_HEADER].copy_from_slice(&symbol_head(SymbolIndex(index), held.block));
        let start = usize::from(index) * held.layout.symbol;
        body[SYMBOL_HEADER..][..len].copy_from_slice(&self.blocks.bytes(at)[start..start + len]);
        Some(SYMBOL_HEADER + len)
    }

    fn parity_symbol(
        &mut self,
        at: usize,
        number: u8,
        body: &mut [u8],
        mul: &impl MulAdd,
    ) -> Option<usize> {
        let held = self.blocks.held(at)?;
        let layout = held.layout;
        let len = layout.symbol_len(Symbol::Parity(number))?;
        // PROTOCOL S16: an index names the first ones, a kind of its own the further ones.
        let head = match erasure::FIRST_PARITY.checked_add(number) {
            Some(index) => symbol_head(SymbolIndex(index), held.block),
            None => further_head(number, held.block),
        };
        body[..SYMBOL_HEADER].copy_from_slice(&head);
        let out = &mut body[SYMBOL_HEADER..][..len];
        erasure::parity(mul, layout.sources(), layout.symbol, self.blocks.bytes(at), number, out);
        self.stats.parity += 1;
        Some(SYMBOL_HEADER + len)
    }

    /// The next datagram of the segment being sent, or the end.
    fn fresh(
        &mut self,
        now: Instant,
        body: &mut [u8],
        source: &mut impl BlockSource,
        mul: &impl MulAdd,
    ) -> Option<usize> {
        loop {
            let Phase::Sending(segment) = self.phase else { return self.end(now, body, source) };
            if self.held {
                return None;
            }
            match segment.step {
                Step::Load => self.load_segment(segment, source)?,
                // PROTOCOL S6: the header goes before its blocks,
                Step::Header => {
                    self.step(Step::Symbols { group: 0, round: 0, at: 0 });
                    return self.segment_header(segment.index, segment.proactive, body, source);
                }
                Step::Symbols { group, round, at } => {
                    if let Some(len) = self.interleaved(segment, group, (round, at), body, mul) {
                        return Some(len);
                    }
                }
                // PROTOCOL S6: and once more after them.
                Step::HeaderAgain => {
                    let len = self.segment_header(segment.index, segment.proactive, body, source);
                    self.next_segment(now, segment, source);
                    return len;
                }
            }
        }
    }

    fn load_segment(&mut self, segment: Segment, source: &mut impl BlockSource) -> Option<()> {
        let span = source.segment(segment.index)?;
        self.blocks.pin(span);
        for block in (span.first.0..).take(usize::from(span.count)).map(BlockIndex) {
            match self.blocks.load(block, source) {
                Ok(_) => {}
                // Repairs go first; their slots are free afterwards.
                Err(NotLoaded::Busy) => return None,
                Err(NotLoaded::Failed) => {
                    self.close(SenderEvent::SourceFailed(block));
                    return None;
                }
            }
        }
        let proactive = self.proactive();
        for block in (span.first.0..).take(usize::from(span.count)).map(BlockIndex) {
            if let Some(at) = self.blocks.find(block) {
                self.blocks.tell_parity(at, proactive);
            }
        }
        self.phase = Phase::Sending(Segment { span, step: Step::Header, proactive, ..segment });
        Some(())
    }

    /// Symbol `round` of the segment's block number `at`, if it has one; moves on either way.
    // PROTOCOL S7
    fn interleaved(
        &mut self,
        segment: Segment,
        group: u8,
        (round, at): (u16, u8),
        body: &mut [u8],
        mul: &impl MulAdd,
    ) -> Option<usize> {
        let end = self.end_of(segment, group);
        let (next_round, next_at) = if at + 1 < end { (round, at + 1) } else { (round + 1, group) };
        let slot = self.blocks.find(BlockIndex(segment.span.first.0 + u32::from(at)));
        let last = PARITY_ROUND + u16::from(segment.proactive);
        let mut next = Step::Symbols { group, round: next_round, at: next_at };
        if at == group && round < PARITY_ROUND && !self.any_source(segment, group, round) {
            next = Step::Symbols { group, round: PARITY_ROUND, at: group };
        } else if round >= last && end < segment.span.count {
            next = Step::Symbols { group: end, round: 0, at: end };
        } else if round >= last {
            next = Step::HeaderAgain;
        }
        self.step(next);
        let slot = slot?;
        if round >= PARITY_ROUND {
            let number = self.blocks.next_parity(slot, segment.proactive)?;
            self.blocks.promise(slot, segment.proactive, false);
            return self.parity_symbol(slot, number, body, mul);
        }
        let len = self.source_symbol(slot, u8::try_from(round).ok()?, body)?;
        self.stats.sources += 1;
        self.stats.payload_bytes += (len - SYMBOL_HEADER) as u64;
        Some(len)
    }

    /// The block of a segment behind the group that begins at its block `group`.
    pub(super) fn end_of(&self, segment: Segment, group: u8) -> u8 {
        group.saturating_add(self.flow.interleave.max(1)).min(segment.span.count)
    }

    fn any_source(&self, segment: Segment, group: u8, round: u16) -> bool {
        (group..self.end_of(segment, group)).any(|i| {
            let slot = self.blocks.find(BlockIndex(segment.span.first.0 + u32::from(i)));
            slot.and_then(|at| self.blocks.held(at))
                .is_some_and(|held| usize::from(round) < held.layout.sources())
        })
    }

    fn step(&mut self, next: Step) {
        if let Phase::Sending(segment) = &mut self.phase {
            segment.step = next;
        }
    }

    fn next_segment(&mut self, now: Instant, segment: Segment, source: &impl BlockSource) {
        self.learn(segment);
        let index = SegmentIndex(segment.index.0 + 1);
        if index.0 < source.segments() {
            self.phase = Phase::Sending(Segment { index, step: Step::Load, ..segment });
        } else {
            let latest = now + now.since(self.began).max(LONGEST_END);
            self.phase = Phase::Ending { pause: END_FIRST, due: true, said: 0, latest };
            self.timers.set(Timer::GiveUp, now + END_PATIENCE);
        }
    }

    /// Writes the signed header of a block's segment, as it goes into a datagram, for a member
    /// that finds none there (PROTOCOL S24); its length, once the segment was reached.
    pub fn header_of(
        &self,
        block: BlockIndex,
        body: &mut [u8],
        source: &impl BlockSource,
    ) -> Option<usize> {
        let segment = source.segment_of(block).filter(|&segment| self.has_reached(segment))?;
        self.segment_header(segment, self.proactive(), body, source)
    }

    fn segment_header(
        &self,
        segment: SegmentIndex,
        proactive: u8,
        body: &mut [u8],
        source: &impl BlockSource,
    ) -> Option<usize> {
        let span = source.segment(segment)?;
        let head = SegmentHead {
            last: segment.0 + 1 == source.segments(),
            proactive,
            blocks: span.count,
            sent: self.is_sent(segment),
            segment,
            first: span.first,
            sequence: segment.0,
            slots: self.slots,
        };
        let mut writer = SegmentWriter::new(body, head).ok()?;
        for block in (span.first.0..).take(usize::from(span.count)).map(BlockIndex) {
            let layout = source.layout(block)?;
            writer.block(layout.object, layout.bytes).ok()?;
            source.write_runs(block, &mut writer).ok()?;
        }
        let signed = writer.finish();
        self.sign(body, signed)
    }

    fn end(&mut self, now: Instant, body: &mut [u8], source: &impl BlockSource) -> Option<usize> {
        let Phase::Ending { pause, due, said, .. } = &mut self.phase else { return None };
        // What repairs did not reach is to be reported soon: an end tells that they
        // have passed.
        if core::mem::take(&mut self.repaired) {
            (*pause, *due) = (END_FIRST, true);
        }
        if !core::mem::take(due) {
            return None;
        }
        // PROTOCOL S13
        self.timers.set(Timer::End, now + *pause);
        *pause = pause.saturating_mul(3).min(END_SLOWEST.saturating_mul(2)).halved();
        // PROTOCOL S5: each has a greater number, so that nobody can use one twice.
        let sequence = source.segments().saturating_add(*said);
        *said = said.saturating_add(1);
        let end = End::unsigned(source.segments(), source.blocks(), sequence);
        body.get_mut(..END_SIGNED)?.copy_from_slice(&end);
        self.sign(body, END_SIGNED)
    }

    pub(super) fn sign(&self, body: &mut [u8], signed: usize) -> Option<usize> {
        let (text, rest) = body.split_at_mut_checked(signed)?;
        let session = self.session.0.to_le_bytes();
        let epoch = self.sealer.epoch().0.to_le_bytes();
        let parts = [&self.fleet.0[..], &session, &epoch, text];
        let signature = self.signing.sign(Context::Session, &parts);
        rest.get_mut(..SIGNATURE)?.copy_from_slice(&signature);
        Some(signed + SIGNATURE)
    }

    fn is_sent(&self, segment: SegmentIndex) -> bool {
        match &self.phase {
            Phase::Sending(current) if current.index == segment => {
                matches!(current.step, Step::HeaderAgain)
            }
            Phase::Sending(current) => current.index > segment,
            Phase::Probing { .. } | Phase::Ending { .. } | Phase::Closed => true,
        }
    }

    /// Parity to send along without being asked: four fifths of what was needed of late.
    fn proactive(&self) -> u8 {
        ((self.expected_parity * 4 / 5) >> 8).min(MAX_PROACTIVE) as u8
    }

    /// Takes what the blocks sent before this segment needed into the expectation.
    fn learn(&mut self, segment: Segment) {
        for i in 0..u32::from(segment.span.count) {
            // The segment before: its reports have had time to come in.
            let Some(block) = segment.span.first.0.checked_sub(i + 1) else { break };
            let Some(at) = self.blocks.find(BlockIndex(block)) else { continue };
            let Some(held) = self.blocks.held(at) else { continue };
            let needed = if held.asked {
                u32::from(held.promised) << 8
            } else {
                self.expected_parity.saturating_sub(self.expected_parity / 8)
            };
            self.expected_parity = (self.expected_parity * 15 + needed) / 16;
        }
    }
}
