//! Session datagrams with whatever counters, bodies and signatures a test wants.

use fleetcast_core::crypto::aead::{Aead as _, ChaCha};
use fleetcast_core::crypto::sign::{Context, SIGNATURE, SigningKey};
use fleetcast_core::ids::{
    BlockIndex, Epoch, FleetId, Ordinal, SegmentIndex, SessionId, SymbolIndex,
};
use fleetcast_core::wire::control::Object;
use fleetcast_core::wire::segment::{Run, SegmentHead, SegmentWriter};
use fleetcast_core::wire::session::{
    DIGEST, DigestsView, End, Header, further_head, kind, symbol_head,
};

/// Whoever holds a session's key, with a signing key that is the controller's or not.
pub struct Voice {
    /// The fleet, for signatures.
    pub fleet: FleetId,
    /// The session.
    pub session: SessionId,
    /// The epoch of its key.
    pub epoch: Epoch,
    /// Its key.
    pub key: [u8; 32],
    /// The key that control is signed by.
    pub signing: SigningKey,
    /// The counter of the next datagram.
    pub counter: u64,
}

impl Voice {
    /// A datagram with this body.
    pub fn say(&mut self, body: &[u8]) -> Vec<u8> {
        let header = Header { epoch: self.epoch, session: self.session, counter: self.counter };
        let mut datagram = header.to_bytes().to_vec();
        let mut text = body.to_vec();
        let tag = ChaCha::new(&self.key).seal(self.counter, &datagram, &mut text);
        datagram.extend(text);
        datagram.extend(tag);
        self.counter += 1;
        datagram
    }

    /// The same, signed.
    pub fn say_signed(&mut self, text: &[u8]) -> Vec<u8> {
        let body = self.signed(text);
        self.say(&body)
    }

    fn signed(&self, text: &[u8]) -> Vec<u8> {
        let (session, epoch) = (self.session.0.to_le_bytes(), self.epoch.0.to_le_bytes());
        let parts = [&self.fleet.0[..], &session, &epoch, text];
        let signature = self.signing.sign(Context::Session, &parts);
        [text, &signature].concat()
    }

    /// The header of a segment, in a datagram.
    pub fn segment(
        &mut self,
        of: (u32, u32, bool),
        blocks: &[(Object, usize, u32, u16)],
    ) -> Vec<u8> {
        let body = self.segment_body(of, blocks);
        self.say(&body)
    }

    /// The header of a segment of the session's first release slot: of each block
    /// the object, its length, and the run of ordinals in it.
    ///
    /// # Panics
    /// When it does not fit a datagram.
    #[must_use]
    pub fn segment_body(
        &self,
        (segment, first, sent): (u32, u32, bool),
        blocks: &[(Object, usize, u32, u16)],
    ) -> Vec<u8> {
        let head = SegmentHead {
            last: false,
            proactive: 0,
            blocks: blocks.len() as u8,
            sent,
            segment: SegmentIndex(segment),
            first: BlockIndex(first),
            sequence: segment,
            slots: 1,
        };
        let mut out = [0; 1_400];
        let mut writer = SegmentWriter::new(&mut out, head).expect("room");
        for &(object, bytes, first, count) in blocks {
            writer.block(object, bytes).expect("room");
            writer.runs(&[Run { first: Ordinal(first), count }]).expect("room");
        }
        let len = writer.finish();
        self.signed(&out[..len])
    }

    /// A symbol.
    pub fn symbol(&mut self, block: u32, index: u8, payload: &[u8]) -> Vec<u8> {
        let head = symbol_head(SymbolIndex(index), BlockIndex(block));
        self.say(&[&head[..], payload].concat())
    }

    /// A parity symbol beyond the first 64.
    pub fn further(&mut self, block: u32, number: u8, payload: &[u8]) -> Vec<u8> {
        let head = further_head(number, BlockIndex(block));
        self.say(&[&head[..], payload].concat())
    }

    /// Digests of `count` sources of a block from `first` on, all of them zeros.
    pub fn digests(&mut self, block: u32, first: u8, count: u8) -> Vec<u8> {
        let head = DigestsView::head(false, first, count, BlockIndex(block), 0);
        self.say_signed(&[&head[..], &vec![0; usize::from(count) * DIGEST]].concat())
    }

    /// The same with zeros for a signature too: it costs whoever makes it nothing.
    pub fn unsigned_digests(&mut self, block: u32, first: u8, count: u8) -> Vec<u8> {
        let head = DigestsView::head(false, first, count, BlockIndex(block), 0);
        self.say(&[&head[..], &vec![0; usize::from(count) * DIGEST + SIGNATURE]].concat())
    }

    /// A promise of `parity` symbols of each of these blocks.
    pub fn echo(&mut self, blocks: std::ops::Range<u32>, parity: u8) -> Vec<u8> {
        let mut body = vec![kind::ECHO, blocks.len() as u8];
        for block in blocks {
            body.extend(block.to_le_bytes());
            body.push(parity);
        }
        self.say(&body)
    }

    /// The end of a session of so many segments and blocks.
    pub fn end(&mut self, segments: u32, blocks: u32) -> Vec<u8> {
        self.say_signed(&End::unsigned(segments, blocks, segments))
    }
}
