//! A member that makes symbols of its own and sends them to all others: it holds the
//! session's key, but not the controller's.

use std::vec;
use std::vec::Vec;

use super::link::Sent;
use super::plan::{Plan, SYMBOL};
use crate::crypto::aead::{Aead as _, ChaCha};
use crate::crypto::sign::SIGNATURE;
use crate::ids::{BlockIndex, Epoch, Ordinal, SegmentIndex, SessionId, SymbolIndex};
use crate::limits::MAX_SOURCES;
use crate::session::layout::BlockLayout;
use crate::session::source::BlockSource as _;
use crate::session::symbols::Symbol;
use crate::time::Instant;
use crate::wire::control::Object;
use crate::wire::segment::{Run, SegmentHead, SegmentWriter};
use crate::wire::session::{End, Header, further_head, kind, symbol_head};
use crate::wire::u32_at;

/// Bytes of a full symbol's datagram with IP and UDP headers.
const ON_WIRE: u64 = 1_500;

/// What the insider makes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    /// Sources of the blocks under way.
    Sources,
    /// Parity of them, with numbers of either kind.
    Parity,
    /// Both, half of each.
    Both,
}

pub(super) struct Insider {
    forgery: Forgery,
    /// Its rate, in terms of the sender's.
    times: u64,
    key: [u8; 32],
    session: SessionId,
    layouts: Vec<BlockLayout>,
    random: u64,
    /// When it sends next, in nanoseconds.
    next: u64,
    pub(super) sent: usize,
}

/// An end and a segment header that nobody has signed. Who took the end would be done
/// with nothing; who took the header would never hear of a second block.
pub(super) fn forged_control() -> [Vec<u8>; 2] {
    let end = [&End::unsigned(0, 0, 1)[..], &[7; SIGNATURE]].concat();
    let head = SegmentHead {
        last: true,
        proactive: 0,
        blocks: 1,
        sent: true,
        segment: SegmentIndex(0),
        first: BlockIndex(0),
        sequence: 1,
        slots: 1,
    };
    let mut header = vec![7; 1_000];
    let mut writer = SegmentWriter::new(&mut header, head).unwrap();
    writer.block(Object::Root, 71).unwrap();
    writer.runs(&[Run { first: Ordinal(0), count: 1 }]).unwrap();
    let signed = writer.finish();
    header.truncate(signed + SIGNATURE);
    [end, header]
}

impl Insider {
    pub(super) fn new(
        plan: &Plan,
        session: SessionId,
        key: [u8; 32],
        forgery: Forgery,
        times: u64,
    ) -> Self {
        let blocks = (0..plan.blocks()).map(BlockIndex);
        let layouts = blocks.map(|block| plan.layout(block).unwrap()).collect();
        Self { forgery, times, key, session, layouts, random: 99, next: 0, sent: 0 }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        Instant::ZERO + crate::time::Duration::from_micros(self.next.div_ceil(1_000))
    }

    pub(super) const fn stop(&mut self) {
        self.next = u64::MAX;
    }

    /// A forged symbol of the segment of the last symbol seen, or the one after it, under
    /// a counter that the sender has used; the next is due when this insider's
    /// rate is `times` the sender's.
    pub(super) fn forge(&mut self, seen: &[Sent], counter: u64, rate: u64) -> Vec<u8> {
        let seen = seen.iter().rev().find(|sent| sent.body[0] == kind::SYMBOL);
        let block = seen.map_or(0, |sent| u32_at(&sent.body, 2));
        self.next += ON_WIRE * 1_000_000_000 / (self.times * rate);
        self.sent += 1;
        let ahead = (self.draw() % 9) as u32;
        let block = BlockIndex((block / 8 * 8 + ahead).min(self.layouts.len() as u32 - 1));
        let layout = self.layouts[block.0 as usize];
        let parity = match self.forgery {
            Forgery::Sources => false,
            Forgery::Parity => true,
            Forgery::Both => self.draw().is_multiple_of(2),
        };
        let number = self.draw();
        let (symbol, head) = if parity {
            let number = (number % layout.parities() as u64) as u8;
            let head = match (MAX_SOURCES as u8).checked_add(number) {
                Some(index) => symbol_head(SymbolIndex(index), block),
                None => further_head(number, block),
            };
            (Symbol::Parity(number), head)
        } else {
            let index = (number % layout.sources() as u64) as u8;
            (Symbol::Source(index), symbol_head(SymbolIndex(index), block))
        };
        let mut text = vec![0; layout.symbol_len(symbol).unwrap()];
        assert!(text.len() <= SYMBOL);
        text.fill_with(|| self.draw() as u8);
        self.say(counter, &[&head[..], &text].concat())
    }

    fn say(&self, counter: u64, body: &[u8]) -> Vec<u8> {
        let header = Header { epoch: Epoch(1), session: self.session, counter };
        let mut datagram = header.to_bytes().to_vec();
        let mut text = body.to_vec();
        let tag = ChaCha::new(&self.key).seal(counter, &datagram, &mut text);
        datagram.extend(text);
        datagram.extend(tag);
        datagram
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.random >> 33
    }
}
