//! What a board reports of a long segment whose blocks come one after the other.

use std::vec;
use std::vec::Vec;

use super::ReceiverEvent;
use super::fixture::{Bottomless, FLEET, SESSION, with_session};
use crate::constrained::ConstrainedSession;
use crate::crypto::aead::ChaCha;
use crate::crypto::packet::Sealer;
use crate::crypto::sign::{Context, SIGNATURE, SigningKey};
use crate::erasure::Portable;
use crate::ids::{BlockIndex, Ordinal, SegmentIndex, SymbolIndex};
use crate::limits::CONSTRAINED_SYMBOL;
use crate::time::Instant;
use crate::tree::record::{NONE, encode_header};
use crate::wire::control::Object;
use crate::wire::nack::Nack;
use crate::wire::segment::{Run, SegmentHead, SegmentWriter};
use crate::wire::session::{End, kind, symbol_head};

/// Bytes of a block: one full symbol and a shorter one.
const BLOCK: usize = 1_000;

/// The header of a segment of four blocks, signed by the key of this seed.
fn header(sealer: &mut Sealer<ChaCha>, sent: bool, seed: u8) -> Vec<u8> {
    let mut datagram = vec![0; 1_472];
    let head = SegmentHead {
        last: true,
        proactive: 0,
        blocks: 4,
        sent,
        segment: SegmentIndex(0),
        first: BlockIndex(0),
        sequence: 0,
        slots: 1,
    };
    let mut writer = SegmentWriter::new(&mut datagram[16..], head).unwrap();
    for block in 0..4 {
        writer.block(Object::Content, BLOCK).unwrap();
        writer.runs(&[Run { first: Ordinal(block), count: 1 }]).unwrap();
    }
    let len = writer.finish();
    let (session, epoch) = (SESSION.0.to_le_bytes(), 1_u16.to_le_bytes());
    let parts = [&FLEET.0[..], &session, &epoch, &datagram[16..16 + len]];
    let signature = SigningKey::from_seed(&[seed; 32]).sign(Context::Session, &parts);
    datagram[16 + len..][..SIGNATURE].copy_from_slice(&signature);
    let len = sealer.seal(&mut datagram, len + SIGNATURE).unwrap();
    datagram.truncate(len);
    datagram
}

/// A source of a block of one record.
fn source(sealer: &mut Sealer<ChaCha>, block: u32, index: u8) -> Vec<u8> {
    let mut bytes = encode_header(NONE, BLOCK - 7, BLOCK - 7).unwrap().to_vec();
    bytes.resize(BLOCK, 9);
    let symbol = bytes.chunks(CONSTRAINED_SYMBOL).nth(index.into()).unwrap();
    let mut datagram = vec![0; 16];
    datagram.extend(symbol_head(SymbolIndex(index), BlockIndex(block)));
    datagram.extend(symbol);
    let body = datagram.len() - 16;
    datagram.resize(datagram.len() + 16, 0);
    sealer.seal(&mut datagram, body).unwrap();
    datagram
}

fn hand(session: &mut ConstrainedSession<'_>, ms: u64, mut datagram: Vec<u8>) {
    let now = Instant::from_millis(ms);
    session.handle_datagram(now, &mut datagram, &mut Bottomless, &Portable);
}

/// Blocks that are reported until `end`, each with the number of symbols missing.
fn reported(session: &mut ConstrainedSession<'_>, ms: core::ops::Range<u64>) -> Vec<(u32, u8)> {
    let mut found = Vec::new();
    for now in ms.map(Instant::from_millis) {
        if session.poll_timeout().is_some_and(|at| at <= now) {
            session.handle_timeout(now, &mut Bottomless);
        }
        while let Some(event) = session.poll_event() {
            if event == ReceiverEvent::Nack {
                let nack = Nack::parse(session.nack().unwrap()).unwrap();
                found.extend(nack.entries().map(|entry| (entry.block.0, entry.missing)));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

// PROTOCOL S7, S9
#[test]
fn what_a_block_lacks_is_reported_when_the_next_one_comes_and_not_at_the_end_of_the_segment() {
    with_session(|session, sealer| {
        hand(session, 0, header(sealer, false, 9));
        hand(session, 1, source(sealer, 0, 0));
        assert_eq!(reported(session, 1..100), [], "the rest of it may be on its way");
        hand(session, 100, source(sealer, 1, 0));
        // The unit of the back-off is 4 ms.
        assert_eq!(reported(session, 100..110), [(0, 1)]);
    });
}

// PROTOCOL S5
#[test]
fn that_a_whole_segment_has_been_sent_is_not_worth_a_verification() {
    for (last, refused) in [(1, 0), (0, 1)] {
        with_session(|session, sealer| {
            hand(session, 0, header(sealer, false, 9));
            for (block, index) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)] {
                hand(session, 1, source(sealer, block, index));
            }
            (0..last).for_each(|_| hand(session, 2, source(sealer, 3, 1)));
            hand(session, 3, header(sealer, true, 8));
            assert_eq!(session.stats().refused, refused);
        });
    }
}

#[test]
fn blocks_without_a_place_are_asked_for_when_there_is_one() {
    with_session(|session, sealer| {
        hand(session, 0, header(sealer, false, 9));
        // Two places: both wait, so that nothing of the other blocks can be kept.
        for block in 0..4 {
            hand(session, 1, source(sealer, block, 0));
        }
        hand(session, 2, header(sealer, true, 9));
        assert_eq!(reported(session, 2..60), [(0, 1), (1, 1)]);
        hand(session, 60, source(sealer, 0, 1));
        assert!(reported(session, 60..90).iter().all(|(block, _)| *block == 1));
        hand(session, 90, source(sealer, 1, 1));
        assert_eq!(reported(session, 90..120), [(2, 2)]);
        hand(session, 120, source(sealer, 2, 0));
        hand(session, 120, source(sealer, 2, 1));
        assert_eq!(reported(session, 120..150), [(3, 2)]);
    });
}

/// The end of a session of one segment and four blocks, signed by the key of this seed.
fn end(sealer: &mut Sealer<ChaCha>, sequence: u32, seed: u8) -> Vec<u8> {
    let mut datagram = vec![0; 16];
    datagram.extend(End::unsigned(1, 4, sequence));
    let (session, epoch) = (SESSION.0.to_le_bytes(), 1_u16.to_le_bytes());
    let parts = [&FLEET.0[..], &session, &epoch, &datagram[16..]];
    let signature = SigningKey::from_seed(&[seed; 32]).sign(Context::Session, &parts);
    datagram.extend(signature);
    let body = datagram.len() - 16;
    datagram.resize(datagram.len() + 16, 0);
    sealer.seal(&mut datagram, body).unwrap();
    datagram
}

/// A promise of one parity symbol of block 3.
fn echo(sealer: &mut Sealer<ChaCha>) -> Vec<u8> {
    let mut datagram = vec![0; 16];
    datagram.extend([kind::ECHO, 1, 3, 0, 0, 0, 1]);
    datagram.resize(datagram.len() + 16, 0);
    sealer.seal(&mut datagram, 7).unwrap();
    datagram
}

// PROTOCOL S5
#[test]
fn that_parity_has_passed_is_told_by_new_ends_of_the_sender_only() {
    with_session(|session, sealer| {
        hand(session, 0, header(sealer, false, 9));
        for (block, index) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)] {
            hand(session, 1, source(sealer, block, index));
        }
        hand(session, 2, end(sealer, 1, 9));
        assert_eq!(reported(session, 2..20), [(3, 1)]);
        // A report again would be one too many: the parity may be under way.
        hand(session, 20, echo(sealer));
        hand(session, 21, end(sealer, 2, 8));
        assert_eq!(reported(session, 21..60), [], "it is another member's");
        assert_eq!(session.stats().refused, 1);
        hand(session, 60, end(sealer, 1, 9));
        assert_eq!(reported(session, 60..100), [], "it is the sender's, but an old one");
        hand(session, 100, end(sealer, 2, 9));
        assert_eq!(reported(session, 100..120), [(3, 1)]);
    });
}
